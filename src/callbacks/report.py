"""The report of a run: pictures and the retrieval table, on disk and in W&B."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from src.metrics.retrieval import top_k
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.reports.figures import (
    coherence_figure,
    reliability_figure,
    retrieval_figure,
    spectrum_figure,
)
from src.subspaces.propositions import Proposition

IMAGES_PER_QUERY = 10
LINES = 10  # singular values drawn over time in W&B
RETRIEVAL_COLUMNS = (
    "query",
    "depth",
    "negated",
    "positives",
    "average_precision",
    "precision_at_10",
)


class Report(Callback):
    """Draws `spectrum.png` after training; `coherence.png`, `reliability.png`, `retrieval.png` and
    `retrieval.csv` after the test. Sends them to W&B where it is the logger, with the spectrum of
    every epoch as histograms and its largest values as lines.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.epochs: list[int] = []
        self.singular_values: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "singular_values": self.singular_values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])
        self.singular_values = list(state_dict["singular_values"])

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        spectrum = pl_module.spectra.get("train")
        # Only the nuclear-norm loss has an optimum to compare with, and only training a course.
        if spectrum is None or trainer.max_epochs == 0:
            return
        self.epochs.append(trainer.current_epoch + 1)
        measured, optimal = spectrum.singular_values.tolist(), spectrum.optimal_values.tolist()
        self.singular_values.append(measured)
        histograms = {
            "train/spectral/singular_values": wandb.Histogram(measured),
            "train/spectral/optimal_values": wandb.Histogram(optimal),
        }
        # Lightning puts the scalars of a validation one step back.
        _send(trainer, histograms | spectral_lines(measured, optimal), trainer.global_step - 1)

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        if self.epochs and "train" in pl_module.spectra:
            optimal = pl_module.spectra["train"].optimal_values.tolist()
            figure = spectrum_figure(self.epochs, self.singular_values, optimal)
            self._save(trainer, "spectrum", figure)

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        assert pl_module.test_results is not None
        subspaces = pl_module.subspaces
        figure = coherence_figure(subspaces.directions, subspaces.minterms, pl_module.literals)
        self._save(trainer, "coherence", figure)
        calibration = reliability_figure(pl_module.test_results.reliability)
        self._save(trainer, "reliability", calibration)
        self._save(trainer, "retrieval", self._retrieval_grid(trainer, pl_module))
        self._save_table(trainer, pl_module)

    def _retrieval_grid(self, trainer: pl.Trainer, module: SubspaceModule) -> Figure:
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ImageDataModule)
        assert module.test_results is not None
        embeddings, labels, indices = module.test_results.collected
        test, queries = data.image_set.splits["test"], data.image_set.example_queries
        captions, images, ranks, hits = [], [], [], []
        for text in queries:
            query = Proposition(text, module.literals)
            scores = module.score(embeddings, [query])
            ranking = top_k(scores, len(scores))[:, 0]
            relevant = query.holds(labels)[ranking]
            # The best few, and with them the first image that should not be there.
            wrong = (~relevant).nonzero().flatten()
            wrong = wrong[wrong >= IMAGES_PER_QUERY][:1]
            shown = torch.cat([torch.arange(min(IMAGES_PER_QUERY, len(ranking))), wrong.cpu()])
            captions.append(
                f"precision@{IMAGES_PER_QUERY} {relevant[:IMAGES_PER_QUERY].double().mean():.2f}; "
                f"{int(relevant.sum())} of {len(relevant)} images answer it"
            )
            images.append(test[indices[ranking].cpu()[shown]].images)
            ranks.append((shown + 1).tolist())
            hits.append(relevant.cpu()[shown].tolist())
        return retrieval_figure(queries, captions, images, ranks, hits)

    def _save_table(self, trainer: pl.Trainer, module: SubspaceModule) -> None:
        assert module.test_results is not None
        results = module.test_results.retrieval
        texts = [query.text for query in module.queries]
        negated = [query.has_negation for query in module.queries]
        measures = (results.positives, results.average_precision, results.precision_at_k)
        rows = list(
            zip(
                texts,
                module.depths,
                negated,
                *(values.tolist() for values in measures),
                strict=True,
            )
        )
        with (self.folder / "retrieval.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(RETRIEVAL_COLUMNS)
            writer.writerows(rows)
        table = wandb.Table(list(RETRIEVAL_COLUMNS), rows)
        _send(trainer, {"test/retrieval_table": table}, trainer.global_step)

    def _save(self, trainer: pl.Trainer, name: str, figure: Figure) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.png"
        partial = path.with_suffix(".partial")  # a killed run leaves no half picture
        figure.savefig(partial, dpi=130, format="png")
        partial.replace(path)
        _send(trainer, {f"report/{name}": wandb.Image(str(path))}, trainer.global_step)


def spectral_lines(measured: Sequence[float], optimal: Sequence[float]) -> dict[str, float]:
    """The largest singular values and what each is at the optimum, as scalars to draw over time.

    Args:
        measured: (D,), descending.
        optimal: (r,), descending, r <= D; all others are 0 at the optimum.
    """
    shown = [*optimal, *[0.0] * len(measured)][: min(len(measured), LINES)]
    return {
        f"train/spectral/{name}_{index:02d}": value
        for name, values in (("s", measured), ("optimal_s", shown))
        for index, value in enumerate(values[:LINES], start=1)
    }


def _send(trainer: pl.Trainer, values: dict[str, Any], step: int) -> None:
    """Log to W&B what other loggers have no place for."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_metrics(values | {"epoch": trainer.current_epoch}, step)
