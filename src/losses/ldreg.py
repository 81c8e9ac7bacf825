"""LDReg: SimCLR, and a high local dimensionality around every embedding."""

import torch
from torch import Tensor, nn

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.simclr import simclr_loss

CLOSEST_SHARE = 1e-6  # of a mean distance in the largest, from 0 and 1, where dimensions end


def ldreg_loss(
    embeddings: Tensor, relation: Tensor, temperature: float, weight: float, neighbors: int
) -> Tensor:
    """SimCLR with local dimensionality regularisation, (1) of [0].

        l = simclr - weight mean_i log LID_i

    with LID_i the local intrinsic dimensionality of the batch at embedding i, see
    `log_local_dimensions`: the second term is the log of their geometric mean. The neighbours of an
    embedding are held fixed, as in [1], so that each moves away from where its own are.

    Both terms see the same embeddings. In [1] the second term sees the features of the encoder, and
    SimCLR their projections by a head. There the second term is -weight mean_i |log LID_i|, another
    where a dimension is below 1, which it lowers further; it sets in after 10 epochs; and k is at
    most N - 2, here N - 1.

    Args:
        embeddings: (N, D).
        relation: G, (N, N), nonnegative: row i holds the positives of sample i, itself excluded.
        temperature: Of `simclr_loss`.
        weight: beta of [0].
        neighbors: k of [0], at least 2.

    Returns:
        A scalar.

    Raises:
        ValueError: If a parameter is out of range, the shapes do not match, there are fewer than
            three samples, or the relation has a negative entry, one on its diagonal, or none.

    Example:
        >>> value = ldreg_loss(embeddings, relation, temperature=0.5, weight=0.01, neighbors=20)

    References:
        [0] Huang et al., *LDReg: Local Dimensionality Regularized Self-Supervised Learning*, ICLR
        2024, https://arxiv.org/abs/2401.10474
        [1] https://github.com/HanxunH/LDReg
    """
    check_positive(weight=weight)
    contrast = simclr_loss(embeddings, relation, temperature)
    dimensions = log_local_dimensions(in_float64(embeddings), neighbors)
    return loss_value(contrast - weight * dimensions.mean(), embeddings)


def log_local_dimensions(vectors: Tensor, neighbors: int) -> Tensor:
    """Log of the local intrinsic dimensionality at each vector, by the method of moments.

    With w the distance to the k-th nearest neighbour and m the mean distance to those before it,

        LID = m / (w - m)

    which is d where distances have the distribution (r / w)^d, as in a ball of d dimensions. Where
    fewer than k others are there, k is their number. The estimate has no unit of length. It ends at
    a share m / w of 1e-6 and of 1 - 1e-6, and is 1 where all k are the vector itself; gradients are
    0 there.

    Args:
        vectors: (N, D), in float64, N at least 3.
        neighbors: k, at least 2.

    Returns:
        (N,), differentiable in each vector with its neighbours held fixed.

    Raises:
        ValueError: If there are fewer than three vectors, or fewer than two neighbours.
    """
    _check_neighbors(neighbors)
    if len(vectors) < 3:
        raise ValueError(
            f"a local dimension takes three samples, not {len(vectors)}; use larger batches"
        )
    distances = torch.cdist(vectors, vectors.detach(), compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    others = distances.masked_fill(itself, torch.inf)
    nearest = others.topk(min(neighbors, len(vectors) - 1), largest=False).values
    largest = nearest[:, -1]
    apart = largest > 0
    share = nearest[:, :-1].mean(dim=1) / largest.where(apart, 1)
    return torch.logit(share.where(apart, 0.5), eps=CLOSEST_SHARE)  # log of m / (w - m)


def _check_neighbors(neighbors: int) -> None:
    if neighbors < 2:
        raise ValueError(f"neighbors must be at least 2, not {neighbors!r}")


class LDRegLoss(nn.Module):
    """`ldreg_loss` with its parameters.

    Args:
        temperature: Of `simclr_loss`.
        weight: Weight of the mean log of local dimensions.
        neighbors: How many nearest neighbours tell a dimension.

    Raises:
        ValueError: If temperature or weight is not above 0, or neighbors below 2.

    Example:
        >>> loss = LDRegLoss(temperature=0.5, weight=0.01, neighbors=20)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, temperature: float, weight: float, neighbors: int) -> None:
        super().__init__()
        check_positive(temperature=temperature, weight=weight)
        _check_neighbors(neighbors)
        self.temperature = temperature
        self.weight = weight
        self.neighbors = neighbors

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return ldreg_loss(embeddings, relation, self.temperature, self.weight, self.neighbors)

    def extra_repr(self) -> str:
        parameters = ("temperature", "weight", "neighbors")
        return ", ".join(f"{name}={getattr(self, name)}" for name in parameters)
