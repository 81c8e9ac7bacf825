"""Linear discriminants of minterms, in closed form from moments.

Embeddings of a minterm m are taken for Gaussian with a mean mu_m of its own and one covariance for
all. With a regressor a for every image and N training images,

    S_aa = sum a a^T,   S_ax = sum a x^T,   S_xx = sum x x^T        (sums over training images)
    B = S_aa^+ S_ax,    mu_m = B^T a_m,     W = (S_xx - B^T S_aa B) / N
    P = ((1 - s) W + s tr(W) / D I)^(-1)                            (s: shrinkage)

    log p(m | x) = mu_m^T P x - mu_m^T P mu_m / 2 + log n_m + const.

Where a = [1; literals], means are additive: every literal moves them by a vector of its own, which
all minterms that have the literal share, so that rare ones borrow from frequent ones. Where a
indicates the minterm, means are free, and this is linear discriminant analysis. All sums are over
samples, and so exact over batches and processes.

References:
    [0] Fisher, *The Use of Multiple Measurements in Taxonomic Problems*, Annals of Eugenics, 1936
    [1] Chen, Wiesel, Eldar, Hero, *Shrinkage Algorithms for MMSE Covariance Estimation*, IEEE
        Transactions on Signal Processing, 2010, https://arxiv.org/abs/0907.4698
"""

from typing import Literal

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.functional import logsigmoid, one_hot

from src.readouts.readout import Readout
from src.subspaces.minterms import find_minterms

Means = Literal["additive", "free", "literals"]


class DiscriminantReadout(Readout):
    """Gaussian classes with one covariance, solved from moments of the training embeddings.

    Args:
        minterms: (M, C), the distinct label rows of the training set.
        embedding_dim: D.
        means: `additive` in the literals; `free` for each minterm; or `literals`, one discriminant
            of two classes for each literal, the probability of a minterm being their product.
        shrinkage: s, between 0 and 1; None for the estimate of [1], which the same moments give.

    Raises:
        ValueError: If the shrinkage is outside [0, 1].
    """

    name = "discriminant"
    label_codings = ("minterms", "literals", "complements")

    counts: Tensor  # (M,), training images of each minterm
    weights: Tensor  # (M, D), or (C, D) of literals
    biases: Tensor  # (M,), or (C,)
    _moment: Tensor  # (K + D, K + D), of regressors and embeddings, accumulated so far
    _counts: Tensor  # (M,)

    def __init__(
        self, minterms: Tensor, embedding_dim: int, means: Means, shrinkage: float | None
    ) -> None:
        super().__init__(minterms)
        if shrinkage is not None and not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be between 0 and 1, or null, not {shrinkage}")
        self.means = means
        self.shrinkage = shrinkage
        num_minterms, num_literals = minterms.shape
        num_regressors = num_minterms if means == "free" else num_literals + 1
        num_classes = num_literals if means == "literals" else num_minterms
        size = num_regressors + embedding_dim
        self.register_buffer("counts", torch.zeros(num_minterms, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(num_classes, embedding_dim).double())
        self.register_buffer("biases", torch.zeros(num_classes).double())
        self.register_buffer("_moment", torch.zeros(size, size).double(), persistent=False)
        self.register_buffer("_counts", torch.zeros_like(self.counts), persistent=False)

    def reset(self) -> None:
        """Forget what was accumulated. The fitted discriminants stay."""
        self._moment.zero_()
        self._counts.zero_()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with labels (N, C), rows of the minterms."""
        stacked = torch.cat([self._regressors(labels), embeddings.double()], dim=1)
        self._moment += stacked.T @ stacked
        index = find_minterms(labels, self.minterms)
        self._counts += torch.bincount(index, minlength=len(self.minterms))

    @torch.no_grad()
    def fit(self) -> None:
        """Solve for the discriminants, over all processes, and reset."""
        if dist.is_initialized():
            dist.all_reduce(self._moment)
            dist.all_reduce(self._counts)
        self.counts.copy_(self._counts)
        if self.means == "literals":
            for literal in range(self.minterms.shape[1]):
                self._fit_literal(literal)
        else:
            means, precision = self._solve(torch.arange(self._num_regressors))
            means = self._regressors(self.minterms) @ means
            self.weights.copy_(means @ precision)
            lengths = (self.weights * means).sum(dim=1)
            self.biases.copy_(self.counts.double().log() - lengths / 2)
        self.reset()

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """log p(m | x) up to a constant for embeddings (N, D): (N, M)."""
        logits = embeddings.double() @ self.weights.T + self.biases
        if self.means != "literals":
            return logits
        present = self.minterms.double()
        return logsigmoid(logits) @ present.T + logsigmoid(-logits) @ (1 - present).T

    @property
    def _num_regressors(self) -> int:
        return len(self._moment) - self.weights.shape[1]

    def _regressors(self, labels: Tensor) -> Tensor:
        """a for each row of labels, (N, K), in float64."""
        if self.means == "free":
            return one_hot(find_minterms(labels, self.minterms), len(self.minterms)).double()
        values = labels.double()
        return torch.cat([values.new_ones(len(values), 1), values], dim=1)

    def _fit_literal(self, literal: int) -> None:
        """The discriminant of images with a literal against those without."""
        means, precision = self._solve(torch.tensor([0, literal + 1]))
        absent, present = means[0], means[0] + means[1]
        weight = (present - absent) @ precision
        total, having = self._moment[0, 0], self._moment[0, literal + 1]
        self.weights[literal] = weight
        odds = having.log() - (total - having).log()
        self.biases[literal] = odds - weight @ (absent + present) / 2

    def _solve(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients B, (K, D), of the chosen regressors, and the precision P, (D, D)."""
        start = self._num_regressors
        chosen = chosen.to(self._moment.device)
        squares = self._moment[chosen[:, None], chosen]
        products = self._moment[chosen, start:]
        coefficients = torch.linalg.pinv(squares, hermitian=True) @ products
        number = self._counts.sum()
        scatter = self._moment[start:, start:] - coefficients.T @ squares @ coefficients
        covariance = (scatter + scatter.T) / 2 / number
        scale = covariance.diagonal().mean()
        if scale <= 0:  # embeddings of one minterm are one point: the nearest mean decides
            return coefficients, torch.eye(len(covariance)).to(covariance)
        s = self.shrinkage
        s = oracle_shrinkage(covariance, int(number)) if s is None else s
        shrunk = (1 - s) * covariance + s * scale * torch.eye(len(covariance)).to(covariance)
        return coefficients, torch.linalg.pinv(shrunk, hermitian=True)


def oracle_shrinkage(covariance: Tensor, number: int) -> float:
    """The oracle approximating shrinkage of a covariance (D, D) of `number` samples, [1].

    With m the mean eigenvalue and q the mean square of the entries,

        s = min(1, (q + m^2) / ((number + 1) (q - m^2 / D)))
    """
    mean_square = covariance.square().mean()
    squared_mean = covariance.diagonal().mean().square()
    excess = (number + 1) * (mean_square - squared_mean / len(covariance))
    if excess <= 0:
        return 1.0
    return min(1.0, float((mean_square + squared_mean) / excess))
