"""A network with a readout of classes, and its training for one phase."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, TensorDataset

from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.data.samplers import RandomSampler
from src.encoders.convnet import ConvNet
from src.optimizers import OptimizerFactory
from src.readouts.subspaces import MintermSubspaces

EVAL_BATCH_SIZE = 128  # faster than larger ones on a CPU

Loss = Callable[[Tensor, Tensor], Tensor]
Accuracies = dict[str, float]


class Samples(NamedTuple):
    """Inputs of a network and their labels."""

    inputs: Tensor  # images (N, channels, height, width), uint8, or features (N, F)
    labels: Tensor  # (N, C), one-hot, float32


class Data(NamedTuple):
    """The training samples of both phases, and the samples that accuracy is measured on."""

    old: Samples
    new: Samples
    measured: Samples


class Learner(nn.Module):
    """A network and the subspaces by which its outputs are read as classes.

    Args:
        network: Maps inputs to outputs (N, D).
        subspaces: A direction for each class; None where outputs are logits of the classes.
    """

    old_means: Tensor | None  # (k, F), means of the network's inputs for the old classes

    def __init__(self, network: nn.Sequential, subspaces: MintermSubspaces | None) -> None:
        super().__init__()
        self.network = network
        self.subspaces = subspaces
        self.register_buffer("old_means", None)

    @torch.no_grad()
    def fit_directions(self, samples: Samples) -> None:
        """Fit the directions of the classes in these samples.

        Directions of other classes stay frozen, unless `old_means` is known: then they are those of
        the outputs at these means.
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
        """Scores of all classes, (N, C) on the CPU; the class of the highest is predicted."""
        outputs = evaluate(self.network, inputs)
        return (outputs if self.subspaces is None else self.subspaces.minterm_logits(outputs)).cpu()


class Phase(pl.LightningModule):
    """Training of a learner; its accuracies are measured after every epoch.

    Args:
        learner: The learner, whose network is trained in place.
        loss: Called as loss(outputs, labels).
        optimizer: See `src.optimizers`.
        samples: Training samples.
        measured: Samples that accuracy is measured on.
        old_classes: Number of classes that are old; they come first.
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
        """Train for some epochs and return the accuracies after each."""
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


def build_learner(image_set: ImageSet, embedding_dim: int | None, seed: int) -> Learner:
    """A ConvNet, with subspaces of all classes; without D its outputs are logits of the classes."""
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
        old_classes: Number of classes that are old; they come first.
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
