"""Tasks that embeddings solve linearly, and tasks that they do not.

Least squares from an optimum to a task Y leaves the part of Y that is outside the eigenvectors of G
that the optimum has, however it weighs them: nothing exactly where the left singular vectors of Y
are in their span. Rows are weighted, and centred, as the loss sees them.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from src.reports.tables import Row
from src.studies.claims.forms import Form
from src.studies.claims.linear import Case
from src.studies.claims.verdicts import Claim, Found, judge
from src.studies.descent import random_start
from src.subspaces.finite_optima import FiniteOptimum

TASK = "(k) Z solves what of Y is in the span of its eigenvectors, and no more"
LEFT_OVER = Claim(TASK, "error of least squares less share of Y outside", "[1]")
SOLVED = Claim(TASK, "error of least squares, Y inside", "[1]")
UNSOLVED = Claim(TASK, "error of least squares, Y outside", "[1]")
TASKS = 3  # columns of Y


def task_rows(
    about: str,
    setting: str,
    form: Form,
    optima: Sequence[tuple[FiniteOptimum, Case, Found]],
    bounds: Mapping[str, float],
) -> Iterator[Row]:
    """Claims about least squares from optima to random tasks, in and out of their eigenvectors.

    Args:
        about: Name of the loss.
        setting: The relations, in words.
        form: The loss.
        optima: For each relation, the closed form, the case, and what descents have found.
        bounds: See `src.studies.claims.study.run`.
    """
    differences, solved, unsolved = [], [], []
    for best, case, found in optima:
        rank = int((best.squares > 0).sum())
        for seed, end in enumerate(found.optima):
            task = random_start(len(case.relation), TASKS, seed, 1.0)
            inside, outside = task_parts(form, case.relation, rank, task)
            error = partial(task_error, form, end.embeddings, case.relation)
            share = float(outside.norm() / (inside + outside).norm())
            differences.append(abs(error(inside + outside, bounds["rank"]) - share))
            solved.append(error(inside, bounds["rank"]))
            unsolved.append(error(outside, bounds["rank"]))
    where, ends = f"{TASKS} random columns; {setting}", f"{len(solved)} starts"
    for claim, measured, comparison, bound in (
        (LEFT_OVER, differences, "≤", bounds["task"]),
        (SOLVED, solved, "≤", bounds["task"]),
        (UNSOLVED, unsolved, ">", 1 - bounds["task"]),
    ):
        yield judge(claim, about, where, ends, measured, comparison, bound)


def task_parts(form: Form, relation: Tensor, rank: int, task: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of a task inside and outside the `rank` top eigenvectors of its relation.

    Args:
        form: The loss, which sees the task and the relation.
        relation: (N, N).
        rank: Number of eigenvectors.
        task: Y, (N, C).

    Returns:
        Twice (N, C), as the loss sees them.
    """
    seen, matrix = form.seen(task, relation)
    top = torch.linalg.eigh(matrix).eigenvectors[:, -rank:]
    inside = top @ (top.T @ seen)
    return inside, seen - inside


def task_error(
    form: Form, embeddings: Tensor, relation: Tensor, task: Tensor, rcond: float
) -> float:
    """The relative error of least squares from embeddings (N, D) to a task (N, C).

    Args:
        form: The loss, which sees embeddings and the relation.
        embeddings: (N, D).
        relation: (N, N).
        task: (N, C), as the loss sees it.
        rcond: Singular values of embeddings below this share of the largest count as 0.
    """
    inputs = form.seen(embeddings, relation)[0].numpy()
    targets = task.numpy()
    error = targets - inputs @ np.linalg.lstsq(inputs, targets, rcond)[0]
    return float(np.linalg.norm(error) / np.linalg.norm(targets))
