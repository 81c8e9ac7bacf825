"""Free embeddings under a loss show its optimum, without images or an encoder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor, nn
from torch.optim import SGD

from src.losses.nuclear import NuclearNormLoss
from src.reports.figures.colors import MEASURED, THEORY
from src.reports.tables import ResultTable
from src.studies.descent import gradient_steps, random_start
from src.studies.geometry import cosines
from src.subspaces.closed_form import optimal_loss, optimal_singular_values

INITIAL_SCALE = 0.01
COLUMNS = {
    "labels": "labels",
    "method": "method",
    "iterations": "iterations",
    "loss": "loss",
    "optimum": "closed form",
    "largest_difference": "largest difference of a singular value",
    "within": "least squared cosine, same labels",
    "across": "largest squared cosine, no label shared",
}


class Descent(NamedTuple):
    """The end of a descent, and the singular values on the way there."""

    embeddings: Tensor  # (N, D), float64
    singular_values: Tensor  # (iterations, min(N, D)), descending
    loss: float


def run(
    folder: Path,
    labels: Mapping[str, Sequence[Sequence[int]]],
    methods: Mapping[str, Mapping],
    embedding_dim: int,
    seed: int,
    alpha: float,
    beta: float,
) -> ResultTable:
    """Descend every loss for all labels, draw `figure.png` and compare with the closed form.

    Args:
        folder: The folder that the figure is written into.
        labels: The samples of its literals, for each label matrix.
        methods: A `loss`, and `lr`, `decay` and `iterations` of its descent, for each name.
        embedding_dim: D.
        seed: Seed of the initial embeddings.
        alpha, beta: Weights of the nuclear-norm loss in the closed form.
    """
    matrices = {name: label_matrix(samples) for name, samples in labels.items()}
    descents: dict[str, dict[str, Descent]] = {}
    rows = []
    jobs = [(name, method) for name in matrices for method in methods]
    for name, method in track(jobs, "descending", transient=True):
        matrix = matrices[name]
        found = descend(matrix, embedding_dim, seed, **methods[method])
        descents.setdefault(name, {})[method] = found
        row = {"labels": name, "method": method, "iterations": methods[method]["iterations"]}
        row |= {"loss": found.loss, "optimum": "", "largest_difference": ""}
        if isinstance(methods[method]["loss"], NuclearNormLoss):
            optimal = optimal_singular_values(matrix, alpha, beta)
            difference = found.singular_values[-1, : len(optimal)] - optimal
            row["optimum"] = optimal_loss(matrix, alpha, beta)
            row["largest_difference"] = float(difference.abs().max())
        rows.append(row | compare_with_labels(found.embeddings, matrix))
    optima = {
        name: optimal_singular_values(matrix, alpha, beta) for name, matrix in matrices.items()
    }
    figure(matrices, descents, optima).savefig(folder / "figure.png", dpi=130)
    conditions = (
        f"Free embeddings of {embedding_dim} dimensions, SGD from normal values of deviation "
        f"{INITIAL_SCALE}, seed {seed}; nuclear norm with alpha {alpha}, beta {beta}."
    )
    return ResultTable(COLUMNS, rows, conditions)


def label_matrix(samples: Sequence[Sequence[int]]) -> Tensor:
    """Labels (N, C), float64, from the samples of each literal."""
    labels = torch.zeros(1 + max(max(column) for column in samples), len(samples)).double()
    for literal, column in enumerate(samples):
        labels[list(column), literal] = 1
    return labels


def descend(
    labels: Tensor,
    embedding_dim: int,
    seed: int,
    loss: nn.Module,
    lr: float,
    decay: float,
    iterations: int,
) -> Descent:
    """SGD on free embeddings, the learning rate multiplied by `decay` at every step.

    Args:
        labels: (N, C).
        embedding_dim: D.
        seed: Seed of the initial embeddings.
        loss: Called as loss(embeddings, labels).
        lr, decay, iterations: See `src.studies.descent.gradient_steps`.
    """
    start = random_start(len(labels), embedding_dim, seed, INITIAL_SCALE)
    steps = gradient_steps(lambda free: loss(free, labels), start, SGD, lr, decay, iterations)
    values = []
    for embeddings in steps:
        values.append(torch.linalg.svdvals(embeddings))
    return Descent(embeddings, torch.stack(values), float(loss(embeddings, labels)))


def squared_cosines(embeddings: Tensor) -> Tensor:
    """Squared cosines between embeddings (N, D): (N, N)."""
    return cosines(embeddings) ** 2


def compare_with_labels(embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    """The least squared cosine within the same labels, and the largest where none is shared.

    Args:
        embeddings: (N, D).
        labels: (N, C).
    """
    squared, shared = squared_cosines(embeddings), labels @ labels.T
    same = (labels.unsqueeze(1) == labels).all(dim=2)
    return {"within": float(squared[same].min()), "across": float(squared[shared == 0].max())}


def figure(
    labels: Mapping[str, Tensor],
    descents: Mapping[str, Mapping[str, Descent]],
    optima: Mapping[str, Tensor],
) -> Figure:
    """Cosines of labels, squared cosines of every method, and singular values of the first."""
    methods = list(next(iter(descents.values())))
    columns = 2 + len(methods)
    drawing = Figure(figsize=(2.9 * columns, 2.9 * len(labels) + 0.3), layout="constrained")
    grid = drawing.subplots(len(labels), columns, squeeze=False)
    for axes, (name, matrix) in zip(grid, labels.items(), strict=True):
        axes[0].imshow(cosines(matrix).numpy(), vmin=0, vmax=1)
        axes[0].set_title(f"{name}: cosines of labels", fontsize=10)
        for panel, method in zip(axes[1:], methods, strict=False):
            squared = squared_cosines(descents[name][method].embeddings).numpy()
            picture = panel.imshow(squared, vmin=0, vmax=1)
            panel.set_title(f"{method}: squared cosines", fontsize=10)
        for panel in axes[:-1]:
            panel.set_xticks([])
            panel.set_yticks([])
        values = descents[name][methods[0]].singular_values
        rank = len(optima[name])
        axes[-1].plot(values[:, rank:].numpy(), color="0.75", linewidth=0.8)
        axes[-1].plot(values[:, :rank].numpy(), color=MEASURED, linewidth=1)
        for level in sorted({round(value, 4) for value in optima[name].tolist()}):
            axes[-1].axhline(level, color=THEORY, linestyle="--", linewidth=1)
        axes[-1].set_title(f"{methods[0]}: singular values", fontsize=10)
        axes[-1].set_xlabel("iteration; dashed: closed form", fontsize=8)
    drawing.colorbar(picture, ax=grid[:, :-1], location="bottom", shrink=0.3, aspect=40)
    return drawing
