"""Wrong labels, missing labels and missing minterms, made on purpose."""

from math import floor

import torch
from torch import Tensor

from src.subspaces.minterms import distinct_minterms

UNSEEN_SEED = 0  # not that of the run, so that runs leave out the same minterms


def flip_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Give a share of images the labels of another of them, so that no minterm changes its size.

    Args:
        labels: (N, C), bool.
        share: Share of images, drawn at random; one may by chance get the labels that it had.
        seed: Seed of the draw.

    Returns:
        (N, C), bool.

    Raises:
        ValueError: If the share is not between 0 and 1.
    """
    _check_share("flipped", share)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = order[: round(share * len(labels))]
    flipped = labels.clone()
    flipped[chosen] = labels[chosen.roll(1)]
    return flipped


def draw_unknown(labels: Tensor, share: float, seed: int) -> Tensor:
    """Draw the labels that are unknown, whether they are true or false: missing at random.

    Args:
        labels: (N, C).
        share: Probability that a label is unknown, each by itself.
        seed: Seed of the draw.

    Returns:
        (N, C), bool, true where the label is unknown.

    Raises:
        ValueError: If the share is not between 0 and 1.
    """
    _check_share("masked", share)
    drawn = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    return drawn < share


def draw_unseen(labels: Tensor, share: float) -> Tensor:
    """Draw the minterms that training leaves out: a random share of those that it has.

    All runs draw the same. Minterms are taken in a random order, but for those without which a
    literal would no longer be true of any image, or no longer false of any.

    Args:
        labels: (N, C), bool, of the training split.
        share: Share of its distinct minterms.

    Returns:
        (U, C), bool.

    Raises:
        ValueError: If the share is not between 0 and 1, or so many cannot be left out.
    """
    _check_share("unseen", share)
    minterms = distinct_minterms(labels)
    number = round(share * len(minterms))
    seen = torch.ones(len(minterms), dtype=torch.bool)
    generator = torch.Generator().manual_seed(UNSEEN_SEED)
    unseen: list[int] = []
    for minterm in torch.randperm(len(minterms), generator=generator).tolist():
        if len(unseen) == number:
            break
        seen[minterm] = False
        if torch.equal(_values(minterms[seen]), _values(minterms)):
            unseen.append(minterm)
        else:
            seen[minterm] = True
    if len(unseen) < number:
        possible = floor(100 * len(unseen) / len(minterms)) / 100
        raise ValueError(
            f"loader.unseen={share} leaves out {number} of {len(minterms)} minterms, and without "
            f"more than {len(unseen)} a literal would be true, or false, of no training image: set "
            f"loader.unseen={possible} or less"
        )
    return minterms[unseen]


def _values(labels: Tensor) -> Tensor:
    """Whether each literal is true of some row of labels (N, C), and false of some: (2, C)."""
    return torch.stack([labels.any(dim=0), (~labels).any(dim=0)])


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"loader.{name} must be between 0 and 1, not {share}")
