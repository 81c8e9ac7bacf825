"""The spectrum of embeddings under the nuclear norm, held against its closed-form optimum."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from torch import distributed as dist

from src.callbacks.wandb_media import save_figure, send
from src.data.images import ImageBatch
from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.nuclear import (
    NuclearNormLoss,
    gram_matrix,
    singular_values_from_gram,
)
from src.metrics import names
from src.metrics.spectral import Spectrum, compare_spectrum
from src.modules.subspace import SubspaceModule
from src.reports.figures.spectra import spectrum_figure
from src.subspaces.closed_form import optimal_loss
from src.subspaces.minterms import find_minterms

KEPT = ("epochs", "singular_values", "optimal_values")  # in checkpoints, to draw all of training
LINES = 10  # singular values drawn over time in W&B


class Spectra(Callback):
    """Logs the spectrum of training, validation and test embeddings as that of a random batch, in
    expectation, with its distance from the optimum for the same labels; and of the last batch of
    each epoch, if all its labels are known, its own distance, the rank of its labels and the number
    of its minterms.

    Draws `spectrum.png` after training. W&B gets the spectrum of every epoch as histograms and its
    largest values as lines. Losses other than the nuclear norm, whose optimum is not known, leave
    it silent. The optimum and distances from it are left out where they are out of reach: where
    embeddings are all scaled to one length, or have fewer dimensions than labels have rank. Under
    codes of minterms, images whose minterm the training split does not have count as without a
    label.

    Args:
        folder: The folder of the picture.
        batch_size: The number of images in a training batch, for which spectra are stated.
    """

    def __init__(self, folder: str, batch_size: int) -> None:
        self.folder = Path(folder)
        self.batch_size = batch_size
        self.epochs: list[int] = []
        self.singular_values: list[list[float]] = []
        self.optimal_values: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in KEPT:
            setattr(self, name, list(state_dict[name]))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ImageBatch,
        batch_idx: int,
    ) -> None:
        assert isinstance(pl_module, SubspaceModule)
        known = batch.unknown is None
        if trainer.is_last_batch and known and isinstance(pl_module.loss, NuclearNormLoss):
            loss = float(outputs["loss"].detach() - pl_module.loss.other_terms)
            pl_module.log_metrics("train", _describe_batch(pl_module, pl_module.loss, loss, batch))

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._gram: Tensor | float = 0.0
        self._images = 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: ImageBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, SubspaceModule)
        if dataloader_idx == 0 and isinstance(pl_module.loss, NuclearNormLoss):
            self._gram += gram_matrix(outputs, pl_module.label_codes(outputs, batch))
            self._images += len(outputs)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        if not isinstance(self._gram, Tensor):
            return
        images = torch.tensor(self._images, device=pl_module.device)
        if dist.is_initialized():
            dist.all_reduce(self._gram)
            dist.all_reduce(images)
        spectrum = self._log(pl_module, "train", self._gram, int(images))
        self._log_split(pl_module, "val")
        # Only training has a course to draw.
        if trainer.max_epochs != 0:
            self.epochs.append(trainer.current_epoch + 1)
            self.singular_values.append(spectrum.singular_values.tolist())
            self.optimal_values = spectrum.optimal_values.tolist()

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        self._log_split(pl_module, "test")

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.epochs:
            return
        measured, optimal = self.singular_values[-1], self.optimal_values
        histograms = {f"train/{names.SINGULAR_VALUES}": wandb.Histogram(measured)}
        if optimal:
            histograms[f"train/{names.OPTIMAL_VALUES}"] = wandb.Histogram(optimal)
        # Lightning puts the scalars of a validation one step back.
        send(trainer, histograms | spectral_lines(measured, optimal), trainer.global_step - 1)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.epochs:
            figure = spectrum_figure(self.epochs, self.singular_values, self.optimal_values)
            save_figure(trainer, self.folder, "spectrum", figure)

    def _log_split(self, module: SubspaceModule, stage: str) -> None:
        """The spectrum of all that the module has collected of a split."""
        if isinstance(module.loss, NuclearNormLoss):
            embeddings, labels, _ = module.collector.collect()
            gram = gram_matrix(embeddings, module.encode_labels(labels))
            self._log(module, stage, gram, len(embeddings))

    def _log(self, module: SubspaceModule, stage: str, gram: Tensor, num_images: int) -> Spectrum:
        loss = module.loss
        assert isinstance(loss, NuclearNormLoss)
        if not torch.isfinite(gram).all():
            raise NonFiniteEmbeddingsError(f"embeddings of the {stage} split are NaN or infinite")
        num_labels = len(gram) - module.encoder.embedding_dim
        batch_gram = gram * self.batch_size / num_images
        spectrum = compare_spectrum(
            batch_gram, num_labels, loss.alpha, loss.beta, module.encoder.free_lengths
        )
        metrics = {f"{names.SPECTRAL}/{name}": value for name, value in spectrum.summary.items()}
        module.log_metrics(stage, metrics)
        return spectrum


def spectral_lines(measured: Sequence[float], optimal: Sequence[float]) -> dict[str, float]:
    """The largest singular values and what each is at the optimum, as scalars to draw over time.

    Args:
        measured: (D,), descending.
        optimal: (r,), descending, r <= D; all others are 0 at the optimum. None without one.
    """
    shown = [*optimal, *[0.0] * len(measured)][: min(len(measured), LINES)] if optimal else []
    return {
        f"train/{names.singular_value_name(index, is_optimal)}": value
        for is_optimal, values in ((False, measured), (True, shown))
        for index, value in enumerate(values[:LINES], start=1)
    }


def _describe_batch(
    module: SubspaceModule, loss: NuclearNormLoss, value: float, batch: ImageBatch
) -> dict[str, float]:
    """Describe a batch as its loss of this value saw it: the theorem asks for as many minterms as
    its labels have rank.
    """
    codes = module.codes.double()
    label_gram = codes.T @ codes
    index = find_minterms(batch.labels, module.minterms)
    present = torch.bincount(index, minlength=len(module.minterms))
    if dist.is_initialized():
        dist.all_reduce(label_gram)
        dist.all_reduce(present)
    # A diagonal matrix with the singular values of the labels has the same optimum.
    labels = singular_values_from_gram(label_gram).diag().cpu()
    rank = int(torch.linalg.matrix_rank(labels))
    metrics = {
        names.BATCH_RANK: float(rank),
        names.BATCH_MINTERMS: float((present > 0).sum()),
    }
    if module.encoder.free_lengths and rank <= module.encoder.embedding_dim:
        metrics[names.BATCH_GAP] = value - optimal_loss(labels, loss.alpha, loss.beta)
    return metrics
