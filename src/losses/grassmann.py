"""Grassmann class representation: classes as learned subspaces."""

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import cross_entropy, normalize

from src.losses.batch import (
    check_classes,
    check_positive,
    check_shapes,
    in_float64,
    loss_value,
    on_float64_device,
)


def grassmann_loss(embeddings: Tensor, labels: Tensor, bases: Tensor, scale: float) -> Tensor:
    """Cross-entropy of `grassmann_logits`.

    Args:
        embeddings: (N, D).
        labels: (N, K), one class per sample, or probabilities of classes.
        bases: (K, D, S), with orthonormal columns.
        scale: Length of embeddings, an inverse temperature.

    Returns:
        A scalar.

    Raises:
        ValueError: If scale is out of range, the shapes do not match, or labels do not mark one
            class per sample, nor sum to 1.

    Example:
        >>> bases = torch.linalg.qr(torch.randn(10, 25, 8)).Q
        >>> value = grassmann_loss(embeddings, labels, bases, scale=25.0)
    """
    check_positive(scale=scale)
    check_shapes(embeddings, labels)
    check_classes(labels)
    if labels.shape[1] != len(bases) or embeddings.shape[1] != bases.shape[1]:
        raise ValueError(
            f"subspaces of {len(bases)} classes in {bases.shape[1]} dimensions do not fit labels "
            f"{tuple(labels.shape)} and embeddings {tuple(embeddings.shape)}"
        )
    logits = grassmann_logits(embeddings, bases, scale)
    return loss_value(cross_entropy(logits, labels.to(logits)), embeddings)


def grassmann_logits(embeddings: Tensor, bases: Tensor, scale: float) -> Tensor:
    """Lengths of the projections onto each class's subspace, [0].

    With embeddings x_i scaled to length `scale`, and S_k an orthonormal basis of class k,

        logit_ik = ||S_k^T x_i||

    Args:
        embeddings: (N, D).
        bases: (K, D, S), with orthonormal columns.
        scale: Length of embeddings.

    Returns:
        (N, K), in float64.

    References:
        [0] Wang et al., *Get the Best of Both Worlds: Improving Accuracy and Transferability by
        Grassmann Class Representation*, ICCV 2023, https://arxiv.org/abs/2308.01547
        [1] https://github.com/innerlee/GCR, which follows the gradient on the Grassmannian, where
        here bases are those of a QR decomposition
    """
    vectors = scale * normalize(in_float64(embeddings), dim=1)
    return vector_norm(torch.einsum("nd,kds->nks", vectors, bases.to(vectors)), dim=2)


class GrassmannLoss(nn.Module):
    """`grassmann_loss` with a learned subspace per class.

    Args:
        num_classes: K.
        embedding_dim: D.
        subspace_dim: Dimensions of each class's subspace.
        scale: Length of embeddings, an inverse temperature.

    Raises:
        ValueError: If scale is not above 0, or subspace_dim not between 1 and D.

    Example:
        >>> loss = GrassmannLoss(num_classes=10, embedding_dim=25, subspace_dim=8, scale=25.0)
        >>> value = loss(embeddings, labels)
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, subspace_dim: int, scale: float
    ) -> None:
        super().__init__()
        check_positive(scale=scale)
        if not 1 <= subspace_dim <= embedding_dim:
            raise ValueError(
                f"subspace_dim must be between 1 and embedding_dim={embedding_dim}, "
                f"not {subspace_dim}"
            )
        self.scale = scale
        self.frames = nn.Parameter(torch.randn(num_classes, embedding_dim, subspace_dim))

    @property
    def bases(self) -> Tensor:
        """Orthonormal bases of the spans of the learned frames: (K, D, S), float64."""
        return torch.linalg.qr(on_float64_device(self.frames).double()).Q

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return grassmann_loss(embeddings, labels, self.bases, self.scale)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, D)."""
        return grassmann_logits(embeddings, self.bases, self.scale)

    def extra_repr(self) -> str:
        return f"subspace_dim={self.frames.shape[2]}, scale={self.scale}"
