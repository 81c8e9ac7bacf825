"""Randomness that does not depend on how a run came to its current step."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class ReseedEveryStep(Callback):
    """Seed dropout and augmentation of every training step by (seed, process, step).

    Lightning does not save generator states. With this a resumed run draws what the uninterrupted
    one would have drawn.

    Args:
        seed: The seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        entropy = [self.seed, trainer.global_rank, trainer.global_step]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        if pl_module.device.type == "cpu":  # without the generators of devices, which take longer
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
