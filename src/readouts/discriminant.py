"""Linear discriminants of minterms, in closed form from moments.

Embeddings of a minterm m are taken for Gaussian with a mean mu_m of its own and one covariance for
all. With a regressor a for every image, N training images and the sums of `Moments`,

    B = S_aa^+ S_ax,    mu_m = B^T a_m,     W = (S_xx - B^T S_aa B) / N
    P = ((1 - s) W + s tr(W) / D I)^(-1)                            (s: shrinkage)

    log p(m | x) = mu_m^T P x - mu_m^T P mu_m / 2 + log n_m + const.

Where a = [1; literals], means are additive: every literal moves them by a vector of its own, which
all minterms that have the literal share, so that rare ones borrow from frequent ones, and those
that training does not have follow from those that it has. Where a indicates the minterm, means are
free, and this is linear discriminant analysis [0].

Reference:
    [0] Fisher, *The Use of Multiple Measurements in Taxonomic Problems*, Annals of Eugenics, 1936
"""

from typing import Literal

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.functional import one_hot

from src.losses.discriminants import oracle_shrinkage
from src.readouts.contrasts import contrasts
from src.readouts.minterms import MintermReadout
from src.readouts.moments import Moments, check_shrinkage, with_constant
from src.subspaces.minterms import MAX_MINTERMS, all_minterms
from src.subspaces.propositions import Proposition

Means = Literal["additive", "free"]


class DiscriminantReadout(MintermReadout):
    """Gaussian classes with one covariance, solved from moments of the training embeddings.

    With additive means the table has all 2^C minterms where they are at most 4,096. One image more
    than there are is shared out among them, as if literals were independent, so that none that
    could be is held impossible:

        n_m = images of m + prod_{c in m} f_c prod_{c not in m} (1 - f_c)

    with f_c the share of training images that have the literal c.

    Args:
        minterms: (M, C), the distinct label rows of the training set.
        embedding_dim: D.
        means: `additive` in the literals; `free` for each minterm.
        shrinkage: s, between 0 and 1; None for the oracle's estimate, which the same moments give.

    Raises:
        ValueError: If the shrinkage is outside [0, 1].
    """

    name = "discriminant"
    label_codings = ("literals", "complements", "minterms")
    searched = "as they are"

    counts: Tensor  # (M,), n_m
    weights: Tensor  # (M, D)
    biases: Tensor  # (M,)
    _counts: Tensor  # (M,), images accumulated so far

    def __init__(
        self, minterms: Tensor, embedding_dim: int, means: Means, shrinkage: float | None
    ) -> None:
        check_shrinkage(shrinkage)
        num_literals = minterms.shape[1]
        if means == "additive" and 2**num_literals <= MAX_MINTERMS:
            minterms = all_minterms(num_literals)
        super().__init__(minterms)
        self.means = means
        self.shrinkage = shrinkage
        number = len(minterms)
        self._moments = Moments(number if means == "free" else num_literals + 1, embedding_dim)
        self.register_buffer("counts", torch.zeros(number).double())
        self.register_buffer("weights", torch.zeros(number, embedding_dim).double())
        self.register_buffer("biases", torch.zeros(number).double())
        counts = torch.zeros(number, dtype=torch.int64)
        self.register_buffer("_counts", counts, persistent=False)

    def reset(self) -> None:
        """Forget what was accumulated. The fitted discriminants stay."""
        self._moments.reset()
        self._counts.zero_()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with labels (N, C).

        Raises:
            ValueError: If a label row is none of the minterms.
        """
        index = self.find(labels)
        self._moments.update(self._regressors(labels), embeddings)
        self._counts += torch.bincount(index, minlength=len(self.minterms))

    @torch.no_grad()
    def fit(self) -> None:
        """Solve for the discriminants, over all processes, and reset."""
        squares, products, scatter = self._moments.reduce()
        if dist.is_initialized():
            dist.all_reduce(self._counts)
        self.counts.copy_(self._counts)
        if self.means == "additive":
            self.counts += shared_image(self._counts.double(), self.minterms)
        weights, biases = solve_minterm_discriminants(
            *(squares, products, scatter, self._regressors(self.minterms)),
            *(self._counts.sum(), self.shrinkage),
        )
        self.weights.copy_(weights)
        self.biases.copy_(biases + self.counts.log())
        self.reset()

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """log p(m | x) up to a constant for embeddings (N, D): (N, M).

        Raises:
            RuntimeError: If nothing was fitted.
        """
        self.check_fitted(self.counts)
        return embeddings.double() @ self.weights.T + self.biases

    def search_vectors(self, proposition: Proposition) -> Tensor:
        self.check_fitted(self.counts)
        return contrasts(self.weights, self.minterms, self.masks([proposition])[0])

    def _regressors(self, labels: Tensor) -> Tensor:
        """a for each row of labels, (N, K), in float64."""
        if self.means == "additive":
            return with_constant(labels)
        return one_hot(self.find(labels), len(self.minterms)).double()


def solve_minterm_discriminants(
    squares: Tensor,
    products: Tensor,
    scatter: Tensor,
    regressors: Tensor,
    number: Tensor,
    shrinkage: float | None,
) -> tuple[Tensor, Tensor]:
    """Discriminants of minterms with a regressor a_m each, from sums over images, in float64.

    Args:
        squares: S_aa, (K, K).
        products: S_ax, (K, D).
        scatter: S_xx, (D, D).
        regressors: a_m, (M, K).
        number: N, a scalar.
        shrinkage: s; None for the oracle's estimate.

    Returns:
        The weights P mu_m, (M, D), and biases -mu_m^T P mu_m / 2, (M,): log p(x | m) up to a
        constant is w . x + b.
    """
    coefficients = torch.linalg.pinv(squares, hermitian=True) @ products
    within = (scatter - coefficients.T @ squares @ coefficients) / number
    means = regressors @ coefficients
    weights = means @ _precision(within, number, shrinkage)
    return weights, -(weights * means).sum(dim=1) / 2


def shared_image(counts: Tensor, minterms: Tensor) -> Tensor:
    """The part of one image that each minterm gets, as if literals were independent.

    Args:
        counts: (M,), float64, images of each minterm.
        minterms: (M, C), bool.

    Returns:
        prod_{c in m} f_c prod_{c not in m} (1 - f_c), (M,), with f_c the share of images that have
        the literal c.
    """
    shares = counts @ minterms.double() / counts.sum()
    return torch.where(minterms, shares, 1 - shares).prod(dim=1)


def _precision(within: Tensor, number: Tensor, shrinkage: Tensor | float | None) -> Tensor:
    """P of the covariance W, both (D, D), of so many images."""
    covariance = (within + within.T) / 2
    identity = torch.eye(len(covariance)).to(covariance)
    scale = covariance.diagonal().mean()
    if scale <= 0:  # embeddings of one minterm are one point: the nearest mean decides
        return identity
    if shrinkage is None:
        mean_square = covariance.square().mean()
        shrinkage = oracle_shrinkage(scale, mean_square, len(covariance), number)
    shrunk = (1 - shrinkage) * covariance + shrinkage * scale * identity
    return torch.linalg.pinv(shrunk, hermitian=True)
