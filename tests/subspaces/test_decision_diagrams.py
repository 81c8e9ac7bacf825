from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.subspaces.decision_diagrams import DecisionDiagrams, is_satisfiable, model_count
from src.subspaces.propositions import Proposition, PropositionError

LITERALS = tuple("abcdef")


def texts() -> st.SearchStrategy[str]:
    """Propositions over six literals, in which literals may occur more than once."""
    return st.recursive(
        st.sampled_from([*LITERALS, "TRUE", "FALSE"]),
        lambda inner: st.one_of(
            inner.map(lambda text: f"~({text})"),
            st.tuples(inner, st.sampled_from("&|"), inner).map(
                lambda parts: f"({' '.join(parts)})"
            ),
        ),
        max_leaves=12,
    )


@given(
    st.lists(texts(), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), min_size=len(LITERALS), max_size=len(LITERALS)),
)
def test_counts_are_sums_over_all_assignments(asked: list[str], p: list[float]) -> None:
    expected = [0.0] * len(asked)
    for assignment in product((False, True), repeat=len(LITERALS)):
        weight = prod(q if value else 1 - q for q, value in zip(p, assignment, strict=True))
        values = dict(zip(LITERALS, assignment, strict=True), TRUE=True, FALSE=False)
        for place, text in enumerate(asked):
            python = text.replace("~", " not ").replace("&", " and ").replace("|", " or ")
            expected[place] += weight * eval(python, {}, values)
    true = torch.tensor([p], dtype=torch.float64)
    queries = [Proposition(text, LITERALS) for text in asked]
    found = model_count(queries, true, 1 - true)[0]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


@given(texts())
def test_diagrams_find_out_what_no_assignment_satisfies(text: str) -> None:
    query = Proposition(text, LITERALS)
    rows = torch.tensor(list(product((False, True), repeat=len(LITERALS))))
    assert is_satisfiable(query) == bool(query.holds(rows).any())


def test_any_number_of_images_and_literals_is_counted() -> None:
    names = [f"literal_{number}" for number in range(40)]
    true = torch.rand(70_000, 40, generator=torch.Generator().manual_seed(0)).double()
    pairs = [f"({first} & {second})" for first, second in zip(names[:20], names[20:], strict=True)]
    queries = [Proposition(text, names) for text in (" | ".join(pairs), " & ".join(names[:30]))]
    some, all_of = model_count(queries, true, 1 - true).T
    none = (1 - true[:, :20] * true[:, 20:]).prod(dim=1)
    torch.testing.assert_close(some, 1 - none, rtol=0, atol=1e-12)
    torch.testing.assert_close(all_of, true[:, :30].prod(dim=1), rtol=1e-12, atol=0)


def test_a_proposition_of_too_many_cases_is_refused() -> None:
    names = [f"literal_{number}" for number in range(60)]
    pairs = zip(names[:30], names[30:], strict=True)
    # All of the first thirty come before any of the others: 2^30 cases to keep apart
    entangled = f"({' | '.join(names)}) & ({' | '.join(f'{a} & {b}' for a, b in pairs)})"
    query = Proposition(entangled, names)
    with pytest.raises(PropositionError, match="too entangled: more than 131,072 cases"):
        is_satisfiable(query)


def test_a_proposition_that_names_each_literal_once_has_a_node_for_each() -> None:
    names = [f"literal_{number}" for number in range(40)]
    shuffled = [names[7 * number % 40] for number in range(40)]
    pairs = zip(shuffled[:20], shuffled[20:], strict=True)
    query = Proposition(" | ".join(f"({first} & ~{second})" for first, second in pairs), names)
    reachable, open_nodes = set(), DecisionDiagrams([query]).roots
    diagrams = DecisionDiagrams([query])
    while open_nodes:
        place = open_nodes.pop()
        if place > 1 and place not in reachable:
            reachable.add(place)
            open_nodes += diagrams.nodes[place][1:]
    assert len(reachable) == 40


def test_what_is_nearly_certain_keeps_its_digits() -> None:
    logits = torch.tensor([[45.0, 50.0]]).double()
    query = Proposition("~a & ~b", ("a", "b"))
    found = model_count([query], logits.sigmoid(), (-logits).sigmoid())
    torch.testing.assert_close(found, (-logits.sum(dim=1, keepdim=True)).exp(), rtol=1e-12, atol=0)
