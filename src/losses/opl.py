"""Orthogonal projection loss (OPL)."""

from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.batch import check_positive, in_float64, loss_dtype, partition, whole_batch


def opl_loss(embeddings: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Cosines of one class towards 1 and of different classes towards 0, [0].

    With cos_ij the cosine of embeddings i and j,

        l = (1 - s) + gamma |d|,    s = mean of cos_ij over pairs i != j of one class,
                                    d = mean of cos_ij over pairs of different classes

    A batch without pairs of one kind lacks their term. The mean d alone is driven to 0, which does
    not ask every pair to be orthogonal: [0] adds the loss to cross-entropy.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}, one class per sample.
        gamma: Weight of different classes against each class.

    Returns:
        A scalar.

    Raises:
        ValueError: If gamma is out of range, the shapes do not match, or labels do not mark one
            class per sample.

    References:
        [0] Ranasinghe et al., *Orthogonal Projection Loss*, ICCV 2021,
        https://arxiv.org/abs/2103.14021
        [1] https://github.com/kahnchana/opl, which leaves out the absolute value
    """
    check_positive(gamma=gamma)
    members = partition(embeddings, labels)
    vectors = normalize(in_float64(embeddings), dim=1)
    indicators = members.to(vectors)
    same = indicators @ indicators.T  # (N, N)
    different = 1 - same
    same.fill_diagonal_(0)
    cosines = vectors @ vectors.T
    attraction = (same * (1 - cosines)).sum() / same.sum().clamp(min=1)
    repulsion = (different * cosines).sum() / different.sum().clamp(min=1)
    return (attraction + gamma * repulsion.abs()).to(loss_dtype(embeddings))


class OPLLoss(nn.Module):
    """`opl_loss` of the batch that all processes hold together.

    Args:
        gamma: Weight of different classes against each class.

    Raises:
        ValueError: If gamma is not above 0.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        check_positive(gamma=gamma)
        self.gamma = gamma

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return opl_loss(*whole_batch(embeddings, labels), self.gamma)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}"
