"""Harmonic loss: classes as learned centers."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from src.losses.batch import check_classes, check_positive, check_shapes, in_float64, loss_value

OFFSET = 1e-4  # as in the authors' code, for embeddings that sit on a center
Distance = Literal["euclidean", "cosine", "manhattan"]


def harmonic_loss(
    embeddings: Tensor, labels: Tensor, centers: Tensor, exponent: float, distance: Distance
) -> Tensor:
    """Cross-entropy of `harmonic_logits`: minus the mean log p_i of each sample's class.

    Args:
        embeddings: (N, D).
        labels: (N, K), one class per sample, or probabilities of classes.
        centers: (K, D).
        exponent: n, which [0] takes near sqrt(D).
        distance: `euclidean`, `cosine` or `manhattan`.

    Returns:
        A scalar.

    Raises:
        ValueError: If the exponent is out of range, the distance unknown, the shapes do not match,
            or labels do not mark one class per sample, nor sum to 1.

    Example:
        >>> centers = torch.randn(10, 25)
        >>> value = harmonic_loss(embeddings, labels, centers, 5.0, "euclidean")
    """
    check_positive(exponent=exponent)
    check_shapes(embeddings, labels)
    check_classes(labels)
    if centers.shape != (labels.shape[1], embeddings.shape[1]):
        raise ValueError(
            f"centers {tuple(centers.shape)} must be (K, D), for labels {tuple(labels.shape)} and "
            f"embeddings {tuple(embeddings.shape)}"
        )
    logits = harmonic_logits(embeddings, centers, exponent, distance)
    return loss_value(cross_entropy(logits, labels.to(logits)), embeddings)


def harmonic_logits(
    embeddings: Tensor, centers: Tensor, exponent: float, distance: Distance
) -> Tensor:
    """Logits whose softmax is the harmonic max of distances, [0].

    With d_ik the distance of embedding i to the center of class k,

        p_ik = d_ik^(-n) / sum_l d_il^(-n),    logit_ik = -n log d_ik

    The distance is that of Euclid, as in [0], or one of two of [1]:

        euclidean  sqrt(sum_j (x_j - c_j)^2 + 1e-4)
        cosine     1 - x . c / (||x|| ||c||) + 1e-4
        manhattan  sum_j |x_j - c_j| + 1e-4

    The cosine distance is half the square of Euclid's between vectors scaled to length 1, so that n
    counts twice there. Others of [1] are left out: Bray-Curtis and Canberra divide by sums that
    may be 0 for vectors of any sign, and Mahalanobis takes a covariance that has to be learned.

    Args:
        embeddings: (N, D).
        centers: (K, D).
        exponent: n.
        distance: `euclidean`, `cosine` or `manhattan`.

    Returns:
        (N, K), in float64.

    Raises:
        ValueError: If the distance is unknown.

    References:
        [0] Baek et al., *Harmonic Loss Trains Interpretable AI Models*, 2025,
        https://arxiv.org/abs/2502.01628
        [1] Miller-Golub et al., *Rethinking the Harmonic Loss via Non-Euclidean Distance Layers*,
        2026, https://arxiv.org/abs/2603.10225
    """
    _check_distance(distance)
    vectors = in_float64(embeddings)
    centers = centers.to(vectors)
    if distance == "cosine":
        cosines = normalize(vectors, dim=1) @ normalize(centers, dim=1).T
        return -exponent * (1 - cosines + OFFSET).log()
    difference = vectors.unsqueeze(1) - centers  # (N, K, D)
    if distance == "manhattan":
        return -exponent * (difference.abs().sum(dim=2) + OFFSET).log()
    return -exponent / 2 * (difference.square().sum(dim=2) + OFFSET).log()


def _check_distance(distance: str) -> None:
    if distance not in get_args(Distance):
        names = ", ".join(get_args(Distance))
        raise ValueError(f"distance must be one of {names}, not {distance!r}")


class HarmonicLoss(nn.Module):
    """`harmonic_loss` with a learned center per class.

    Args:
        num_classes: K.
        embedding_dim: D.
        exponent: n, which [0] takes near sqrt(D).
        distance: `euclidean`, `cosine` or `manhattan`.

    Raises:
        ValueError: If the exponent is not above 0, or the distance unknown.

    Example:
        >>> loss = HarmonicLoss(
        ...     num_classes=10, embedding_dim=25, exponent=5.0, distance="euclidean"
        ... )
        >>> value = loss(embeddings, labels)
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, exponent: float, distance: Distance
    ) -> None:
        super().__init__()
        check_positive(exponent=exponent)
        _check_distance(distance)
        self.exponent = exponent
        self.distance = distance
        self.centers = nn.Parameter(torch.randn(num_classes, embedding_dim) / embedding_dim**0.5)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return harmonic_loss(embeddings, labels, self.centers, self.exponent, self.distance)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, D)."""
        return harmonic_logits(embeddings, self.centers, self.exponent, self.distance)

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}, distance={self.distance}"
