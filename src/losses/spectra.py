"""Nuclear norms from Gram matrices, with closed-form gradients.

Singular values of A are the roots of the eigenvalues of G = A A^T, and the sum of them has the
gradient d tr G^(1/2) / dG = G^(-1/2) / 2, with the pseudo-inverse on the null space. Nothing is
differentiated through an eigendecomposition, so that repeated and zero eigenvalues do no harm.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from src.losses.batch import TOO_LARGE, NonFiniteEmbeddingsError


def nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of the singular values of a matrix in float64, (M, N): a scalar."""
    rows, columns = matrix.shape
    return root_sum(matrix @ matrix.T if rows < columns else matrix.T @ matrix)[0]


def root_sum(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the roots of the eigenvalues of a Gram matrix, and its largest eigenvalue.

    Args:
        gram: (n, n), positive semidefinite, in float64.

    Returns:
        Two scalars, differentiable in the matrix.

    Raises:
        NonFiniteEmbeddingsError: If squares overflowed in the matrix.
    """
    if not torch.isfinite(gram).all():
        raise NonFiniteEmbeddingsError(TOO_LARGE)
    return _RootSum.apply(gram)


def inverse_roots(eigenvalues: Tensor) -> Tensor:
    """1 / s for eigenvalues s^2 of a Gram matrix, ascending; 0 where they are rounding errors."""
    null = len(eigenvalues) * torch.finfo(torch.float64).eps * eigenvalues[-1]
    return torch.where(eigenvalues > null, eigenvalues, torch.inf).rsqrt()


class _RootSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gram: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(gram)
        scales = inverse_roots(values)
        ctx.save_for_backward(scales, vectors)
        return torch.dot(values, scales), values[-1].clamp(min=0)  # s^2 / s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sum: Tensor, grad_largest: Tensor) -> Tensor:
        scales, vectors = ctx.saved_tensors
        top = vectors[:, -1]
        return grad_sum / 2 * (vectors * scales) @ vectors.T + grad_largest * top.outer(top)
