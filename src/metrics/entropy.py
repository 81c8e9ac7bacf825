"""Entropy and mutual information from Gram matrices, with no density between.

A Gram matrix K of N samples, brought to K_ij / (N sqrt(K_ii K_jj)), is positive semidefinite with
trace 1, as a density matrix of quantum mechanics is, and has that entropy of its eigenvalues:

    S_a(A) = log2( sum_i lambda_i^a ) / (1 - a),    S_1(A) = - sum_i lambda_i log2 lambda_i

The joint of two sets of features of the same samples is the entrywise product of their Gram
matrices. At order 1/2 the entropy is 2 log2 ||F||_* for the features F with A = F F^T: it is the
logarithm of a nuclear norm.

References:
    [0] Sanchez Giraldo, Rao and Principe, Measures of Entropy from Data Using Infinitely Divisible
        Kernels, IEEE Transactions on Information Theory 2015, https://arxiv.org/abs/1211.2459
"""

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float64).eps
ROUNDING = 1e-6  # asymmetry and negative eigenvalues up to this share are rounding errors


def renyi_entropy(gram: Tensor, order: float) -> float:
    """Matrix-based Renyi entropy S_a of a Gram matrix, [0].

    Args:
        gram: (N, N), positive semidefinite, with a positive diagonal.
        order: a, above 0; at 1, the entropy of von Neumann, which is the limit.

    Returns:
        Bits: from 0, of samples that are all alike, to log2 N, of samples that share nothing.

    Raises:
        ValueError: If the order is not above 0, or the matrix is no such Gram matrix.

    Example:
        >>> bits = renyi_entropy(embeddings @ embeddings.T, order=0.5)
    """
    if not 0 < order < float("inf"):
        raise ValueError(f"order must be a number above 0, not {order!r}")
    eigenvalues = torch.linalg.eigvalsh(_correlations(gram) / len(gram))
    if eigenvalues[0] < -ROUNDING:
        raise ValueError("gram has negative eigenvalues; it must be positive semidefinite")
    # Roots would make much of what rounding leaves of zeros
    shares = torch.where(eigenvalues > len(gram) * EPSILON, eigenvalues, 0)
    if order == 1:
        return float(torch.special.entr(shares).sum() / torch.log(torch.tensor(2.0)))
    return float(shares.pow(order).sum().log2() / (1 - order))


def mutual_information(first: Tensor, second: Tensor, order: float) -> float:
    """Matrix-based mutual information S_a(A) + S_a(B) - S_a(A, B) of two Gram matrices, [0].

    The joint has at least the entropy of either, at every order. So this is at most the lesser of
    both entropies; it equals that of A where samples that differ in A share nothing in B.

    Args:
        first, second: (N, N) each, of the same N samples, as for `renyi_entropy`.
        order: See `renyi_entropy`.

    Returns:
        Bits.

    Raises:
        ValueError: If the shapes differ, or `renyi_entropy` refuses one of them.

    Example:
        >>> bits = mutual_information(embeddings @ embeddings.T, labels @ labels.T, order=0.5)
    """
    if first.shape != second.shape:
        raise ValueError(
            f"both must be of the same samples, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    joint = renyi_entropy(_correlations(first) * _correlations(second), order)
    return renyi_entropy(first, order) + renyi_entropy(second, order) - joint


def _correlations(gram: Tensor) -> Tensor:
    """K_ij / sqrt(K_ii K_jj), in float64 on the CPU."""
    matrix = gram.detach().cpu().double()
    if matrix.ndim != 2 or not len(matrix) or matrix.shape != matrix.T.shape:
        raise ValueError(f"gram must be (N, N) with N at least 1, not {tuple(gram.shape)}")
    if not torch.isfinite(matrix).all() or not (matrix.diagonal() > 0).all():
        raise ValueError(
            "gram must be finite with a positive diagonal; leave samples without features out"
        )
    scales = matrix.diagonal().rsqrt()
    correlations = scales.unsqueeze(1) * matrix * scales
    if (correlations - correlations.T).abs().max() > ROUNDING:
        raise ValueError("gram must be symmetric")
    return (correlations + correlations.T) / 2
