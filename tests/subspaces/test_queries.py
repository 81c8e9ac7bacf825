from collections import Counter

import torch

from src.subspaces.propositions import Proposition
from src.subspaces.queries import Queries, make_queries

LITERALS = ["a", "b", "c"]
MINTERMS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()


def test_queries_are_all_short_conjunctions() -> None:
    queries = make_queries(LITERALS, MINTERMS, 2, max_depth=1, queries_per_depth=0)
    texts = {query.text for query in queries.propositions}
    assert len(texts) == 3 * 2 + 3 * 4
    assert {"a", "~c", "a & ~b"} <= texts


def is_true(conjunction: str, row: list[bool]) -> bool:
    parts = conjunction.split(" & ")
    return all(row[LITERALS.index(part.lstrip("~"))] != part.startswith("~") for part in parts)


def test_every_query_is_in_the_groups_that_it_belongs_to() -> None:
    queries = make_queries(LITERALS, MINTERMS, 3, max_depth=3, queries_per_depth=2)
    groups = queries.groups
    assert list(groups) == ["", "positive", "negated", "unseen", "depth_2", "depth_3"]
    for place, (query, depth) in enumerate(zip(queries.propositions, queries.depths, strict=True)):
        negated = "~" in query.text
        expected = {"": depth == 1, "positive": depth == 1 and not negated}
        expected |= {"negated": depth == 1 and negated}
        expected["unseen"] = depth == 1 and not any(
            is_true(query.text, row) for row in MINTERMS.tolist()
        )
        expected |= {f"depth_{number}": depth == number for number in (2, 3)}
        assert {name: bool(mask[place]) for name, mask in groups.items()} == expected


def test_of_what_no_minterm_satisfies_only_conjunctions_are_unseen() -> None:
    propositions = [Proposition(text, LITERALS) for text in ("~a & ~c", "a & ~c", "~(a | c)")]
    groups = Queries(propositions, [1, 1, 2], MINTERMS).groups
    assert groups["unseen"].tolist() == [True, False, False]


def test_of_more_conjunctions_than_can_be_evaluated_some_of_each_kind_are_drawn() -> None:
    literals = [f"literal_{number}" for number in range(40)]
    minterms = torch.eye(40)[:4].bool()
    queries = make_queries(literals, minterms, 5, max_depth=1, queries_per_depth=0)
    assert queries.sampled
    kinds = Counter(
        (text.count("&") + 1, "~" in text) for text in (q.text for q in queries.propositions)
    )
    assert kinds == {
        (size, negated): 40 if size == 1 else 100
        for size in range(1, 6)
        for negated in (False, True)
    }
    for query in queries.propositions:
        named = query.text.replace("~", "").split(" & ")
        assert len(set(named)) == len(named)
    assert len({query.text for query in queries.propositions}) == 880
    again = make_queries(literals, minterms, 5, max_depth=1, queries_per_depth=0)
    assert again.propositions == queries.propositions
    # Literals and signs are as frequent as chance has them.
    words = Counter(word for q in queries.propositions for word in q.text.split(" & "))
    frequencies = [words[name] + words["~" + name] for name in literals]
    assert max(frequencies) < 2 * min(frequencies)


def test_few_conjunctions_are_all_asked() -> None:
    assert not make_queries(LITERALS, MINTERMS, 3, max_depth=1, queries_per_depth=0).sampled
