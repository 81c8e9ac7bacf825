"""Wrong and missing labels, made on purpose."""

import torch
from torch import Tensor


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


def mask_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Forget a share of the true literals of images: a literal that is missing reads as false.

    Args:
        labels: (N, C), bool.
        share: Probability that a true literal is forgotten, each by itself.
        seed: Seed of the draw.

    Returns:
        (N, C), bool.

    Raises:
        ValueError: If the share is not between 0 and 1.
    """
    _check_share("masked", share)
    drawn = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed))
    return labels & (drawn >= share)


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"loader.{name} must be between 0 and 1, not {share}")
