"""Vectors that find the answers of propositions, against loops over all pairs of minterms."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import propositions
from torch import nn

import src.readouts  # noqa: F401
from src.readouts.contrasts import contrasts
from src.readouts.literals import literal_contrasts
from src.readouts.readout import Readout, _all_readouts
from src.readouts.softmax import SoftmaxReadout
from src.readouts.subspaces import MintermSubspaces
from src.search.answers import SEARCHED
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b", "c")
MINTERMS = torch.tensor(list(product((False, True), repeat=3)))
PROPOSITIONS = propositions(LITERALS)


def brute_force(weights: np.ndarray, answers: list[bool]) -> list[np.ndarray]:
    """Each minterm that answers against the nearest that do not, one by one."""
    rows = MINTERMS.tolist()
    found = []
    for row, weight, holds in zip(rows, weights, answers, strict=True):
        if not holds:
            continue
        distances = {
            other: sum(p != q for p, q in zip(row, rows[other], strict=True))
            for other in range(len(rows))
            if not answers[other]
        }
        nearest = [o for o, distance in distances.items() if distance == min(distances.values())]
        difference = weight - np.mean([weights[other] for other in nearest], axis=0)
        found.append(difference / np.linalg.norm(difference))
    return found


@given(PROPOSITIONS, st.integers(0, 1000))
def test_minterms_are_held_against_the_nearest_that_do_not_answer(text: str, seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=(len(MINTERMS), 5))
    answers = Proposition(text, LITERALS).holds(MINTERMS)
    actual = contrasts(torch.from_numpy(weights), MINTERMS, answers).numpy()
    if answers.all() or not answers.any():
        np.testing.assert_array_equal(actual, np.zeros((1, 5)))
        return
    expected = brute_force(weights, answers.tolist())
    assert len(actual) == len(expected)  # random weights: all are distinct
    for vector in expected:
        assert np.abs(actual - vector).max(axis=1).min() < 1e-5


@given(PROPOSITIONS, st.integers(0, 1000))
def test_what_all_minterms_share_makes_no_difference(text: str, seed: int) -> None:
    """Probabilities are the same if one vector is added to the weights of every minterm."""
    generator = torch.Generator().manual_seed(seed)
    weights, shared = torch.randn(9, 4, generator=generator).double().split([8, 1])
    answers = Proposition(text, LITERALS).holds(MINTERMS)
    moved = contrasts(weights + 10 * shared, MINTERMS, answers)
    torch.testing.assert_close(moved, contrasts(weights, MINTERMS, answers), atol=3e-6, rtol=0)


@settings(deadline=None)
@given(PROPOSITIONS, st.integers(0, 1000))
def test_literals_that_a_query_does_not_name_make_no_difference(text: str, seed: int) -> None:
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)).double()
    query = Proposition(text, LITERALS)
    of_all = contrasts(MINTERMS.double() @ weights, MINTERMS, query.holds(MINTERMS))
    torch.testing.assert_close(literal_contrasts(query, weights), of_all, atol=3e-6, rtol=0)


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("a", [[1, 0, 0]]),
        ("~a", [[-1, 0, 0]]),
        ("a & ~c", [[1, 0, -1]]),
        ("~(a | b | c)", [[-1, -1, -1]]),
        ("a | b", [[0, 1, 0], [1, 1, 0], [1, 0, 0]]),
        ("(a & ~b) | (~a & b)", [[-1, 1, 0], [1, -1, 0]]),
    ],
)
def test_vectors_of_literals_are_those_that_decide(text: str, signs: list[list[int]]) -> None:
    expected = nn.functional.normalize(torch.tensor(signs).double(), dim=1)
    actual = literal_contrasts(Proposition(text, LITERALS), torch.eye(3).double())
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)


def test_a_literal_ranks_by_its_vector_as_by_its_probability() -> None:
    readout = SoftmaxReadout(torch.tensor([[False], [True]]))
    embeddings = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    for text in ("a", "~a"):
        query = Proposition(text, "a")
        (vector,) = readout.search_vectors(query)
        (probabilities,) = readout.score(embeddings, [query], "calibrated").T
        products = embeddings.double() @ vector
        assert torch.equal(products.argsort(), probabilities.argsort())


def test_a_query_of_too_many_literals_is_refused() -> None:
    names = [f"l{number}" for number in range(13)]
    weights = torch.eye(13).double()
    literal_contrasts(Proposition(" & ".join(names[:12]), names), weights)
    with pytest.raises(ValueError, match=r"at most 12 literals .* has 13: set index=exact"):
        literal_contrasts(Proposition(" & ".join(names), names), weights)


def test_subspaces_are_searched_by_both_signs_of_the_directions_that_answer() -> None:
    subspaces = MintermSubspaces(MINTERMS, embedding_dim=4)
    query = Proposition("~a", LITERALS)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.search_vectors(query)
    generator = torch.Generator().manual_seed(0)
    subspaces.update(torch.randn(80, 4, generator=generator), MINTERMS.repeat(10, 1))
    subspaces.fit()
    without_a = subspaces.directions[:4]
    assert torch.equal(subspaces.search_vectors(query), torch.cat([without_a, -without_a]))


def test_readouts_with_vectors_are_those_that_an_error_names() -> None:
    names = {kind.name for kind in _all_readouts(Readout) if kind.searched is not None}
    assert names == set(SEARCHED)
