"""What is said of optima of self-supervised losses under a relation G between samples.

A loss is asked only for what it sees: SimCLR sees no lengths of embeddings, VICReg and Barlow Twins
no mean, Barlow Twins no scale of dimensions; these are taken out first. Rows are weighted by the
roots of the probabilities of samples, as in the degree-normalised G, see
`src.subspaces.spectral_embedding`. G relates no sample to itself in descents; rank(G) is that with
every sample related to itself as well: the number of classes.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot
from torch.optim import SGD, Adam

from src.losses.barlow_twins import BarlowTwinsLoss
from src.losses.byol_spectral import BYOLSpectralLoss
from src.losses.pca import pca_loss
from src.losses.relation import deviations
from src.losses.simclr import SimCLRLoss
from src.losses.spectral_contrastive import spectral_contrastive_loss
from src.losses.vicreg import VICRegLoss
from src.reports.tables import Row
from src.studies.descent import Optimum, gradient_descent, quasi_newton, random_start
from src.studies.measures import TIE, angle_to_top, class_task, numerical_rank, relative_error
from src.studies.verdicts import Claim, Found, converged, judge
from src.subspaces.spectral_embedding import (
    normalize_relation,
    pca_optimum,
    spectral_contrastive_optimum,
    vicreg_optimum,
)

Key = tuple[str, str]  # a setting and a loss

INITIAL_SCALE = 1.0
MEAN_FREE = VICRegLoss | BarlowTwinsLoss
BYOL, PCA, DATA = "byol_spectral", "pca", "random data"
SPECTRAL = ("spectral_contrastive", BYOL)
ALIGNED = Claim("(a) Z spans the top eigenvectors of G", "largest angle, degrees", "[1]")
ALIGNED_DATA = ALIGNED._replace(
    text="(a) X W spans the top eigenvectors of X Xᵀ", reference="[2] (3.4)"
)
SAME_RANK = Claim("(b) rank(Z) = rank(G)", "rank(Z)", "[1]")
HIGHER_RANK = SAME_RANK._replace(text="(b) rank(Z) can exceed rank(G)")
CLOSED_FORM = "(c) the optimum is the closed form"
SPECTRAL_LOSS = Claim(CLOSED_FORM, "difference of losses", "[2] (2.15)")
SPECTRAL_EMBEDDING = SPECTRAL_LOSS._replace(measure="relative error of Z Zᵀ")
VICREG_LOSS = SPECTRAL_LOSS._replace(reference="[1]")
COMPONENTS = Claim(CLOSED_FORM, "relative error of W Wᵀ", "[2] (3.4)")
ERRORS = Claim("(d) Z solves the class task", "share of samples in a wrong class", "[1]")
RESIDUAL = ERRORS._replace(measure="relative residual")


class Setting(NamedTuple):
    """A relation between samples, of classes or not."""

    relation: Tensor  # (N, N), symmetric, with a zero diagonal
    labels: Tensor | None  # (N, K), one-hot
    embedding_dim: int


class RelationClaims:
    """Optima of self-supervised losses, and claims about them.

    Args:
        seeds: Of the initial embeddings.
        classes: For each name `sizes` of classes, and `embedding_dim`.
        class_task: Name of the classes that are to be told from embeddings.
        graph: Arguments of `random_graph`.
        losses: Called as loss(embeddings, relation).
        iterations: At most, of quasi-Newton descents.
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
        self.iterations = iterations
        self.kinked = kinked
        self.byol = byol
        self.pca = pca

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """What finds the optima of a setting under a loss."""
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

    def visible(self, name: str, loss: str, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """What a loss sees of embeddings and of their relation.

        Args:
            name: Of the setting.
            loss: Its name.
            embeddings: (N, D).

        Returns:
            Embeddings (N, D) without what the loss does not see, rows weighted by the roots of
            their probabilities; and the degree-normalised relation (N, N), whose constant
            eigenvector comes last for a loss that sees no mean.
        """
        normalized, probabilities = normalize_relation(self.settings[name].relation)
        module, constant = self.losses.get(loss), probabilities.sqrt()
        if isinstance(module, SimCLRLoss):
            embeddings = normalize(embeddings, dim=1)
        if isinstance(module, MEAN_FREE):
            embeddings = deviations(embeddings, probabilities)
            normalized = normalized - 3 * constant.outer(constant)  # eigenvalues are at least -1
        if isinstance(module, BarlowTwinsLoss):
            embeddings = embeddings / (probabilities @ embeddings.square()).sqrt()
        return constant.unsqueeze(1) * embeddings, normalized

    def spectra(self, name: str, loss: str, found: Found) -> tuple[Tensor, Tensor]:
        """Squared singular values of embeddings, and as many eigenvalues of their relation,
        0 in place of negative ones.

        Returns:
            Twice (D,), descending, relative to the largest.
        """
        embeddings, normalized = self.visible(name, loss, found.optima[0].embeddings)
        measured = torch.linalg.svdvals(embeddings).square()
        eigenvalues = torch.linalg.eigvalsh(normalized).clamp(min=0).flip(0)[: len(measured)]
        return measured / measured[0], eigenvalues / eigenvalues[0]

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
        return converged(
            [
                quasi_newton(
                    lambda free: pca_loss(data, relation, free, penalty), start, self.iterations
                )
                for start in starts
            ]
        )

    def _data(self, num: int) -> Tensor:
        return random_start(num, self.pca["data_dim"], self.pca["seed"], 1.0)

    def _alignment_and_rank(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        setting, threshold = self.settings[name], bounds["rank"]
        about = loss, self._describe(name), found.convergence

        def angle(embeddings: Tensor) -> float:
            return angle_to_top(*self.visible(name, loss, embeddings), threshold)

        yield judge(ALIGNED, *about, found.measure(angle), "≤", bounds["angle"])
        module = self.losses.get(loss)
        if setting.labels is None or not isinstance(module, SimCLRLoss | MEAN_FREE):
            return
        rank = setting.labels.shape[1] - isinstance(module, MEAN_FREE)
        if rank >= setting.embedding_dim:
            return
        claim, comparison = (
            (HIGHER_RANK, ">") if isinstance(module, VICRegLoss) else (SAME_RANK, "=")
        )
        ranks = found.measure(
            lambda embeddings: numerical_rank(self.visible(name, loss, embeddings)[0], threshold)
        )
        yield judge(claim, *about, ranks, comparison, rank)

    def _closed_form(
        self, name: str, loss: str, found: Found, bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        relation, _, dim = self.settings[name]
        about = loss, self._describe(name), found.convergence
        module = self.losses.get(loss)
        if loss in SPECTRAL:
            optimum = spectral_contrastive_optimum(relation, dim)
            least = float(spectral_contrastive_loss(optimum, relation))
            gaps = found.measure(
                lambda free: abs(float(spectral_contrastive_loss(free, relation)) - least)
            )
            yield judge(SPECTRAL_LOSS, *about, gaps, "≤", bounds["loss"])
            if is_unique(relation, dim):
                errors = found.measure(
                    lambda free: relative_error(free @ free.T, optimum @ optimum.T)
                )
                yield judge(SPECTRAL_EMBEDDING, *about, errors, "≤", bounds["error"])
        elif isinstance(module, VICRegLoss):
            least = float(module(vicreg_optimum(relation, dim), relation))
            gaps = [abs(optimum.loss - least) for optimum in found.optima]
            yield judge(VICREG_LOSS, *about, gaps, "≤", bounds["loss"])

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
                    else self.visible(self.class_task, loss, optimum.embeddings)[0],
                    labels,
                )
                for optimum in optima.optima
            ]
            yield judge(ERRORS, *about, [1 - accuracy for accuracy, _ in results], "≤", 0)
            yield judge(
                RESIDUAL, *about, [residual for _, residual in results], "≤", bounds["error"]
            )


def related_classes(sizes: Sequence[int], embedding_dim: int) -> Setting:
    """Samples of classes of these sizes, each related to all others of its class."""
    members = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(list(sizes)))
    labels = one_hot(members).double()
    return Setting((labels @ labels.T).fill_diagonal_(0), labels, embedding_dim)


def random_graph(num: int, density: float, seed: int, embedding_dim: int) -> Setting:
    """Samples related with weights between 0 and 1.

    Args:
        num: N.
        density: Share of the pairs that are related.
        seed: Of all choices.
        embedding_dim: D.
    """
    generator = torch.Generator().manual_seed(seed)
    weights, draws = torch.rand(2, num, num, generator=generator, dtype=torch.float64)
    relation = (weights * (draws < density)).triu(1)
    return Setting(relation + relation.T, None, embedding_dim)


def is_unique(relation: Tensor, embedding_dim: int) -> bool:
    """Whether the closed form leaves no choice: D positive eigenvalues are larger than the rest.

    Args:
        relation: (N, N), symmetric.
        embedding_dim: D.
    """
    values = torch.linalg.eigvalsh(normalize_relation(relation)[0]).clamp(min=0).flip(0)
    return bool(
        values[embedding_dim] == 0 or values[embedding_dim - 1] > values[embedding_dim] + TIE
    )
