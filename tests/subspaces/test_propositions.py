"""Propositions against Python's own Boolean logic on the whole truth table."""

import re
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.subspaces.propositions import Proposition, PropositionError, conjunctions, truth_table

# Names that hold an operator, a digit, a capital or another name
LITERALS = ["even", "not_even", "order", "Wearing_Hat", "5_o_Clock_Shadow"]
ROWS = list(product([False, True], repeat=len(LITERALS)))
TABLE = torch.tensor(ROWS)

# A tree is a name, a constant, ("not", tree) or ("and" | "or", tree, tree, ...).
Tree = str | bool | tuple
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from([*LITERALS, *LITERALS, True, False]),
    lambda trees: st.one_of(
        st.tuples(st.just("not"), trees),
        st.lists(trees, min_size=2, max_size=3).map(lambda operands: ("and", *operands)),
        st.lists(trees, min_size=2, max_size=3).map(lambda operands: ("or", *operands)),
    ),
    max_leaves=12,
)
SPELLINGS = {"not": ("not", "~"), "and": ("and", "&"), "or": ("or", "|", "OR")}
TIGHTNESS = {"or": 0, "and": 1, "not": 2}


def evaluate(tree: Tree, row: dict[str, bool]) -> bool:
    match tree:
        case bool():
            return tree
        case str():
            return row[tree]
        case ("not", operand):
            return not evaluate(operand, row)
        case ("and", *operands):
            return all(evaluate(operand, row) for operand in operands)
        case _:
            return any(evaluate(operand, row) for operand in tree[1:])


def spell(tree: Tree, choices: st.DataObject, outer: int = 0) -> list[str]:
    """Tokens of a tree, with parentheses where they are needed and at random elsewhere."""
    if not isinstance(tree, tuple):
        tokens, tightness = [str(tree).upper() if isinstance(tree, bool) else tree], 3
    else:
        kind, *operands = tree
        tightness = TIGHTNESS[kind]
        parts = [spell(operand, choices, tightness) for operand in operands]
        sign = choices.draw(st.sampled_from(SPELLINGS[kind]))
        tokens = [sign, *parts[0]] if kind == "not" else parts[0]
        for part in parts[1:]:
            tokens = [*tokens, sign, *part]
    if tightness < outer or choices.draw(st.integers(0, 5)) == 0:
        tokens = ["(", *tokens, ")"]
    return tokens


def join(tokens: Sequence[str], choices: st.DataObject) -> str:
    """Text of tokens, with whitespace between words and at random elsewhere."""
    text = choices.draw(st.sampled_from(["", " "]))
    for token in tokens:
        words_meet = re.search(r"[\w.:+-]$", text) and re.match(r"\w", token)
        text += choices.draw(st.sampled_from([" ", "\t", " \n "] if words_meet else ["", " "]))
        text += token
    return text + choices.draw(st.sampled_from(["", " "]))


@settings(derandomize=True, deadline=None, max_examples=2000)
@given(tree=TREES, choices=st.data())
def test_proposition_holds_where_python_says_so(tree: Tree, choices: st.DataObject) -> None:
    proposition = Proposition(join(spell(tree, choices), choices), LITERALS)
    expected = [evaluate(tree, dict(zip(LITERALS, row, strict=True))) for row in ROWS]
    assert proposition.holds(TABLE).tolist() == expected


WORDS_OF_THE_SYNTAX = {"not", "and", "or", "true", "false", "none", "0", "1"}
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in WORDS_OF_THE_SYNTAX
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    tree=TREES,
    names=st.lists(NAMES, min_size=len(LITERALS), max_size=len(LITERALS), unique=True),
    choices=st.data(),
)
def test_names_may_hold_colons_dots_and_signs(
    tree: Tree, names: list[str], choices: st.DataObject
) -> None:
    renamed = dict(zip(LITERALS, names, strict=True))
    tokens = [renamed.get(token, token) for token in spell(tree, choices)]
    proposition = Proposition(join(tokens, choices), names)
    expected = [evaluate(tree, dict(zip(LITERALS, row, strict=True))) for row in ROWS]
    assert proposition.holds(TABLE).tolist() == expected


def test_names_of_packages_tags_are_literals() -> None:
    tags = ["implemented-in::c", "implemented-in::c++", "works-with::3dmodel", "devel::lang:c++"]
    proposition = Proposition(" implemented-in::c++&~devel::lang:c++|works-with::3dmodel", tags)
    rows = torch.tensor(list(product([False, True], repeat=4)))
    assert proposition.holds(rows).tolist() == [(b and not d) or c for _, b, c, d in rows.tolist()]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("even | order & not_even", "even | (order & not_even)"),
        ("even & order | not_even", "(even & order) | not_even"),
        ("~even & order", "(~even) & order"),
        ("~even | order", "(~even) | order"),
        ("not even or order and not not_even", "(~even) | (order & (~not_even))"),
        ("~~even", "even"),
        ("~(even | order)", "~even & ~order"),
    ],
)
def test_operators_bind_as_they_do_in_python(text: str, same: str) -> None:
    first, second = Proposition(text, LITERALS), Proposition(same, LITERALS)
    assert first.holds(TABLE).tolist() == second.holds(TABLE).tolist()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_labels_of_any_type_are_read_as_truth_values(dtype: torch.dtype) -> None:
    held = Proposition("even & ~order", LITERALS).holds(TABLE.to(dtype))
    assert held.dtype == torch.bool
    assert held.tolist() == [row[0] and not row[2] for row in ROWS]


