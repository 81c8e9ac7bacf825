"""Seeded propositions: some conjunctions of many, and what is harder: disjunctions, exclusive or,
implications and nested negation, by depth."""

from collections.abc import Iterable, Sequence
from math import comb
from operator import and_, or_
from typing import NamedTuple

import numpy as np
from torch import Tensor

from src.subspaces.propositions import Proposition

CONNECTIVES = ("and", "or", "xor", "implies", "not")
NEGATED_LITERALS = 0.4  # share of literals
TRIES = 50  # for each proposition asked for


class _Drawn(NamedTuple):
    """A proposition that is drawn, but not parsed: of many, few are kept."""

    text: str
    mask: int  # bit i: whether it is true of minterm i


def sample_conjunctions(
    literals: Sequence[str], sizes: Iterable[int], number: int, seed: int
) -> list[Proposition]:
    """Draw distinct conjunctions of each size, positive and with a negation, `number` of either or
    all that there are.

    Args:
        literals: Names of the label columns, (C,).
        sizes: Numbers of literals, from 1 to C.
        number: How many of each size and kind.
        seed: Seed of all choices.
    """
    texts: list[str] = []
    for size in sizes:
        generator = np.random.default_rng([seed, size])
        ways = comb(len(literals), size)
        for signs, there_are in ((1, ways), (2, ways * (2**size - 1))):
            drawn: dict[str, None] = {}
            while len(drawn) < min(number, there_are):
                columns = sorted(generator.choice(len(literals), size, replace=False).tolist())
                negated = generator.integers(signs, size=size).astype(bool)
                if signs == 1 or negated.any():
                    parts = zip(columns, negated, strict=True)
                    words = ["~" * bool(sign) + literals[column] for column, sign in parts]
                    drawn[" & ".join(words)] = None
            texts += drawn
    return [Proposition(text, literals) for text in texts]


def random_proposition(
    literals: Sequence[str], depth: int, generator: np.random.Generator
) -> Proposition:
    """Draw a proposition whose connectives are nested `depth` times.

    Literals, plain or negated, have depth 0; every connective adds 1 to that of its deepest
    operand. Exclusive or and implication are written out with `&`, `|` and `~`.

    Args:
        literals: Names of the label columns.
        depth: Nesting of connectives, at least 0.
        generator: Generator of all choices.
    """
    drawn = _draw([_Drawn(name, 0) for name in literals], 0, depth, generator)
    return Proposition(drawn.text, literals)


def harder_propositions(
    literals: Sequence[str],
    minterms: Tensor,
    depth: int,
    number: int,
    seed: int,
    known: Sequence[Proposition],
) -> list[Proposition]:
    """Random propositions of a depth that say something new about these minterms.

    Each is true of some minterms and false of others, and no two of them, nor any known
    proposition, are true of the same ones.

    Args:
        literals: Names of the label columns.
        minterms: (M, C), bool.
        depth: Nesting of connectives, at least 1.
        number: How many to draw; fewer are returned where few minterms allow no more.
        seed: Seed of all choices.
        known: Propositions that are not to be said again, such as all conjunctions.
    """
    generator = np.random.default_rng([seed, depth])
    everything = (1 << len(minterms)) - 1
    columns = [_as_bits(column) for column in minterms.T]
    masks = {0, everything} | {_mask(proposition, columns, everything) for proposition in known}
    names = [_Drawn(name, mask) for name, mask in zip(literals, columns, strict=True)]
    found: list[Proposition] = []
    for _ in range(TRIES * number):
        if len(found) == number:
            break
        candidate = _draw(names, everything, depth, generator)
        if candidate.mask not in masks:
            masks.add(candidate.mask)
            found.append(Proposition(candidate.text, literals))
    return found


def _draw(
    literals: Sequence[_Drawn], everything: int, depth: int, generator: np.random.Generator
) -> _Drawn:
    """A literal, a negation or something in parentheses; `everything` is the mask of `true`."""
    if depth == 0:
        negated = generator.random() < NEGATED_LITERALS
        text, mask = literals[int(generator.integers(len(literals)))]
        return _Drawn("~" + text, everything ^ mask) if negated else _Drawn(text, mask)
    connective = CONNECTIVES[int(generator.integers(len(CONNECTIVES)))]
    first, p = _draw(literals, everything, depth - 1, generator)
    if connective == "not":
        return _Drawn(f"~{first}" if depth > 1 else f"~({first})", everything ^ p)
    second, q = _draw(literals, everything, int(generator.integers(depth)), generator)
    if connective == "and":
        return _Drawn(f"({first} & {second})", p & q)
    if connective == "or":
        return _Drawn(f"({first} | {second})", p | q)
    if connective == "xor":
        return _Drawn(f"(({first} & ~{second}) | (~{first} & {second}))", p ^ q)
    return _Drawn(f"(~{first} | {second})", (everything ^ p) | q)


def _as_bits(column: Tensor) -> int:
    """A column of minterms, (M,), as the bits of a number, the first minterm lowest."""
    packed = np.packbits(column.bool().cpu().numpy(), bitorder="little")
    return int.from_bytes(packed.tobytes(), "little")


def _mask(proposition: Proposition, columns: Sequence[int], everything: int) -> int:
    return proposition.evaluate(
        literal=columns.__getitem__,
        constant=lambda value: everything if value else 0,
        complement=lambda mask: everything ^ mask,
        meet=and_,
        join=or_,
    )
