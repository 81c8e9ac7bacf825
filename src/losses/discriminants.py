"""Linear discriminants of literals, in closed form from moments.

For each literal, embeddings of images that have it and of those that have not are taken for
Gaussian with one covariance W. With p the share of N images that have it and mu_1, mu_0 the means,

    log p(c | x) / p(~c | x) = w^T (x - (mu_0 + mu_1) / 2) + log p / (1 - p)
    w = ((1 - s) W + s tr(W) / D I)^(-1) d,      d = mu_1 - mu_0          (s: shrinkage)

is linear discriminant analysis [0] of two classes. All literals share one eigendecomposition, that
of the covariance T of all images, since W is T less a matrix of rank one,

    W = T - k d d^T,      k = p (1 - p)

so that with A = (1 - s) T + s tr(W) / D I, by Sherman and Morrison,

    w = A^(-1) d / (1 - (1 - s) k d^T A^(-1) d)

References:
    [0] Fisher, *The Use of Multiple Measurements in Taxonomic Problems*, Annals of Eugenics, 1936
    [1] Chen, Wiesel, Eldar, Hero, *Shrinkage Algorithms for MMSE Covariance Estimation*, IEEE
        Transactions on Signal Processing, 2010, https://arxiv.org/abs/0907.4698
"""

import torch
from torch import Tensor


def solve_discriminants(
    squares: Tensor, products: Tensor, scatter: Tensor, shrinkage: float | None
) -> tuple[Tensor, Tensor]:
    """Discriminants of C literals from sums over images, a_i = [1; y_i], all in float64.

    A literal that all images have, or none, is certain: its weights are 0 and its bias is infinite.

    Args:
        squares: sum a_i a_i^T, (1 + C, 1 + C), or a positive multiple of it.
        products: sum a_i x_i^T, (1 + C, D), or the same multiple.
        scatter: sum x_i x_i^T, (D, D), or the same multiple.
        shrinkage: s; None for `oracle_shrinkage` of each literal, for which the sums must be no
            multiple.

    Returns:
        The weights w, (C, D), and biases b, (C,), of log p(c | x) / p(~c | x) = w . x + b.
    """
    number, shares = squares[0, 0], squares[0, 1:] / squares[0, 0]
    mean = products[0] / number
    k = shares * (1 - shares)
    # The covariance of a literal with embeddings is k d.
    covariances = products[1:] / number - shares.outer(mean)
    d = covariances / torch.where(k > 0, k, torch.inf).unsqueeze(1)
    middle = mean + (0.5 - shares).unsqueeze(1) * d
    total = scatter / number - mean.outer(mean)
    weights = _weigh(total, d, k, number, shrinkage)
    odds = shares.log() - (1 - shares).log()
    return weights, odds - (weights * middle).sum(dim=1)


def oracle_shrinkage(mean: Tensor, mean_square: Tensor, dim: int, number: Tensor | int) -> Tensor:
    """The oracle approximating shrinkage of covariances (D, D) of so many samples, [1].

    With m the mean eigenvalue and q the mean square of the entries,

        s = min(1, (q + m^2) / ((number + 1) (q - m^2 / D)))

    Args:
        mean: m of each covariance, any shape.
        mean_square: q of each.
        dim: D.
        number: Number of samples.

    Returns:
        The shrinkage s of each.
    """
    squared = mean.square()
    excess = (number + 1) * (mean_square - squared / dim)
    return torch.where(excess > 0, (mean_square + squared) / excess, 1.0).clamp(max=1)


def _weigh(
    total: Tensor, difference: Tensor, k: Tensor, number: Tensor, shrinkage: Tensor | float | None
) -> Tensor:
    """The weights w of literals, (C, D), of T (D, D), their d (C, D) and k (C,)."""
    dim = len(total)
    eigenvalues, eigenvectors = torch.linalg.eigh((total + total.T) / 2)
    eigenvalues = eigenvalues.clamp(min=0)
    # All that follows is in coordinates along the eigenvectors.
    d = difference @ eigenvectors
    length = k * d.square().sum(dim=1)  # of k d d^T
    scale = ((eigenvalues.sum() - length) / dim).clamp(min=0)  # tr(W) / D
    if shrinkage is None:
        cross = k * (d.square() @ eigenvalues)
        mean_square = (eigenvalues.square().sum() - 2 * cross + length.square()) / dim**2
        shrinkage = oracle_shrinkage(scale, mean_square, dim, number)
    least = torch.finfo(total.dtype).eps * dim
    # Where images of each kind are one point, W is rounding, and T says all.
    shrinkage = torch.where(scale > least * eigenvalues[-1], shrinkage, 0.0)
    kept = 1 - shrinkage
    spread = kept.unsqueeze(1) * eigenvalues + (shrinkage * scale).unsqueeze(1)  # of A
    spread = torch.where(spread > least * eigenvalues[-1], spread, torch.inf)
    solved = d / spread
    left = (1 - kept * k * (d * solved).sum(dim=1)).clamp(min=least)
    return (solved / left.unsqueeze(1)) @ eigenvectors.T
