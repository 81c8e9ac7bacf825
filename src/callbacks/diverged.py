"""The batch at which a run diverged."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from src.data.images import ImageBatch
from src.losses.batch import NonFiniteEmbeddingsError


class SaveDivergedBatch(Callback):
    """Saves `diverged_rankN.ckpt` when a training step meets NaN or infinity: the process's share
    of the batch, `images`, `labels` and `indices`; and `state_dict`, the module before the step,
    but for running statistics of batch normalisation, which have seen the batch.

    Args:
        folder: Where it goes.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._batch: ImageBatch | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: ImageBatch, batch_idx: int
    ) -> None:
        self._batch = batch

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._batch = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if self._batch is None or not isinstance(exception, NonFiniteEmbeddingsError):
            return
        path = self.folder / f"diverged_rank{trainer.global_rank}.ckpt"
        content = self._batch._asdict() | {
            "state_dict": pl_module.state_dict(),
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
        }
        trainer.strategy.checkpoint_io.save_checkpoint(content, path)
        exception.args = (f"{exception}; {path} holds the batch",)
