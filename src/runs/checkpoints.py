"""Checkpoints: the config inside, written whole or not at all, read without running anything."""

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback
from safetensors import safe_open
from torch import Tensor

from src.data.atomic import PARTIAL, replacing
from src.runs.trust import check_config, check_kept_paths, show

CONFIG_KEY = "config"
MINTERMS = "minterms"
EXPORTED = ".safetensors"  # ends the names of files of `src.export`
DIGEST = "sha256"
UNREADABLE = "cannot be read as tensors and plain values: it is damaged or no checkpoint"
STEP = "global_step"  # Lightning's name


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


class SaveConfig(Callback):
    """Store a resolved config of plain values, from which the model can be built again; the latest
    metrics; and whether the subspaces were fitted on embeddings of these weights.

    Args:
        config: Nested dictionaries and lists of plain values.

    Raises:
        ValueError: If `read_checkpoint` would refuse the config later.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        check_config(config)
        self.config = config
        self._validated_step = -1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated_step = trainer.global_step

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[CONFIG_KEY] = self.config
        checkpoint["metrics"] = {
            name: float(value) for name, value in trainer.callback_metrics.items()
        }
        checkpoint["validated"] = self._validated_step == trainer.global_step


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a killed run leaves the checkpoint before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()  # torch would hide what the disk says
        torch.save(checkpoint, content)
        with replacing(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


def remove_partial(output_dir: Path) -> None:
    """Remove what a killed run was writing when it was killed."""
    for pattern in (f"*{PARTIAL}", f"checkpoints/*{PARTIAL}", f"report/*{PARTIAL}"):
        for partial in output_dir.glob(pattern):
            partial.unlink()


def read_step(path: Path) -> int:
    """Read the step at which a checkpoint was saved, and nothing else of it.

    Raises:
        CheckpointError: If it cannot be read, or does not say.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except PermissionError:
        raise
    except Exception as error:  # what a damaged pickle raises can be anything
        raise CheckpointError(f"{path} {UNREADABLE}: move it away") from error
    step = content.get(STEP) if type(content) is dict else None
    if type(step) is not int:
        raise CheckpointError(f"{path} does not say at which step it was saved: move it away")
    return step


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint file of this project as tensors and plain values, without calling or
    importing anything that it names, and check what using it would call or delete.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project, or
            asks for more than `src.runs.trust` allows.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {path}; runs leave theirs in <run>/checkpoints/")
    try:
        content = _read_exported(file) if file.suffix == EXPORTED else _read_pickled(file)
    except PermissionError:
        raise
    except Exception as error:  # what a damaged pickle raises can be anything
        raise CheckpointError(f"{path} {UNREADABLE}") from error
    if content is None:
        raise CheckpointError(f"{path} {UNREADABLE}")
    checkpoint: dict[str, Any] = content if type(content) is dict else {}
    config, state = checkpoint.get(CONFIG_KEY), checkpoint.get("state_dict")
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of this project: it holds no config")
    if not isinstance(state.get(MINTERMS), Tensor):
        raise CheckpointError(f"{path} is no checkpoint of this project: it holds no minterms")
    for name, value in state.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: among its weights, {show(name)} is none")
    try:
        check_config(config)
        check_kept_paths(checkpoint.get("callbacks", {}))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return checkpoint


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 sum of tensors and their names, in hexadecimal digits."""
    summed = hashlib.sha256()
    for name in sorted(tensors):
        summed.update(name.encode())
        summed.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()


def _read_pickled(file: Path) -> Any:
    """The content of what training left; None if a checksum is wrong."""
    with ZipFile(file) as archive:
        damaged = archive.testzip()  # torch does not look at the checksums that it writes
    return None if damaged else torch.load(file, map_location="cpu", weights_only=True)


def _read_exported(file: Path) -> dict[str, Any] | None:
    """The content of what `src.export` left; None if its checksum is wrong."""
    with safe_open(file, framework="pt") as stored:
        texts = stored.metadata() or {}
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  no dictionary
    if texts.get(DIGEST) != digest(state):
        return None
    return {"state_dict": state, CONFIG_KEY: json.loads(texts[CONFIG_KEY])}
