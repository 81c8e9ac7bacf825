import re
from collections.abc import Callable, Iterable
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.data.corruption import draw_unknown, draw_unseen, flip_labels

ASSIGNMENTS = list(product((False, True), repeat=3))
Minterm = tuple[bool, ...]
LABELS = torch.eye(4)[torch.arange(4000) % 4].bool()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_flipped_labels_are_those_of_another_image(share: float) -> None:
    flipped = flip_labels(LABELS, share, seed=0)
    assert torch.equal(flipped.sum(dim=0), LABELS.sum(dim=0))
    changed = (flipped != LABELS).any(dim=1).double().mean()
    assert changed == pytest.approx(0.75 * share, abs=0.02)  # a quarter gets its own class again


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_unknown_labels_are_a_share_whatever_they_are(share: float) -> None:
    unknown = draw_unknown(LABELS, share, seed=0)
    for value in (True, False):
        assert unknown[value == LABELS].double().mean() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("change", [flip_labels, draw_unknown])
def test_draws_are_seeded_and_labels_stay_as_they_were(
    change: Callable[[Tensor, float, int], Tensor],
) -> None:
    before = LABELS.clone()
    first, again, other = (change(LABELS, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(LABELS, before)


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loader.flipped must be between 0 and 1, not 1.5"):
        flip_labels(LABELS, 1.5, seed=0)
    with pytest.raises(ValueError, match=r"loader.masked must be between 0 and 1, not -0.1"):
        draw_unknown(LABELS, -0.1, seed=0)
    with pytest.raises(ValueError, match=r"loader.unseen must be between 0 and 1, not 3"):
        draw_unseen(LABELS, 3)


def drawn(minterms: Iterable[Minterm], share: float) -> set[Minterm]:
    rows = draw_unseen(torch.tensor([row for row in minterms for _ in range(2)]), share)
    found = {tuple(row) for row in rows.tolist()}
    assert len(found) == len(rows)
    return found


def values(minterms: Iterable[Minterm]) -> set[tuple[int, bool]]:
    """The literals, by column, with what they are of some minterm."""
    return {(column, value) for row in minterms for column, value in enumerate(row)}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.permutations(ASSIGNMENTS), st.integers(1, 8), st.floats(0, 1))
def test_unseen_minterms_are_a_share_of_which_no_literal_is_lost(
    order: list[Minterm], size: int, share: float
) -> None:
    rows = order[:size]
    minterms = set(rows)
    number = round(share * size)
    refusal = ""
    try:
        unseen = drawn(rows, share)
    except ValueError as error:
        refusal = str(error)
        possible = float(re.findall(r"set loader.unseen=(\S+) or less", refusal)[0])
        unseen = drawn(rows, possible)
    if refusal:
        assert f" {number} of {size} minterms" in refusal
        assert f"more than {len(unseen)} a literal" in refusal
        assert len(unseen) < number
        # Without any other of them, a literal would be lost.
        for other in minterms - unseen:
            assert values(minterms - unseen - {other}) < values(minterms)
    else:
        assert len(unseen) == number
    assert unseen <= minterms
    assert values(minterms - unseen) == values(minterms)
    assert unseen == drawn(sorted(minterms), len(unseen) / size)


def test_unseen_minterms_are_drawn_from_all_and_more_of_them_hold_the_fewer() -> None:
    minterms = list(product((False, True), repeat=5))
    draws = [drawn(minterms, number / 32) for number in range(28)]
    assert [len(draw) for draw in draws] == list(range(28))
    assert all(fewer < more for fewer, more in pairwise(draws))
    places = [minterms.index(row) for row in draws[11]]
    assert min(places) < 11
    assert max(places) > 20


def test_of_one_class_per_image_no_minterm_can_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"leaves out 1 of 4 .* set loader.unseen=0.0 or less"):
        draw_unseen(LABELS, 0.25)
