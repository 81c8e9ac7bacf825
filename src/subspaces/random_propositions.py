"""Seeded propositions that are harder than conjunctions: disjunctions, exclusive or, implications
and nested negation, by depth."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from src.subspaces.propositions import Proposition

CONNECTIVES = ("and", "or", "xor", "implies", "not")
NEGATED_LITERALS = 0.4  # share
TRIES = 50  # for each proposition asked for


def random_proposition(
    literals: Sequence[str], depth: int, generator: np.random.Generator
) -> Proposition:
    """Draw a proposition whose connectives are nested `depth` times.

    Literals, plain or negated, have depth 0; every connective adds 1 to that of its deepest
    operand. Exclusive or and implication are written out with `&`, `|` and `~`.

    Args:
        literals: Names of the label columns.
        depth: At least 0.
        generator: Of all choices.
    """
    return Proposition(_draw(literals, depth, generator), literals)


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
        depth: At least 1.
        number: How many; fewer are returned where few minterms allow no more.
        seed: Of all choices.
        known: Propositions that need no second saying, such as all conjunctions.
    """
    generator = np.random.default_rng([seed, depth])
    masks = {_mask(query, minterms) for query in known}
    masks |= {bytes(len(minterms)), b"\1" * len(minterms)}
    found: list[Proposition] = []
    for _ in range(TRIES * number):
        if len(found) == number:
            break
        candidate = random_proposition(literals, depth, generator)
        mask = _mask(candidate, minterms)
        if mask not in masks:
            masks.add(mask)
            found.append(candidate)
    return found


def _draw(literals: Sequence[str], depth: int, generator: np.random.Generator) -> str:
    """A literal, a negation or something in parentheses."""
    if depth == 0:
        sign = "~" if generator.random() < NEGATED_LITERALS else ""
        return sign + literals[int(generator.integers(len(literals)))]
    connective = generator.choice(CONNECTIVES)
    first = _draw(literals, depth - 1, generator)
    if connective == "not":
        return f"~{first}" if depth > 1 else f"~({first})"
    second = _draw(literals, int(generator.integers(depth)), generator)
    return {
        "and": f"({first} & {second})",
        "or": f"({first} | {second})",
        "xor": f"(({first} & ~{second}) | (~{first} & {second}))",
        "implies": f"(~{first} | {second})",
    }[connective]


def _mask(query: Proposition, minterms: Tensor) -> bytes:
    return bytes(query.holds(minterms).tolist())
