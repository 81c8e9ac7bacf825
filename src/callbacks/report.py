"""The report of a test: pictures and the retrieval table, on disk and in W&B."""

import csv
from pathlib import Path

import pytorch_lightning as pl
import torch
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from src.callbacks.wandb_media import save_figure, send
from src.data.atomic import replacing
from src.data.images import LabelledImages
from src.metrics.evaluation import Evaluation, QueryResult, Ranking
from src.metrics.names import RETRIEVAL_TABLE
from src.metrics.retrieval import TOP_K
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.reports.figures.retrieval import retrieval_figure
from src.reports.figures.spectra import coherence_figure, reliability_figure


class Report(Callback):
    """Draws `reliability.png`, `retrieval.png` and, of a module with subspaces, `coherence.png`
    after the test and writes `retrieval.csv`, from what the test found. Sends them to W&B where it
    is the logger.

    Args:
        folder: The folder of the files.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ImageDataModule)
        assert pl_module.test_results is not None
        collected, evaluation = pl_module.test_results
        images = data.image_set.splits["test"]
        figures = {
            "reliability": reliability_figure(evaluation.reliability),
            "retrieval": _draw_rankings(
                evaluation.examples, images, collected.indices, data.image_set.item
            ),
        }
        if (subspaces := pl_module.subspaces) is not None:
            figures["coherence"] = coherence_figure(
                subspaces.directions, subspaces.minterms, pl_module.literals
            )
        for name, figure in figures.items():
            save_figure(trainer, self.folder, name, figure)
        self._save_table(trainer, evaluation)

    def _save_table(self, trainer: pl.Trainer, evaluation: Evaluation) -> None:
        rows = evaluation.rows
        path = self.folder / "retrieval.csv"
        with replacing(path) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(QueryResult._fields)
            writer.writerows(rows)
        table = wandb.Table(list(QueryResult._fields), rows)
        send(trainer, {f"test/{RETRIEVAL_TABLE}": table}, trainer.global_step)


def _draw_rankings(
    rankings: list[Ranking], images: LabelledImages, indices: Tensor, item: str
) -> Figure:
    """The best images of each ranking, and with them the first that should not be there.

    Args:
        rankings: Rankings of images whose positions in the split are `indices`, (N,).
        images: The split.
        item: The word for one of them.
    """
    captions, shown, ranks, hits = [], [], [], []
    for _, positions, relevant in rankings:
        wrong = (~relevant).nonzero().flatten()
        wrong = wrong[wrong >= TOP_K][:1]
        places = torch.cat([torch.arange(min(TOP_K, len(positions))), wrong.cpu()])
        captions.append(
            f"precision@{TOP_K} {relevant[:TOP_K].double().mean():.2f}; "
            f"{int(relevant.sum())} of {len(relevant)} {item}s answer it"
        )
        shown.append(images.show(indices[positions].cpu()[places]))
        ranks.append((places + 1).tolist())
        hits.append(relevant.cpu()[places].tolist())
    queries = [ranking.query.text for ranking in rankings]
    return retrieval_figure(queries, captions, shown, ranks, hits)
