"""Optima of supervised losses under labels Y, as they are or as minterms, and claims about them.

References:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.optim import SGD

from src.losses.mmcr import mmcr_loss
from src.losses.nuclear import nuclear_norm_loss
from src.losses.ole import ole_loss
from src.readouts.subspaces import MintermSubspaces
from src.reports.tables import Row
from src.studies.claims.verdicts import Claim, Found, converged, converged_to, judge
from src.studies.descent import Optimum, gradient_descent, quasi_newton, random_start
from src.studies.geometry import angle_to_span, cosines, kernel_alignment
from src.studies.lattice_laws import distributivity_gap, entailment_agreement
from src.studies.synthetic import label_matrix
from src.subspaces.closed_form import optimal_loss, optimal_singular_values
from src.subspaces.lattice import complement
from src.subspaces.minterms import distinct_minterms, find_minterms
from src.subspaces.projectors import max_coherence, max_commutator, span_projectors
from src.subspaces.propositions import conjunctions

Key = tuple[str, str]  # labels and a loss

INITIAL_SCALE = 0.01
MMCR, OLE = "mmcr", "ole"
ORTHOGONAL = Claim("(e) minterms are orthogonal", "largest squared cosine", "[0]")
SPECTRAL = "(f) the optimum is the spectral embedding of YᵀY"
SPAN = Claim(SPECTRAL, "largest angle of singular vectors, degrees", "[0]")
VALUES = Claim(SPECTRAL, "largest relative error of a singular value", "[0]")
BOOLEAN = "(g) the lattice is Boolean"
COMMUTING = Claim(BOOLEAN, "largest commutator of literals", "[0]")
DISTRIBUTIVE = Claim(BOOLEAN, "largest gap of distributivity", "[0]")
ENTAILING = Claim(BOOLEAN, "share of entailments that differ from truth", "[0]")
CORRELATED = Claim(
    "(h) cosines follow YᵀY of literals beyond minterms", "centred kernel alignment", "[0]"
)


class Labels(NamedTuple):
    """Labels of samples, and the literals that they come from."""

    values: Tensor  # (N, C) literals or (N, M) indicators of minterms
    literals: Tensor  # (N, C)
    minterms: Tensor  # (N, M), indicators
    names: Sequence[str]  # of the literals, (C,)


class SupervisedClaims:
    """Optima of supervised losses, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings.
        embedding_dim: D.
        labels: Arguments of `code_labels` for each name.
        weights: Pairs of alpha and beta of the nuclear norm; the lattice is that of the first.
        nuclear, ole: `lr`, `decay` and `iterations` of their descents.
        iterations: The most that the quasi-Newton descent of MMCR takes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        embedding_dim: int,
        labels: Mapping[str, Mapping],
        weights: Sequence[Sequence[float]],
        nuclear: Mapping[str, Any],
        ole: Mapping[str, Any],
        iterations: int,
    ) -> None:
        self.seeds = seeds
        self.embedding_dim = embedding_dim
        self.labels = {}
        for name, values in labels.items():
            for about, coded in code_labels(**values).items():
                self.labels[f"{name}: {about}"] = coded
        self.weights = {f"nuclear {alpha:g}, {beta:g}": (alpha, beta) for alpha, beta in weights}
        self.losses = (*self.weights, MMCR, OLE)
        self.nuclear = nuclear
        self.ole = ole
        self.iterations = iterations

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """Jobs that find the optima of each kind of labels under each loss."""
        return {
            (name, loss): partial(self._descend, name, loss)
            for name, loss in product(self.labels, self.losses)
        }

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """All claims about the optima that `descents` find, one after the other."""
        rows: list[Row] = []
        for name, loss in product(self.labels, self.losses):
            optima = found[name, loss]
            if loss in self.weights:
                rows += self._optimum(name, loss, optima, bounds)
            if loss == next(iter(self.weights)):
                rows += self._lattice(name, loss, optima, bounds)
            rows.append(self._correlations(name, loss, optima, bounds))
        return sorted(rows, key=itemgetter("claim"))

    def _descend(self, name: str, loss: str) -> Found:
        labels = self.labels[name].values
        optima = [
            self._descend_from(
                random_start(len(labels), self.embedding_dim, seed, INITIAL_SCALE), labels, loss
            )
            for seed in self.seeds
        ]
        if loss in self.weights:
            return converged_to(optima, optimal_loss(labels, *self.weights[loss]))
        return converged(optima)

    def _descend_from(self, start: Tensor, labels: Tensor, loss: str) -> Optimum:
        if loss == MMCR:
            return quasi_newton(lambda free: mmcr_loss(free, labels), start, self.iterations)
        if loss == OLE:
            return gradient_descent(lambda free: ole_loss(free, labels), start, SGD, **self.ole)
        weights = self.weights[loss]
        return gradient_descent(
            lambda free: nuclear_norm_loss(free, labels, *weights), start, SGD, **self.nuclear
        )

    def _optimum(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        about = loss, name, found.convergence
        labels, (alpha, beta) = self.labels[name], self.weights[loss]
        coherences = found.measure(
            lambda free: max_coherence(fit_minterms(free, labels.literals).directions)
        )
        yield judge(ORTHOGONAL, *about, coherences, "≤", bounds["squared_cosine"])
        optimal = optimal_singular_values(labels.values, alpha, beta)
        rank = len(optimal)
        span = torch.linalg.svd(labels.values).U[:, :rank]
        angles = found.measure(lambda free: angle_to_span(torch.linalg.svd(free).U[:, :rank], span))
        yield judge(SPAN, *about, angles, "≤", bounds["angle"])
        errors = found.measure(
            lambda free: float((torch.linalg.svdvals(free)[:rank] / optimal - 1).abs().max())
        )
        yield judge(VALUES, *about, errors, "≤", bounds["error"])

    def _lattice(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        about = loss, name, found.convergence
        _, literals, _, names = self.labels[name]
        propositions = conjunctions(names, 2)

        def measure(of: Callable[[Tensor, Tensor, Tensor], float]) -> list[float]:
            # It takes literals (C, D, D), the whole space (D, D) and the minterms (M, C).
            values = []
            for optimum in found.optima:
                fitted = fit_minterms(optimum.embeddings, literals)
                masks = torch.cat([fitted.minterms.T, torch.ones_like(fitted.minterms.T[:1])])
                *spaces, unit = span_projectors(fitted.directions, masks)
                values.append(of(torch.stack(spaces), unit, fitted.minterms))
            return values

        commutators = measure(lambda spaces, unit, minterms: max_commutator(spaces))
        yield judge(COMMUTING, *about, commutators, "≤", bounds["commutator"])
        gaps = measure(
            lambda spaces, unit, minterms: distributivity_gap(
                torch.cat([spaces, complement(spaces, unit)])
            )
        )
        yield judge(DISTRIBUTIVE, *about, gaps, "≤", bounds["commutator"])
        wrong = measure(
            lambda spaces, unit, minterms: (
                1 - entailment_agreement(propositions, spaces, unit, minterms)
            )
        )
        yield judge(ENTAILING, *about, wrong, "≤", 0)

    def _correlations(self, name: str, loss: str, found: Found, bounds: Mapping[str, float]) -> Row:
        literals = self.labels[name].literals
        gram, minterms = literals @ literals.T, self.labels[name].minterms
        alone = kernel_alignment(minterms @ minterms.T, gram)
        alignments = found.measure(lambda free: kernel_alignment(cosines(free), gram))
        return judge(
            CORRELATED, loss, name, found.convergence, alignments, ">", alone + bounds["alignment"]
        )


def code_labels(
    literals: Mapping[str, Sequence[int]], repeats: int, codings: Sequence[str]
) -> dict[str, Labels]:
    """Labels of samples in each coding, with the rank and the number of minterms as their name.

    Args:
        literals: The samples of each literal.
        repeats: Number of copies of each sample.
        codings: `literals`, as they are, or `minterms`, indicators of their conjunctions.
    """
    rows = label_matrix(list(literals.values())).repeat_interleave(repeats, dim=0)
    indicators = minterm_indicators(rows)
    coded = {}
    for coding in codings:
        values = rows if coding == "literals" else indicators
        rank = int(torch.linalg.matrix_rank(values))
        about = f"{coding}, rank {rank}, {indicators.shape[1]} minterms"
        coded[about] = Labels(values, rows, indicators, list(literals))
    return coded


def minterm_indicators(literals: Tensor) -> Tensor:
    """Indicators of the minterms in literals (N, C): (N, M)."""
    return one_hot(find_minterms(literals, distinct_minterms(literals))).double()


def fit_minterms(embeddings: Tensor, literals: Tensor) -> MintermSubspaces:
    """Subspaces of the minterms in literals (N, C), fitted on embeddings (N, D)."""
    subspaces = MintermSubspaces(distinct_minterms(literals), embeddings.shape[1])
    subspaces.update(embeddings, literals)
    subspaces.fit()
    return subspaces
