"""A convolutional encoder of texts, over their bytes."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from src.encoders.encoder import Encoder, text_bytes


class ByteConvNet(Encoder):
    """A learned vector for each byte, two convolutions over them, the maximum over places, and a
    linear layer.

    Args:
        width: Channels of the convolutions.
        kernel: Bytes that a convolution sees at a time, an odd number.
        dropout: Share of the maxima that training leaves out.
        embedding_dim, radius, batch_norm: As in `Encoder`.

    Raises:
        ValueError: If an argument is out of range.
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        width: int,
        kernel: int,
        dropout: float,
        embedding_dim: int,
        radius: float | None,
        batch_norm: bool,
    ) -> None:
        super().__init__(embedding_dim, radius, batch_norm)
        if width < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"width must be at least 1 and kernel an odd number, not {width} and {kernel}"
            )
        self.vectors = nn.Embedding(256, width, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding="same") for _ in range(2)
        )
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, embedding_dim))

    def features(self, images: Tensor) -> Tensor:
        codes = text_bytes(images)
        within = (codes != 0).unsqueeze(1)
        maps = self.vectors(codes).transpose(1, 2)  # (N, width, L + 1)
        for convolution in self.convolutions:
            maps = leaky_relu(convolution(maps)) * within
        return self.layers(maps.where(within, -torch.inf).amax(dim=2))
