"""Orthogonal projection loss (OPL)."""

from torch import Tensor
from torch.nn.functional import normalize

from src.losses.batch import check_positive, of_whole_batch, partition
from src.losses.linear import LinearCrossEntropyLoss


@of_whole_batch
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

    Example:
        >>> value = opl_loss(embeddings, labels, gamma=0.5)

    References:
        [0] Ranasinghe et al., *Orthogonal Projection Loss*, ICCV 2021,
        https://arxiv.org/abs/2103.14021
        [1] https://github.com/kahnchana/opl, which leaves out the absolute value
    """
    check_positive(gamma=gamma)
    indicators = partition(labels).to(embeddings)
    same = indicators @ indicators.T  # (N, N)
    different = 1 - same
    same.fill_diagonal_(0)
    vectors = normalize(embeddings, dim=1)
    cosines = vectors @ vectors.T
    attraction = (same * (1 - cosines)).sum() / same.sum().clamp(min=1)
    repulsion = (different * cosines).sum() / different.sum().clamp(min=1)
    return attraction + gamma * repulsion.abs()


class OPLLoss(LinearCrossEntropyLoss):
    """Cross-entropy of a linear head, plus `opl_loss`.

        l = cross-entropy + weight opl

    Args:
        num_classes: K.
        embedding_dim: D.
        gamma: Weight of different classes against each class.
        weight: Weight of `opl_loss`.

    Raises:
        ValueError: If gamma or weight is not above 0.

    Example:
        >>> loss = OPLLoss(num_classes=10, embedding_dim=25, gamma=0.5, weight=1.0)
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def __init__(self, num_classes: int, embedding_dim: int, gamma: float, weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        check_positive(gamma=gamma, weight=weight)
        self.gamma = gamma
        self.weight = weight

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        projection = opl_loss(embeddings, labels, self.gamma)
        return super().forward(embeddings, labels) + self.weight * projection

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, weight={self.weight}"
