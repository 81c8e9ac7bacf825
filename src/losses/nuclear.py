"""The nuclear-norm loss, exact in value, gradient and across processes.

In the paper's notation X (D x N) holds the embeddings of a batch, Y (C x N) its labels, and
Z = [Y; X] stacks them. The loss is

    l(X) = ||Z||_* - alpha ||X||_* + beta ||X||_2^2

with ||.||_* the nuclear norm and ||.||_2 the largest singular value. Here samples are rows, so
`embeddings` is X^T, (N, D), and `labels` is Y^T, (N, C).

Everything is read off the Gram matrix G = Z Z^T, (C + D) x (C + D): singular values are the roots
of its eigenvalues, and the gradients are closed-form, without differentiating through them:

    d||Z||_* / dZ = G^(-1/2) Z        d||X||_2^2 / dX = 2 u_1 u_1^T X

G is a sum over samples. Summed over processes, it is the Gram matrix of the global batch, and each
process holds the exact gradient for its own samples.

References:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from src.losses.batch import (
    TOO_LARGE,
    NonFiniteEmbeddingsError,
    check_positive,
    check_shapes,
    list_rows,
    loss_dtype,
    loss_value,
    on_float64_device,
)
from src.losses.spectra import inverse_roots


class NuclearNormTerms(NamedTuple):
    """The three norms that the loss combines, each a scalar tensor in float64."""

    joint_nuclear: Tensor  # ||Z||_*
    embedding_nuclear: Tensor  # ||X||_*
    embedding_spectral_squared: Tensor  # ||X||_2^2

    def combine(self, alpha: float, beta: float) -> Tensor:
        """Return ||Z||_* - alpha ||X||_* + beta ||X||_2^2."""
        return (
            self.joint_nuclear
            - alpha * self.embedding_nuclear
            + beta * self.embedding_spectral_squared
        )


def nuclear_norm_loss(embeddings: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Nuclear-norm loss of one batch, equation (1) of [0].

    Args:
        embeddings: (N, D), of any floating type.
        labels: (N, C), usually in {0, 1}; one row per image.
        alpha: Weight of the embeddings' nuclear norm, in (0, 1).
        beta: Weight of the squared spectral norm, positive.

    Returns:
        Scalar, float64 for float64 embeddings and float32 otherwise.

    Raises:
        ValueError: If alpha or beta is out of range, or the shapes do not match.
        NonFiniteEmbeddingsError: If embeddings or labels hold NaN or infinity.

    Example:
        >>> value = nuclear_norm_loss(embeddings, labels, alpha=0.99, beta=0.05)
    """
    check_alpha_beta(alpha, beta)
    check_shapes(embeddings, labels)
    loss = _WeightedNorms.apply(embeddings, labels, 1.0, -alpha, beta)
    return loss_value(loss, embeddings)


def nuclear_norm_terms(embeddings: Tensor, labels: Tensor) -> NuclearNormTerms:
    """The norms ||Z||_*, ||X||_* and ||X||_2^2 of one batch, differentiable in the embeddings.

    Directions whose singular value is below about 1e-7 of the largest are the null space:
    embeddings that small against their labels have no meaningful gradient.

    With `torch.distributed` initialised, they are those of the batch that all processes hold
    together, and gradients are scaled by the number of processes, so that averaging them, as
    DistributedDataParallel does, gives the gradient of the global batch.

    Args:
        embeddings: (N, D), of any floating type.
        labels: (N, C).

    Raises:
        ValueError: If the shapes do not match.
        NonFiniteEmbeddingsError: If embeddings or labels hold NaN or infinity.
    """
    check_shapes(embeddings, labels)
    return NuclearNormTerms(
        _WeightedNorms.apply(embeddings, labels, 1.0, 0.0, 0.0),
        _WeightedNorms.apply(embeddings, labels, 0.0, 1.0, 0.0),
        _WeightedNorms.apply(embeddings, labels, 0.0, 0.0, 1.0),
    )


