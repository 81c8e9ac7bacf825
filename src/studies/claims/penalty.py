"""Principal components by the penalty method over free embeddings, as the penalty grows.

Psi maximises the products of pairs that a joint draws, and a penalty holds its second moment at the
identity. As the penalty grows, what it ends at are the top eigenvectors of the joint; with products
of data for a joint, the whitened scores of principal components.

References:
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import subspace_angles
from scipy.stats import linregress
from sklearn.decomposition import PCA
from torch import Tensor

from src.losses.relation import second_moment
from src.reports.tables import Row
from src.studies.claims.relations import random_graph
from src.studies.claims.verdicts import Claim, Found, converged_to, judge
from src.studies.descent import quasi_newton, random_start
from src.studies.geometry import angle_to_top, relative_error
from src.subspaces.spectral_embedding import normalize_relation, penalty_optimum

LECTURE = "[2] (3.1)-(3.5)"
PENALISED = "(o) at each penalty Ψ is the closed form"
ABOVE = Claim(PENALISED, "loss above the least, of starts", LECTURE)
BELOW = Claim(PENALISED, "loss below the least, of starts", LECTURE)
PRODUCTS = Claim(PENALISED, "relative error of Ψ Ψᵀ", LECTURE)
ALIGNED = Claim("(o) at each penalty Ψ spans the joint's top", "largest angle, degrees", LECTURE)
LIMIT = "(o) as the penalty grows, E[Ψ Ψᵀ] = I and Ψ is "
EIGENVECTORS, COMPONENTS = "the joint's top eigenvectors", "whitened components (scikit-learn)"
LOSS = "pca, free"
DATA, GRAPH = "random data", "random_graph"
INITIAL_SCALE = 0.3


class Joint(NamedTuple):
    """Weights of pairs of samples, and probabilities of samples."""

    pairs: Tensor  # (N, N), symmetric, of either sign
    probabilities: Tensor  # r, (N,)

    @property
    def normalized(self) -> Tensor:
        """R^(-1/2) P R^(-1/2), (N, N)."""
        roots = self.probabilities.sqrt()
        return self.pairs / roots.outer(roots)


class PenaltyClaims:
    """Free embeddings under the penalty, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings.
        graph: `num`, `density` and `seed` of `random_graph`.
        data: `num`, `features` and `seed` of normal data, whose features differ in deviation.
        embedding_dim: D.
        penalties: Ascending.
        iterations: The most that a descent takes.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        graph: Mapping[str, Any],
        data: Mapping[str, int],
        embedding_dim: int,
        penalties: Sequence[float],
        iterations: int,
    ) -> None:
        self.seeds = seeds
        self.embedding_dim = embedding_dim
        self.penalties = penalties
        self.iterations = iterations
        self.data = _normal_data(**data)
        relation = random_graph(**graph, embedding_dim=embedding_dim).relation
        self.joints = {
            DATA: products_of_data(self.data),
            GRAPH: Joint(relation / relation.sum(), normalize_relation(relation)[1]),
        }

    def descents(self) -> dict[tuple[str, str], Callable[[], Found]]:
        """Jobs that find the optimum of each joint under each penalty."""
        return {
            (name, f"{penalty:g}"): partial(self._descend, joint, penalty)
            for name, joint in self.joints.items()
            for penalty in self.penalties
        }

    def rows(
        self, found: Mapping[tuple[str, str], Found], bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        """The claims about the embeddings that `descents` find."""
        for name, joint in self.joints.items():
            ends = [
                (penalty, end)
                for penalty in self.penalties
                for end in found[name, f"{penalty:g}"].optima
            ]
            about = LOSS, f"{name}, D = {self.embedding_dim}"
            starts = f"{len(ends)} of {len(self.seeds) * len(self.penalties)} starts"
            gaps = [end.loss - self._least(joint, penalty) for penalty, end in ends]
            roots = joint.probabilities.sqrt().unsqueeze(1)
            weighted = [roots * end.embeddings for _, end in ends]
            optima = [self._optimum(joint, penalty) for penalty, _ in ends]
            errors = [
                relative_error(free @ free.T, best @ best.T)
                for free, best in zip(weighted, optima, strict=True)
            ]
            angles = [angle_to_top(free, joint.normalized, bounds["rank"]) for free in weighted]
            for claim, measured, bound in (
                (ABOVE, gaps, "above"),
                (BELOW, [-gap for gap in gaps], "below"),
                (PRODUCTS, errors, "error"),
                (ALIGNED, angles, "angle"),
            ):
                yield judge(claim, *about, starts, measured, "≤", bounds[bound])
            yield from self._limit(name, found, bounds)

    def _limit(
        self, name: str, found: Mapping[tuple[str, str], Found], bounds: Mapping[str, float]
    ) -> Iterator[Row]:
        """Claims about the largest penalty, and how fast Psi gets there."""
        joint = self.joints[name]
        if name == DATA:
            expected, text = whitened_components(self.data, self.embedding_dim), COMPONENTS
        else:
            top = torch.linalg.eigh(joint.normalized).eigenvectors[:, -self.embedding_dim :]
            expected, text = top / joint.probabilities.sqrt().unsqueeze(1), EIGENVECTORS

        def error(free: Tensor) -> float:
            return relative_error(free @ free.T, expected @ expected.T)

        def angle(free: Tensor) -> float:
            return float(np.degrees(subspace_angles(free.numpy(), expected.numpy()).max()))

        def moment(free: Tensor) -> float:
            identity = torch.eye(self.embedding_dim).double()
            return relative_error(second_moment(free, joint.probabilities), identity)

        largest = found[name, f"{self.penalties[-1]:g}"]
        errors = [max(found[name, f"{penalty:g}"].measure(error)) for penalty in self.penalties]
        slope = linregress(np.log(self.penalties), np.log(errors)).slope
        about = LOSS, f"{name}, D = {self.embedding_dim}, penalty {self.penalties[-1]:g}"
        for measure, measured, bound in (
            ("relative error of E[Ψ Ψᵀ]", largest.measure(moment), "error"),
            ("relative error of Ψ Ψᵀ", largest.measure(error), "error"),
            ("largest angle, degrees", largest.measure(angle), "angle"),
            ("distance of the error's power of the penalty from -1", [abs(slope + 1)], "error"),
        ):
            claim = Claim(LIMIT + text, measure, LECTURE)
            yield judge(claim, *about, largest.convergence, measured, "≤", bounds[bound])

    def _descend(self, joint: Joint, penalty: float) -> Found:
        shape = len(joint.pairs), self.embedding_dim
        starts = [random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]
        function = partial(free_components_loss, joint=joint, penalty=penalty)
        ends = [quasi_newton(function, start, self.iterations) for start in starts]
        return converged_to(ends, self._least(joint, penalty))

    def _optimum(self, joint: Joint, penalty: float) -> Tensor:
        return penalty_optimum(joint.normalized, self.embedding_dim, penalty)

    def _least(self, joint: Joint, penalty: float) -> float:
        best = self._optimum(joint, penalty) / joint.probabilities.sqrt().unsqueeze(1)
        return float(free_components_loss(best, joint, penalty))


def free_components_loss(embeddings: Tensor, joint: Joint, penalty: float) -> Tensor:
    """Minus the products of embeddings of pairs, and the penalty on their second moment.

        l(Psi) = - sum_ij P_ij psi_i . psi_j + penalty || sum_i r_i psi_i psi_i^T - I ||_F^2

    Args:
        embeddings: Psi, (N, D).
        joint: P and r.
        penalty: Weight of the constraint.
    """
    excess = second_moment(embeddings, joint.probabilities) - torch.eye(embeddings.shape[1])
    return -(embeddings * (joint.pairs @ embeddings)).sum() + penalty * excess.square().sum()


def products_of_data(data: Tensor) -> Joint:
    """The joint of data (N, F) about their mean: sum_ij P_ij psi_i . psi_j = ||E[x psi^T]||_F^2."""
    centered = data - data.mean(dim=0)
    num = len(data)
    return Joint(centered @ centered.T / num**2, torch.full((num,), 1 / num).double())


def whitened_components(data: Tensor, num_components: int) -> Tensor:
    """Scores of principal components, by scikit-learn: (N, S), of mean 0 and covariance I."""
    scores = PCA(num_components, whiten=True, svd_solver="full").fit_transform(data.numpy())
    return torch.from_numpy(scores) * (len(data) / (len(data) - 1)) ** 0.5  # divided by N - 1 there


def _normal_data(num: int, features: int, seed: int) -> Tensor:
    deviations = torch.linspace(1, 0.2, features).double()
    return random_start(num, features, seed, 1.0) * deviations
