"""Callbacks that disturb a training run at a chosen step."""

import os
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from src.data.images import ImageBatch


class SendSignal(Callback):
    """Sends this process a signal in the middle of a training step, or before a test batch.

    Args:
        number: Of the signal.
        step: How many training steps came before; -1 for the test.
    """

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        self.step = step

    def on_before_zero_grad(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.step == -1:
            os.kill(os.getpid(), self.number)


class SpoilWeights(Callback):
    """Sets the weights of one process to NaN before a training step, or before a validation.

    Args:
        rank: Of the process.
        step: How many training steps came before; -1 for the first validation.
    """

    def __init__(self, rank: int, step: int) -> None:
        self.rank = rank
        self.step = step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: ImageBatch, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            self._spoil(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.step == -1:
            self._spoil(trainer, pl_module)

    def _spoil(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == self.rank:
            for weight in pl_module.parameters():
                torch.nn.init.constant_(weight, float("nan"))


class WaitForFile(Callback):
    """Keeps a training waiting in its first step.

    Args:
        path: A file that will be there.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        while not self.path.exists():
            time.sleep(0.01)