def test_columns_follow_the_order_of_the_literals() -> None:
    assert Proposition("b", ["a", "b"]).holds(torch.tensor([[0, 1], [1, 0]])).tolist() == [1, 0]
    assert Proposition("b", ["b", "a"]).holds(torch.tensor([[0, 1], [1, 0]])).tolist() == [0, 1]


def test_no_rows_give_no_answers() -> None:
    assert Proposition("even | TRUE", LITERALS).holds(torch.zeros(0, 5)).shape == (0,)


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("even", False),
        ("even & not_even | order", False),
        ("~even", True),
        ("even & not order", True),
        ("~(even | order)", True),
        ("~~even", True),
    ],
)
def test_has_negation_when_one_is_written(text: str, negated: bool) -> None:
    assert Proposition(text, LITERALS).has_negation is negated


def test_representation_holds_the_text() -> None:
    assert repr(Proposition("even & ~order", LITERALS)) == "Proposition('even & ~order')"


# Conjunctions


def test_conjunctions_of_five_literals_are_242_different_ones() -> None:
    queries = conjunctions(LITERALS, 5)
    truth_tables = {tuple(query.holds(TABLE).tolist()) for query in queries}
    assert len(queries) == len(truth_tables) == 242
    assert sum(not query.has_negation for query in queries) == 31
    # A conjunction of k literals holds on 2^(5 - k) of the 32 rows.
    sizes = [6 - sum(table).bit_length() for table in truth_tables]
    assert [sizes.count(size) for size in range(1, 6)] == [10, 40, 80, 80, 32]


@pytest.mark.parametrize(("max_literals", "number"), [(0, 0), (1, 10), (2, 50), (5, 242), (9, 242)])
def test_conjunctions_have_at_most_so_many_literals(max_literals: int, number: int) -> None:
    assert len(conjunctions(LITERALS, max_literals)) == number


# Truth tables


@settings(derandomize=True, deadline=None, max_examples=300)
@given(trees=st.lists(TREES, max_size=4), choices=st.data())
def test_truth_table_has_a_column_for_every_proposition(
    trees: list[Tree], choices: st.DataObject
) -> None:
    propositions = [Proposition(join(spell(tree, choices), choices), LITERALS) for tree in trees]
    rows = choices.draw(st.lists(st.sampled_from(ROWS), max_size=40))
    labels = torch.tensor(rows).reshape(-1, len(LITERALS)).bool()
    for _ in range(2):  # evaluated, and remembered
        table = truth_table(propositions, labels)
        assert table.dtype == torch.bool
        assert table.shape == (len(rows), len(trees))
        for column, proposition in enumerate(propositions):
            assert table[:, column].tolist() == proposition.holds(labels).tolist()


@pytest.mark.parametrize("number", [1, 7, 8, 9, 40, 70])
def test_truth_table_of_many_literals(number: int) -> None:
    literals = [f"literal_{column}" for column in range(number)]
    propositions = [Proposition(name, literals) for name in literals]
    labels = torch.rand(number, 50, generator=torch.Generator().manual_seed(0)) < 0.5
    for dtype in (torch.bool, torch.int64, torch.float32):
        table = truth_table(propositions, labels.T.to(dtype))
        assert table.tolist() == labels.T.tolist()


def test_truth_table_is_the_callers_to_change() -> None:
    propositions = [Proposition("even", LITERALS)]
    truth_table(propositions, TABLE).fill_(False)
    assert truth_table(propositions, TABLE)[:, 0].tolist() == [row[0] for row in ROWS]


def test_propositions_are_equal_if_text_and_literals_are() -> None:
    first = Proposition("even & ~order", LITERALS)
    assert first == Proposition("even & ~order", tuple(LITERALS))
    assert hash(first) == hash(Proposition("even & ~order", tuple(LITERALS)))
    assert first != Proposition("~order & even", LITERALS)
    # The same text reads another column
    backwards = LITERALS[::-1]
    assert first != Proposition("even & ~order", backwards)
    tables = [truth_table([Proposition("even", names)], TABLE) for names in (LITERALS, backwards)]
    assert not tables[0].equal(tables[1])
    assert first != "even & ~order"


