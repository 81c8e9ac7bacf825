"""Optima of self-supervised losses in closed form, over free embeddings.

A relation G between N samples makes p_ij = G_ij / |G| the probability of a positive pair, and
r_i = sum_j p_ij that of a sample (see `src.losses.relation`). Here G is symmetric, and every sample
has a positive. With R = diag(r), all is in the degree-normalised relation

    A = R^(-1/2) p R^(-1/2),    A_ij = G_ij / sqrt(d_i d_j),    d_i = sum_j G_ij

whose eigenvalues lie in [-1, 1], with the constant function R^(1/2) 1 at 1.

**Spectral contrastive.** With F = R^(1/2) f, rows weighted by the root of their probability,

    -2 sum_ij p_ij f_i . f_j + sum_ij r_i r_j (f_i . f_j)^2 = ||A - F F^T||_F^2 - ||A||_F^2

F F^T is positive semidefinite of rank at most D, so by Eckart and Young the best takes the D
largest eigenvalues of A, positive ones only: f = R^(-1/2) V max(0, lambda)^(1/2).

**VICReg.** The distances of positive pairs are the Dirichlet energy of the graph of p,

    sum_ij p_ij ||z_i - z_j||^2 = 2 tr(Z^T L Z),    L = R - p

Among Z of zero mean and identity covariance under r, for which both other terms are zero, V =
R^(1/2) Z has orthonormal columns up to scale, orthogonal to R^(1/2) 1. It is least for the bottom
eigenvectors of R^(-1/2) L R^(-1/2) = I - A next to that one: Laplacian eigenmaps.

**Principal components.** With S the covariance, W = U diag(w) in its eigenvectors,

    -tr(W^T S W) + penalty ||W^T W - I||_F^2 = sum_i -lambda_i w_i^2 + penalty (w_i^2 - 1)^2

is least at w_i^2 = 1 + lambda_i / (2 penalty), and falls with lambda_i: the top eigenvectors, and
orthonormal as the penalty grows. The orientation within each span is free. Of free embeddings Psi,
whose second moment the penalty holds at the identity, the same holds of F = R^(1/2) Psi, with the
joint A of samples in place of S.

**New samples.** An eigenfunction phi of the relation averages, over the samples related to x, to
lambda phi(x). Read from right to left this defines it at any x that has a kernel k with the samples
(Nystroem): phi(x) = sum_j p(j | x) phi(x_j) / lambda, with p(j | x) = k(x, x_j) / sum_l k(x, x_l).

References:
    [0] HaoChen et al., Provable Guarantees for Self-Supervised Deep Learning with Spectral
        Contrastive Loss, NeurIPS 2021, https://arxiv.org/abs/2106.04156
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
    [2] Belkin and Niyogi, Laplacian Eigenmaps for Dimensionality Reduction and Data
        Representation, Neural Computation 2003
    [3] Bengio et al., Learning Eigenfunctions Links Spectral Embedding and Kernel PCA, Neural
        Computation 2004
"""

import torch
from torch import Tensor

from src.losses.batch import check_positive


def spectral_contrastive_optimum(relation: Tensor, embedding_dim: int) -> Tensor:
    """One minimiser of the spectral contrastive loss.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        embedding_dim: D.

    Returns:
        (N, D), in float64 on the CPU.

    Raises:
        ValueError: If the relation is not symmetric and nonnegative, leaves a sample without a
            positive, or has fewer than D samples.
    """
    normalized, probabilities = normalize_relation(relation)
    check_dim(embedding_dim, len(relation), "relation of N samples")
    values, vectors = torch.linalg.eigh(normalized)
    top = slice(len(values) - embedding_dim, None)
    scaled = vectors[:, top] * values[top].clamp(min=0).sqrt()
    return (scaled / probabilities.sqrt().unsqueeze(1)).flip(1)


def vicreg_optimum(relation: Tensor, embedding_dim: int) -> Tensor:
    """Embeddings whose positive pairs are closest among those of identity covariance.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        embedding_dim: D, below N.

    Returns:
        (N, D), in float64 on the CPU: zero mean and identity covariance, as VICReg takes them.

    Raises:
        ValueError: If the relation is not symmetric and nonnegative, leaves a sample without a
            positive, or has not more than D samples.
    """
    normalized, probabilities = normalize_relation(relation)
    check_dim(embedding_dim, len(relation) - 1, "relation of N + 1 samples")
    constant = probabilities.sqrt()
    laplacian = torch.eye(len(normalized)).double() - normalized
    # Its eigenvalues are at most 2, so that the constant function comes last.
    vectors = torch.linalg.eigh(laplacian + 3 * constant.outer(constant)).eigenvectors
    unbiased = 1 - probabilities.square().sum()
    return vectors[:, :embedding_dim] * (unbiased / probabilities).sqrt().unsqueeze(1)


