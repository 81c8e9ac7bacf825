"""Optima of self-supervised losses at finite weights, over free or linear embeddings.

Linear embeddings are Z = X W, with inputs X, (N, F); with X = I they are free. Rows are weighted by
the roots of the probabilities r of samples, and centred where a loss sees no mean,

    V = R^(1/2) (Z - 1 r^T Z)

so that V lies in the span P of the weighted inputs, and a loss sees the relation as P^T A P, with A
normalised by degree as in `src.subspaces.spectral_embedding`. Of its eigenvalues lambda, below the
constant function where it is centred out, the D largest count; left singular vectors of V are their
eigenvectors. That takes the vectors w of X^T A X w = lambda X^T X w: locality preserving
projections [1] under VICReg; under Barlow Twins, with the two views of images related, canonical
correlations; and linear discriminants, where all samples of a class are related by one over its
size. Squared singular values s depend on the loss:

**VICReg** as in `src.losses.vicreg`, with weights i, v and c, u = 1 - sum_k r_k^2 and s those of
V / sqrt(u). Where v >= 16 c, uneven variances of the dimensions cost more than the covariances
that they save: all are m = sum s / D, at most 1 - 1e-4, as a rotation of the dimensions makes them
(Schur and Horn). The rest is convex, and its optimum fills water to a level:

    s_k = max(0, level - 2 u i (1 - lambda_k)) / 4c,    level <= 4 c m + v / (2 sqrt(m + 1e-4))

with equality if m is below its bound. With squares in place of the hinge and one weight w for both
terms of C, i sum_ij p_ij ||z_i - z_j||^2 + w ||C - I||_F^2 is least at

    s_k = max(0, 1 - u i (1 - lambda_k) / w)

**Barlow Twins** as in `src.losses.barlow_twins`, with redundancy q at most 1 and s those of V in
units of standard deviations, sum s <= D. Correlations of dimensions with themselves are even too:
m = sum lambda s / D, and over the positive eigenvalues

    s_k = max(0, (1 - m + q m) - t / lambda_k) / (q lambda_k),    t >= 0, and 0 if sum s < D

In the last case it is one optimum of many: eigenvectors of negative eigenvalues may come in, as
long as correlations stay. [2] divides by norms of columns that are centred over the batch. Where
they are not, the constant function counts as the first eigenvector.

**SimCLR** in a form that has a spectral optimum: products of embeddings against G itself, not
normalised by degree, ||G - Z Z^T||_F^2, for cross-entropy against softmax over cosines. It is least
at the top eigenvalues of (G + G^T) / 2, where they are positive: multidimensional scaling. InfoNCE
has no such optimum on a weighted graph. NNCLR is the same with nearest neighbours as G.

References:
    [0] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
    [1] He and Niyogi, Locality Preserving Projections, NeurIPS 2003
    [2] Zbontar et al., Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021,
        https://arxiv.org/abs/2103.03230
"""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from src.losses import barlow_twins, vicreg
from src.losses.batch import check_positive
from src.subspaces.relation_spectrum import (
    FiniteOptimum,
    is_power_of_two,
    optimum_at,
    products_spectrum,
    relation_spectrum,
)


def vicreg_finite_optimum(
    relation: Tensor,
    embedding_dim: int,
    invariance: float,
    variance: float,
    covariance: float,
    inputs: Tensor | None = None,
) -> FiniteOptimum:
    """One minimiser of `src.losses.vicreg.vicreg_loss`.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        embedding_dim: D, at most the rank of the centred inputs.
        invariance, variance, covariance: Weights of the loss.
        inputs: X, (N, F); None for free embeddings.

    Raises:
        ValueError: If a weight, the number of dimensions or the relation is out of range, or
            variance is below 16 covariance, where variances at the optimum are uneven.
    """
    check_positive(invariance=invariance, variance=variance, covariance=covariance)
    if variance < 16 * covariance:
        raise ValueError(
            f"the optimum is known where variance >= 16 covariance, not at {variance:g} and "
            f"{covariance:g}: lower the covariance"
        )
    spectrum = relation_spectrum(relation, inputs, True, embedding_dim)
    unbiased = float(1 - spectrum.probabilities.square().sum())
    prices = 2 * unbiased * invariance * (1 - spectrum.values)  # ascending

    def level(mean: float) -> float:
        """The level at which squares sum to D times their mean."""
        counts = torch.arange(1, embedding_dim + 1)
        levels = (4 * covariance * embedding_dim * mean + prices.cumsum(0)) / counts
        return float(levels.min())

    def excess(mean: float) -> float:
        """The level less the derivative of the terms of variances: it rises with the mean."""
        deviation = (mean + vicreg.VARIANCE_OFFSET) ** 0.5
        return level(mean) - 4 * covariance * mean - variance / (2 * deviation)

    most = 1 - vicreg.VARIANCE_OFFSET
    mean = most if excess(most) <= 0 else 0.0 if excess(0) >= 0 else brentq(excess, 0, most)
    squares = (level(mean) - prices).clamp(min=0) / (4 * covariance)
    hinge = 1 - (mean + vicreg.VARIANCE_OFFSET) ** 0.5
    correlation = squares.square().sum() - embedding_dim * mean**2
    total = prices @ squares + variance * embedding_dim * hinge + 2 * covariance * correlation
    return optimum_at(spectrum, squares, float(total) / embedding_dim, unbiased)


