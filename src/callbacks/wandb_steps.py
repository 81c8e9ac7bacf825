"""A W&B run that is continued."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger


class ContinueWandbSteps(Callback):
    """Counts the steps of a resumed W&B run from where its checkpoint was saved, and reminds its
    logger of the best checkpoint until then.

    W&B knows of the steps itself only if it is online.
    """

    def __init__(self) -> None:
        self._step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        self._runs = [logger.experiment for logger in loggers]
        for logger in loggers:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, ModelCheckpoint):
                    logger.after_save_checkpoint(callback)

    def state_dict(self) -> dict[str, Any]:
        return {"step": max((run.step for run in self._runs), default=self._step)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._step = state_dict["step"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for run in self._runs:
            run.log({}, step=self._step)
