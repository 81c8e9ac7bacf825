"""Noise-contrastive optima on an alphabet whose joint distribution is an energy-based model.

The truth is p(x, x') = p(x) p(x') exp(phi(x)^T phi(x')) / Z with p as its marginal, which takes

    sum_x' p(x') exp(phi(x)^T phi(x')) = Z    for every x

A descent finds such phi for a given p: as many equations as symbols, and several times as many
unknowns. One constant Z is all that is left of the normalizer, and it is needed: by Jensen's
inequality the mean of log Z over x is at least |E phi|^2, and log Z = 0 leaves phi = 0 alone.

Losses see the joint distribution as their relation, so that they are those of the population.
Ranking sees no function of x alone; products are symmetric, and of functions of x and of x' they
have none but a constant. While phi has not the constant function in its span and embeddings have no
more dimensions than phi, Z Z^T = phi phi^T is the one optimum.

References:
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from src.losses.binary_nce import binary_nce_loss
from src.losses.ranking_nce import ranking_nce_loss, scaled_vectors
from src.reports.tables import Row
from src.studies.claims.verdicts import Claim, Found, converged, judge
from src.studies.descent import quasi_newton, random_start
from src.studies.geometry import relative_error

Key = tuple[str, str]  # a setting and a loss

PRODUCTS = "relative error of Z Zᵀ"
RANKING = Claim("(m) ranking NCE recovers φ up to rotation", PRODUCTS, "[2] (2.3)")
UP_TO_CONSTANT = RANKING._replace(
    text="(m) ranking NCE recovers φφᵀ up to a constant", measure=f"{PRODUCTS} less its mean"
)
BINARY = RANKING._replace(text="(m) binary NCE recovers φ up to rotation", reference="[2] (2.7)")
OFFSET = BINARY._replace(
    text="(m) the offset of binary NCE is -log Z", measure="difference of offset and -log Z"
)
NORMALIZED = BINARY._replace(text="(m) p(x') exp(φᵀφ') needs no normaliser", measure="log Z")
RAW, WIDER = "raw products", "raw products, a dimension more"
RANKING_NCE, BINARY_NCE, WITH_OFFSET = "ranking_nce", "binary_nce", "binary_nce, offset"
INITIAL_SCALE = 1.0


class Truth(NamedTuple):
    """An energy-based model of an alphabet."""

    products: Tensor  # phi phi^T, (N, N)
    joint: Tensor  # (N, N)
    log_normalizer: float  # log Z


class Case(NamedTuple):
    """What descends on a truth."""

    truth: Truth
    losses: Sequence[str]
    embedding_dim: int
    temperature: float | None  # of cosines; None for products of embeddings as they are
    mean: float = 0.0  # of initial embeddings; others than 0 have a constant to begin with


class EnergyClaims:
    """Optima of noise-contrastive losses where the truth is known, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings.
        symbols: N, the size of the alphabet.
        embedding_dim: Dimensions of phi.
        temperature: Of cosines, where vectors are normalised; phi has the length that goes with it.
        seed: Seed of the probabilities of symbols, and of where the search for phi starts.
        iterations: The most that a descent takes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        symbols: int,
        embedding_dim: int,
        temperature: float,
        seed: int,
        iterations: int,
    ) -> None:
        self.seeds = seeds
        self.iterations = iterations
        generator = torch.Generator().manual_seed(seed)
        weights = 0.5 + torch.rand(symbols, generator=generator, dtype=torch.float64)
        start = random_start(symbols, embedding_dim, seed, INITIAL_SCALE)
        free, even = (energy_model(weights / weights.sum(), start, t) for t in (None, temperature))
        every = (RANKING_NCE, BINARY_NCE, WITH_OFFSET)
        self.cases = {
            RAW: Case(free, every, embedding_dim, None),
            "cosines": Case(even, every, embedding_dim, temperature),
            "cosines, φ of other lengths": Case(free, [RANKING_NCE], embedding_dim, temperature),
            WIDER: Case(free, [RANKING_NCE], embedding_dim + 1, None, mean=1.0),
        }

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """Jobs that find the optimum of every loss in every case."""
        return {
            (name, loss): partial(self._descend, case, loss)
            for name, case in self.cases.items()
            for loss in case.losses
        }

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """The claims about the optima that `descents` find."""
        rows = []
        for name, case in self.cases.items():
            for loss in case.losses:
                optima = found[name, loss]
                about = loss, f"{name}, D = {case.embedding_dim}", optima.convergence
                claim = RANKING if loss == RANKING_NCE else BINARY
                errors = optima.measure(partial(_product_error, case))
                rows.append(judge(claim, *about, errors, "≤", bounds["error"]))
                if name == WIDER:
                    errors = optima.measure(partial(_error_up_to_constant, case))
                    rows.append(judge(UP_TO_CONSTANT, *about, errors, "≤", bounds["error"]))
                if loss == BINARY_NCE:
                    logs = [case.truth.log_normalizer]
                    rows.append(judge(NORMALIZED, *about[:2], "", logs, "≤", bounds["error"]))
                if loss == WITH_OFFSET:
                    errors = optima.measure(partial(_offset_error, case))
                    rows.append(judge(OFFSET, *about, errors, "≤", bounds["error"]))
        return rows

    def _descend(self, case: Case, loss: str) -> Found:
        joint, temperature = case.truth.joint, case.temperature

        def function(free: Tensor) -> Tensor:
            embeddings, offset = _parts(free)
            if loss == RANKING_NCE:
                return ranking_nce_loss(embeddings, joint, temperature)
            offset = offset if loss == WITH_OFFSET else 0 * offset
            return binary_nce_loss(embeddings, joint, offset, temperature, negatives=None)

        shape = len(joint) + 1, case.embedding_dim
        starts = [case.mean + random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]
        return converged([quasi_newton(function, start, self.iterations) for start in starts])


def _parts(free: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and the offset, which descends with them as an entry of one row more."""
    return free[:-1], free[-1, 0]


def _product_error(case: Case, free: Tensor) -> float:
    return relative_error(_products(case, free), case.truth.products)


def _error_up_to_constant(case: Case, free: Tensor) -> float:
    found, expected = _products(case, free), case.truth.products
    return relative_error(found - found.mean(), expected - expected.mean())


def _offset_error(case: Case, free: Tensor) -> float:
    return abs(float(_parts(free)[1]) + case.truth.log_normalizer)


def _products(case: Case, free: Tensor) -> Tensor:
    vectors = scaled_vectors(_parts(free)[0], case.temperature)
    return vectors @ vectors.T


def energy_model(marginal: Tensor, start: Tensor, temperature: float | None) -> Truth:
    """A joint distribution p_i p_j exp(phi_i . phi_j) / Z of the marginal p, and its phi.

    Args:
        marginal: p, (N,).
        start: (N, D), where the search for phi starts.
        temperature: 1 / |phi_i|^2 for phi of one length; None for phi of any.
    """

    def spread(free: Tensor) -> Tensor:
        return _log_normalizers(scaled_vectors(free, temperature), marginal).var()

    phi = scaled_vectors(quasi_newton(spread, start, 1000).embeddings, temperature)
    log_normalizer = float(_log_normalizers(phi, marginal).mean())
    products = phi @ phi.T
    joint = marginal.outer(marginal) * (products - log_normalizer).exp()
    return Truth(products, joint, log_normalizer)


def _log_normalizers(phi: Tensor, marginal: Tensor) -> Tensor:
    return torch.logsumexp(phi @ phi.T + marginal.log(), dim=1)
