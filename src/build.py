"""From a config to objects, and from a checkpoint back to them."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.callbacks.save_config import CONFIG_KEY
from src.data.images import ImageDataModule
from src.data.normalize import Normalize
from src.instantiate import instantiate
from src.modules.subspace import SubspaceModule

PARTS = ("dataset", "encoder", "loss", "optimizer", "module")


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


def build_module(config: DictConfig, data: ImageDataModule, minterms: Tensor) -> SubspaceModule:
    """Compose the module of a config for a data set with these minterms, (M, C)."""
    return instantiate(
        config.module,
        encoder=instantiate(config.encoder, image_shape=data.image_shape),
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer),
        normalize=Normalize(data.mean, data.std),
        literals=data.literals,
        minterms=minterms,
        batch_size=data.batch_size,
    )


def load_checkpoint(path: str) -> tuple[DictConfig, ImageDataModule, SubspaceModule]:
    """Rebuild config, data module (not yet set up) and module, with weights and subspaces.

    Nothing of the file is executed: it is read as plain tensors and values, and its config may name
    classes of this project only.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    config = OmegaConf.create(checkpoint[CONFIG_KEY])
    for part in PARTS:
        for target in _targets(config[part]):
            if not target.startswith("src."):
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
