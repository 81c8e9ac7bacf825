"""Pictures and tables of a run, on disk and in W&B."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.loggers import WandbLogger

from src.data.atomic import replacing


def save_figure(trainer: pl.Trainer, folder: Path, name: str, figure: Figure) -> None:
    """Write FOLDER/NAME.png, and send it to W&B where that is the logger."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    with replacing(path) as partial:  # a killed run leaves no half picture
        figure.savefig(partial, dpi=130, format="png")
    send(trainer, {f"report/{name}": wandb.Image(str(path))}, trainer.global_step)


def send(trainer: pl.Trainer, values: dict[str, Any], step: int) -> None:
    """Log to W&B what other loggers have no place for."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_metrics(values | {"epoch": trainer.current_epoch}, step)
