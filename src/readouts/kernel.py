"""Minterms in the feature space of a Gaussian kernel.

For embeddings of positions x and norms n, as `src.losses.nuclear_kernel` takes them, the unit
features of two images have the product exp(-||x - x'||^2). Where the images of a minterm m agree in
their position, as at the minimum of the loss, its direction is the unit feature of their mean c_m:

    (u_m . phi)^2 / ||phi||^2 = exp(-2 ||x - c_m||^2)
"""

import torch
from torch import Tensor
from torch import distributed as dist

from src.losses.nuclear_kernel import NuclearKernelLoss, squared_distances
from src.readouts.minterms import MintermReadout
from src.readouts.moments import check_sums


class KernelReadout(MintermReadout):
    """p(m | x) proportional to exp(-2 ||x - c_m||^2), with the mean position c_m of a minterm.

    Args:
        minterms: (M, C), the distinct label rows of the training set.
        embedding_dim: D + 1, positions and norms.
    """

    name = "kernel"
    trained_by = (NuclearKernelLoss,)

    centers: Tensor  # (M, D)
    counts: Tensor  # (M,), training images of each minterm
    _sums: Tensor  # (M, D), accumulated so far
    _counts: Tensor  # (M,)

    def __init__(self, minterms: Tensor, embedding_dim: int) -> None:
        super().__init__(minterms)
        centers = torch.zeros(len(minterms), embedding_dim - 1, dtype=torch.float64)
        self.register_buffer("centers", centers)
        self.register_buffer("counts", torch.zeros(len(minterms), dtype=torch.int64))
        self.register_buffer("_sums", torch.zeros_like(centers), persistent=False)
        self.register_buffer("_counts", torch.zeros_like(self.counts), persistent=False)

    def reset(self) -> None:
        """Forget what was accumulated. The fitted centers stay."""
        self._sums.zero_()
        self._counts.zero_()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D + 1) with labels (N, C).

        Raises:
            ValueError: If a label row is none of the minterms.
        """
        index = self.find(labels)
        self._sums.index_add_(0, index, embeddings[:, :-1].double())
        self._counts += torch.bincount(index, minlength=len(self.minterms))

    @torch.no_grad()
    def fit(self) -> None:
        """Set every center to the mean position of its minterm, over all processes, and reset.

        Raises:
            NonFiniteEmbeddingsError: If positions of any process held NaN or infinity.
        """
        if dist.is_initialized():
            dist.all_reduce(self._sums)
            dist.all_reduce(self._counts)
        check_sums(self._sums)
        self.centers.copy_(self._sums / self._counts.clamp(min=1).unsqueeze(1))
        self.counts.copy_(self._counts)
        self.reset()

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """-2 ||x - c_m||^2 for embeddings (N, D + 1): (N, M), -infinity without images of m.

        Raises:
            RuntimeError: If nothing was fitted.
        """
        self.check_fitted(self.counts)
        logits = -2 * squared_distances(embeddings[:, :-1].double(), self.centers)
        return logits.masked_fill(self.counts == 0, float("-inf"))
