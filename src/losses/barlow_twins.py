"""Barlow Twins: the cross-correlation of positive pairs towards the identity."""

from torch import Tensor, nn

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import deviations, positive_pairs

VARIANCE_OFFSET = 1e-5  # as in the authors' batch normalization


def barlow_twins_loss(embeddings: Tensor, relation: Tensor, redundancy: float) -> Tensor:
    """Invariance and redundancy reduction, [0] for a relation as in [2].

    With p, r and c as in `src.losses.relation`, a the embeddings normalised to mean 0 and variance
    1 under r, b those under c, and C = sum_ij p_ij a_i b_j^T,

        l = sum_k (1 - C_kk)^2 + redundancy sum_{k != l} C_kl^2

    With a relation from first to second views it is the loss of [0]; a symmetric one averages C
    over both orders of the views.

    Args:
        embeddings: (N, D).
        relation: (N, N), nonnegative.
        redundancy: Weight of correlations between dimensions.

    Returns:
        A scalar.

    Raises:
        ValueError: If redundancy is out of range, the shapes do not match, or the relation has a
            negative entry or none.

    Example:
        >>> value = barlow_twins_loss(embeddings, relation, redundancy=0.005)

    References:
        [0] Zbontar et al., *Barlow Twins: Self-Supervised Learning via Redundancy Reduction*, ICML
        2021, https://arxiv.org/abs/2103.03230
        [1] https://github.com/facebookresearch/barlowtwins
        [2] Balestriero and LeCun, *Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods*, NeurIPS 2022,
        https://arxiv.org/abs/2205.11508
    """
    check_positive(redundancy=redundancy)
    joint, first, second = positive_pairs(embeddings, relation)
    vectors = in_float64(embeddings)
    correlation = _standardize(vectors, first).T @ joint @ _standardize(vectors, second)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    loss = (1 - diagonal).square().sum() + redundancy * off_diagonal
    return loss_value(loss, embeddings)


def _standardize(vectors: Tensor, weights: Tensor) -> Tensor:
    centered = deviations(vectors, weights)
    return centered * (weights @ centered.square() + VARIANCE_OFFSET).rsqrt()


class BarlowTwinsLoss(nn.Module):
    """`barlow_twins_loss` with its weight.

    Args:
        redundancy: Weight of correlations between dimensions.

    Raises:
        ValueError: If redundancy is not above 0.

    Example:
        >>> loss = BarlowTwinsLoss(redundancy=0.005)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, redundancy: float) -> None:
        super().__init__()
        check_positive(redundancy=redundancy)
        self.redundancy = redundancy

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return barlow_twins_loss(embeddings, relation, self.redundancy)

    def extra_repr(self) -> str:
        return f"redundancy={self.redundancy}"
