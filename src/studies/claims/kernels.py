"""Eigenfunctions of a kernel at new samples, by Nystroem and by encoders that are trained.

A Gaussian kernel k of pixels relates images. The spectral contrastive loss of that relation has its
optimum at eigenvectors, which Nystroem continues to new images as functions in the reproducing-
kernel space of k(x, y) / (d(x) d(y)), with d the degrees. Here the loss descends over that space,
and over the weights of a perceptron, on the same images; all are asked for images they never saw.

References:
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.linalg import subspace_angles
from scipy.special import ive
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LinearLR

from src.losses.spectral_contrastive import spectral_contrastive_loss
from src.reports.tables import Row
from src.studies.claims.verdicts import Claim, Found, converged_to, judge
from src.studies.descent import Optimum, quasi_newton, random_start
from src.studies.digits import perceptron, split
from src.studies.geometry import kernel_alignment, relative_error
from src.subspaces.spectral_embedding import nystroem_embeddings, spectral_contrastive_optimum

LECTURE = "[2] (2.15)"
ON_CIRCLE = Claim("(p) Nyström continues eigenfunctions", "relative error of Z Zᵀ", LECTURE)
WITH_ALL = Claim(
    "(p) Nyström is the eigenvectors that see new images, too", "1 - alignment", LECTURE
)
IN_SPACE = "(p) descents in the kernel's space end at Nyström"
ENCODER = "(p) an encoder trained by the loss ends at Nyström"
MEASURES = "loss above the least, relative", "1 - alignment", "largest angle, degrees"
DIGITS, CIRCLE = "digits, Gaussian kernel", "circle, exp(cos)"
SPACE_LOSS, ENCODER_LOSS, NYSTROEM = "spectral_contrastive", "spectral_contrastive, MLP", "Nyström"
INITIAL_SCALE = 0.3


class KernelClaims:
    """Spectral embeddings of digits under a kernel, and claims about new images.

    Args:
        seeds: Seeds of the initial functions.
        images: Number of images that are related; all others are new.
        inverse_width: Of exp(-inverse_width |x - y|^2 / median), over the median of squared
            distances.
        embedding_dim: D.
        circle: `num` related and `new` points on a circle, `concentration` of exp(concentration
            cos), and `frequencies`, the number that are kept.
        iterations: The most that a descent in the kernel's space takes.
        encoder: `width` of the two hidden layers, `lr` of Adam at the first step, whence it falls
            linearly to 0, and `steps`, each over all related images.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        images: int,
        inverse_width: float,
        embedding_dim: int,
        circle: Mapping[str, Any],
        iterations: int,
        encoder: Mapping[str, Any],
    ) -> None:
        self.seeds = seeds
        self.inverse_width = inverse_width
        self.embedding_dim = embedding_dim
        self.circle = circle
        self.iterations = iterations
        self.encoder = encoder
        self.inputs, _, self.others, _ = split(images, 0)
        squares = euclidean_distances(self.inputs, squared=True)
        self.gamma = inverse_width / np.median(squares[np.triu_indices(images, 1)])
        self.relation = symmetric(self._kernel(self.inputs, self.inputs))
        self.cross = self._kernel(self.others, self.inputs)

    def descents(self) -> dict[tuple[str, str], Callable[[], Found]]:
        """Jobs that descend in the kernel's space, and over the weights of an encoder."""
        return {
            (DIGITS, SPACE_LOSS): self._descend_in_space,
            (DIGITS, ENCODER_LOSS): self._train_encoders,
        }

    def rows(
        self, found: Mapping[tuple[str, str], Found], bounds: Mapping[str, float]
    ) -> list[Row]:
        """The claims about embeddings of new samples."""
        setting = f"{DIGITS}: {len(self.others)} new, D = {self.embedding_dim}"
        nystroem = nystroem_embeddings(self.relation, self.cross, self.embedding_dim)
        every = torch.cat([self.inputs, self.others])
        together = spectral_contrastive_optimum(
            symmetric(self._kernel(every, every)), self.embedding_dim
        )
        apart = _misalignment(nystroem, together[len(self.inputs) :])
        error = circle_error(**self.circle)
        circle = f"{CIRCLE}, D = {2 * self.circle['frequencies'] + 1}"
        rows = [
            judge(ON_CIRCLE, NYSTROEM, circle, "closed form", [error], "≤", bounds["error"]),
            judge(WITH_ALL, NYSTROEM, setting, "closed form", [apart], "≤", bounds["agreement"]),
        ]
        for text, loss, limits in (
            (IN_SPACE, SPACE_LOSS, ("error", "error", "angle")),
            (ENCODER, ENCODER_LOSS, ("trained", "agreement", "new_angle")),
        ):
            optima = found[DIGITS, loss]
            measured = (
                [1 - end.loss / self._least() for end in optima.optima],  # both are negative
                optima.measure(partial(_misalignment, nystroem)),
                optima.measure(partial(_angle, nystroem)),
            )
            for measure, values, bound in zip(MEASURES, measured, limits, strict=True):
                claim, about = Claim(text, measure, LECTURE), (loss, setting, optima.convergence)
                rows.append(judge(claim, *about, values, "≤", bounds[bound]))
        return rows

    def _kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        return torch.from_numpy(rbf_kernel(rows, columns, gamma=self.gamma))

    def _least(self) -> float:
        best = spectral_contrastive_optimum(self.relation, self.embedding_dim)
        return float(spectral_contrastive_loss(best, self.relation))

    def _descend_in_space(self) -> Found:
        """Functions sum_j p(j | x) a_j, over a."""
        inside = self.relation / self.relation.sum(dim=1, keepdim=True)
        outside = self.cross / self.cross.sum(dim=1, keepdim=True)

        def function(free: Tensor) -> Tensor:
            return spectral_contrastive_loss(inside @ free, self.relation)

        shape = len(inside), self.embedding_dim
        starts = [random_start(*shape, seed, INITIAL_SCALE) for seed in self.seeds]
        ends = [quasi_newton(function, start, self.iterations) for start in starts]
        at_new = [end._replace(embeddings=outside @ end.embeddings) for end in ends]
        return converged_to(at_new, self._least())

    def _train_encoders(self) -> Found:
        ends = [self._train(seed) for seed in self.seeds]
        return Found(ends, f"{self.encoder['steps']} steps of Adam")

    def _train(self, seed: int) -> Optimum:
        """An encoder of pixels, over its weights."""
        width, lr, steps = (self.encoder[name] for name in ("width", "lr", "steps"))
        inputs = self.inputs.float()
        torch.manual_seed(seed)
        model = perceptron(width, self.embedding_dim)
        optimizer = Adam(model.parameters(), lr=lr)
        schedule = LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = spectral_contrastive_loss(model(inputs), self.relation)
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            loss = spectral_contrastive_loss(model(inputs), self.relation)
            return Optimum(model(self.others.float()).double(), float(loss), float("nan"))


