"""Classes in two phases, the second without images of the first: what is left of the old ones.

Accuracy is measured in two ways that differ widely: among the classes of an image's own group, as
if the readout were told whether the image is old or new, and among all classes.

Second phases, all on the same new images and nothing else, except for the memory:

**Fine-tuning.** The first phase goes on, by cross-entropy or by the nuclear norm, on all weights.

**Split**, of the authors' notebook [0]. With F the frozen directions of old minterms and P the
projector onto their span, the loss sees [F x; ||(I - P) x||] in place of an embedding x. The
notebook takes the root of the plain sum of coordinates in the complement, which is NaN wherever
that is negative; here it is the norm.

**Memory.** The nuclear-norm loss depends on data only by the Gram matrix of [Y; X]. With all but
the last layer frozen, X = W H is linear in the features H, so that the Gram matrix of all old
images follows for any W from that of [Y; H], of (C + F)^2 numbers. The rows of its square root go
into the loss as pseudo-samples beside the new images: exactly the loss with all old images, of
which none is kept. Directions of old classes follow W as well: they are those of the class means,
which the same matrix holds. Cross-entropy does not depend on data by a Gram matrix. It gets the
same frozen features and the same numbers, and draws features of old classes from them: normal, with
the means of the classes and one covariance within them.

References:
    [0] https://github.com/gabmoreira/subspaces, experiments_incremental.ipynb at revision 60710e2
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, one_hot, pad
from torch.utils.data import DataLoader, TensorDataset

from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.data.samplers import RandomSampler
from src.encoders.convnet import ConvNet
from src.losses.nuclear import NuclearNormLoss
from src.optimizers import OptimizerFactory
from src.readouts.subspaces import MintermSubspaces
from src.reports.figures.colors import THEORY
from src.reports.tables import ResultTable, Row
from src.subspaces.projectors import span_projectors

EVAL_BATCH_SIZE = 128  # faster than larger ones on a CPU
MEASURES = {
    "old_own": "old among the old",
    "new_own": "new among the new",
    "old_all": "old among all",
    "new_all": "new among all",
    "all": "all",
}
COLORS = ("tab:red", "tab:orange", "tab:cyan", "tab:blue", "tab:green")
COLUMNS = {"method": "second phase", "before": "old before", **MEASURES}

Loss = Callable[[Tensor, Tensor], Tensor]
Accuracies = dict[str, float]


class Samples(NamedTuple):
    """What a network takes, with labels."""

    inputs: Tensor  # images (N, channels, height, width), uint8, or features (N, F)
    labels: Tensor  # (N, C), one-hot, float32


class Data(NamedTuple):
    """What the phases are trained on, and what both are measured on."""

    old: Samples
    new: Samples
    measured: Samples


class Learner(nn.Module):
    """A network and what reads classes off its outputs.

    Args:
        network: Maps inputs to outputs (N, D).
        subspaces: A direction for each class; None where outputs are logits of the classes.
    """

    old_means: Tensor | None  # (k, F), means of what the network takes for the old classes

    def __init__(self, network: nn.Sequential, subspaces: MintermSubspaces | None) -> None:
        super().__init__()
        self.network = network
        self.subspaces = subspaces
        self.register_buffer("old_means", None)

    @torch.no_grad()
    def fit_directions(self, samples: Samples) -> None:
        """Fit the directions of the classes in these samples.

        Those of other classes stay frozen, or are those of their means where these are known.
        """
        if self.subspaces is None:
            return
        directions, counts = self.subspaces.directions.clone(), self.subspaces.counts.clone()
        outputs = evaluate(self.network, samples.inputs)
        self.subspaces.update(outputs, samples.labels.to(outputs.device))
        self.subspaces.fit()
        frozen = self.subspaces.counts == 0
        self.subspaces.counts[frozen] = counts[frozen]
        if self.old_means is not None:
            directions[frozen] = normalize(self.network(self.old_means).double(), dim=1)
        self.subspaces.directions[frozen] = directions[frozen]

    def scores(self, inputs: Tensor) -> Tensor:
        """How well each class fits, the best is predicted: (N, C) on the CPU."""
        outputs = evaluate(self.network, inputs)
        return (outputs if self.subspaces is None else self.subspaces.minterm_logits(outputs)).cpu()


class Phase(pl.LightningModule):
    """Training of a learner; its accuracies are measured after every epoch.

    Args:
        learner: What is trained.
        loss: Called as loss(outputs, labels).
        optimizer: See `src.optimizers`.
        samples: What it is trained on.
        measured: What accuracy is measured on.
        old_classes: How many of the classes are old.
        advance: Called after every epoch.
    """

    def __init__(
        self,
        learner: Learner,
        loss: Loss,
        optimizer: OptimizerFactory,
        samples: Samples,
        measured: Samples,
        old_classes: int,
        advance: Callable[[], None],
    ) -> None:
        super().__init__()
        self.learner = learner
        self.loss = loss
        self.optimizer = optimizer
        self.samples = samples
        self.measured = measured
        self.old_classes = old_classes
        self.advance = advance
        self.history: list[Accuracies] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        steps = int(self.trainer.estimated_stepping_batches)
        return self.optimizer(self.learner.network.parameters(), steps)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        return self.loss(self.learner.network(inputs), labels)

    def on_train_epoch_end(self) -> None:
        self.learner.fit_directions(self.samples)
        scores = self.learner.scores(self.measured.inputs)
        self.history.append(accuracies(scores, self.measured.labels, self.old_classes))
        self.advance()

    def fit(self, epochs: int, batch_size: int, seed: int, device: str) -> list[Accuracies]:
        """Train for some epochs and return what was measured after each."""
        pl.seed_everything(seed, verbose=False)
        sampler = RandomSampler(len(self.samples.labels), batch_size, seed)
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(self, DataLoader(TensorDataset(*self.samples), None, sampler=sampler))
        return self.history


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
        folder: For the figure.
        image_set: Of images that each belong to one class.
        split: What accuracy is measured on.
        old_classes: The first so many classes are old, the others new.
        images_per_class: The first so many training images of each class; None for all.
        embedding_dim: D, where the nuclear norm trains.
        loss: The nuclear norm.
        optimizer, epochs, batch_size: Of each phase.
        seeds: Of initial weights, dropout and the order of images.
        device: To train on.

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

    figure(histories, epochs).savefig(folder / "figure.png", dpi=130)
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
    """Part training images into those of old and of new classes."""
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


def build_learner(image_set: ImageSet, embedding_dim: int | None, seed: int) -> Learner:
    """A ConvNet with subspaces of all classes; without D, its outputs are their logits."""
    pl.seed_everything(seed, verbose=False)
    classes = torch.eye(len(image_set.literals))
    encoder = ConvNet(
        image_set.image_shape, embedding_dim or len(classes), radius=None, batch_norm=False
    )
    network = nn.Sequential(Normalize(image_set.mean, image_set.std), *encoder.layers)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    subspaces = None if embedding_dim is None else MintermSubspaces(classes, embedding_dim)
    return Learner(network, subspaces)


@torch.no_grad()
def evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of a network in evaluation mode, on its own device: (N, D)."""
    device = next(network.parameters()).device
    network.eval()
    outputs = [network(batch.to(device)) for batch in inputs.split(EVAL_BATCH_SIZE)]
    network.train()
    return torch.cat(outputs)


