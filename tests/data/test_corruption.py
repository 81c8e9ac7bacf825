from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from src.data.corruption import flip_labels, mask_labels

LABELS = torch.eye(4)[torch.arange(4000) % 4].bool()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_flipped_labels_are_those_of_another_image(share: float) -> None:
    flipped = flip_labels(LABELS, share, seed=0)
    assert torch.equal(flipped.sum(dim=0), LABELS.sum(dim=0))
    changed = (flipped != LABELS).any(dim=1).double().mean()
    assert changed == pytest.approx(0.75 * share, abs=0.02)  # a quarter gets its own class again


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_masked_literals_read_as_false_and_no_other_changes(share: float) -> None:
    masked = mask_labels(LABELS, share, seed=0)
    assert not (masked & ~LABELS).any()
    assert 1 - masked.sum() / LABELS.sum() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("change", [flip_labels, mask_labels])
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
        mask_labels(LABELS, -0.1, seed=0)