def symmetric(kernel: Tensor) -> Tensor:
    """A kernel (N, N) that is symmetric but for rounding, to the last digit."""
    return (kernel + kernel.T) / 2


def circle_error(num: int, new: int, concentration: float, frequencies: int) -> float:
    """Error of Nystroem on a circle, where sines and cosines are the eigenfunctions.

    Of the kernel exp(c cos(s - t)), by degree, the eigenvalues are I_k(c) / I_0(c), with I_k the
    modified Bessel functions: once for k = 0 and twice for each other k.

    Args:
        num: Number of related points, evenly spaced.
        new: Number of new points, at random.
        concentration: c.
        frequencies: The largest k that is kept.
    """
    related = np.linspace(0, 2 * np.pi, num, endpoint=False)
    points = np.random.default_rng(0).uniform(0, 2 * np.pi, new)

    def kernel(others: np.ndarray) -> Tensor:
        return torch.from_numpy(np.exp(concentration * np.cos(others[:, None] - related)))

    found = nystroem_embeddings(symmetric(kernel(related)), kernel(points), 2 * frequencies + 1)
    orders = np.arange(1, frequencies + 1)
    values = ive(orders, concentration) / ive(0, concentration)
    apart = points[:, None] - points
    expected = 1 + 2 * (np.cos(apart[..., None] * orders) @ values)
    return relative_error(found @ found.T, torch.from_numpy(expected))


def _misalignment(expected: Tensor, found: Tensor) -> float:
    """One minus the centred kernel alignment of embeddings (M, D) to others."""
    return 1 - kernel_alignment(found @ found.T, expected @ expected.T)


def _angle(expected: Tensor, found: Tensor) -> float:
    """Largest principal angle between the columns of embeddings (M, D) and those of others."""
    return float(np.degrees(subspace_angles(found.numpy(), expected.numpy()).max()))
