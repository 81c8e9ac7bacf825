"""Harmonic loss: classes as learned centers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from src.losses.batch import check_positive, check_shapes, in_float64, loss_value, partition

SQUARED_DISTANCE_OFFSET = 1e-4  # as in the authors' code, for embeddings that sit on a center


def harmonic_loss(embeddings: Tensor, labels: Tensor, centers: Tensor, exponent: float) -> Tensor:
    """Cross-entropy of `harmonic_logits`: minus the mean log p_i of each sample's class.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}, one class per sample.
        centers: (K, D).
        exponent: n, which [0] takes near sqrt(D).

    Returns:
        A scalar.

    Raises:
        ValueError: If the exponent is out of range, the shapes do not match, or labels do not mark
            one class per sample.

    Example:
        >>> centers = torch.randn(10, 25)
        >>> value = harmonic_loss(embeddings, labels, centers, exponent=5.0)
    """
    check_positive(exponent=exponent)
    check_shapes(embeddings, labels)
    partition(labels)
    if centers.shape != (labels.shape[1], embeddings.shape[1]):
        raise ValueError(
            f"centers {tuple(centers.shape)} must be (K, D), for labels {tuple(labels.shape)} and "
            f"embeddings {tuple(embeddings.shape)}"
        )
    logits = harmonic_logits(embeddings, centers, exponent)
    return loss_value(cross_entropy(logits, labels.to(logits)), embeddings)


def harmonic_logits(embeddings: Tensor, centers: Tensor, exponent: float) -> Tensor:
    """Logits whose softmax is the harmonic max of distances, [0].

    With d_ik the distance of embedding i to the center of class k,

        p_ik = d_ik^(-n) / sum_l d_il^(-n),    logit_ik = -n log d_ik

    Args:
        embeddings: (N, D).
        centers: (K, D).
        exponent: n.

    Returns:
        (N, K), in float64.

    References:
        [0] Baek et al., *Harmonic Loss Trains Interpretable AI Models*, 2025,
        https://arxiv.org/abs/2502.01628
        [1] Miller-Golub et al., *Rethinking the Harmonic Loss via Non-Euclidean Distance Layers*,
        2026, https://arxiv.org/abs/2603.10225
    """
    vectors = in_float64(embeddings)
    difference = vectors.unsqueeze(1) - centers.to(vectors)  # (N, K, D)
    squared_distances = difference.square().sum(dim=2) + SQUARED_DISTANCE_OFFSET
    return -exponent / 2 * squared_distances.log()


class HarmonicLoss(nn.Module):
    """`harmonic_loss` with a learned center per class.

    Args:
        num_classes: K.
        embedding_dim: D.
        exponent: n, which [0] takes near sqrt(D).

    Raises:
        ValueError: If the exponent is not above 0.

    Example:
        >>> loss = HarmonicLoss(num_classes=10, embedding_dim=25, exponent=5.0)
        >>> value = loss(embeddings, labels)
    """

    def __init__(self, num_classes: int, embedding_dim: int, exponent: float) -> None:
        super().__init__()
        check_positive(exponent=exponent)
        self.exponent = exponent
        self.centers = nn.Parameter(torch.randn(num_classes, embedding_dim) / embedding_dim**0.5)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return harmonic_loss(embeddings, labels, self.centers, self.exponent)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, D)."""
        return harmonic_logits(embeddings, self.centers, self.exponent)

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}"
