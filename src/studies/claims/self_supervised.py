"""Optima of self-supervised losses under a relation G between samples, and claims about them.

Rows of embeddings are weighted by the roots of the probabilities of samples, as in the
degree-normalised G, see `src.subspaces.spectral_embedding`. The equations that claims cite are
those of the references in `src.studies.claims.expectations`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from src.losses.byol_spectral import BYOLSpectralLoss
from src.losses.pca import pca_loss
from src.reports.tables import Row
from src.studies.claims.expectations import CLOSED_FORM, EXPECTATIONS, Expectation
from src.studies.claims.relations import is_unique, random_graph, related_classes
from src.studies.claims.verdicts import Claim, Found, converged, judge
from src.studies.descent import Optimum, gradient_descent, quasi_newton, random_start
from src.studies.geometry import angle_to_top, class_task, numerical_rank, relative_error
from src.subspaces.spectral_embedding import pca_optimum

Key = tuple[str, str]  # a setting and a loss

INITIAL_SCALE = 1.0
BYOL, PCA, DATA = "byol_spectral", "pca", "random data"
ALIGNED = Claim("(a) Z spans the top eigenvectors of G", "largest angle, degrees", "[1]")
ALIGNED_DATA = ALIGNED._replace(
    text="(a) X W spans the top eigenvectors of X Xᵀ", reference="[2] (3.4)"
)
COMPONENTS = Claim(CLOSED_FORM, "relative error of W Wᵀ", "[2] (3.4)")
ERRORS = Claim("(d) Z solves the class task", "share of samples in a wrong class", "[1]")
RESIDUAL = ERRORS._replace(measure="relative residual")


class SelfSupervisedClaims:
    """Optima of self-supervised losses, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings.
        classes: `sizes` of classes, and `embedding_dim`, for each name.
        class_task: Name of the classes that are to be told from embeddings.
        graph: Arguments of `random_graph`.
        losses: Called as loss(embeddings, relation).
        iterations: The most that a quasi-Newton descent takes.
        kinked: `lr`, `decay` and `iterations` of gradients before them, for losses whose optimum
            may lie at a kink, where they stop.
        byol: `momentum`, and `lr`, `decay` and `iterations` of its descent.
        pca: `data_dim` and `seed` of its data, `num_components` and `penalty`.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        classes: Mapping[str, Mapping],
        class_task: str,
        graph: Mapping[str, Any],
        losses: Mapping[str, nn.Module],
        iterations: int,
        kinked: Mapping[str, Mapping],
        byol: Mapping[str, Any],
        pca: Mapping[str, Any],
    ) -> None:
        self.seeds = seeds
        self.settings = {name: related_classes(**values) for name, values in classes.items()}
        self.settings["random_graph"] = random_graph(**graph)
        self.class_task = class_task
        self.losses = losses
        self.embedding_losses = (*losses, BYOL)
        types = {name: type(module) for name, module in losses.items()} | {BYOL: BYOLSpectralLoss}
        self.expectations = {
            name: EXPECTATIONS.get(loss, Expectation()) for name, loss in types.items()
        }
        self.iterations = iterations
        self.kinked = kinked
        self.byol = byol
        self.pca = pca

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """Jobs that find the optima of each setting under each loss."""
        keys = [(name, loss) for name in self.settings for loss in self.embedding_losses]
        jobs: dict[Key, Callable[[], Found]] = {key: partial(self._descend, *key) for key in keys}
        relation = self.settings[self.class_task].relation
        jobs[self.class_task, PCA] = partial(self._descend_components, relation)
        jobs[DATA, PCA] = partial(self._descend_components, torch.eye(len(relation)).double())
        return jobs

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """All claims about the optima that `descents` find, one after the other."""
        rows = [*self._principal_components(found, bounds), *self._class_task(found, bounds)]
        for name, loss in product(self.settings, self.embedding_losses):
            rows += self._alignment_and_rank(name, loss, found[name, loss], bounds)
            rows += self._closed_form(name, loss, found[name, loss], bounds)
        return sorted(rows, key=itemgetter("claim"))

    def spectra(self, name: str, loss: str, found: Found) -> tuple[Tensor, Tensor]:
        """Squared singular values of embeddings, and as many eigenvalues of their relation.

        Negative eigenvalues are 0.

        Returns:
            Twice (D,), descending, relative to the largest.
        """
        embeddings, normalized = self._visible(name, loss, found.optima[0].embeddings)
        measured = torch.linalg.svdvals(embeddings).square()
        eigenvalues = torch.linalg.eigvalsh(normalized).clamp(min=0).flip(0)[: len(measured)]
        return measured / measured[0], eigenvalues / eigenvalues[0]

    def _visible(self, name: str, loss: str, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return self.expectations[loss].visible(embeddings, self.settings[name].relation)

    def _describe(self, name: str) -> str:
        return f"{name}, D = {self.settings[name].embedding_dim}"

    def _descend(self, name: str, loss: str) -> Found:
        relation, _, dim = self.settings[name]
        starts = [random_start(len(relation), dim, seed, INITIAL_SCALE) for seed in self.seeds]
        if loss == BYOL:
            return converged([self._descend_byol(relation, start) for start in starts])
        module = self.losses[loss]

        def function(free: Tensor) -> Tensor:
            return module(free, relation)

        if loss in self.kinked:
            options = self.kinked[loss]
            starts = [gradient_descent(function, s, Adam, **options).embeddings for s in starts]
        return converged([quasi_newton(function, start, self.iterations) for start in starts])

    def _descend_byol(self, relation: Tensor, start: Tensor) -> Optimum:
        options = dict(self.byol)
        module = BYOLSpectralLoss(start.shape[1], options.pop("momentum")).double()
        return gradient_descent(lambda free: module(free, relation), start, SGD, **options)

    def _descend_components(self, relation: Tensor) -> Found:
        data, penalty = self._data(len(relation)), self.pca["penalty"]
        shape = self.pca["data_dim"], self.pca["num_components"]
        starts = [random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]

        def function(free: Tensor) -> Tensor:
            return pca_loss(data, relation, free, penalty)

        return converged([quasi_newton(function, start, self.iterations) for start in starts])

    def _data(self, num: int) -> Tensor:
        return random_start(num, self.pca["data_dim"], self.pca["seed"], 1.0)

    def _alignment_and_rank(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        setting, expected, threshold = self.settings[name], self.expectations[loss], bounds["rank"]
        about = loss, self._describe(name), found.convergence
        angles = found.measure(
            lambda free: angle_to_top(*self._visible(name, loss, free), threshold)
        )
        yield judge(ALIGNED, *about, angles, "≤", bounds["angle"])
        if setting.labels is None or expected.rank is None:
            return
        rank = setting.labels.shape[1] - (not expected.sees_mean)
        if rank >= setting.embedding_dim:
            return
        claim, comparison = expected.rank
        ranks = found.measure(
            lambda free: numerical_rank(self._visible(name, loss, free)[0], threshold)
        )
        yield judge(claim, *about, ranks, comparison, rank)

    def _closed_form(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        relation, _, dim = self.settings[name]
        about = loss, self._describe(name), found.convergence
        optimal = self.expectations[loss].optimal
        if optimal is None:
            return
        best = optimal.embeddings(relation, dim)
        minimised = optimal.loss or self.losses[loss]
        least = float(minimised(best, relation))
        gaps = found.measure(lambda free: abs(float(minimised(free, relation)) - least))
        yield judge(optimal.claim, *about, gaps, "≤", bounds["loss"])
        if optimal.gram_claim and is_unique(relation, dim):
            errors = found.measure(lambda free: relative_error(free @ free.T, best @ best.T))
            yield judge(optimal.gram_claim, *about, errors, "≤", bounds["error"])

    def _principal_components(
        self, found: Mapping[Key, Found], bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        optima = found[DATA, PCA]
        about = PCA, DATA, optima.convergence
        data = self._data(len(self.settings[self.class_task].relation))
        centered = data - data.mean(dim=0)
        angles = optima.measure(
            lambda free: angle_to_top(centered @ free, centered @ centered.T, bounds["rank"])
        )
        yield judge(ALIGNED_DATA, *about, angles, "≤", bounds["angle"])
        optimum = pca_optimum(data, self.pca["num_components"], self.pca["penalty"])
        errors = optima.measure(lambda free: relative_error(free @ free.T, optimum @ optimum.T))
        yield judge(COMPONENTS, *about, errors, "≤", bounds["error"])

    def _class_task(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> Iterator[Row]:
        labels = self.settings[self.class_task].labels
        assert labels is not None
        data = self._data(len(labels))
        for loss in (*self.embedding_losses, PCA):
            optima = found[self.class_task, loss]
            about = loss, self._describe(self.class_task), optima.convergence
            results = [
                class_task(
                    data @ optimum.embeddings
                    if loss == PCA
                    else self._visible(self.class_task, loss, optimum.embeddings)[0],
                    labels,
                )
                for optimum in optima.optima
            ]
            yield judge(ERRORS, *about, [1 - accuracy for accuracy, _ in results], "≤", 0)
            yield judge(
                RESIDUAL, *about, [residual for _, residual in results], "≤", bounds["error"]
            )
