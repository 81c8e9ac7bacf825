import re
from itertools import product

import numpy as np
import pytest
import torch

from src.subspaces.propositions import Proposition, conjunctions
from src.subspaces.random_propositions import harder_propositions, random_proposition

LITERALS = ("a", "b", "c", "d")
MINTERMS = torch.tensor(list(product((False, True), repeat=4)))


def test_depth_zero_is_a_literal_plain_or_negated() -> None:
    generator = np.random.default_rng(0)
    texts = {random_proposition(LITERALS, 0, generator).text for _ in range(200)}
    assert texts == {sign + name for sign in ("", "~") for name in LITERALS}


def test_depth_one_is_one_connective_between_literals() -> None:
    generator = np.random.default_rng(0)
    shapes = {
        re.sub("~*[abcd]", "x", random_proposition(LITERALS, 1, generator).text) for _ in range(200)
    }
    # and; or, implication; exclusive or; negation
    assert shapes == {"(x & x)", "(x | x)", "((x & x) | (x & x))", "~(x)"}


def test_deeper_propositions_hold_more_literals() -> None:
    generator = np.random.default_rng(0)
    lengths = [
        np.mean([len(random_proposition(LITERALS, depth, generator).text) for _ in range(200)])
        for depth in range(5)
    ]
    assert lengths == sorted(lengths)
    assert lengths[4] > 10 * lengths[0]


def test_queries_are_the_same_again_and_differ_between_depths_and_seeds() -> None:
    def texts(depth: int, seed: int) -> list[str]:
        queries = harder_propositions(LITERALS, MINTERMS, depth, 20, seed, known=[])
        return [query.text for query in queries]

    assert texts(2, 0) == texts(2, 0)
    assert texts(2, 0) != texts(3, 0)
    assert texts(2, 0) != texts(2, 1)
    assert len(texts(3, 0)) == 20


PUBLISHED = {  # drawn by the code that made the first results
    2: [
        "~(a & ~c)",
        "(((~d & ~a) & ~~b) | (~(~d & ~a) & ~b))",
        "(~(~d & ~a) | a)",
        "(~((d & ~a) | (~d & a)) | c)",
    ],
    3: [
        "((~~(~d) & ~(~c | ~c)) | (~~~(~d) & (~c | ~c)))",
        "(((~a | b) & ~(d)) | (((b & ~~d) | (~b & ~d)) & b))",
        "((~(c) | (d | a)) & b)",
        "~(((~d | b) & ~a) | (~(~d | b) & a))",
    ],
}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_queries_are_those_of_published_results(depth: int) -> None:
    queries = harder_propositions(LITERALS, MINTERMS, depth, 4, 0, conjunctions(LITERALS, 4))
    assert [query.text for query in queries] == PUBLISHED[depth]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_each_says_something_new(depth: int) -> None:
    known = conjunctions(LITERALS, 4)
    queries = harder_propositions(LITERALS, MINTERMS, depth, 40, 0, known)
    masks = [tuple(query.holds(MINTERMS).tolist()) for query in [*known, *queries]]
    harder = masks[len(known) :]
    assert len(queries) == 40
    assert len(set(harder)) == 40
    assert not set(harder) & set(masks[: len(known)])
    assert all(0 < sum(mask) < len(MINTERMS) for mask in harder)
    assert any(query.has_negation for query in queries)
    assert any("|" in query.text for query in queries)


def test_few_minterms_allow_only_few() -> None:
    two = MINTERMS[:2]
    queries = harder_propositions(LITERALS, two, 2, 40, 0, known=[])
    assert {tuple(query.holds(two).tolist()) for query in queries} == {(True, False), (False, True)}
    assert harder_propositions(LITERALS, two, 2, 40, 0, known=[Proposition("d", LITERALS)]) != []
