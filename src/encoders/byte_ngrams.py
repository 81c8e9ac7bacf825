"""Texts as bags of the short runs of bytes in them."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from src.encoders.encoder import SPACE, Encoder, text_bytes

MULTIPLIER = 0x5851F42D4C957F2D  # of Knuth's generator of 64 bits: mixes low bits into high ones
HIGH_BITS = 33


class ByteNgrams(Encoder):
    """The mean of learned vectors of all n-grams of bytes, as in fastText [0], and a linear layer.

    N-grams are hashed into a table, where some share a row. The text has a space before and behind,
    so that the beginning and the end of a word are seen wherever it stands.

    Args:
        lengths: Bytes of an n-gram, one to seven, such as 3, 4 and 5.
        buckets: Rows of the table.
        width: Dimensions of the vectors in it.
        dropout: Share of their means' components that training leaves out.
        embedding_dim, radius, batch_norm: As in `Encoder`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        [0] Bojanowski, Grave, Joulin, Mikolov, *Enriching Word Vectors with Subword Information*,
        TACL 2017, https://arxiv.org/abs/1607.04606
    """

    reads: ClassVar[str] = "text"

    def __init__(
        self,
        lengths: list[int],
        buckets: int,
        width: int,
        dropout: float,
        embedding_dim: int,
        radius: float | None,
        batch_norm: bool,
    ) -> None:
        super().__init__(embedding_dim, radius, batch_norm)
        if not lengths or not all(1 <= length <= 7 for length in lengths):
            raise ValueError(f"lengths of n-grams are from 1 to 7 bytes, not {lengths}")
        if buckets < 1 or width < 1:
            raise ValueError(f"buckets and width must be at least 1, not {buckets} and {width}")
        self.lengths = tuple(lengths)
        self.buckets = buckets
        # The last row is that of no n-gram
        self.table = nn.EmbeddingBag(buckets + 1, width, mode="mean", padding_idx=buckets)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, embedding_dim))

    def features(self, images: Tensor) -> Tensor:
        return self.layers(self.table(self.rows(text_bytes(images))))

    def rows(self, codes: Tensor) -> Tensor:
        """Find the rows of the table for the n-grams of texts.

        Args:
            codes: (N, L + 1), int64, as `text_bytes` gives them.

        Returns:
            (N, G), int64: as many as n-grams of so many bytes could hold; the last row of the table
            stands for those that the text is too short for.
        """
        ends = (codes != 0).sum(dim=1, keepdim=True)
        codes = pad(codes, (0, 1)).scatter(1, ends, SPACE)
        found = []
        for length in self.lengths:
            windows = codes.unfold(1, length, 1)  # (N, L + 3 - n, n), for n the length
            powers = 256 ** torch.arange(length, device=codes.device)
            numbers = (windows * powers).sum(dim=2)  # other ones for other bytes, as none is 0
            hashed = ((numbers * MULTIPLIER) >> HIGH_BITS) % self.buckets
            found.append(hashed.where((windows != 0).all(dim=2), self.buckets))
        return torch.cat(found, dim=1)
