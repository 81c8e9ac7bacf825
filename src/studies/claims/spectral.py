"""Optima at finite weights, over free and over linear embeddings, and claims about them.

Each form of a loss descends each relation from every start, and is held against the optimum of
`src.subspaces.finite_optima`. With inputs, the same over linear maps.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from torch import Tensor

from src.losses.simclr import simclr_loss
from src.reports.tables import Row
from src.studies.claims.downstream import task_rows
from src.studies.claims.forms import Form, form
from src.studies.claims.linear import (
    Case,
    canonical,
    class_inputs,
    discriminants,
    generalised,
    locality_preserving,
    two_view_inputs,
)
from src.studies.claims.relations import (
    nearest_neighbours,
    random_graph,
    related_classes,
)
from src.studies.claims.verdicts import Claim, Found, converged, converged_to, judge
from src.studies.descent import quasi_newton, random_start
from src.studies.geometry import angle_to_top, relative_error
from src.subspaces.finite_optima import FiniteOptimum

Key = tuple[str, str]  # a setting and a loss

INITIAL_SCALE = 1.0
FREE = "(i) the optimum at these weights is the closed form"
LINEAR = "(j) the optimal linear map is the closed form"
ABOVE, BELOW = "loss above the least, of starts", "loss below the least, of starts"
SQUARES = "relative error of squared singular values"
ANGLE = "largest angle of left vectors, degrees"
SQUARED, BARLOW_TWINS, PRODUCTS = "vicreg_squares", "barlow_twins_1", "simclr_products"
PROJECTIONS = "(j) VICReg's linear map is that of locality preserving projections (SciPy)"
DISCRIMINANTS = "(j) VICReg's, with classes as G, is that of linear discriminants (scikit-learn)"
CORRELATIONS = "(j) Barlow Twins' is that of canonical correlations (scikit-learn)"
EIGENVECTORS = "(j) SimCLR's has the top eigenvectors of XᵀG X against XᵀX (SciPy)"
TIED = "uneven"  # a relation in which some eigenvalues are equal
INFO_NCE = Claim("(i) InfoNCE, too, ends at top eigenvectors of G", ANGLE, "[1]")
INFO_NCE_NAME = "simclr InfoNCE"


class SpectralClaims:
    """Optima at finite weights, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings and maps.
        classes: Arguments of `related_classes`.
        graph: Arguments of `random_graph`.
        neighbours: Arguments of `nearest_neighbours`.
        linear: Arguments of `two_view_inputs` and `class_inputs`, which relate inputs.
        forms: For each form of a loss, its name and its weights.
        temperature: Of InfoNCE.
        iterations: The most that a descent takes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        classes: Mapping[str, Any],
        graph: Mapping[str, Any],
        neighbours: Mapping[str, Any],
        linear: Mapping[str, Any],
        forms: Mapping[str, Mapping[str, Any]],
        temperature: float,
        iterations: int,
    ) -> None:
        self.seeds = seeds
        settings = {
            "uneven": related_classes(**classes),
            "random_graph": random_graph(**graph),
            "neighbours": nearest_neighbours(**neighbours),
        }
        self.free = {
            name: Case(setting.relation, setting.embedding_dim, None)
            for name, setting in settings.items()
        }
        self.linear = {"two views": two_view_inputs(**linear), "classes": class_inputs(**linear)}
        self.forms: dict[str, tuple[Form, dict[str, Any]]] = {}
        for about, values in forms.items():
            weights = dict(values)
            name = weights.pop("form")
            self.forms[about] = form(name, weights), weights
        self.temperature = temperature
        self.iterations = iterations

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """Jobs that find the optimum of every form in every case."""
        jobs: dict[Key, Callable[[], Found]] = {
            (self._key(name, cases), about): partial(self._descend, about, case)
            for cases in (self.free, self.linear)
            for name, case in cases.items()
            for about in self.forms
        }
        jobs["random_graph", INFO_NCE_NAME] = self._descend_info_nce
        return jobs

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """All claims about the optima that `descents` find, one after the other."""
        rows: list[Row] = []
        for text, cases in ((FREE, self.free), (LINEAR, self.linear)):
            for about in self.forms:
                rows += self._against_closed_form(text, about, cases, found, bounds)
        relation = self.free["random_graph"].relation
        optima = found["random_graph", INFO_NCE_NAME]
        angles = optima.measure(lambda free: angle_to_top(free, relation, bounds["rank"]))
        where = INFO_NCE_NAME, "random_graph; G", optima.convergence
        row = judge(INFO_NCE, *where, angles, "≤", bounds["angle"])
        return [*rows, row, *self._libraries(found, bounds)]

    def optimum(self, about: str, case: Case) -> FiniteOptimum:
        """The closed form of a form in a case."""
        which, weights = self.forms[about]
        return which.optimum(case.relation, case.embedding_dim, **weights, inputs=case.inputs)

    def _key(self, name: str, cases: Mapping[str, Case]) -> str:
        return name if cases is self.free else f"linear, {name}"

    def _descend(self, about: str, case: Case) -> Found:
        which, weights = self.forms[about]
        relation, dim, inputs = case

        def embed(free: Tensor) -> Tensor:
            return free if inputs is None else inputs @ free

        def embed_at_kink(free: Tensor) -> Tensor:
            assert which.kink is not None
            return which.kink(embed(free), relation)

        # A descent stops at a kink: once more among the embeddings there
        ways = [embed, embed_at_kink] if which.kink else [embed]
        size = len(relation) if inputs is None else inputs.shape[1]
        optima = []
        for seed in self.seeds:
            start = random_start(size, dim, seed, INITIAL_SCALE)
            ends = []
            for way in ways:
                function = partial(_at, way, partial(which.loss, relation=relation, **weights))
                end = quasi_newton(function, start, self.iterations)
                ends.append(end._replace(embeddings=way(end.embeddings)))
            optima.append(min(ends, key=lambda end: end.loss))
        return converged_to(optima, self.optimum(about, case).loss)

    def _descend_info_nce(self) -> Found:
        relation, dim, _ = self.free["random_graph"]
        starts = [random_start(len(relation), dim, seed, INITIAL_SCALE) for seed in self.seeds]

        def function(free: Tensor) -> Tensor:
            return simclr_loss(free, relation, self.temperature)

        return converged([quasi_newton(function, start, self.iterations) for start in starts])

    def _against_closed_form(
        self,
        text: str,
        about: str,
        cases: Mapping[str, Case],
        found: Mapping[Key, Found],
        bounds: Mapping[str, float],
    ) -> Iterator[Row]:
        which, _ = self.forms[about]
        for unique, chosen in self._by_uniqueness(about, cases).items():
            ends = [
                (case, self.optimum(about, case), end)
                for name, case in chosen.items()
                for end in found[self._key(name, cases), about].optima
            ]
            given = "G" if about == PRODUCTS else "G by degree"
            setting = f"{', '.join(chosen)}; {given}{'' if unique else ', many optima'}"
            convergence = f"{len(ends)} of {len(self.seeds) * len(chosen)} starts"
            seen = [which.seen(end.embeddings, case.relation) for case, _, end in ends]
            gaps = [end.loss - best.loss for _, best, end in ends]
            errors = [
                relative_error(
                    torch.linalg.svdvals(weighted).square(),
                    best.squares.sort(descending=True).values,
                )
                for (weighted, _), (_, best, _) in zip(seen, ends, strict=True)
            ]
            angles = [angle_to_top(*pair, bounds["rank"]) for pair in seen]
            for measure, measured, bound in (
                (ABOVE, gaps, "above"),
                (BELOW, [-gap for gap in gaps], "below"),
                (SQUARES, errors, "error"),
                (ANGLE, angles, "angle"),
            ):
                # Angles to eigenvectors of G are those of free embeddings
                if measure != ANGLE or cases is self.free:
                    claim = Claim(text, measure, "[1]")
                    yield judge(claim, about, setting, convergence, measured, "≤", bounds[bound])
            if cases is self.free and unique:
                untied = {name: case for name, case in chosen.items() if name != TIED}
                optima = [(self.optimum(about, c), c, found[n, about]) for n, c in untied.items()]
                yield from task_rows(about, ", ".join(untied), which, optima, bounds)

    def _by_uniqueness(self, about: str, cases: Mapping[str, Case]) -> dict[bool, dict[str, Case]]:
        """Cases whose optimum is unique but for rotations, and others.

        Under Barlow Twins with variance to spare, dimensions may take in eigenvectors of negative
        eigenvalues at no cost, as long as correlations stay.
        """
        grouped: dict[bool, dict[str, Case]] = {}
        for name, case in cases.items():
            spare = case.embedding_dim - float(self.optimum(about, case).squares.sum())
            unique = not about.startswith("barlow_twins") or spare < 1e-6
            grouped.setdefault(unique, {})[name] = case
        return grouped

    def _libraries(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> Iterator[Row]:
        """Linear optima that descents find, against those of SciPy and scikit-learn."""
        for text, about, name, solve in (
            (PROJECTIONS, SQUARED, "two views", locality_preserving),
            (DISCRIMINANTS, SQUARED, "classes", discriminants),
            (CORRELATIONS, BARLOW_TWINS, "two views", canonical),
            (EIGENVECTORS, PRODUCTS, "two views", generalised),
        ):
            optima = found[f"linear, {name}", about]
            angle = partial(_angle, solve(self.linear[name]), about != PRODUCTS)
            yield judge(
                Claim(text, "largest angle of X W, degrees", "[1]"),
                about,
                name,
                optima.convergence,
                optima.measure(angle),
                "≤",
                bounds["angle"],
            )


def _at(way: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], free: Tensor) -> Tensor:
    return loss(way(free))


def _angle(expected: Tensor, about_mean: bool, found: Tensor) -> float:
    if about_mean:
        found, expected = found - found.mean(dim=0), expected - expected.mean(dim=0)
    return float(np.degrees(subspace_angles(found.numpy(), expected.numpy()).max()))