# Refusals


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("  ", 2),
        ("even &", 6),
        ("even & ", 7),
        ("& even", 0),
        ("even & | order", 7),
        ("even && order", 6),
        ("even or or order", 8),
        ("even order", 5),
        ("even not order", 5),
        ("even ~order", 5),
        ("(even) order", 7),
        ("(even)(order)", 6),
        ("even TRUE", 5),
        ("~", 1),
        ("~ & even", 2),
        ("even ~", 5),
        ("()", 1),
        ("even & )", 7),
        ("even)", 4),
        ("(even", 0),
        ("(even & (order)", 0),
        ("even & (order", 7),
        ("even $ order", 5),
        ("even & #order", 7),
        ("even -order", 5),
        ("even == order", 5),
        ("even,order", 4),
        ("'even'", 0),
    ],
)
def test_syntax_errors_name_their_position(text: str, position: int) -> None:
    expected = rf"^syntax error in {re.escape(repr(text))} at position {position}: "
    with pytest.raises(PropositionError, match=expected):
        Proposition(text, LITERALS)


@pytest.mark.parametrize(
    ("text", "token", "position", "right"),
    [
        ("1", "1", 0, "TRUE"),
        ("0", "0", 0, "FALSE"),
        ("true", "true", 0, "TRUE"),
        ("even & ~True", "True", 8, "TRUE"),
        ("even | false", "false", 7, "FALSE"),
        ("None", "None", 0, "FALSE"),
        ("*", "*", 0, "& or and"),
        ("+", "+", 0, "| or or"),
        ("even * order", "*", 5, "& or and"),
        ("even + order", "+", 5, "| or or"),
        ("!even", "!", 0, "~ or not"),
        ("[even]", "[", 0, "("),
        ("(even]", "]", 5, ")"),
    ],
)
def test_other_spellings_are_refused_with_the_right_one(
    text: str, token: str, position: int, right: str
) -> None:
    expected = f"at position {position}: {token!r} is not part of the syntax: write {right}"
    with pytest.raises(PropositionError, match=rf"{re.escape(expected)}$"):
        Proposition(text, LITERALS)


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("FALSE", False), ("~FALSE", True)])
def test_constants_hold_of_all_rows_or_none(text: str, value: bool) -> None:
    assert Proposition(text, LITERALS).holds(TABLE).tolist() == [value] * len(ROWS)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_text_is_said_to_be_empty(text: str) -> None:
    with pytest.raises(PropositionError, match="it is empty: name a literal"):
        Proposition(text, LITERALS)


@pytest.mark.parametrize(
    ("text", "unknown", "close"),
    [
        ("evn & order", "evn", "even"),
        ("even & wearing_hat", "wearing_hat", "Wearing_Hat"),
        ("even & ~(order | noteven)", "noteven", "not_even"),
        ("even+order", "even+order", "order"),
    ],
)
def test_unknown_literals_are_answered_with_the_closest(
    text: str, unknown: str, close: str
) -> None:
    with pytest.raises(PropositionError, match="unknown literal") as caught:
        Proposition(text, LITERALS)
    message = str(caught.value)
    assert f"'{unknown}'" in message
    assert f"did you mean {close}?" in message
    assert ", ".join(LITERALS) in message


def test_unknown_literals_unlike_any_are_answered_with_all_known_ones() -> None:
    with pytest.raises(PropositionError, match=", ".join(LITERALS)) as caught:
        Proposition("even & xyz", LITERALS)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "~" * 3000 + "even",
        "not " * 3000 + "even",
        "(" * 3000 + "even" + ")" * 3000,
        "~(" * 3000 + "even" + ")" * 3000,
        "even & (order | " * 3000 + "even" + ")" * 3000,
    ],
    ids=["signs", "words", "parentheses", "negated parentheses", "alternating"],
)
def test_deep_nesting_is_read_or_refused(text: str) -> None:
    try:
        held = Proposition(text, LITERALS).holds(TABLE).tolist()
    except PropositionError:
        return
    assert held == [row[0] for row in ROWS]


def test_long_flat_propositions_are_read() -> None:
    text = " & ".join(["even", "~order"] * 2000)
    held = Proposition(text, LITERALS).holds(TABLE).tolist()
    assert held == [row[0] and not row[2] for row in ROWS]


FRAGMENTS = [*"&|~()[]!+*^$.,:;-=<>'\"\\/#_@%?{}01 \t\n\0é٣∧"]
WORDS = [*LITERALS, "not", "and", "or", "TRUE", "FALSE", "true", "NOT", "a", "x1"]


@settings(derandomize=True, deadline=None, max_examples=2000)
@given(
    st.lists(
        st.sampled_from([*FRAGMENTS, *WORDS, *WORDS, *"&|~() "]) | st.characters(), max_size=12
    ).map("".join)
)
def test_junk_is_read_or_refused(text: str) -> None:
    try:
        proposition = Proposition(text, LITERALS)
    except PropositionError:
        return
    assert proposition.holds(TABLE).shape == (len(TABLE),)


@pytest.mark.parametrize(
    "name",
    [
        *("0", "1", "true", "none", "and", "No Finding", ""),
        *("-a", "+a", ":a", "a~b", "a&b", "a(b)"),
    ],
)
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(PropositionError, match="cannot name a literal"):
        Proposition("even", ["even", name])


def test_names_must_differ() -> None:
    with pytest.raises(PropositionError, match="different names"):
        Proposition("even", ["even", "even"])
