"""How embeddings get worse as the relation relates more of the wrong images."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor
from torch.nn.functional import one_hot

from src.reports.tables import Estimate, ResultTable, Row
from src.studies.claims.forms import form
from src.studies.digits import TOTAL, probe, split
from src.studies.geometry import class_task
from src.subspaces.finite_optima import FiniteOptimum

COLUMNS = {
    "wrong": "wrong pairs",
    "share": "share",
    "method": "optimum of",
    "rank": "rank of Z",
    "residual": "residual of digits, free Z",
    "accuracy": "test accuracy, linear Z",
}
WRONG = {"any": "any other digit", "one": "the digit five further"}
COUNTED = 1e-3  # squared singular values above this share of the largest


def run(
    folder: Path,
    seeds: Sequence[int],
    shares: Sequence[float],
    images: int,
    partners: int,
    embedding_dim: int,
    methods: Mapping[str, Mapping[str, Any]],
) -> ResultTable:
    """Take the optimum of each method in closed form, under relations with wrong pairs.

    Args:
        folder: The folder that `figure.png` is written into.
        seeds: Seeds of the relation and of the images that are trained on.
        shares: Shares of pairs that relate different digits.
        images: Number of images that are related; all others test.
        partners: Number of images that each relates to, before relations become symmetric.
        embedding_dim: D.
        methods: For each, the `form` of the loss and its weights.
    """
    rows: list[Row] = []
    settings = list(product(WRONG, shares))
    for wrong, share in track(settings, "relating", transient=True):
        for method, values in methods.items():
            weights = dict(values)
            optimum = form(weights.pop("form"), weights).optimum
            measured = []
            for seed in seeds:
                inputs, labels, others, truths = split(images, seed)
                relation = relate(labels, share, partners, wrong, seed)
                free = optimum(relation, embedding_dim, **weights)
                linear = optimum(relation, embedding_dim, **weights, inputs=inputs)
                accuracy = probe(inputs @ linear.weights, labels, others @ linear.weights, truths)
                measured.append((rank(free), residual(free.weights, labels), accuracy))
            columns = zip(*measured, strict=True)
            numbers = [Estimate.of([float(value) for value in column]) for column in columns]
            names = ("rank", "residual", "accuracy")
            about = {"wrong": WRONG[wrong], "share": f"{share:g}", "method": method}
            rows.append(about | dict(zip(names, numbers, strict=True)))
    _figure(rows, list(methods)).savefig(folder / "figure.png", dpi=110)
    conditions = (
        f"{images} of scikit-learn's digits, each related to {partners} others, at random; wrong "
        "pairs are with any other digit, or always with the digit five further. Optima in closed "
        f"form in {embedding_dim} dimensions; singular values above {COUNTED:g} of the largest, "
        "squared, count as rank. Free Z: the residual of least squares from Z to indicators of "
        "digits, relative to that without Z. Linear Z: maps of pixels, least squares to digits, "
        f"and the accuracy on all other images. Mean and deviation over {len(seeds)} seeds."
    )
    return ResultTable(COLUMNS, rows, conditions)


def relate(labels: Tensor, share: float, partners: int, wrong: str, seed: int) -> Tensor:
    """A symmetric relation (N, N) in which a share of the pairs is wrong.

    Args:
        labels: (N,), digits.
        share: Of the pairs that are of different digits.
        partners: Number of images drawn for each, with replacement.
        wrong: See `WRONG`.
        seed: Seed of the draws.
    """
    random = np.random.default_rng(seed)
    relation = torch.zeros(len(labels), len(labels)).double()
    for image, digit in enumerate(labels.tolist()):
        apart = labels != digit if wrong == "any" else labels == (digit + TOTAL // 2) % TOTAL
        same = labels == digit
        same[image] = False
        for mistaken in random.random(partners) < share:
            candidates = (apart if mistaken else same).nonzero().flatten()
            relation[image, random.choice(candidates.numpy())] += 1
    return relation + relation.T


def rank(optimum: FiniteOptimum) -> int:
    """The rank of an optimum."""
    return int((optimum.squares > COUNTED * optimum.squares.max()).sum())


def residual(embeddings: Tensor, labels: Tensor) -> float:
    """Residual of least squares from embeddings (N, D) to digits (N,), relative to the mean's."""
    targets = one_hot(labels, TOTAL).double()
    return class_task(embeddings, targets)[1]


def _figure(rows: Sequence[Row], methods: Sequence[str]) -> Figure:
    measures = {name: COLUMNS[name] for name in ("residual", "accuracy")}
    drawing = Figure(figsize=(9, 7), layout="constrained")
    grid = drawing.subplots(len(WRONG), len(measures), sharex=True, sharey="col")
    for (wrong, (measure, title)), panel in zip(
        product(WRONG.values(), measures.items()), grid.flat, strict=True
    ):
        for index, method in enumerate(methods):
            chosen = [row for row in rows if (row["wrong"], row["method"]) == (wrong, method)]
            shares = [float(row["share"]) for row in chosen]
            means = [row[measure].mean for row in chosen]
            # Lines that come later are thinner: some lie on each other
            panel.plot(shares, means, "o-", label=method, linewidth=6 - index, markersize=9 - index)
        panel.set_title(f"{title}; wrong pairs: {wrong}", fontsize=10)
        panel.set_xlabel("share of wrong pairs")
        panel.grid(alpha=0.3)
    grid[0, 1].legend(fontsize=8)
    return drawing
