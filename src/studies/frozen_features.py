"""Linear maps of frozen features under each loss: the nuclear norm on the encoder of others."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor, nn

from src.data.images import ImageSet, LabelledImages
from src.data.normalize import Normalize
from src.data.stored import StoredRows, write_once
from src.encoders.encoder import Encoder
from src.encoders.pretrained import Pretrained
from src.losses.nuclear import NuclearNormLoss
from src.losses.nuclear_discriminant import NuclearDiscriminantLoss
from src.metrics import names
from src.metrics.evaluation import evaluate
from src.metrics.retrieval import TOP_K
from src.optimizers import OptimizerFactory
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.readout import Readout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.readouts.subspaces import MintermSubspaces
from src.reports.tables import Estimate, ResultTable, Row
from src.subspaces.minterms import distinct_minterms, encode_labels
from src.subspaces.queries import Queries, make_queries

CHUNK = 64  # images that features are made of at a time
MOST_LITERALS = 5  # of a conjunction
POSITIVE = names.retrieval_name(names.MAP, names.POSITIVE)
NEGATED = names.retrieval_name(names.MAP, names.NEGATED)
MEASURES = {
    names.MINTERM_ACCURACY: "accuracy",
    names.LITERAL_AUPRC: "literal AUPRC",
    POSITIVE: "mAP positive",
    NEGATED: "mAP negated",
}
BESIDE = {
    names.beside_name(names.MINTERM_ACCURACY, names.DISCRIMINANT): "accuracy by discriminants",
    names.beside_name(names.LITERAL_AUPRC, names.DISCRIMINANT): "literal AUPRC by discriminants",
    names.retrieval_name(
        names.MAP, names.POSITIVE, names.DISCRIMINANT
    ): "mAP positive by discriminants",
    names.retrieval_name(
        names.MAP, names.NEGATED, names.DISCRIMINANT
    ): "mAP negated by discriminants",
}
ABOUT = {"data": "data", "setting": "setting", "epochs": "epochs", "n": "n"}
COLUMNS = {**ABOUT, **MEASURES, **BESIDE}


class Setting(NamedTuple):
    """The coding of labels that a loss sees, and the readout that answers."""

    coding: str
    readout: type[Readout]


FEATURES = "features as they are"
DISCRIMINANT = "nuclear norm and discriminants"
SETTINGS = {
    "nuclear norm of minterms": Setting("minterms", MintermSubspaces),
    "nuclear norm of literals": Setting("literals", MintermSubspaces),
    "nuclear norm of complements": Setting("complements", MintermSubspaces),
    DISCRIMINANT: Setting("literals", DiscriminantReadout),
    "binary cross-entropy": Setting("literals", SigmoidReadout),
    "cross-entropy over minterms": Setting("minterms", SoftmaxReadout),
}
HEADS: Mapping[type[Readout], type[nn.Module]] = {
    SigmoidReadout: nn.BCEWithLogitsLoss,
    SoftmaxReadout: nn.CrossEntropyLoss,
}


class Split(NamedTuple):
    """Features of a split, (N, F), float32, and its labels, (N, C), bool."""

    features: Tensor
    labels: Tensor


class LinearMap(Encoder):
    """Features to embeddings, normalised as those of `Encoder` are."""

    def __init__(self, features: int, embedding_dim: int, radius: float | None) -> None:
        super().__init__(embedding_dim, radius, batch_norm=True)
        self.linear = nn.Linear(features, embedding_dim)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images[:, :, None, None])

    def features(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


class Task(NamedTuple):
    """A data set as features, and what is asked of it."""

    splits: Mapping[str, Split]
    literals: Sequence[str]
    minterms: Tensor  # (M, C), of the training split
    queries: Queries

    def codes(self, coding: str) -> Tensor:
        """Labels of the training split as losses see them."""
        return encode_labels(self.splits["train"].labels, self.minterms, coding).float()

    def linear_map(self, coding: str, embedding_dim: int, is_head: bool) -> LinearMap:
        """A map to embeddings; or to logits, one for each column of the labels."""
        features = self.splits["train"].features.shape[1]
        if is_head:
            return LinearMap(features, self.codes(coding).shape[1], None)
        return LinearMap(features, embedding_dim, 1.0)


def run(
    folder: Path,
    image_sets: Mapping[str, ImageSet],
    images: Mapping[str, int],
    encoder: Pretrained,
    cache: str,
    embedding_dim: int,
    nuclear: NuclearNormLoss,
    discriminant: Callable[[int, int], NuclearDiscriminantLoss],
    optimizer: OptimizerFactory,
    epochs: Sequence[int],
    batch_size: int,
    seeds: Sequence[int],
) -> ResultTable:
    """Train a linear map of the features of each set under each loss, and draw `figure.png`.

    Args:
        folder: The folder that the figure is written into.
        image_sets: By the names that the table has for them.
        images: The most images of each split, the first ones.
        encoder: Its network without the head makes the features, which nothing trains.
        cache: Folder that features are kept in, by what they were made of.
        embedding_dim: D under the nuclear norm; heads have a logit for each literal or minterm.
        nuclear: The nuclear norm.
        discriminant: Makes the nuclear norm with discriminants, of C labels and D.
        optimizer: See `src.optimizers`.
        epochs: Lengths of training, of which every setting has the one that ranks best on
            validation by its own readout, on average over seeds.
        batch_size: Images in a batch.
        seeds: Seeds of initial maps and of the order of images.
    """
    encoder.network.reset_classifier(0)
    encoder.eval()
    tasks = {
        name: prepare(name, image_set, images, encoder, Path(cache))
        for name, image_set in image_sets.items()
    }

    rows: list[Row] = []
    settings = list(product(tasks.items(), (FEATURES, *SETTINGS)))
    for (name, task), setting in track(settings, "training", transient=True):
        readout: type[Readout] = DiscriminantReadout
        best = ""
        maps: list[nn.Module] = [nn.Identity()]
        if setting != FEATURES:
            coding, readout = SETTINGS[setting]
            trained: dict[int, list[nn.Module]] = {}
            for length, seed in product(epochs, seeds):
                loss: nn.Module = nuclear
                if readout in HEADS:
                    loss = HEADS[readout]()
                elif setting == DISCRIMINANT:
                    loss = discriminant(len(task.literals), embedding_dim)
                torch.manual_seed(seed)
                linear = task.linear_map(coding, embedding_dim, readout in HEADS)
                train(task, coding, linear, loss, optimizer, length, batch_size)
                trained.setdefault(length, []).append(linear)
            ranked = {
                length: on_validation(task, readout, linears) for length, linears in trained.items()
            }
            length = max(ranked, key=ranked.__getitem__)
            best, maps = str(length), trained[length]
        found = [measure(task, readout, linear, "test") for linear in maps]
        estimates = {
            key: Estimate.of([metrics[key] for metrics in found])
            for key in (*MEASURES, *BESIDE)
            if key in found[0]
        }
        about = {"data": name, "setting": setting, "epochs": best, "n": str(len(found))}
        rows.append(about | estimates)
    _figure(rows, list(tasks)).savefig(folder / "figure.png", dpi=130)
    sizes = "; ".join(
        f"{name} " + " / ".join(f"{len(part.labels):,}" for part in task.splits.values())
        for name, task in tasks.items()
    )
    features = next(iter(tasks.values())).splits["train"].features.shape[1]
    conditions = (
        f"{features:,} frozen features of images at {encoder.image_size} pixels, standardised by "
        f"the training split. Linear maps to {embedding_dim} dimensions, or to the logits of a "
        f"head, normalised over the batch, in batches of {batch_size}; of "
        f"{', '.join(map(str, epochs))} epochs those that rank best on validation, for every "
        f"setting. The first images of each split (train / val / test): {sizes}. Mean ± standard "
        "deviation over n seeds. The nuclear norm of minterms, literals or complements is asked "
        "through its subspaces (score sum), all others by readouts of their own. Features as they "
        "are: discriminants of all of them, nothing trained. Conjunctions of up to "
        f"{MOST_LITERALS} literals with {TOP_K} answers or more; protocol clean."
    )
    return ResultTable(COLUMNS, rows, conditions)


def prepare(
    name: str,
    image_set: ImageSet,
    images: Mapping[str, int],
    encoder: Pretrained,
    cache: Path,
) -> Task:
    """Make the features of a set, or read those that were made before, and standardise them.

    Test images of a minterm that training does not have stay, and count as wrong.
    """
    splits = {}
    for part, number in images.items():
        whole = image_set.splits[part]
        chosen = whole.select(torch.arange(min(number, len(whole))))
        splits[part] = Split(extract(f"{name}-{part}", chosen, encoder, cache), chosen.labels)
    train_features = splits["train"].features
    center, std = train_features.mean(dim=0), train_features.std(dim=0)
    std = torch.where(std > 0, std, 1.0)  # some features are 0 for all images
    splits = {part: Split((x - center) / std, y) for part, (x, y) in splits.items()}
    minterms = distinct_minterms(splits["train"].labels)
    queries = make_queries(image_set.literals, minterms, MOST_LITERALS, 1, 0)
    return Task(splits, image_set.literals, minterms, queries)


def extract(name: str, images: LabelledImages, encoder: Pretrained, cache: Path) -> Tensor:
    """Features of images, (N, F), kept in a file that says by its name what they were made of."""
    pixels = images.images
    digest = hashlib.sha256(pixels.numpy().tobytes())
    for key, value in encoder.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    digest.update(str((encoder.normalization, encoder.image_size)).encode())
    path = cache / f"features-{name}-{digest.hexdigest()[:16]}.npy"
    assert encoder.normalization is not None
    normalize = Normalize(*encoder.normalization)

    def parts() -> Iterator[np.ndarray]:
        with torch.inference_mode():
            for chunk in track(pixels.split(CHUNK), f"features of {name}", transient=True):
                yield encoder.features(normalize(chunk)).float().numpy()

    write_once(path, parts(), "set study.cache to another folder")
    return StoredRows(path)[:].clone()


def train(
    task: Task,
    coding: str,
    linear: LinearMap,
    loss: nn.Module,
    optimizer: OptimizerFactory,
    epochs: int,
    batch_size: int,
) -> None:
    """Train a map on the training split, in an order that the generator of PyTorch draws."""
    features, codes = task.splits["train"].features, task.codes(coding)
    starts = range(0, len(features) - batch_size + 1, batch_size)
    made: Any = optimizer(linear.parameters(), epochs * len(starts))  # as Lightning takes them
    optimize, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    linear.train()
    for _ in range(epochs):
        order = torch.randperm(len(features))
        for start in starts:
            batch = order[start : start + batch_size]
            optimize.zero_grad()
            loss(linear(features[batch]), codes[batch]).backward()
            optimize.step()
            schedule.step()
    linear.eval()


def on_validation(task: Task, kind: type[Readout], maps: Sequence[nn.Module]) -> float:
    """The mean average precision of a readout on the validation split, on average over maps."""
    key = names.retrieval_name(names.MAP)
    return mean(measure(task, kind, linear, "val")[key] for linear in maps)


def measure(task: Task, kind: type[Readout], linear: nn.Module, split: str) -> dict[str, float]:
    """Fit a readout and discriminants on training embeddings, calibrate and measure them."""
    with torch.no_grad():
        embedded = {part: linear(features) for part, (features, _) in task.splits.items()}
    width = embedded["train"].shape[1]
    discriminants = DiscriminantReadout(task.minterms, width, "additive", None)
    offered = {"minterms": task.minterms, "literals": task.literals, "embedding_dim": width}
    takes = signature(kind).parameters
    readout = (
        discriminants
        if kind is DiscriminantReadout
        else kind(**{name: value for name, value in offered.items() if name in takes})
    )
    beside = [] if readout is discriminants else [discriminants]
    for fitted in (readout, *beside):
        fitted.update(embedded["train"], task.splits["train"].labels)
        fitted.fit()
        fitted.calibrate(embedded["val"], task.splits["val"].labels)
    labels, score = task.splits[split].labels, readout.score_kinds[0]
    evaluated = evaluate(readout, beside, None, embedded[split], labels, task.queries, score)
    return evaluated.metrics


def _figure(rows: Sequence[Row], data: Sequence[str]) -> Figure:
    """mAP of negated queries: by the readout of each setting, and by discriminants."""
    beside = names.retrieval_name(names.MAP, names.NEGATED, names.DISCRIMINANT)
    drawing = Figure(figsize=(4 * len(data), 3.6), layout="constrained")
    grid = drawing.subplots(1, len(data), sharey=True, squeeze=False)[0]
    for name, panel in zip(data, grid, strict=True):
        chosen = [row for row in rows if row["data"] == name][::-1]
        places = np.arange(len(chosen))
        for key, marker, label in ((NEGATED, "o", "own readout"), (beside, "s", "discriminants")):
            shown = [
                (place, row[key]) for place, row in zip(places, chosen, strict=True) if key in row
            ]
            panel.errorbar(
                [value.mean for _, value in shown],
                [place for place, _ in shown],
                xerr=[value.std or 0.0 for _, value in shown],
                fmt=marker,
                label=label,
                capsize=3,
            )
        panel.set_yticks(places, [row["setting"] for row in chosen])
        panel.set_title(name, fontsize=10)
        panel.set_xlabel(MEASURES[NEGATED])
        panel.grid(alpha=0.3)
    grid[0].legend(fontsize=8)
    return drawing
