"""Checkpoints: the config inside, written whole or not at all, read without running anything."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from src.build import build_module
from src.data.images import ImageDataModule
from src.instantiate import instantiate
from src.modules.subspace import SubspaceModule

CONFIG_KEY = "config"
ALLOWED_TARGETS = ("src.", "torch.nn.")
PARTS = ("dataset", "encoder", "loss", "optimizer", "module")


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


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


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a killed run leaves the checkpoint before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        partial = Path(path).with_suffix(".partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        partial.replace(path)


def load_checkpoint(path: str) -> tuple[DictConfig, ImageDataModule, SubspaceModule]:
    """Rebuild config, data module (not yet set up) and module, with weights and subspaces.

    Nothing of the file is executed: it is read as plain tensors and values, and its config may name
    classes of this project and of torch.nn only.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    config = OmegaConf.create(checkpoint[CONFIG_KEY])
    for part in PARTS:
        for target in _targets(config[part]):
            if not target.startswith(ALLOWED_TARGETS):
                raise CheckpointError(f"{path}: its config asks for {target!r}, which is refused")
    data = instantiate(config.dataset)
    state = checkpoint["state_dict"]
    module = build_module(config, data, state["subspaces.minterms"])
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its config: {error}") from error
    return config, data, module.eval()


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint file of this project as plain values.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {path}; runs leave theirs in <run>/checkpoints/")
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except (RuntimeError, EOFError, KeyError, OSError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} cannot be read as tensors and plain values: it is damaged or no checkpoint"
        ) from error
    if not isinstance(checkpoint, dict) or not {CONFIG_KEY, "state_dict"} <= checkpoint.keys():
        raise CheckpointError(f"{path} is no checkpoint of this project: it holds no config")
    return checkpoint


def _targets(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "_target_":
                yield str(value)
            yield from _targets(value)
    elif OmegaConf.is_list(config):
        for value in config:
            yield from _targets(value)