def accuracies(scores: Tensor, labels: Tensor, old_classes: int) -> Accuracies:
    """Accuracy on old and on new classes, each among its own group and among all classes.

    Args:
        scores: (N, C).
        labels: (N, C), one-hot.
        old_classes: The first so many classes are old.
    """
    classes = labels.argmax(dim=1)
    old = classes < old_classes
    columns = torch.arange(scores.shape[1]) < old_classes
    own = scores.masked_fill(old.unsqueeze(1) != columns, -torch.inf)
    among_own, among_all = own.argmax(dim=1) == classes, scores.argmax(dim=1) == classes
    hits = {
        "old_own": among_own[old],
        "new_own": among_own[~old],
        "old_all": among_all[old],
        "new_all": among_all[~old],
        "all": among_all,
    }
    return {name: float(hit.double().mean()) for name, hit in hits.items()}


def split_embeddings(embeddings: Tensor, directions: Tensor) -> Tensor:
    """Embeddings as coordinates along directions, and the norm of what is orthogonal to them all.

    Args:
        embeddings: (N, D).
        directions: (k, D), unit rows.

    Returns:
        (N, k + 1).
    """
    directions = directions.to(embeddings)
    everything = torch.ones(1, len(directions), device=directions.device)
    across = embeddings - embeddings @ span_projectors(directions, everything)[0]
    norms = torch.linalg.vector_norm(across, dim=1, keepdim=True)
    return torch.cat([embeddings @ directions.T, norms], dim=1)


def freeze_trunk(learner: Learner, data: Data) -> Data:
    """Leave a learner only its last layer, and turn images into what that layer takes.

    Returns:
        Features (N, F + 1) in place of images; the last is 1, so that the layer has no bias.
    """
    *layers, last = learner.network
    assert isinstance(last, nn.Linear)
    trunk = nn.Sequential(*layers)
    joined = nn.Linear(last.in_features + 1, last.out_features, bias=False)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([last.weight, last.bias.unsqueeze(1)], dim=1))
    learner.network = nn.Sequential(joined)

    def features(samples: Samples) -> Samples:
        found = evaluate(trunk, samples.inputs)
        return Samples(pad(found, (0, 1), value=1.0), samples.labels)

    return Data(*map(features, data))


