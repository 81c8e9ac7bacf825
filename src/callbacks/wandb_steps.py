"""Steps of a W&B run that is continued."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger


class ContinueWandbSteps(Callback):
    """Counts the steps of a resumed W&B run from where its checkpoint was saved.

    W&B knows of them itself only if it is online.
    """

    def __init__(self) -> None:
        self._step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._runs = [
            logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"step": max((run.step for run in self._runs), default=self._step)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._step = state_dict["step"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for run in self._runs:
            run.log({}, step=self._step)