def pca_optimum(embeddings: Tensor, num_components: int, penalty: float) -> Tensor:
    """Components that minimise `src.losses.pca.pca_loss`, each sample related to itself alone.

    Args:
        embeddings: (N, D).
        num_components: S, at most D.
        penalty: Weight of the constraint that components be orthonormal.

    Returns:
        (D, S), in float64 on the CPU, by descending variance.

    Raises:
        ValueError: If penalty or the number of components is out of range.
    """
    check_dim(num_components, embeddings.shape[1], "embeddings of N dimensions")
    centered = embeddings.detach().cpu().double()
    centered = centered - centered.mean(dim=0)
    return penalty_optimum(centered.T @ centered / len(centered), num_components, penalty)


def penalty_optimum(matrix: Tensor, dim: int, penalty: float) -> Tensor:
    """One minimiser W of -tr(W^T S W) + penalty ||W^T W - I||_F^2, see the head of this module.

    Args:
        matrix: S, (N, N), symmetric.
        dim: D, at most N.
        penalty: Weight of the constraint that columns be orthonormal.

    Returns:
        (N, D), in float64 on the CPU, by descending eigenvalue.

    Raises:
        ValueError: If penalty or the number of dimensions is out of range.
    """
    check_positive(penalty=penalty)
    check_dim(dim, len(matrix), "matrix of N rows")
    values, vectors = torch.linalg.eigh(matrix.detach().cpu().double())
    scaled = vectors * (1 + values / (2 * penalty)).clamp(min=0).sqrt()
    return scaled[:, -dim:].flip(1)


def nystroem_embeddings(relation: Tensor, cross: Tensor, embedding_dim: int) -> Tensor:
    """The spectral contrastive optimum at new samples, by its eigenfunctions.

    Args:
        relation: G, (N, N), symmetric and nonnegative: a kernel between the samples.
        cross: (M, N), the same kernel between new samples and those.
        embedding_dim: D.

    Returns:
        (M, D), in float64 on the CPU. At the samples themselves, `spectral_contrastive_optimum`.

    Raises:
        ValueError: As `spectral_contrastive_optimum` does; if the shapes do not match, a new sample
            is related to none, or fewer than D eigenvalues are positive.
    """
    weights = cross.detach().cpu().double()
    if weights.ndim != 2 or weights.shape[1] != len(relation) or (weights < 0).any():
        raise ValueError(
            f"cross must be (M, {len(relation)}) and nonnegative, not {tuple(cross.shape)}"
        )
    degrees = weights.sum(dim=1, keepdim=True)
    if not degrees.all():
        raise ValueError("a new sample is related to none of the others; widen the kernel")
    embeddings = spectral_contrastive_optimum(relation, embedding_dim)
    # Columns of R^(1/2) f have the lengths lambda^(1/2)
    values = normalize_relation(relation)[1] @ embeddings.square()
    if not (values > 0).all():
        raise ValueError(f"fewer than {embedding_dim} eigenvalues are positive; lower D")
    return weights / degrees @ embeddings / values


def normalize_relation(relation: Tensor) -> tuple[Tensor, Tensor]:
    """The degree-normalised relation and the probabilities of samples.

    Args:
        relation: G, (N, N), symmetric and nonnegative.

    Returns:
        A, (N, N), and r, (N,), in float64 on the CPU.

    Raises:
        ValueError: If the relation is not symmetric and nonnegative, or leaves a sample without a
            positive.
    """
    weights = relation.detach().cpu().double()
    if weights.ndim != 2 or not torch.equal(weights, weights.T) or (weights < 0).any():
        raise ValueError(
            f"relation must be (N, N), symmetric and nonnegative, not {tuple(relation.shape)}; "
            "add its transpose to one from first to second views"
        )
    degrees = weights.sum(dim=1)
    if not degrees.all():
        raise ValueError("every sample must be related to one at least; leave the others out")
    scales = degrees.rsqrt()
    return scales.unsqueeze(1) * weights * scales, degrees / degrees.sum()


def check_dim(dim: int, most: int, of: str) -> None:
    if not 1 <= dim <= most:
        raise ValueError(f"the optimum has 1 to N dimensions, for a {of}, N = {most}, not {dim}")
