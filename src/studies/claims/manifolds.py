"""Optima of points on a curved sheet, beside the manifold embeddings of scikit-learn.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist
from sklearn.datasets import make_s_curve
from sklearn.manifold import ClassicalMDS, Isomap, spectral_embedding
from sklearn.neighbors import kneighbors_graph
from torch import Tensor

from src.losses.relation import deviations
from src.reports.tables import Row
from src.studies.claims.forms import simclr_products_loss, vicreg_squares_loss
from src.studies.claims.verdicts import Claim, Found, converged, judge
from src.studies.descent import quasi_newton, random_start
from src.studies.geometry import relative_error

LOCAL = Claim("(l) VICReg on neighbours is Laplacian eigenmaps", "largest angle, degrees", "[1]")
GLOBAL = LOCAL._replace(text="(l) SimCLR on products of geodesics is ISOMAP")
STRAIGHT = LOCAL._replace(text="(l) SimCLR on products of points is multidimensional scaling")
DIFFERENT = LOCAL._replace(text="(l) the local and the global embedding are the same")
SAME_PRODUCTS = "relative error of Z Zᵀ"
VICREG, PRODUCTS = "vicreg_squares", "simclr_products"
NEIGHBOURS, GEODESICS, DISTANCES = "sheet: neighbours", "sheet: geodesics", "sheet: distances"
INITIAL_SCALE = 1.0


class ManifoldClaims:
    """Self-supervised optima on a curved sheet, and claims that they are manifold embeddings.

    Args:
        seeds: Seeds of the initial embeddings.
        points: N.
        neighbours: Number of nearest neighbours that are related, or one step away.
        embedding_dim: D.
        vicreg: Weights of VICReg with squares.
        seed: Seed of the points.
        iterations: The most that a descent takes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        points: int,
        neighbours: int,
        embedding_dim: int,
        vicreg: Mapping[str, Any],
        seed: int,
        iterations: int,
    ) -> None:
        self.seeds = seeds
        self.points: np.ndarray = make_s_curve(points, random_state=seed)[0]
        self.neighbours = neighbours
        self.embedding_dim = embedding_dim
        self.vicreg = vicreg
        self.iterations = iterations

    def descents(self) -> dict[tuple[str, str], Callable[[], Found]]:
        """Jobs that find the optimum of each relation between the points."""
        related = partial(vicreg_squares_loss, relation=self._relation(), **self.vicreg)
        jobs = {(NEIGHBOURS, VICREG): partial(self._descend, related)}
        for name, between in (
            (GEODESICS, geodesics(self.points, self.neighbours)),
            (DISTANCES, cdist(self.points, self.points)),
        ):
            products = partial(simclr_products_loss, relation=centred_products(between))
            jobs[name, PRODUCTS] = partial(self._descend, products)
        return jobs  # type: ignore[return-value]

    def rows(
        self, found: Mapping[tuple[str, str], Found], bounds: Mapping[str, float]
    ) -> list[Row]:
        """The claims about the embeddings that `descents` find."""
        relation = self._relation()
        maps = laplacian_eigenmaps(relation, self.embedding_dim)
        rows = []
        for claim, name, loss, expected in (
            (LOCAL, NEIGHBOURS, VICREG, maps),
            (GLOBAL, GEODESICS, PRODUCTS, isomap(self.points, self.neighbours, maps.shape[1])),
            (STRAIGHT, DISTANCES, PRODUCTS, classical_scaling(self.points, maps.shape[1])),
            (DIFFERENT, GEODESICS, PRODUCTS, maps),
        ):
            optima = found[name, loss]
            weights = relation.sum(dim=1) if loss == VICREG else torch.ones(len(relation)).double()
            about = loss, f"{name}, D = {self.embedding_dim}", optima.convergence
            angles = optima.measure(partial(_angle, expected, weights / weights.sum()))
            rows.append(judge(claim, *about, angles, "≤", bounds["angle"]))
            if claim in (GLOBAL, STRAIGHT):
                products = expected @ expected.T
                errors = optima.measure(partial(_product_error, products))
                same = claim._replace(measure=SAME_PRODUCTS)
                rows.append(judge(same, *about, errors, "≤", bounds["error"]))
        return rows

    def _relation(self) -> Tensor:
        graph = kneighbors_graph(self.points, self.neighbours).toarray()
        return torch.from_numpy(graph + graph.T)

    def _descend(self, function: Callable[[Tensor], Tensor]) -> Found:
        shape = len(self.points), self.embedding_dim
        starts = [random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]
        return converged([quasi_newton(function, start, self.iterations) for start in starts])


def _product_error(products: Tensor, found: Tensor) -> float:
    return relative_error(found @ found.T, products)


def _angle(expected: Tensor, weights: Tensor, found: Tensor) -> float:
    """Largest principal angle between the columns of embeddings, their mean left out."""
    pair = (deviations(vectors, weights).numpy() for vectors in (found, expected))
    return float(np.degrees(subspace_angles(*pair).max()))


def centred_products(distances: np.ndarray) -> Tensor:
    """Products about the mean of points at these distances (N, N): (N, N), of either sign."""
    center = np.eye(len(distances)) - 1 / len(distances)
    return torch.from_numpy(-center @ distances**2 @ center / 2)


def geodesics(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Lengths of the shortest paths between points (N, F) over nearest neighbours: (N, N)."""
    graph = kneighbors_graph(points, neighbours, mode="distance")
    paths: np.ndarray = shortest_path(graph, directed=False)
    return paths


def laplacian_eigenmaps(relation: Tensor, embedding_dim: int) -> Tensor:
    """Laplacian eigenmaps of a relation (N, N), by scikit-learn: (N, D)."""
    maps = spectral_embedding(
        relation.numpy(), n_components=embedding_dim, eigen_solver="arpack", random_state=0
    )
    return torch.from_numpy(maps)


def isomap(points: np.ndarray, neighbours: int, embedding_dim: int) -> Tensor:
    """ISOMAP of points (N, F), by scikit-learn: (N, D)."""
    model = Isomap(n_neighbors=neighbours, n_components=embedding_dim, eigen_solver="dense")
    return torch.from_numpy(model.fit_transform(points))


def classical_scaling(points: np.ndarray, embedding_dim: int) -> Tensor:
    """Classical multidimensional scaling of points (N, F), by scikit-learn: (N, D)."""
    return torch.from_numpy(ClassicalMDS(embedding_dim).fit_transform(points))
