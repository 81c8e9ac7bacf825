"""Boolean propositions over literals, such as `even & ~prime` or `loop | (square & not even)`.

A proposition is true or false of a row of labels. Applied to the table of minterms it becomes the
mask M(q) of the minterms that satisfy it, which is all that the subspaces need to know of it.
`SYNTAX` says how one is written, to readers of this code and of the commands' help alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache, reduce
from itertools import combinations, product
from operator import and_, not_, or_
from typing import TypeVar

import boolean
import numpy as np
import torch
from boolean.boolean import (
    TOKEN_AND,
    TOKEN_FALSE,
    TOKEN_LPAR,
    TOKEN_NOT,
    TOKEN_OR,
    TOKEN_RPAR,
    TOKEN_SYMBOL,
    TOKEN_TRUE,
    Function,
)
from torch import Tensor

from src.subspaces.minterms import distinct_minterms, find_minterms

# What a name may hold after the letter, digit or underscore that it begins with: interface::x11,
# implemented-in::c++
_ALGEBRA = boolean.BooleanAlgebra(allowed_in_token=("_", ".", ":", "+", "-"))

SYNTAX = """\
A query combines literals by name with ~ (not), & (and), | (or), tightest first, and parentheses.
The words not, and, or say the same; TRUE and FALSE hold of all images and of none.
Colons, dots, + and - inside a name belong to it, as in implemented-in::c++.
"""
# The parser knows more, such as 1 for TRUE and * for &, which a mistake soon looks like.
SPELLINGS = {
    TOKEN_NOT: ("~", "not"),
    TOKEN_AND: ("&", "and"),
    TOKEN_OR: ("|", "or"),
    TOKEN_TRUE: ("TRUE",),
    TOKEN_FALSE: ("FALSE",),
    TOKEN_LPAR: ("(",),
    TOKEN_RPAR: (")",),
}
CONSTANTS = (TOKEN_TRUE, TOKEN_FALSE)
SHOWN = 40  # characters before and behind a mistake
TABLES = 8  # truth tables that are remembered
Value = TypeVar("Value")
Token = tuple[int, str, int]  # kind, text, first position


class PropositionError(ValueError):
    """A proposition cannot be read: its syntax is bad, or a literal unknown."""


class Proposition:
    """A Boolean proposition over named literals.

    Args:
        text: The proposition, such as `"even & ~prime"`.
        literals: Names of the label columns, in their order.

    Attributes:
        text: The proposition as it was written.
        literals: Names of the label columns.
        has_negation: Whether a negation occurs anywhere in it.
        columns: The label columns of the literals that it names, ascending.

    Raises:
        PropositionError: If the text is not a proposition over these literals. The message gives
            the position of a syntax error, and the known names for an unknown one. Also if a name
            could not be written in a proposition, such as `true`, `0` or two words.
    """

    def __init__(self, text: str, literals: Sequence[str]) -> None:
        self.text = text
        self.literals = tuple(literals)
        self._columns = _number(self.literals)
        tokens = _read(text, self._columns)
        self.has_negation = any(kind == TOKEN_NOT for kind, _, _ in tokens)
        self.columns = sorted(
            {self._columns[token] for kind, token, _ in tokens if kind == TOKEN_SYMBOL}
        )
        self._tree = _ALGEBRA.parse(tokens)
        self.evaluate(lambda column: False, bool, not_, and_, or_)  # refuses too deep a nesting

    def __repr__(self) -> str:
        return f"Proposition({self.text!r})"

    def __eq__(self, other: object) -> bool:
        """Two propositions are equal if they are the same text over the same literals."""
        if not isinstance(other, Proposition):
            return NotImplemented
        return self.text == other.text and self.literals == other.literals

    def __hash__(self) -> int:
        return hash((self.text, self.literals))

    def holds(self, labels: Tensor) -> Tensor:
        """Evaluate the proposition on rows of labels.

        Args:
            labels: (N, C), nonzero where a literal is true. The table of minterms, (M, C), gives
                the mask over minterms.

        Returns:
            (N,), bool.

        Raises:
            PropositionError: If the proposition is nested too deeply to be evaluated.
        """
        truth = labels.bool()
        return self.evaluate(
            literal=lambda column: truth[:, column],
            constant=lambda value: truth.new_full((len(truth),), value),
            complement=torch.logical_not,
            meet=torch.logical_and,
            join=torch.logical_or,
        )

    def evaluate(
        self,
        literal: Callable[[int], Value],
        constant: Callable[[bool], Value],
        complement: Callable[[Value], Value],
        meet: Callable[[Value, Value], Value],
        join: Callable[[Value, Value], Value],
    ) -> Value:
        """Evaluate the proposition in any algebra: truth values, probabilities, subspaces.

        Args:
            literal: Value of the literal in a label column.
            constant: Values of `TRUE` and `FALSE`.
            complement, meet, join: Operations of `~`, `&` and `|` on values.

        Raises:
            PropositionError: If the proposition is nested too deeply to be evaluated.
        """

        def value(node: boolean.Expression) -> Value:
            if isinstance(node, boolean.Symbol):
                return literal(self._columns[node.obj])
            if not isinstance(node, Function):
                return constant(bool(node))
            operands = [value(operand) for operand in node.args]
            if isinstance(node, _ALGEBRA.NOT):
                return complement(operands[0])
            return reduce(meet if isinstance(node, _ALGEBRA.AND) else join, operands)

        try:
            return value(self._tree)
        except RecursionError:
            raise PropositionError("nested too deeply: write the proposition flatter") from None


def conjunctions(literals: Sequence[str], max_literals: int) -> list[Proposition]:
    """Every conjunction of 1 to `max_literals` distinct literals, each plain or negated.

    With C literals and no limit below C there are 3^C - 1 of them: 242 for the five of CelebA.
    """
    return [
        Proposition(
            " & ".join(sign + name for sign, name in zip(signs, names, strict=True)), literals
        )
        for size in range(1, min(max_literals, len(literals)) + 1)
        for names in combinations(literals, size)
        for signs in product(("", "~"), repeat=size)
    ]


def truth_table(propositions: Sequence[Proposition], labels: Tensor) -> Tensor:
    """Evaluate many propositions on many rows of labels.

    Few rows of labels are distinct, so the propositions are evaluated on these alone. The last
    tables are remembered: the labels of a split are the same after every epoch.

    Args:
        propositions: (Q,).
        labels: (N, C), nonzero where a literal is true.

    Returns:
        (N, Q), bool, on the device of the labels.

    Raises:
        PropositionError: If a proposition is nested too deeply to be evaluated.
    """
    rows = labels.bool().cpu()
    distinct = distinct_minterms(rows)
    table = _distinct_table(tuple(propositions), distinct.numpy().tobytes(), rows.shape[1])
    return table[find_minterms(rows, distinct)].to(labels.device)


@lru_cache(maxsize=TABLES)
def _distinct_table(propositions: tuple[Proposition, ...], rows: bytes, columns: int) -> Tensor:
    """The truth table (M, Q) of M rows, a byte for each of their columns."""
    labels = torch.from_numpy(np.frombuffer(rows, dtype=bool).reshape(-1, columns).copy())
    table = torch.empty(len(labels), len(propositions), dtype=torch.bool)
    for column, proposition in enumerate(propositions):
        table[:, column] = proposition.holds(labels)
    return table


def evaluate_independent(propositions: Sequence[Proposition], literals: Tensor) -> Tensor:
    """Probabilities of propositions as they are written, as if every occurrence of a literal were
    independent: p q for `&`, p + q - p q for `|`, 1 - p for `~`.

    Args:
        propositions: (Q,).
        literals: (N, C), probabilities of the literals.

    Returns:
        (N, Q).
    """
    scores = [
        proposition.evaluate(
            literal=lambda column: literals[:, column],
            constant=lambda value: literals.new_full((len(literals),), value),
            complement=lambda p: 1 - p,
            meet=torch.mul,
            join=lambda p, q: p + q - p * q,
        )
        for proposition in propositions
    ]
    return torch.stack(scores, dim=1)


@lru_cache
def _number(literals: tuple[str, ...]) -> Mapping[str, int]:
    """Columns of literals by their names, which are checked once for all propositions."""
    for name in literals:
        if not _is_name(name):
            raise PropositionError(f"{name!r} cannot name a literal: it means something else here")
    if len(set(literals)) < len(literals):
        raise PropositionError(f"literals must have different names: {', '.join(literals)}")
    return {name: column for column, name in enumerate(literals)}


def _is_name(text: str) -> bool:
    """Whether a text is read as one name, and nothing of it as something else."""
    try:
        tokens = [(kind, token) for kind, token, _ in _tokens(text)]
    except PropositionError:
        return False
    return tokens == [(TOKEN_SYMBOL, text)]


def _read(text: str, literals: Mapping[str, int]) -> list[Token]:
    """Tokens of a proposition, checked here: the parser would leave out most positions."""
    tokens: list[Token] = []
    open_parentheses: list[int] = []
    operand_expected = True
    for kind, token, position in _tokens(text):
        spelt = token if kind in CONSTANTS else token.lower()  # AND is as good as and
        if kind in SPELLINGS and spelt not in SPELLINGS[kind]:
            right = " or ".join(SPELLINGS[kind])
            message = f"{token!r} is not part of the syntax: write {right}"
            raise PropositionError(_at(text, position, message))
        is_operator = kind in (TOKEN_AND, TOKEN_OR)
        if operand_expected and (is_operator or kind == TOKEN_RPAR):
            raise PropositionError(_at(text, position, f"a literal is expected before {token!r}"))
        if not operand_expected and not is_operator and kind != TOKEN_RPAR:
            raise PropositionError(_at(text, position, f"& or | is expected before {token!r}"))
        if kind == TOKEN_RPAR:
            if not open_parentheses:
                raise PropositionError(_at(text, position, f"{token!r} closes nothing"))
            open_parentheses.pop()
        elif kind == TOKEN_LPAR:
            open_parentheses.append(position)
        elif kind == TOKEN_SYMBOL and token not in literals:
            close = get_close_matches(token, literals, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise PropositionError(
                f"unknown literal {_shorten(token)!r}{hint}; known literals: {', '.join(literals)}"
            )
        if kind not in (TOKEN_NOT, TOKEN_LPAR, TOKEN_RPAR):
            operand_expected = is_operator
        tokens.append((kind, token, position))
    if operand_expected:
        expected = "a literal is expected at the end" if tokens else "it is empty: name a literal"
        raise PropositionError(_at(text, len(text), expected))
    if open_parentheses:
        raise PropositionError(_at(text, open_parentheses[-1], "this parenthesis is never closed"))
    return tokens


def _tokens(text: str) -> Iterator[Token]:
    try:
        for kind, token, end in _ALGEBRA.tokenize(text):
            yield kind, token, end - len(token) + 1
    except boolean.ParseError as error:
        message = f"{error.token_string!r} is not part of the syntax"
        raise PropositionError(_at(text, error.position, message)) from None


def _at(text: str, position: int, problem: str) -> str:
    return f"syntax error in {_shorten(text, position)!r} at position {position}: {problem}"


def _shorten(text: str, position: int = 0) -> str:
    """Text around a position, for a message."""
    start, end = max(0, position - SHOWN), position + SHOWN
    return "..." * (start > 0) + text[start:end] + "..." * (end < len(text))
