"""Relations between samples as losses of linear embeddings see them: in the span of the inputs.

Rows are weighted by the roots of the probabilities of samples, see `src.subspaces.finite_optima`.
"""

from typing import NamedTuple

import torch
from scipy.linalg import hadamard, orth
from scipy.stats import random_correlation
from torch import Tensor

from src.losses.relation import deviations
from src.subspaces.spectral_embedding import check_dim, normalize_relation


class Spectrum(NamedTuple):
    """The top eigenvectors of a relation in the span of weighted inputs."""

    values: Tensor  # (D,), descending
    vectors: Tensor  # (N, D)
    inputs: Tensor  # weighted, (N, F)
    probabilities: Tensor  # of samples, (N,)


class FiniteOptimum(NamedTuple):
    """A minimiser, in float64 on the CPU, and what it shares with the others."""

    weights: Tensor  # W, (F, D); the embeddings, if they are free
    left: Tensor  # left singular vectors of the weighted embeddings V, (N, D)
    squares: Tensor  # s, their squared singular values in the units of the loss, (D,)
    loss: float


def relation_spectrum(
    relation: Tensor, inputs: Tensor | None, centered: bool, embedding_dim: int
) -> Spectrum:
    """The spectrum of a relation normalised by degree.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        inputs: X, (N, F); None for free embeddings.
        centered: Whether inputs are taken about their mean, which leaves out the constant function.
        embedding_dim: D.

    Raises:
        ValueError: If the relation is out of range, or inputs have a rank below D.
    """
    normalized, probabilities = normalize_relation(relation)
    given = _inputs(inputs, normalized)
    seen = deviations(given, probabilities) if centered else given
    weighted = probabilities.sqrt().unsqueeze(1) * seen
    return _restrict(normalized, weighted, probabilities, embedding_dim)


def products_spectrum(products: Tensor, inputs: Tensor | None, embedding_dim: int) -> Spectrum:
    """The spectrum of symmetric products (N, N) of samples of equal weight.

    Args:
        products: (N, N), symmetric, in float64.
        inputs: X, (N, F); None for free embeddings.
        embedding_dim: D.

    Raises:
        ValueError: If inputs have a rank below D.
    """
    uniform = torch.ones(len(products)).double()
    return _restrict(products, _inputs(inputs, products), uniform, embedding_dim)


def optimum_at(spectrum: Spectrum, squares: Tensor, loss: float, unit: float) -> FiniteOptimum:
    """The optimum with these squared singular values, rotated to dimensions of even variance.

    Args:
        spectrum: The left singular vectors, and the inputs.
        squares: (D,).
        loss: The least loss.
        unit: What squares are multiplied by to be those of V.
    """
    embeddings = (spectrum.vectors * (unit * squares).sqrt()) @ _even_rotation(squares)
    weights = torch.linalg.pinv(spectrum.inputs, rtol=1e-12) @ embeddings
    return FiniteOptimum(weights, spectrum.vectors, squares, loss)


def is_power_of_two(number: int) -> bool:
    """Tell whether dimensions can have even diagonals of all commuting matrices, by Hadamard."""
    return number & (number - 1) == 0


def _restrict(
    matrix: Tensor, inputs: Tensor, probabilities: Tensor, embedding_dim: int
) -> Spectrum:
    basis = torch.from_numpy(orth(inputs.numpy()))
    check_dim(embedding_dim, basis.shape[1], "span of the inputs of rank N")
    values, vectors = torch.linalg.eigh(basis.T @ matrix @ basis)
    top = slice(len(values) - embedding_dim, None)
    return Spectrum(values[top].flip(0), (basis @ vectors[:, top]).flip(1), inputs, probabilities)


def _inputs(inputs: Tensor | None, matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix)).double() if inputs is None else inputs.detach().cpu().double()


def _even_rotation(squares: Tensor) -> Tensor:
    """Q, (D, D), orthogonal: all diagonal entries of Q^T diag(squares) Q are equal."""
    dim = len(squares)
    if is_power_of_two(dim):  # so are those of any diagonal matrix
        return torch.from_numpy(hadamard(dim)).double() / dim**0.5
    if not squares.any():
        return torch.eye(dim).double()
    matrix = random_correlation.rvs((dim * squares / squares.sum()).numpy(), random_state=0)
    rotation = torch.empty_like(squares.diag())
    rotation[squares.argsort()] = torch.linalg.eigh(torch.from_numpy(matrix)).eigenvectors.T
    return rotation
