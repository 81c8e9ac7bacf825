"""Classes in two phases, the second without images of the first: what is left of the old ones?

Accuracy is measured in two ways that differ widely: among the classes of an image's own group, as
if the readout were told whether the image is old or new, and among all classes.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import torch
from rich.progress import Progress
from torch.nn.functional import cross_entropy

from src.data.images import ImageSet
from src.losses.nuclear import NuclearNormLoss
from src.optimizers import OptimizerFactory
from src.reports.tables import ResultTable, Row
from src.studies.incremental.figure import TITLES, accuracy_figure
from src.studies.incremental.learner import Accuracies, Data, Loss, Phase, Samples, build_learner
from src.studies.incremental.methods import SECOND_PHASES

MEASURES = {**TITLES, "all": "all"}
COLUMNS = {"method": "second phase", "before": "old before", **MEASURES}


def run(
    folder: Path,
    image_set: ImageSet,
    split: Literal["val", "test"],
    old_classes: int,
    images_per_class: int | None,
    embedding_dim: int,
    loss: NuclearNormLoss,
    optimizer: OptimizerFactory,
    epochs: int,
    batch_size: int,
    seeds: Sequence[int],
    device: Literal["cpu", "cuda"],
) -> ResultTable:
    """Train both phases by every method, draw `figure.png` and compare accuracies.

    Args:
        folder: The folder that the figure is written into.
        image_set: Images that each belong to one class.
        split: The split that accuracy is measured on.
        old_classes: The first so many classes are old, the others new.
        images_per_class: The first so many training images of each class; None for all.
        embedding_dim: D under the nuclear norm; cross-entropy has a logit for each class.
        loss: The nuclear norm.
        optimizer: The optimiser of each phase, see `src.optimizers`.
        epochs: Number of epochs of each phase.
        batch_size: Images in a batch.
        seeds: Seeds of initial weights, dropout and the order of images.
        device: The device to train on.

    Raises:
        ValueError: If a setting is impossible; it is named.
    """
    num_classes = len(image_set.literals)
    if not 0 < old_classes < num_classes:
        raise ValueError(
            f"old_classes must be between 1 and {num_classes - 1}, so that both phases have "
            f"classes, not {old_classes}"
        )
    if embedding_dim < num_classes:
        raise ValueError(
            f"embedding_dim must be at least {num_classes}, one for each class, not {embedding_dim}"
        )
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")
    if not seeds:
        raise ValueError("seeds must name at least one, such as [0]")

    data = load(image_set, split, old_classes, images_per_class)
    families: dict[str, tuple[int | None, Loss]] = {
        "cross-entropy": (None, cross_entropy),
        "nuclear norm": (embedding_dim, loss),
    }
    histories: dict[str, list[list[Accuracies]]] = {}
    phases = len(families) + sum(map(len, SECOND_PHASES.values()))
    with Progress(transient=True) as progress:
        task = progress.add_task("training", total=len(seeds) * phases * epochs)
        phase = partial(
            Phase,
            optimizer=optimizer,
            old_classes=old_classes,
            advance=partial(progress.advance, task),
        )
        for seed, (family, (dim, first_loss)) in product(seeds, families.items()):
            fit = partial(Phase.fit, epochs=epochs, batch_size=batch_size, seed=seed, device=device)
            first = build_learner(image_set, dim, seed)
            before = fit(phase(first, first_loss, samples=data.old, measured=data.measured))
            for name, prepare in SECOND_PHASES[family].items():
                second = deepcopy(first)
                seen, second_loss = prepare(second, data, loss, batch_size)
                after = fit(phase(second, second_loss, samples=seen.new, measured=seen.measured))
                histories.setdefault(name, []).append(before + after)

    accuracy_figure(histories, epochs).savefig(folder / "figure.png", dpi=130)
    rows = [summarize(name, runs, epochs) for name, runs in histories.items()]
    conditions = (
        f"Accuracy on {len(data.measured.labels):,} {split} images, mean ± standard deviation over "
        f"seeds {', '.join(map(str, seeds))}. {epochs} epochs of {len(data.old.labels):,} images "
        f"of {old_classes} old classes, then {epochs} of {len(data.new.labels):,} images of the "
        f"others and none of the old. ConvNet, batches of {batch_size}; nuclear norm with D = "
        f"{embedding_dim}, alpha {loss.alpha}, beta {loss.beta}."
    )
    return ResultTable(COLUMNS, rows, conditions)


def load(image_set: ImageSet, split: str, old_classes: int, images_per_class: int | None) -> Data:
    """Part training images into those of old and of new classes.

    Raises:
        ValueError: If an image has no class, or several.
    """
    train, measured = image_set.splits["train"], image_set.splits[split]
    classes = train.labels.int().argmax(dim=1)
    if not (train.labels.sum(dim=1) == 1).all():
        raise ValueError("image_set must have exactly one class an image")
    groups = []
    for group in (range(old_classes), range(old_classes, len(image_set.literals))):
        chosen = [(classes == label).nonzero().flatten()[:images_per_class] for label in group]
        part = train.select(torch.cat(chosen))
        groups.append(Samples(part.images, part.labels.float()))
    old, new = groups
    return Data(old, new, Samples(measured.images, measured.labels.float()))


def summarize(name: str, runs: Sequence[Sequence[Accuracies]], epochs: int) -> Row:
    """A row: accuracies before and after the second phase, over seeds; `seeds` has all of them."""
    before = [run[epochs - 1]["old_all"] for run in runs]
    row: Row = {"method": name, "before": mean_and_deviation(before)}
    for measure in MEASURES:
        row[measure] = mean_and_deviation([run[-1][measure] for run in runs])
    return row | {"seeds": runs}


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean and sample deviation as text, such as 0.912 ± 0.004; a single value has none."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
