"""The base of all encoders, and of those that encode texts, too."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from src.encoders.batch_norm import GlobalBatchNorm

SPACE = ord(" ")


class Encoder(nn.Module):
    """Maps images, or texts, to embeddings; a subclass provides `features`.

    `normalization` is the mean and standard deviation of pixels in [0, 1], per channel, that a
    pretrained encoder wants; None leaves it to the image set.

    Args:
        embedding_dim: D.
        radius: Length that every embedding is scaled to; None leaves them as they are. Subspaces
            see directions only, and with a fixed length so does the loss.
        batch_norm: Whether embeddings are normalised over the batch instead, with a learned mean
            and scale in each dimension. Their root mean square length is then `radius` at first, or
            with None sqrt(D), and each embedding keeps a length of its own.

    Raises:
        ValueError: If D or the radius is not positive.
    """

    reads: ClassVar[str] = "image"  # the `item` of the sets that it is for

    def __init__(self, embedding_dim: int, radius: float | None, batch_norm: bool) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, not {embedding_dim}")
        if radius is not None and radius <= 0:
            raise ValueError(f"radius must be positive, or null for free lengths, not {radius}")
        self.normalization: tuple[Sequence[float], Sequence[float]] | None = None
        self.embedding_dim = embedding_dim
        self.radius = radius
        self.batch_norm = GlobalBatchNorm(embedding_dim) if batch_norm else None

    @property
    def free_lengths(self) -> bool:
        """Whether embeddings may have any length, and are not all scaled to one."""
        return self.radius is None or self.batch_norm is not None

    def features(self, images: Tensor) -> Tensor:
        """Map images (N, channels, height, width), float32, to vectors (N, D) of any length."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, height, width), float32, to embeddings (N, D)."""
        # Convolutions are fastest with the channels of a pixel side by side in memory.
        features = self.features(images.contiguous(memory_format=torch.channels_last))
        if self.batch_norm is None:
            return features if self.radius is None else self.radius * normalize(features, dim=1)
        scale = 1 if self.radius is None else self.radius / self.embedding_dim**0.5
        return scale * self.batch_norm(features)


class DualEncoder(Encoder):
    """An encoder of images and of texts, whose embeddings lie in one space.

    `log_scale` is the logarithm of the inverse temperature that the two were trained with.
    """

    log_scale: float

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Map n texts to embeddings (n, D), of any length.

        Raises:
            ValueError: If a text is too long.
        """
        raise NotImplementedError

    def freeze_texts(self) -> None:
        """Leave the text tower out of training, because images alone are embedded.

        Raises:
            ValueError: If nothing else is left to train.
        """
        raise NotImplementedError

    def check_texts(self, texts: Sequence[str]) -> None:
        """Raise ValueError if a text is too long, without embedding any."""
        raise NotImplementedError


def check_channels(image_shape: Sequence[int]) -> None:
    """Raise ValueError unless normalisation for three channels can take images of this shape."""
    if image_shape[0] not in (1, 3):
        raise ValueError(
            f"pretrained encoders take grey or RGB images, not {image_shape[0]} channels"
        )


def text_bytes(images: Tensor) -> Tensor:
    """The bytes of texts (N, 1, 1, L), float, after a space, and zeros after the end of each:
    (N, L + 1), int64.
    """
    return pad(images.flatten(1).round().long(), (1, 0), value=SPACE)


def first_line(error: Exception) -> str:
    """The first line of an error of a library, without the advice that follows."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
