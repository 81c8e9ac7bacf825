"""Whether entailments of a tree of literals can be read off subspaces and off classifiers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.progress import track
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from src.config.instantiate import instantiate
from src.data.trees import Tree, entailments, facets, with_ancestors
from src.metrics.names import CALIBRATED
from src.metrics.retrieval import average_precision
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.reports.tables import Estimate, ResultTable, Row
from src.studies.trainings import Trained, compose_run, train
from src.subspaces.lattice import entailment

SUBSPACES = {
    "subspace_auprc": "AUPRC by subspaces",
    "subspace_auroc": "AUROC by subspaces",
}
ANSWERS = {
    "auprc": "AUPRC by classifiers",
    "auroc": "AUROC by classifiers",
    "leaf_map": "mAP leaves",
    "inner_map": "mAP inner nodes",
    "leaf_accuracy": "accuracy leaves",
    "inner_accuracy": "accuracy inner nodes",
    "violations": "violations",
}

TITLE_WIDTH = 28  # characters


class Reading(NamedTuple):
    """How far each literal entails each other, (C, C), by what was measured of one training."""

    inclusions: Tensor  # of subspaces
    implications: Tensor  # of the classifiers of the method


def run(
    folder: Path,
    seeds: Sequence[int],
    split: str,
    energy: float,
    data: Mapping[str, Mapping[str, Any] | None],
    methods: Mapping[str, Sequence[str]],
) -> ResultTable:
    """Train on all nodes of a tree as literals, and hold what models say against the tree.

    Args:
        folder: The folder that `figure.png` is written into.
        seeds: Seeds of the trainings.
        split: `test`; `val` to choose settings by.
        energy: Share of the second moment of a literal's embeddings that its subspace holds.
        data: For each name `overrides` of `src.train`; the `tree`, null for the facets of tags; and
            the names of methods that it is `without`. None to leave the set out.
        methods: Overrides of `src.train`, for each name.
    """
    rows: list[Row] = []
    about: list[str] = []
    readings: dict[str, dict[str, Reading]] = {}
    shown: dict[str, tuple[Sequence[str], Tensor]] = {}
    settings = {name: setting for name, setting in data.items() if setting is not None}
    for name, setting in settings.items():
        plain = instantiate(compose_run(setting["overrides"]).dataset)
        tree: Tree = facets(plain.literals) if setting["tree"] is None else setting["tree"]
        image_set = with_ancestors(plain, tree)
        truth = entailments(image_set.literals, tree)
        shown[name] = image_set.literals, truth
        about.append(describe(name, image_set.literals, truth, len(image_set.splits[split])))
        used = [method for method in methods if method not in setting["without"]]
        for method in track(used, f"training on {name}", transient=True):
            found: dict[str, list[dict[str, float]]] = {}
            for seed in seeds:
                overrides = [*setting["overrides"], *methods[method], f"seed={seed}"]
                model = train(compose_run(overrides), image_set, folder)
                reading, measured = read(model, split, truth, len(tree), energy)
                readings.setdefault(name, {}).setdefault(method, reading)
                for readout, values in measured.items():
                    found.setdefault(readout, []).append(values)
            for readout, runs in found.items():
                row: Row = {"data": name, "method": method, "readout": readout}
                row["n"] = str(len(runs))
                keys = runs[0].keys()
                rows.append(row | {key: Estimate.of([run[key] for run in runs]) for key in keys})
    figure(readings, shown).savefig(folder / "figure.png", dpi=110)
    conditions = (
        f"{' '.join(about)} Readouts: that of the method, discriminants, and a discriminant for "
        "each literal, of the same embeddings. Entailment: each ordered pair of literals a, b by a "
        "score, against whether b is an ancestor of a; a guess has the share of true pairs as "
        "AUPRC, and 0.5 as AUROC. By subspaces: tr(P_a P_b) / tr(P_a), where P_a projects onto the "
        f"directions that hold {energy:.0%} of the second moment of validation embeddings with "
        "literal a, at length 1; by classifiers: the mean of p(b | x) over images, weighted by "
        "p(a | x). mAP: of images ranked by p(literal | x). Accuracy: images with all leaves, or "
        "all inner nodes, right. Violations: share of images predicted to have a literal without "
        "an ancestor of it. Mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))} on the {split} split; "
        "protocol clean."
    )
    headings = {"data": "data", "method": "method", "readout": "readout", "n": "n"}
    return ResultTable(headings | SUBSPACES | ANSWERS, rows, conditions)


def read(
    model: Trained, split: str, truth: Tensor, inner: int, energy: float
) -> tuple[Reading, dict[str, dict[str, float]]]:
    """Measure a model by its own readout, by those beside it but the subspaces, and by a
    discriminant for each literal; of those of one name by the first.

    Args:
        model: Trained on all nodes of a tree; it is moved to the CPU.
        split: The split to measure on.
        truth: (C, C), the entailments.
        inner: The number of inner nodes, the last literals.
        energy: As in `include`.

    Returns:
        What the subspaces and the readout of the method say, and the measures of each readout.
    """
    splits = model.data.splits
    held_out, embeddings = model.embed("val").embeddings, model.embed(split).embeddings
    by_literal = fit_literal_discriminants(model)
    by_literal.calibrate(held_out, splits["val"].labels)
    module = model.module.cpu()  # where embeddings are
    asked: dict[str, tuple[Readout, bool]] = {}  # and whether as calibrated
    asked[module.readout.name] = module.readout, module.score_kind == CALIBRATED
    beside = [other for other in module.beside if other.name != "subspaces"]
    for other in (*beside, by_literal):
        asked.setdefault(other.name, (other, other.score_kinds[0] == CALIBRATED))
    implications = {
        name: imply(readout.literal_probabilities(embeddings, calibrated))
        for name, (readout, calibrated) in asked.items()
    }
    measured = {
        name: agree(implications[name], truth, "")
        | answer(readout, embeddings, splits[split].labels, truth, inner, calibrated)
        for name, (readout, calibrated) in asked.items()
    }
    reading = Reading(
        include(held_out, splits["val"].labels, energy), implications[module.readout.name]
    )
    measured[module.readout.name] |= agree(reading.inclusions, truth, "subspace_")
    return reading, measured


def describe(name: str, literals: Sequence[str], truth: Tensor, images: int) -> str:
    """Say what a tree is like."""
    number = len(literals)
    pairs = number * (number - 1)
    return (
        f"{name}: {images:,} images, {number} literals, of whose {pairs:,} ordered pairs "
        f"{int(truth.sum())} are entailments ({float(truth.sum()) / pairs:.1%})."
    )


@torch.no_grad()
def fit_literal_discriminants(model: Trained) -> LiteralDiscriminants:
    """A discriminant for each literal, fitted on what the readouts of the model are fitted on."""
    module = model.module
    readout = LiteralDiscriminants(module.literals, module.encoder.embedding_dim, None)
    for batch in model.data.val_dataloader()[0]:
        readout.update(module(batch.images.to(module.device)).cpu(), batch.labels.cpu())
    readout.fit()
    return readout


def include(embeddings: Tensor, labels: Tensor, energy: float) -> Tensor:
    """How far the subspace of each literal lies in that of each other, by `entailment`: (C, C).

    The subspace of a literal is that of the fewest principal directions of its embeddings, at
    length 1 and not centred, which hold a share of their second moment.

    Args:
        embeddings: (N, D).
        labels: (N, C), every literal true of some image.
        energy: The share, above 0 and at most 1.
    """
    unit = normalize(embeddings.double(), dim=1)
    projectors = []
    for has_literal in labels.bool().T:
        members = unit[has_literal]
        values, vectors = torch.linalg.eigh(members.T @ members)
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        before = values.cumsum(0) - values  # what the directions before each hold
        kept = vectors[:, before < energy * values.sum()]
        projectors.append(kept @ kept.T)
    stacked = torch.stack(projectors)
    return torch.stack([entailment(projector, stacked) for projector in stacked])


def imply(probabilities: Tensor) -> Tensor:
    """The mean of p(b | x) over images, weighted by p(a | x), of (N, C): (C, C), [a, b]."""
    exact = probabilities.double()
    return exact.T @ exact / exact.sum(dim=0).unsqueeze(1)


def agree(scores: Tensor, truth: Tensor, prefix: str) -> dict[str, float]:
    """Areas under both curves of scores (C, C) against entailments (C, C), over ordered pairs."""
    pairs = ~torch.eye(len(truth), dtype=torch.bool)
    right, score = truth[pairs].numpy(), scores[pairs].numpy()
    return {
        f"{prefix}auprc": float(average_precision_score(right, score)),
        f"{prefix}auroc": float(roc_auc_score(right, score)),
    }


def answer(
    readout: Readout,
    embeddings: Tensor,
    labels: Tensor,
    truth: Tensor,
    inner: int,
    calibrated: bool,
) -> dict[str, float]:
    """Measure a readout at the levels of a tree.

    Args:
        readout: Fitted, over C literals.
        embeddings: (N, D).
        labels: (N, C), leaves first.
        truth: (C, C), the entailments.
        inner: The number of inner nodes, the last literals.
        calibrated: Whether its predictions and probabilities are calibrated.
    """
    leaves = labels.shape[1] - inner
    precisions = average_precision(readout.literal_probabilities(embeddings, calibrated), labels)
    predicted = readout.predict(embeddings, calibrated)
    right = predicted == labels.bool()
    return {
        "leaf_map": float(precisions[:leaves].nanmean()),
        "inner_map": float(precisions[leaves:].nanmean()),
        "leaf_accuracy": float(right[:, :leaves].all(dim=1).double().mean()),
        "inner_accuracy": float(right[:, leaves:].all(dim=1).double().mean()),
        "violations": violations(predicted, truth),
    }


def violations(predicted: Tensor, truth: Tensor) -> float:
    """Share of images, (N, C), with a literal and without one that it entails, (C, C)."""
    missing = (
        ~predicted.bool()
    ).double() @ truth.double().T  # ancestors of each that are not there
    return float((predicted.bool() & (missing > 0)).any(dim=1).double().mean())


def figure(
    readings: Mapping[str, Mapping[str, Reading]],
    shown: Mapping[str, tuple[Sequence[str], Tensor]],
) -> Figure:
    """Draw the entailments of a tree, and what subspaces and classifiers say, of the first seed."""
    width = 1 + max(map(len, readings.values()))
    drawing = Figure(figsize=(2.6 * width, 5.8 * len(readings)), layout="constrained")
    grid = drawing.subplots(2 * len(readings), width, squeeze=False)
    for place, (name, methods) in enumerate(readings.items()):
        literals, truth = shown[name]
        lines = grid[2 * place : 2 * place + 2]
        for line, kind in zip(lines, Reading._fields, strict=True):
            matrices = {f"{name}: tree": truth.double()}
            matrices |= {method: getattr(found, kind) for method, found in methods.items()}
            for panel in line[len(matrices) :]:
                panel.axis("off")
            for panel, (title, matrix) in zip(line, matrices.items(), strict=False):
                values = np.array(matrix)
                np.fill_diagonal(values, np.nan)
                panel.imshow(values, vmin=0, vmax=1, cmap="viridis")
                panel.set_title(fill(title, TITLE_WIDTH), fontsize=8)
                panel.set(xticks=[], yticks=[])
            line[0].set_yticks(range(len(literals)), literals, fontsize=5)
            line[1].set_ylabel(kind, fontsize=8)
    return drawing