def vicreg_squares_optimum(
    relation: Tensor,
    embedding_dim: int,
    invariance: float,
    regularization: float,
    inputs: Tensor | None = None,
) -> FiniteOptimum:
    """One minimiser of VICReg with squares in place of the hinge, see the head of this module.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        embedding_dim: D, at most the rank of the centred inputs.
        invariance: i.
        regularization: w.
        inputs: X, (N, F); None for free embeddings.

    Raises:
        ValueError: If a weight, the number of dimensions or the relation is out of range.
    """
    check_positive(invariance=invariance, regularization=regularization)
    spectrum = relation_spectrum(relation, inputs, True, embedding_dim)
    unbiased = float(1 - spectrum.probabilities.square().sum())
    prices = unbiased * invariance * (1 - spectrum.values) / regularization
    squares = (1 - prices).clamp(min=0)
    loss = regularization * float((1 - squares.square()).sum())
    return optimum_at(spectrum, squares, loss, unbiased)


def barlow_twins_optimum(
    relation: Tensor,
    embedding_dim: int,
    redundancy: float,
    centered: bool = True,
    inputs: Tensor | None = None,
) -> FiniteOptimum:
    """One minimiser of `src.losses.barlow_twins.barlow_twins_loss`.

    The loss of the embeddings is above the least by about the offset of variances, 1e-5.

    Args:
        relation: G, (N, N), symmetric and nonnegative.
        embedding_dim: D, at most the rank of the inputs: a power of two, so that dimensions with
            even variances and correlations exist, unless redundancy is 1.
        redundancy: q, at most 1.
        centered: Whether variances and correlations are about the mean, as batch normalisation has
            them, or about zero.
        inputs: X, (N, F); None for free embeddings.

    Raises:
        ValueError: If redundancy, the number of dimensions or the relation is out of range.
    """
    check_positive(redundancy=redundancy)
    if redundancy > 1:
        raise ValueError(f"the optimum is known for a redundancy of at most 1, not {redundancy:g}")
    if redundancy < 1 and not is_power_of_two(embedding_dim):
        raise ValueError(
            "the optimum is known for dimensions that are a power of two, or at redundancy 1, not "
            f"for {embedding_dim} at {redundancy:g}"
        )
    spectrum = relation_spectrum(relation, inputs, centered, embedding_dim)
    values = spectrum.values[spectrum.values > 1e-12]
    candidates = [torch.zeros(0).double()]
    for count in range(1, len(values) + 1):
        candidates += _stationary(values[:count], embedding_dim, redundancy)

    def loss(squares: Tensor) -> float:
        correlations = values[: len(squares)] * squares
        mean = correlations.sum() / embedding_dim
        unlike = correlations.square().sum() - embedding_dim * mean**2
        return float(embedding_dim * (1 - mean) ** 2 + redundancy * unlike)

    best = min(candidates, key=loss)
    squares = torch.cat([best, torch.zeros(embedding_dim - len(best)).double()])
    missing = 1 - float(squares.sum()) / embedding_dim
    offset = barlow_twins.VARIANCE_OFFSET
    return optimum_at(spectrum, squares, loss(best), offset / max(offset, missing))


def simclr_products_optimum(
    relation: Tensor, embedding_dim: int, inputs: Tensor | None = None
) -> FiniteOptimum:
    """One minimiser of ||G - Z Z^T||_F^2, see the head of this module.

    Args:
        relation: G, (N, N), of any numbers.
        embedding_dim: D, at most the rank of the inputs.
        inputs: X, (N, F); None for free embeddings.

    Raises:
        ValueError: If the number of dimensions is out of range.
    """
    target = relation.detach().cpu().double()
    spectrum = products_spectrum((target + target.T) / 2, inputs, embedding_dim)
    squares = spectrum.values.clamp(min=0)
    loss = float(target.square().sum() - squares.square().sum())
    return optimum_at(spectrum, squares, loss, 1.0)


def _stationary(values: Tensor, embedding_dim: int, redundancy: float) -> list[Tensor]:
    """Squares over some positive eigenvalues at which Barlow Twins is stationary, all positive."""
    count, first, second = len(values), float((1 / values).sum()), float((values**-2).sum())
    total, free = redundancy * embedding_dim, 1 - redundancy
    # 1 - m + q m is `pull`: sums of s and of lambda s are two equations for it and t
    pull = total / (count * free + total)
    equations = [[first, -second], [count * free + total, -free * first]]
    bound_pull, tension = np.linalg.solve(equations, [total, total])
    squares = pull / (redundancy * values)
    found = [squares] if squares.sum() <= embedding_dim else []
    if tension >= 0 and bound_pull * values[-1] >= tension:
        found.append((bound_pull - tension / values) / (redundancy * values))
    return found
