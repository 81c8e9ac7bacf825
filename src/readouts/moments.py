"""Second moments of embeddings and of what says their means, and the covariance that is left."""

import torch
from torch import Tensor, nn
from torch import distributed as dist

from src.losses.batch import NonFiniteEmbeddingsError


class Moments(nn.Module):
    """Sums over training images of products of regressors a and embeddings x, exact over batches
    and processes, and no part of a checkpoint:

        S_aa = sum a a^T,    S_ax = sum a x^T,    S_xx = sum x x^T

    Args:
        num_regressors: K.
        embedding_dim: D.
    """

    _sums: Tensor  # (K + D, K + D)

    def __init__(self, num_regressors: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_regressors = num_regressors
        size = num_regressors + embedding_dim
        self.register_buffer("_sums", torch.zeros(size, size).double(), persistent=False)

    def reset(self) -> None:
        """Forget what was accumulated."""
        self._sums.zero_()

    def update(self, regressors: Tensor, embeddings: Tensor) -> None:
        """Add a batch of regressors (N, K) and embeddings (N, D)."""
        stacked = torch.cat([regressors.double(), embeddings.double()], dim=1)
        self._sums += stacked.T @ stacked

    def reduce(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sum over all processes: S_aa (K, K), S_ax (K, D) and S_xx (D, D).

        Raises:
            NonFiniteEmbeddingsError: If embeddings of any process held NaN or infinity.
        """
        if dist.is_initialized():
            dist.all_reduce(self._sums)
        check_sums(self._sums)
        start = self.num_regressors
        regressors, embeddings = self._sums[:start], self._sums[start:]
        return regressors[:, :start], regressors[:, start:], embeddings[:, start:]


def check_sums(sums: Tensor) -> None:
    """Raise NonFiniteEmbeddingsError unless sums over embeddings are finite. All processes do, as
    sums over them are NaN to all.
    """
    if not torch.isfinite(sums).all():
        raise NonFiniteEmbeddingsError("embeddings to fit a readout on are NaN or infinite")


def with_constant(labels: Tensor) -> Tensor:
    """Regressors [1; literals] of labels (N, C): (N, 1 + C)."""
    values = labels.double()
    return torch.cat([values.new_ones(len(values), 1), values], dim=1)


def check_shrinkage(shrinkage: float | None) -> None:
    """Raise ValueError unless a shrinkage is between 0 and 1, or None."""
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must be between 0 and 1, or null, not {shrinkage}")
