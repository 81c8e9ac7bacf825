"""Embeddings of a whole split, gathered from all batches and processes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class CollectedEmbeddings(NamedTuple):
    """Every image of a split, in the order of the split."""

    embeddings: Tensor  # (N, D)
    labels: Tensor  # (N, C), bool
    indices: Tensor  # (N,), int64, positions in the split


class EmbeddingCollector(Metric):
    """Collects embeddings with their labels; the order does not depend on the processes."""

    embeddings: list[Tensor]
    labels: list[Tensor]
    indices: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in CollectedEmbeddings._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> None:
        """Add a batch: embeddings (N, D), labels (N, C) and positions in the split (N,)."""
        self.embeddings.append(embeddings.detach())
        self.labels.append(labels)
        self.indices.append(indices)

    def collect(self) -> CollectedEmbeddings:
        """Return all that was collected, by all processes, ordered by position."""
        # torchmetrics takes the dimensions from what `compute` returns of a single image
        embeddings, labels, indices = self.compute()
        number = indices.numel()
        return CollectedEmbeddings(
            embeddings.reshape(number, -1), labels.reshape(number, -1), indices.reshape(number)
        )

    def compute(self) -> CollectedEmbeddings:
        """Return what `collect` does, but of a single image without dimensions of size one."""
        indices = dim_zero_cat(self.indices)
        order = torch.argsort(indices)
        embeddings, labels = dim_zero_cat(self.embeddings), dim_zero_cat(self.labels)
        return CollectedEmbeddings(embeddings[order], labels[order], indices[order])
