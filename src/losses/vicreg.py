"""Variance-invariance-covariance regularization (VICReg)."""

from torch import Tensor, nn
from torch.nn.functional import relu

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import (
    deviations,
    positive_pairs,
    second_moment,
    squared_distance_of_pairs,
)

VARIANCE_OFFSET = 1e-4  # as in the authors' code, under the root


def vicreg_loss(
    embeddings: Tensor, relation: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Closeness of positive pairs, spread and decorrelation of dimensions, [0] for a relation [2].

    With p, r and c as in `src.losses.relation`, and C_w the unbiased covariance of z_1..z_N under
    weights w,

        l = invariance / D sum_ij p_ij ||z_i - z_j||^2
          + variance / 2D sum_{w = r, c} sum_k max(0, 1 - sqrt(C_w,kk + 1e-4))
          + covariance / D sum_{w = r, c} sum_{k != l} C_w,kl^2

    With a relation from first to second views it is the loss that [1] computes. The first term is
    2 / D tr(Z^T L Z), with L the Laplacian of p, see `src.subspaces.spectral_embedding`.

    Args:
        embeddings: Z, (N, D).
        relation: (N, N), nonnegative.
        invariance: Weight of the distances of positive pairs.
        variance: Weight of the hinge on standard deviations.
        covariance: Weight of the squared covariances.

    Returns:
        A scalar.

    Raises:
        ValueError: If a weight is out of range, the shapes do not match, the relation has a
            negative entry or none, or pairs of a single sample only.

    Example:
        >>> value = vicreg_loss(embeddings, relation, 25.0, 25.0, 1.0)

    References:
        [0] Bardes et al., *VICReg: Variance-Invariance-Covariance Regularization for
        Self-Supervised Learning*, ICLR 2022, https://arxiv.org/abs/2105.04906
        [1] https://github.com/facebookresearch/vicreg
        [2] Balestriero and LeCun, *Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods*, NeurIPS 2022,
        https://arxiv.org/abs/2205.11508
    """
    check_positive(invariance=invariance, variance=variance, covariance=covariance)
    pairs = positive_pairs(embeddings, relation)
    vectors = in_float64(embeddings)
    loss = invariance * squared_distance_of_pairs(vectors, pairs)
    for weights in (pairs.first, pairs.second):
        matrix = _covariance(vectors, weights)
        variances = matrix.diagonal()
        hinge = relu(1 - (variances + VARIANCE_OFFSET).sqrt())
        correlation = matrix.square().sum() - variances.square().sum()
        loss = loss + variance / 2 * hinge.sum() + covariance * correlation
    return loss_value(loss / vectors.shape[1], embeddings)


def _covariance(vectors: Tensor, weights: Tensor) -> Tensor:
    """Unbiased covariance, (D, D): 1 / (1 - sum of squared weights) stands for N / (N - 1)."""
    if (weights > 0).sum() < 2:
        raise ValueError("a covariance takes two samples, of each view; use larger batches")
    biased = second_moment(deviations(vectors, weights), weights)
    return biased / (1 - weights.square().sum())


class VICRegLoss(nn.Module):
    """`vicreg_loss` with its three weights.

    Args:
        invariance: Weight of the distances of positive pairs.
        variance: Weight of the hinge on standard deviations.
        covariance: Weight of the squared covariances.

    Raises:
        ValueError: If a weight is not above 0.

    Example:
        >>> loss = VICRegLoss(invariance=25.0, variance=25.0, covariance=1.0)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, invariance: float, variance: float, covariance: float) -> None:
        super().__init__()
        check_positive(invariance=invariance, variance=variance, covariance=covariance)
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return vicreg_loss(embeddings, relation, self.invariance, self.variance, self.covariance)

    def extra_repr(self) -> str:
        weights = ("invariance", "variance", "covariance")
        return ", ".join(f"{name}={getattr(self, name)}" for name in weights)
