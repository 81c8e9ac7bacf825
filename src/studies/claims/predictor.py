"""BYOL with a predictor in place of the constraint that both factors be one.

In the rows of X = R^(1/2) phi and V = R^(1/2) nu, weighted by the roots of the probabilities of
samples, and with A the degree-normalised relation (see `src.subspaces.spectral_embedding`),

    -2 E_pos[ phi(x)^T nu(x') ] + E_indep[ (phi(x)^T nu(x'))^2 ] = ||A - X V^T||_F^2 - ||A||_F^2

By Eckart and Young the least over free factors takes the D eigenvalues of A that are largest in
size, of either sign, where nu = phi takes positive ones only. Any (X B, V B^-T) is as good.

With a linear predictor P, E_pos ||P^T phi(x) - phi(x')||^2 is 0 where all embeddings are equal.
With targets held fixed and P = (X^T X)^-1 X^T A X, the best for them, the gradient flow in X is

    dX/dt = 2 (A X - X P) P^T

As X^T (A X - X P) = 0, X^T X stays as it is, and nothing collapses [3]. From orthonormal X, with
S = X^T A^2 X - P^2, dP/dt = 2 (S P + P S): a congruence, which keeps the numbers of positive and of
negative eigenvalues. So the flow ends at as many top and as many bottom eigenvectors of A as P has
positive and negative eigenvalues at the start, which is derived here.

References:
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
    [3] Tang et al., Understanding Self-Predictive Learning for Reinforcement Learning, ICML 2023,
        https://arxiv.org/abs/2212.03319
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from src.reports.tables import Row
from src.studies.claims.relations import random_graph
from src.studies.claims.verdicts import Claim, Found, converged, converged_to, judge
from src.studies.descent import Optimum, quasi_newton, random_start
from src.studies.geometry import angle_to_span, angle_to_top, relative_error
from src.subspaces.spectral_embedding import normalize_relation

Key = tuple[str, str]  # a setting and a loss

ANGLE = "largest angle, degrees"
TRUNCATED = Claim(
    "(n) factors of their own have the truncation of G as product",
    "relative error of the product",
    "[2] (2.18)",
)
SAME = Claim("(n) and the first spans the top eigenvectors of G", ANGLE, "[2] (2.18)")
COLLAPSE = Claim(
    "(n) with a predictor alone, all embeddings become one",
    "distance from the mean, relative to the start",
    "[3]",
)
KEPT = Claim("(n) with a predictor and stop-gradient, ZᵀZ stays", "relative change of ZᵀZ", "[3]")
TOP = Claim("(n) and Z ends at the top eigenvectors of G", ANGLE, "[3]")
SIGNS = TOP._replace(text="(n) or at as many top and bottom ones as the predictor has signs")
FREE, JOINT, STOPPED = "byol, two factors", "byol, predictor", "byol, predictor, stop-gradient"
GRAPH, LAZY = "random_graph", "random_graph with itself"
INITIAL_SCALE = 0.1  # below that of the optimum: factors that grow stay alike in size


class PredictorClaims:
    """Optima and ends of BYOL without the constraint, and claims about them.

    Args:
        seeds: Seeds of the initial embeddings.
        graph: Arguments of `random_graph`.
        time: Length of the gradient flow.
        iterations: The most that a descent takes.
    """

    def __init__(
        self, seeds: Sequence[int], graph: Mapping[str, Any], time: float, iterations: int
    ) -> None:
        self.seeds = seeds
        self.time = time
        self.iterations = iterations
        relation, _, self.embedding_dim = random_graph(**graph)
        # As much to itself as to all others: the same eigenvectors, and no eigenvalue below 0
        relations = {GRAPH: relation, LAZY: relation + relation.sum(dim=1).diag()}
        self.relations = {name: normalize_relation(some) for name, some in relations.items()}

    def descents(self) -> dict[Key, Callable[[], Found]]:
        """Jobs that find the optimum, or the end, of each loss on each relation."""
        ways = {FREE: self._descend_factors, JOINT: self._descend_jointly, STOPPED: self._flow}
        return {
            (name, loss): partial(way, matrix)
            for name, (matrix, _) in self.relations.items()
            for loss, way in ways.items()
        }

    def rows(self, found: Mapping[Key, Found], bounds: Mapping[str, float]) -> list[Row]:
        """The claims about what `descents` find."""
        rows = []
        for name, (matrix, probabilities) in self.relations.items():
            truncated = truncation(matrix, self.embedding_dim)
            for claim, loss, of, bound in (
                (TRUNCATED, FREE, partial(_product_error, truncated), "error"),
                (SAME, FREE, partial(_angle_to_top, matrix, bounds["rank"]), "angle"),
                (COLLAPSE, JOINT, partial(_deviation, probabilities.sqrt()), "error"),
                (KEPT, STOPPED, _moment_change, "error"),
                (TOP, STOPPED, partial(_angle_to_top, matrix, bounds["rank"]), "angle"),
                (SIGNS, STOPPED, partial(_angle_by_signs, matrix), "angle"),
            ):
                optima = found[name, loss]
                about = loss, f"{name}, D = {self.embedding_dim}", optima.convergence
                rows.append(judge(claim, *about, optima.measure(of), "≤", bounds[bound]))
        return rows

    def _descend_factors(self, matrix: Tensor) -> Found:
        shape = 2 * len(matrix), self.embedding_dim
        starts = [random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]
        function = partial(factors_loss, matrix=matrix)
        least = -float(truncation(matrix, self.embedding_dim).square().sum())
        ends = [quasi_newton(function, start, self.iterations) for start in starts]
        return converged_to(ends, least)

    def _descend_jointly(self, matrix: Tensor) -> Found:
        def function(free: Tensor) -> Tensor:
            embeddings, predictor = free.split([len(matrix), self.embedding_dim])
            return predictor_loss(embeddings, embeddings, predictor, matrix)

        ends = []
        for seed in self.seeds:
            start = self._orthonormal_start(len(matrix), seed)
            predictor = random_start(self.embedding_dim, self.embedding_dim, seed, 1.0)
            end = quasi_newton(function, torch.cat([start, predictor]), self.iterations)
            ends.append(end._replace(embeddings=torch.cat([end.embeddings[: len(matrix)], start])))
        return converged(ends)

    def _flow(self, matrix: Tensor) -> Found:
        starts = [self._orthonormal_start(len(matrix), seed) for seed in self.seeds]
        ends = [flow(matrix, start, self.time) for start in starts]
        slowest = max(end.gradient for end in ends)
        return Found(ends, f"flow for {self.time:g}, gradient {slowest:.0e}")

    def _orthonormal_start(self, num: int, seed: int) -> Tensor:
        return torch.linalg.qr(random_start(num, self.embedding_dim, seed, 1.0)).Q


def factors_loss(free: Tensor, matrix: Tensor) -> Tensor:
    """-2 E_pos[ phi^T nu ] + E_indep[ (phi^T nu)^2 ] of weighted factors.

    Args:
        free: X, then V, (2 N, D).
        matrix: A, (N, N).
    """
    first, second = free.chunk(2)
    return -2 * (first * (matrix @ second)).sum() + ((first.T @ first) * (second.T @ second)).sum()


def predictor_loss(
    embeddings: Tensor, targets: Tensor, predictor: Tensor, matrix: Tensor
) -> Tensor:
    """E_pos ||P^T phi(x) - t(x')||^2 of weighted embeddings and targets.

    Args:
        embeddings: X, (N, D).
        targets: (N, D).
        predictor: P, (D, D).
        matrix: A, (N, N).
    """
    predicted = embeddings @ predictor
    attraction = (predicted * (matrix @ targets)).sum()
    return predicted.square().sum() - 2 * attraction + targets.square().sum()


def flow(matrix: Tensor, start: Tensor, time: float) -> Optimum:
    """The end of the gradient flow with stop-gradient and the best predictor, and its start.

    Args:
        matrix: A, (N, N).
        start: X, (N, D).
        time: Length.

    Returns:
        X at the end, then at the start, (2 N, D).
    """

    def loss(embeddings: Tensor) -> Tensor:
        targets = embeddings.detach()
        predictor = torch.linalg.lstsq(targets, matrix @ targets).solution
        return predictor_loss(embeddings, targets, predictor, matrix)

    def velocity(_: float, values: np.ndarray) -> np.ndarray:
        embeddings = torch.from_numpy(values).view_as(start).requires_grad_()
        slope: np.ndarray = -torch.autograd.grad(loss(embeddings), embeddings)[0].numpy().ravel()
        return slope

    solved = solve_ivp(velocity, (0, time), start.numpy().ravel(), rtol=1e-6, atol=1e-9)
    end = torch.from_numpy(solved.y[:, -1].copy()).view_as(start)
    speed = float(np.linalg.norm(velocity(time, solved.y[:, -1])))
    return Optimum(torch.cat([end, start]), float(loss(end)), speed)


def truncation(matrix: Tensor, rank: int) -> Tensor:
    """The part of a matrix (N, N) that its largest singular values make, `rank` of them."""
    left, values, right = torch.linalg.svd(matrix)
    return left[:, :rank] * values[:rank] @ right[:rank]


def _product_error(truncated: Tensor, free: Tensor) -> float:
    first, second = free.chunk(2)
    return relative_error(first @ second.T, truncated)


def _angle_to_top(matrix: Tensor, threshold: float, free: Tensor) -> float:
    return angle_to_top(free[: len(matrix)], matrix, threshold)


def _deviation(constant: Tensor, free: Tensor) -> float:
    end, start = (part - constant.outer(constant @ part) for part in free.chunk(2))
    return float(end.norm() / start.norm())


def _moment_change(free: Tensor) -> float:
    end, start = free.chunk(2)
    return relative_error(end.T @ end, start.T @ start)


def _angle_by_signs(matrix: Tensor, free: Tensor) -> float:
    end, start = free.chunk(2)
    positive = int((torch.linalg.eigvalsh(start.T @ matrix @ start) > 0).sum())
    vectors = torch.linalg.eigh(matrix).eigenvectors
    negative = start.shape[1] - positive
    reached = torch.cat([vectors[:, :negative], vectors[:, len(matrix) - positive :]], dim=1)
    return angle_to_span(torch.linalg.qr(end).Q, reached)
