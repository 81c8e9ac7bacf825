"""Captions of labels and prompts of propositions, in English, by rule.

A literal is said by its name: `Wearing_Hat` is "wearing hat".
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.subspaces.propositions import Proposition

FRAMES = (
    "a picture of something that is {}",
    "an image of what is {}",
    "something {} in a picture",
    "{}",
)


def phrase(literal: str) -> str:
    """The words of a literal."""
    return literal.replace("_", " ").lower()


def prompt(
    proposition: Proposition,
    literals: Sequence[str],
    negation: bool = True,
    frame: str = FRAMES[0],
) -> str:
    """Say a proposition: "a picture of something that is even and not prime".

    Operands that are propositions themselves are introduced by "both" or "either", and a negated
    one by "not the case that", so that a reader can tell what belongs together.

    Args:
        proposition: The proposition to be said.
        literals: Names of the label columns.
        negation: Whether to say "not". The authors leave it out, so that the opposite is asked.
        frame: The sentence around it, with {} for what is said.
    """

    def deny(said: str) -> str:
        if not negation:
            return said
        return f"not {said}" if _is_short(said) else f"not the case that {said}"

    said = proposition.evaluate(
        literal=lambda column: phrase(literals[column]),
        constant=_say_constant,
        complement=deny,
        meet=_say_both,
        join=_say_either,
    )
    return frame.format(said)


class Parts(NamedTuple):
    """What a proposition affirms and what it denies, in words without negation; None for nothing.

    "male" and "bald or wearing hat", of Male & ~Bald & ~Wearing_Hat.
    """

    affirmed: str | None
    denied: str | None


def split_negation(proposition: Proposition, literals: Sequence[str]) -> Parts | None:
    """Say a proposition as one that is affirmed and not another, neither with a negation in it.

    Returns:
        None for a proposition that is no such conjunction, such as `a | ~b` or `~(a & ~b)`.
    """

    def complement(parts: Parts | None) -> Parts | None:
        if parts is None or (parts.affirmed and parts.denied):
            return None
        return Parts(affirmed=parts.denied, denied=parts.affirmed)

    def meet(first: Parts | None, second: Parts | None) -> Parts | None:
        if first is None or second is None:
            return None
        return Parts(
            _combine(_say_both, first.affirmed, second.affirmed),
            _combine(_say_either, first.denied, second.denied),
        )

    def join(first: Parts | None, second: Parts | None) -> Parts | None:
        return complement(meet(complement(first), complement(second)))

    return proposition.evaluate(
        literal=lambda column: Parts(phrase(literals[column]), None),
        constant=lambda value: Parts(_say_constant(value), None),
        complement=complement,
        meet=meet,
        join=join,
    )


def captions(
    labels: Tensor, literals: Sequence[str], absent: float, indices: Tensor | None = None
) -> list[str]:
    """Describe images as people do: by what is there, in any order, seldom by what is not, and in
    a frame that is drawn for each.

    Args:
        labels: (N, C), nonzero where a literal is true.
        literals: Names of the label columns.
        absent: Chance that a literal that is false is mentioned, as "not ...".
        indices: (N,), positions of the images in their split, each of which decides alone on what
            is drawn. None to draw from PyTorch's global generator.

    Returns:
        (N,).
    """
    truth = labels.bool().cpu()
    if indices is None:
        chances, places, frames = _draw(*truth.shape)
    else:
        generator = torch.Generator()
        drawn = [
            _draw(1, truth.shape[1], generator.manual_seed(index)) for index in indices.tolist()
        ]
        chances, places, frames = (torch.cat(rows) for rows in zip(*drawn, strict=True))
    mentioned, orders = truth | (chances < absent), places.argsort(dim=1)
    texts = []
    rows = zip(*(part.tolist() for part in (truth, mentioned, orders, frames)), strict=True)
    for row, said, order, frame in rows:
        words = [
            phrase(literals[column]) if row[column] else f"not {phrase(literals[column])}"
            for column in order
            if said[column]
        ]
        texts.append(_caption(words, FRAMES[frame]))
    return texts


def minterm_captions(minterms: Tensor, literals: Sequence[str]) -> list[str]:
    """Describe minterms (M, C) by what is there, in the order of the literals: (M,)."""
    return [
        _caption(
            [phrase(name) for name, value in zip(literals, row, strict=True) if value], FRAMES[0]
        )
        for row in minterms.tolist()
    ]


def vocabulary(literals: Sequence[str]) -> list[str]:
    """All words that captions and prompts over these literals are made of, in a fixed order."""
    logic = "not and or both either the case that anything nothing"
    words = [*" ".join(FRAMES).replace("{}", "").split(), *logic.split()]
    words += [word for literal in literals for word in phrase(literal).split()]
    return list(dict.fromkeys(words))


def _draw(
    number: int, num_literals: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What captions depend on: of literals, (N, C), a chance and a place each, and frames, (N,)."""
    shape = (number, num_literals)
    chances, places = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)
    return chances, places, torch.randint(len(FRAMES), (number,), generator=generator)


def _caption(words: Sequence[str], frame: str) -> str:
    return frame.format(" and ".join(words) or "anything")


def _say_constant(value: bool) -> str:
    return "anything" if value else "nothing"


def _say_both(first: str, second: str) -> str:
    return _say("both", "and", first, second)


def _say_either(first: str, second: str) -> str:
    return _say("either", "or", first, second)


def _say(introduction: str, word: str, first: str, second: str) -> str:
    said = f"{first} {word} {second}"
    return said if _is_short(first) and _is_short(second) else f"{introduction} {said}"


def _combine(say: Callable[[str, str], str], first: str | None, second: str | None) -> str | None:
    """Both in words, or the one that there is."""
    return say(first, second) if first and second else first or second


def _is_short(said: str) -> bool:
    return not {"and", "or"} & set(said.split())
