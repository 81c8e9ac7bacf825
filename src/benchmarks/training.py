"""Training as the commands do it, for measurements."""

import logging

import hydra
import pytorch_lightning as pl
import wandb
from omegaconf import DictConfig

from src.config.instantiate import instantiate
from src.data.images import ImageSet
from src.runs.compose import build_data, build_module, build_trainer

CROSS_ENTROPY = ["method=cross_entropy"]


def compose_training(device: str, folder: str, *overrides: str) -> DictConfig:
    """The default config of `src.train`, but for a device, a folder and overrides."""
    trainer = "gpu" if device == "cuda" else "cpu"
    # The default name interpolates the choices of src.train's groups: Hydra has none here.
    own = ["name=benchmark", f"output_dir={folder}"]
    return hydra.compose("train", [f"trainer={trainer}", *overrides, *own])


def fit(config: DictConfig, image_set: ImageSet, callback: pl.Callback) -> None:
    """Fit as `src.train` does, with one more callback, before all others."""
    # Lightning sets its own level when it is imported.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config, image_set)
    module = build_module(
        config, image_set, data.minterms, data.minterm_counts, from_checkpoint=False
    )
    callbacks = [instantiate(other) for other in config.callbacks.values()]
    logger = instantiate(config.logger) if config.logger else False
    trainer = build_trainer(config.trainer, data, callbacks=[callback, *callbacks], logger=logger)
    trainer.fit(module, data)
    wandb.finish()
