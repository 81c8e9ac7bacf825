"""Linear discriminants of literals, in closed form from moments.

For each literal, embeddings of the n_1 images that have it and of the n_0 that have not are taken
for Gaussian with one covariance W, and

    log p(c | x) / p(~c | x) = w^T (x - (mu_0 + mu_1) / 2) + log n_1 / n_0
    w = ((1 - s) W + s tr(W) / D I)^(-1) d,      d = mu_1 - mu_0          (s: shrinkage)

is linear discriminant analysis [0] of two classes. All literals share one eigendecomposition, that
of the covariance T of all N images, since W is T less a matrix of rank one,

    W = T - k d d^T,      k = n_0 n_1 / N^2

so that with A = (1 - s) T + s tr(W) / D I, by Sherman and Morrison,

    w = A^(-1) d / (1 - (1 - s) k d^T A^(-1) d)

Reference:
    [0] Fisher, *The Use of Multiple Measurements in Taxonomic Problems*, Annals of Eugenics, 1936
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.readouts.literals import LiteralReadout
from src.readouts.moments import Moments, check_shrinkage, oracle_shrinkage, with_constant


class LiteralDiscriminants(LiteralReadout):
    """A discriminant of two Gaussians for each literal, solved from moments of the training
    embeddings. Time and memory do not depend on the number of minterms.

    Args:
        literals: (C,), names.
        embedding_dim: D.
        shrinkage: s, between 0 and 1; None for the oracle's estimate of each literal, which the
            same moments give.

    Raises:
        ValueError: If the shrinkage is outside [0, 1].
    """

    name = "literal_discriminants"
    label_codings = ("literals", "complements", "minterms")

    weights: Tensor  # (C, D)
    biases: Tensor  # (C,)

    def __init__(
        self, literals: Sequence[str], embedding_dim: int, shrinkage: float | None
    ) -> None:
        check_shrinkage(shrinkage)
        super().__init__(literals)
        self.shrinkage = shrinkage
        num_literals = len(literals)
        self._moments = Moments(1 + num_literals, embedding_dim)
        self.register_buffer("weights", torch.zeros(num_literals, embedding_dim).double())
        self.register_buffer("biases", torch.zeros(num_literals).double())

    def reset(self) -> None:
        """Forget what was accumulated. The fitted discriminants stay."""
        self._moments.reset()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with labels (N, C)."""
        self._moments.update(with_constant(labels), embeddings)

    @torch.no_grad()
    def fit(self) -> None:
        """Solve for the discriminants, over all processes, and reset.

        A literal that all training images have, or none, is certain.
        """
        squares, products, scatter = self._moments.reduce()
        number, having = squares[0, 0], squares[0, 1:]
        lacking = number - having
        mean, present = products[0] / number, products[1:] / having.clamp(min=1).unsqueeze(1)
        absent = (products[0] - products[1:]) / lacking.clamp(min=1).unsqueeze(1)
        k = having * lacking / number**2
        difference = present - absent
        total = scatter / number - mean.outer(mean)
        self.weights.copy_(self._weigh(total, difference, k, number))
        middle = (present + absent) / 2
        odds = having.log() - lacking.log()
        self.biases.copy_(odds - (self.weights * middle).sum(dim=1))
        self.reset()

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double() @ self.weights.T + self.biases

    def _weigh(self, total: Tensor, difference: Tensor, k: Tensor, number: Tensor) -> Tensor:
        """The weights w of literals, (C, D), of T (D, D), their d (C, D) and k (C,)."""
        dim = len(total)
        eigenvalues, eigenvectors = torch.linalg.eigh((total + total.T) / 2)
        eigenvalues = eigenvalues.clamp(min=0)
        # All that follows is in coordinates along the eigenvectors.
        d = difference @ eigenvectors
        length = k * d.square().sum(dim=1)  # of k d d^T
        scale = ((eigenvalues.sum() - length) / dim).clamp(min=0)  # tr(W) / D
        shrinkage: Tensor | float | None = self.shrinkage
        if shrinkage is None:
            cross = k * (d.square() @ eigenvalues)
            mean_square = (eigenvalues.square().sum() - 2 * cross + length.square()) / dim**2
            shrinkage = oracle_shrinkage(scale, mean_square, dim, int(number))
        least = torch.finfo(total.dtype).eps * dim
        # Where images of each kind are one point, W is rounding, and T says all.
        shrinkage = torch.where(scale > least * eigenvalues[-1], shrinkage, 0.0)
        kept = 1 - shrinkage
        spread = kept.unsqueeze(1) * eigenvalues + (shrinkage * scale).unsqueeze(1)  # of A
        spread = torch.where(spread > least * eigenvalues[-1], spread, torch.inf)
        solved = d / spread
        left = (1 - kept * k * (d * solved).sum(dim=1)).clamp(min=least)
        return (solved / left.unsqueeze(1)) @ eigenvectors.T