def gram_matrix(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Z Z^T of one process's samples, (C + D, C + D), labels first, in float64."""
    stacked = _stack(embeddings, labels)
    return stacked.T @ stacked


def terms_from_gram(gram: Tensor, num_labels: int) -> NuclearNormTerms:
    """The three norms from a Gram matrix accumulated over batches, without gradients.

    Args:
        gram: (C + D, C + D), a sum of `gram_matrix`.
        num_labels: C.
    """
    joint_values = singular_values_from_gram(gram)
    embedding_values = singular_values_from_gram(gram[num_labels:, num_labels:])
    return NuclearNormTerms(joint_values.sum(), embedding_values.sum(), embedding_values[0] ** 2)


def singular_values_from_gram(gram: Tensor) -> Tensor:
    """Singular values of A from A A^T, (n, n): (n,), descending, zero on the null space."""
    eigenvalues = torch.linalg.eigvalsh(gram)
    return (eigenvalues * inverse_roots(eigenvalues)).flip(-1)


def check_alpha_beta(alpha: float, beta: float) -> None:
    """Raise ValueError unless 0 < alpha < 1 and beta > 0: outside, the loss has no minimum."""
    if not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise ValueError(f"alpha must be a number between 0 and 1, such as 0.99, not {alpha!r}")
    check_positive(beta=beta)


class NuclearNormLoss(nn.Module):
    """`nuclear_norm_loss` with its two weights.

    Args:
        alpha: Weight of the embeddings' nuclear norm, in (0, 1). Close to 1, embeddings of the same
            minterm collapse onto one line.
        beta: Weight of the squared spectral norm, positive. It caps the singular values.

    Raises:
        ValueError: If alpha or beta is out of range.

    Example:
        >>> loss = NuclearNormLoss(alpha=0.99, beta=0.05)
        >>> value = loss(embeddings, labels)
    """

    other_terms: Tensor | float = 0.0  # what a subclass adds to the three norms, of the last value

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        check_alpha_beta(alpha, beta)
        self.alpha = alpha
        self.beta = beta

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, C)."""
        return nuclear_norm_loss(embeddings, labels, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}"


class _WeightedNorms(torch.autograd.Function):
    """(embeddings, labels, weights of the three norms) to their weighted sum.

    Its gradient is closed-form and is made along with it, which leaves (N, D) numbers to keep.
    """

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, labels: Tensor, joint: float, nuclear: float, spectral: float
    ) -> Tensor:
        num_labels = labels.shape[1]
        stacked = _stack(embeddings, labels)
        gram = stacked.T @ stacked
        if dist.is_initialized():
            dist.all_reduce(gram)
        # The trace is the sum of all squares: finite only if every entry is.
        if not math.isfinite(gram.trace()):
            raise NonFiniteEmbeddingsError(_describe_non_finite(embeddings, labels))

        joint_values, joint_vectors = torch.linalg.eigh(gram)
        values, vectors = torch.linalg.eigh(gram[num_labels:, num_labels:])
        joint_scales, scales = inverse_roots(joint_values), inverse_roots(values)
        if ctx.needs_input_grad[0]:
            # All three gradients are linear in Z, so that one (C + D, D) matrix carries them. The
            # first is G^(-1/2), of which it takes the columns of the embeddings.
            factor = (joint_vectors * (joint * joint_scales)) @ joint_vectors[num_labels:].T
            top = vectors[:, -1]
            factor[num_labels:] += (vectors * (nuclear * scales)) @ vectors.T
            factor[num_labels:] += 2 * spectral * top.outer(top)
            if dist.is_initialized():
                factor *= dist.get_world_size()
            # Not in half precision before the incoming gradient, which may be a loss scale, is in.
            ctx.save_for_backward((stacked @ factor).to(loss_dtype(embeddings)))
            ctx.like = embeddings.new_empty(0)
        return (
            joint * torch.dot(joint_values, joint_scales)  # s^2 / s
            + nuclear * torch.dot(values, scales)
            + spectral * values[-1].clamp(min=0)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (grad_output * gradient).to(ctx.like), None, None, None, None


def _stack(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Z^T, (N, C + D), in float64: squaring halves the digits, and float32 has none to spare."""
    stacked = [on_float64_device(labels), on_float64_device(embeddings)]
    return torch.cat(stacked, dim=1).double()


def _describe_non_finite(embeddings: Tensor, labels: Tensor) -> str:
    finite = torch.isfinite(embeddings).all(dim=1) & torch.isfinite(labels).all(dim=1)
    if finite.all() and dist.is_initialized():
        return "embeddings or labels of another process are NaN or infinite"
    if finite.all():
        return TOO_LARGE
    return f"embeddings or labels are NaN or infinite in {list_rows(~finite)}"
