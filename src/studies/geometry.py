"""Geometry of embeddings: ranks, angles, cosines, and the fit of a linear map to classes."""

from math import degrees

import torch
from torch import Tensor
from torch.nn.functional import normalize

TIE = 1e-9  # eigenvalues closer than this count as equal


def numerical_rank(embeddings: Tensor, threshold: float) -> int:
    """Number of singular values of a matrix above `threshold` times the largest."""
    values = torch.linalg.svdvals(embeddings)
    return int((values > threshold * values.max()).sum())


def angle_to_top(embeddings: Tensor, matrix: Tensor, threshold: float) -> float:
    """Largest angle between the span of embeddings and the top eigenvectors of a matrix.

    Their r left singular vectors, with r the numerical rank, are held against the eigenvectors of
    the r largest eigenvalues. All eigenvectors of eigenvalues equal to the last of these count: any
    subspace of theirs is as much on top.

    Args:
        embeddings: (N, D).
        matrix: (N, N), symmetric.
        threshold: See `numerical_rank`.

    Returns:
        Degrees, 0 to 90.
    """
    rank = numerical_rank(embeddings, threshold)
    basis = torch.linalg.svd(embeddings, full_matrices=False).U[:, :rank]
    values, vectors = torch.linalg.eigh(matrix)
    return angle_to_span(basis, vectors[:, values > values[-rank] - TIE])


def angle_to_span(basis: Tensor, span: Tensor) -> float:
    """Largest angle between directions of one subspace and another that is as large or larger.

    Args:
        basis: (N, r), orthonormal columns.
        span: (N, s), orthonormal columns, r at most s.

    Returns:
        Degrees, 0 to 90.
    """
    outside = torch.linalg.matrix_norm(basis - span @ (span.T @ basis), 2)
    return degrees(float(torch.asin(outside.clamp(max=1))))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The error ||found - expected|| / ||expected|| in the Frobenius norm."""
    return float((found - expected).norm() / expected.norm())


def class_task(embeddings: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and residual of the least-squares map from embeddings to classes, with a bias.

    Args:
        embeddings: (N, D).
        labels: (N, K), one-hot.

    Returns:
        The share of samples whose largest value is that of their class, and the norm of the
        residual, relative to that without embeddings.
    """
    centered, targets = embeddings - embeddings.mean(dim=0), labels - labels.mean(dim=0)
    weights = torch.linalg.pinv(centered, rtol=1e-6) @ targets
    values = centered @ weights + labels.mean(dim=0)
    accuracy = (values.argmax(dim=1) == labels.argmax(dim=1)).double().mean()
    return float(accuracy), relative_error(centered @ weights, targets)


def kernel_alignment(first: Tensor, second: Tensor) -> float:
    """Centred kernel alignment: the cosine of two centred Gram matrices (N, N)."""
    first, second = (
        gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
        for gram in (first, second)
    )
    return float((first * second).sum() / (first.norm() * second.norm()))


def cosines(embeddings: Tensor) -> Tensor:
    """Cosines between embeddings (N, D): (N, N)."""
    unit = normalize(embeddings, dim=1)
    return unit @ unit.T
