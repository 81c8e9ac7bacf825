"""Sets of texts, which go the way of images: a text is an image of one row, its pixels bytes."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from src.data.images import ImageSet, LabelledImages

SHORTEST = 8  # bytes, which no n-gram of an encoder is longer than


class LabelledTexts(LabelledImages):
    """A split of texts with their labels, or some of a larger collection.

    Args:
        texts: What an encoder reads, (N,).
        shown: What a person sees of each, (N,), on one line.
        labels: (N, C), nonzero where a literal is true.
        length: Bytes that are kept of a text.
        positions: (n,), positions of the texts that make up the split; all by default.

    Raises:
        ValueError: If there are not as many texts as labels.
    """

    def __init__(
        self,
        texts: Sequence[str],
        shown: Sequence[str],
        labels: Tensor,
        length: int,
        positions: Tensor | None = None,
    ) -> None:
        super().__init__(encode_texts(texts, length), labels, positions)
        self._shown = shown

    @property
    def names(self) -> list[str]:
        return [self._shown[position] for position in self._positions.tolist()]

    def show(self, positions: Tensor) -> list[str]:
        return [self._shown[position] for position in self._positions[positions].tolist()]

    def to(self, device: torch.device) -> LabelledImages:
        moved = super().to(device)
        assert isinstance(moved, LabelledTexts)
        moved._shown = self.names  # its positions are counted anew
        return moved


class TextSet(ImageSet):
    """Base of all sets of texts: a subclass names its literals and loads its splits.

    Args:
        length: Bytes that are kept of a text.

    Raises:
        ValueError: If they are fewer than eight.
    """

    item: ClassVar[str] = "text"
    mean = (0.0,)  # bytes stay whole numbers
    std = (1 / 255,)

    def __init__(self, length: int) -> None:
        if length < SHORTEST:
            raise ValueError(f"length must be at least {SHORTEST} bytes, not {length}")
        self.length = length
        self.image_shape = (1, 1, length)


def encode_texts(texts: Sequence[str], length: int) -> Tensor:
    """Write the first bytes of each text in UTF-8, and zeros after its end: (N, 1, 1, length),
    uint8.
    """
    rows = np.zeros((len(texts), length), dtype=np.uint8)
    for row, text in zip(rows, texts, strict=True):
        read = np.frombuffer(text.encode()[:length], dtype=np.uint8)
        row[: len(read)] = read
    return torch.from_numpy(rows).view(len(texts), 1, 1, length)