class Memory:
    """What is kept of old samples: the mean outer product of [labels; features] with itself.

    Args:
        samples: Features (N, F) with their labels (N, C).
    """

    def __init__(self, samples: Samples) -> None:
        self.num_classes = samples.labels.shape[1]
        stacked = torch.cat([samples.labels, samples.inputs], dim=1).double()
        self.gram = stacked.T @ stacked / len(stacked)  # (C + F, C + F)
        shares = self.gram.diagonal()[: self.num_classes]
        self.classes = shares.nonzero().flatten()
        sums = self.gram[self.classes, self.num_classes :]
        self.means = sums / shares[self.classes].unsqueeze(1)  # (k, F)
        moments = self.gram[self.num_classes :, self.num_classes :]
        self.spread = square_root(moments - sums.T @ self.means)

    def pseudo_samples(self, number: int) -> Samples:
        """C + F samples with the Gram matrix of that many old ones; labels are any numbers."""
        rows = square_root(number * self.gram).float()
        labels, features = rows.tensor_split([self.num_classes], dim=1)
        return Samples(features, labels)

    def draw(self, number: int) -> Samples:
        """That many features, normal around the means, from PyTorch's global generator."""
        drawn = torch.randint(len(self.classes), (number,))
        noise = torch.randn(number, len(self.spread)).double() @ self.spread
        labels = one_hot(self.classes[drawn], self.num_classes)
        return Samples((self.means[drawn] + noise).float(), labels.float())


def square_root(matrix: Tensor) -> Tensor:
    """R with R^T R = matrix, (n, n) and positive semidefinite."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()).T


def fine_tune_cross_entropy(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    return data, cross_entropy


def fine_tune_nuclear(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    return data, loss


def split_nuclear(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    assert learner.subspaces is not None
    frozen = learner.subspaces.directions[learner.subspaces.counts > 0]
    return data, lambda outputs, labels: loss(split_embeddings(outputs, frozen), labels)


def cross_entropy_with_memory(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    features = freeze_trunk(learner, data)
    memory = Memory(features.old)

    def with_memory(outputs: Tensor, labels: Tensor) -> Tensor:
        drawn = memory.draw(len(labels))
        old_outputs = learner.network(drawn.inputs.to(outputs))
        return cross_entropy(
            torch.cat([outputs, old_outputs]), torch.cat([labels, drawn.labels.to(outputs)])
        )

    return features, with_memory


def nuclear_with_memory(
    learner: Learner, data: Data, loss: NuclearNormLoss, batch_size: int
) -> tuple[Data, Loss]:
    features = freeze_trunk(learner, data)
    memory = Memory(features.old)
    learner.old_means = memory.means.float()
    old = memory.pseudo_samples(batch_size)

    def with_memory(outputs: Tensor, labels: Tensor) -> Tensor:
        old_outputs = learner.network(old.inputs.to(outputs))
        return loss(torch.cat([outputs, old_outputs]), torch.cat([labels, old.labels.to(outputs)]))

    return features, with_memory


# What each does before it is trained on new images: data as it takes them, and its loss.
SECOND_PHASES = {
    "cross-entropy": {
        "cross-entropy": fine_tune_cross_entropy,
        "cross-entropy, memory": cross_entropy_with_memory,
    },
    "nuclear norm": {
        "nuclear norm": fine_tune_nuclear,
        "nuclear norm, split as published": split_nuclear,
        "nuclear norm, memory": nuclear_with_memory,
    },
}


def summarize(name: str, runs: Sequence[Sequence[Accuracies]], epochs: int) -> Row:
    """Accuracies before and after the second phase, over seeds; `seeds` has all of them."""
    before = [run[epochs - 1]["old_all"] for run in runs]
    row: Row = {"method": name, "before": mean_and_deviation(before)}
    for measure in MEASURES:
        row[measure] = mean_and_deviation([run[-1][measure] for run in runs])
    return row | {"seeds": runs}


def mean_and_deviation(values: Sequence[float]) -> str:
    """Such as 0.912 ± 0.004; the deviation of a sample, and none of a single value."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def figure(histories: Mapping[str, Sequence[Sequence[Accuracies]]], epochs: int) -> Figure:
    """Accuracy over epochs: old and new classes, each among their own and among all."""
    drawing = Figure(figsize=(9, 6.4), layout="constrained")
    panels = drawing.subplots(2, 2, sharex=True, sharey=True)
    for axes, measure in zip(
        panels.T.flat, ("old_own", "new_own", "old_all", "new_all"), strict=True
    ):
        start = 0 if measure.startswith("old") else epochs
        for color, (name, runs) in zip(COLORS, histories.items(), strict=True):
            values = np.array([[point[measure] for point in run] for run in runs])[:, start:]
            x, mean_value, spread = np.arange(start, 2 * epochs) + 1, values.mean(0), values.std(0)
            axes.plot(x, mean_value, "o-", color=color, markersize=3, linewidth=1.3, label=name)
            axes.fill_between(
                x, mean_value - spread, mean_value + spread, color=color, alpha=0.15, linewidth=0
            )
        axes.axvline(epochs + 0.5, color=THEORY, linestyle="--", linewidth=1)
        axes.set(title=f"{MEASURES[measure]} classes", ylim=(-0.02, 1))
    for axes in panels[-1]:
        axes.set_xlabel("epoch; dashed: from here on new classes alone")
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("accuracy")
    handles, names = panels[0, 0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return drawing
