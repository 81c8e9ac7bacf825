"""Normalisation of stored pixels for an encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Scale uint8 pixels to [0, 1], then subtract the mean and divide by the standard deviation.

    It is part of the model, so that a checkpoint holds all that an image needs.

    Args:
        mean, std: Mean and standard deviation of pixels in [0, 1], one for each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images (N, channels, height, width) to float32 ones."""
        return (images / 255 - self.mean) / self.std
