"""The config inside every checkpoint."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

CONFIG_KEY = "config"


class SaveConfig(Callback):
    """Store a resolved config of plain values, from which the model can be built again.

    Args:
        config: Nested dictionaries and lists of plain values.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[CONFIG_KEY] = self.config
