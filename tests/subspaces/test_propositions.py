import contextlib
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.subspaces.propositions import Proposition, PropositionError, conjunctions

LITERALS = ("even", "prime", "has_loop", "Wearing_Hat", "5_o_Clock_Shadow")
TRUTH_TABLE = list(product((False, True), repeat=len(LITERALS)))

# A tree is a literal's name, a constant, ("not", tree) or ("and" | "or", tree, tree, ...).
TREES = st.recursive(
    st.sampled_from(LITERALS) | st.booleans(),
    lambda trees: st.one_of(
        st.tuples(st.just("not"), trees),
        st.tuples(st.sampled_from(("and", "or")), trees, trees),
        st.tuples(st.sampled_from(("and", "or")), trees, trees, trees),
    ),
    max_leaves=12,
)
SPELLINGS = {"not": ("~", "not ", "!"), "and": (" & ", "&", " and "), "or": (" | ", "|", " OR ")}


def write(tree: object, draw: st.DataObject) -> str:
    """One of the ways to write a tree, with parentheses wherever they could matter."""
    if isinstance(tree, bool):
        return str(tree).lower()
    if isinstance(tree, str):
        return tree if draw.draw(st.booleans()) else f"( {tree})"
    assert isinstance(tree, tuple)
    operator = draw.draw(st.sampled_from(SPELLINGS[tree[0]]))
    operands = [
        text if isinstance(operand, str | bool) else f"({text})"
        for operand in tree[1:]
        for text in [write(operand, draw)]
    ]
    return operator + operands[0] if tree[0] == "not" else operator.join(operands)


def evaluate(tree: object, row: dict[str, bool]) -> bool:
    """What Python's own operators say."""
    if isinstance(tree, bool):
        return tree
    if isinstance(tree, str):
        return row[tree]
    assert isinstance(tree, tuple)
    values = [evaluate(operand, row) for operand in tree[1:]]
    return {"not": lambda: not values[0], "and": lambda: all(values), "or": lambda: any(values)}[
        tree[0]
    ]()


@settings(max_examples=2500, derandomize=True, deadline=None)
@given(tree=TREES, data=st.data())
def test_agrees_with_the_truth_table(tree: object, data: st.DataObject) -> None:
    proposition = Proposition(write(tree, data), LITERALS)
    expected = [evaluate(tree, dict(zip(LITERALS, row, strict=True))) for row in TRUTH_TABLE]
    assert proposition.holds(torch.tensor(TRUTH_TABLE)).tolist() == expected


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("even | prime & has_loop", "even | (prime & has_loop)"),
        ("~even & prime", "(~even) & prime"),
        ("not even or prime", "(not even) or prime"),
        ("even & prime | has_loop & ~even", "(even & prime) | (has_loop & (~even))"),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(text: str, grouped: str) -> None:
    table = torch.tensor(TRUTH_TABLE)
    assert torch.equal(
        Proposition(text, LITERALS).holds(table), Proposition(grouped, LITERALS).holds(table)
    )


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("~", 1),
        ("()", 1),
        ("and", 0),
        ("even &", 6),
        ("even & & prime", 7),
        ("even prime", 5),
        ("even ~prime", 5),
        ("even (prime)", 5),
        ("(even) prime", 7),
        ("even => prime", 5),
        ("even, prime", 4),
        ("even & prime)", 12),
        ("(even & (prime)", 0),
        ("~ & even", 2),
        ("(~)", 2),
        ("even & ()", 8),
        ("even 'or' prime", 5),
    ],
)
def test_syntax_errors_give_their_position(text: str, position: int) -> None:
    with pytest.raises(PropositionError, match=rf"at position {position}:"):
        Proposition(text, LITERALS)


def test_unknown_literal_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PropositionError, match=r"'primes' \(did you mean prime\?\)") as caught:
        Proposition("even & primes", LITERALS)
    assert all(name in str(caught.value) for name in LITERALS)


@pytest.mark.parametrize("text", ["~" * 3000 + "even", "(" * 3000 + "even" + ")" * 3000])
def test_deep_nesting_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(PropositionError):
        holds = Proposition(text, LITERALS).holds(torch.tensor(TRUTH_TABLE))
        assert holds.tolist() == [row[0] for row in TRUTH_TABLE]


@settings(max_examples=2000, derandomize=True, deadline=None)
@given(
    st.lists(
        st.sampled_from(["even", "prime", "&", "|", "~", "(", ")", " ", "not", "or", "1", "é", "$"])
        | st.characters(),
        max_size=12,
    ).map("".join)
)
def test_any_string_is_read_or_refused_cleanly(text: str) -> None:
    with contextlib.suppress(PropositionError):
        Proposition(text, LITERALS)


def test_five_literals_have_242_conjunctions() -> None:
    queries = conjunctions(LITERALS, max_literals=5)
    table = torch.tensor(TRUTH_TABLE)
    truths = {tuple(query.holds(table).tolist()) for query in queries}
    assert len(queries) == len(truths) == 242
    assert sum(not query.has_negation for query in queries) == 31
    assert len(conjunctions(LITERALS, max_literals=2)) == 5 * 2 + 10 * 4


def test_negation_is_found_wherever_it_stands() -> None:
    assert Proposition("even | (prime & not has_loop)", LITERALS).has_negation
    assert not Proposition("even | (prime & has_loop)", LITERALS).has_negation
