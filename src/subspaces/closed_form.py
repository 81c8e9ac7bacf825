"""The minimum of the nuclear-norm loss in closed form.

For labels Y with nonzero singular values mu_1..mu_r and right singular vectors V, every minimiser
is a spectral embedding X = Q diag(s) V^T of Y^T Y, with Q any D x r of orthonormal columns and

    s_i = min(t, k mu_i),    k = alpha / sqrt(1 - alpha^2).

The cap t, the spectral norm of X, is the root of

    F(t) = sum_i min(t / sqrt(mu_i^2 + t^2) - alpha, 0) + 2 beta t,

which increases from F(0) < 0: directions fill up to their own optimum k mu_i, unless the price
beta t^2 of the common level t stops them first. The least loss is

    sum_i sqrt(mu_i^2 + s_i^2) - alpha sum_i s_i + beta t^2.

Products of embeddings are those of V diag(s^2) V^T. Where Y has as many independent rows as
distinct columns, which are its minterms, and every s_i is at the cap, that is t^2 times the
projector onto the span of the minterms' indicators: images of different minterms are orthogonal.
Neither condition suffices alone. Where the rows of Y are themselves indicators of minterms, they
are the right singular vectors up to their length, and minterms are orthogonal whatever s.

Reference:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213, which has the case where every direction is capped.
"""

import torch
from scipy.optimize import brentq
from torch import Tensor

from src.losses.nuclear import check_alpha_beta


def optimal_singular_values(labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Singular values of the minimising embeddings.

    Args:
        labels: (N, C).
        alpha: Weight of the embeddings' nuclear norm, in (0, 1).
        beta: Weight of the squared spectral norm, positive.

    Returns:
        (rank(labels),), descending, in float64 on the CPU.

    Raises:
        ValueError: If alpha or beta is out of range.
    """
    return _water_fill(_decompose(labels)[1], alpha, beta)


def optimal_loss(labels: Tensor, alpha: float, beta: float) -> float:
    """Least value that the loss can take for labels (N, C), over embeddings of any lengths in as
    many dimensions as labels have rank, or more.
    """
    label_values = _decompose(labels)[1]
    values = _water_fill(label_values, alpha, beta)
    if not len(values):
        return 0.0
    joint = torch.hypot(label_values, values).sum()
    return float(joint - alpha * values.sum() + beta * values[0] ** 2)


def optimal_embeddings(
    labels: Tensor,
    alpha: float,
    beta: float,
    embedding_dim: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One minimiser of the loss.

    Args:
        labels: (N, C).
        alpha: Weight of the embeddings' nuclear norm, in (0, 1).
        beta: Weight of the squared spectral norm, positive.
        embedding_dim: D, at least rank(labels).
        generator: Generator of a random orientation Q; without one, Q is the first columns of
            the identity.

    Returns:
        (N, D), in float64 on the CPU.

    Raises:
        ValueError: If D is smaller than the rank of the labels.
    """
    left, label_values = _decompose(labels)
    rank = len(label_values)
    if embedding_dim < rank:
        raise ValueError(
            f"embedding_dim must be at least rank(labels) = {rank}, got {embedding_dim}"
        )
    orientation = torch.eye(embedding_dim, rank, dtype=torch.float64)
    if generator is not None:
        gaussian = torch.randn(embedding_dim, rank, dtype=torch.float64, generator=generator)
        orientation = torch.linalg.qr(gaussian).Q
    return left * _water_fill(label_values, alpha, beta) @ orientation.T


def _decompose(labels: Tensor) -> tuple[Tensor, Tensor]:
    """V, (N, r), and mu, (r,), of Y = labels^T: with samples as rows, V is on the left."""
    left, values, _ = torch.linalg.svd(labels.detach().cpu().double(), full_matrices=False)
    tolerance = max(labels.shape) * torch.finfo(torch.float64).eps
    rank = int((values > tolerance * values.max()).sum()) if values.numel() else 0
    return left[:, :rank], values[:rank]


def _water_fill(label_values: Tensor, alpha: float, beta: float) -> Tensor:
    check_alpha_beta(alpha, beta)
    if not len(label_values):
        return label_values
    uncapped = label_values * alpha / (1 - alpha**2) ** 0.5

    def slope(cap: float) -> float:
        level = torch.full_like(label_values, cap)
        return (
            float((level / torch.hypot(label_values, level) - alpha).clamp(max=0).sum())
            + 2 * beta * cap
        )

    cap = brentq(slope, 0.0, float(uncapped.max()), xtol=1e-14)
    return uncapped.clamp(max=cap)
