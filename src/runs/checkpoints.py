"""Checkpoints: the config inside, written whole or not at all, read without running anything."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from src.config.instantiate import ConfigError, instantiate
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.compose import build_data, build_module

CONFIG_KEY = "config"
MINTERMS = "subspaces.minterms"
PARTIAL = ".partial"
UNREADABLE = "cannot be read as tensors and plain values: it is damaged or no checkpoint"
TRAINING_STATE = {"loops", "epoch", "optimizer_states", "lr_schedulers"}
ALLOWED_MODULES = ("src.", "torch.nn")
PARTS = ("dataset", "loader", "encoder", "loss", "optimizer", "module")
DECISIVE = (
    "seed",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.precision",
    "trainer.limit_train_batches",
)  # for resuming, beside the parts
# Said by `seed` already, in the checkpoint, or only about where images are and who cuts batches.
INDIFFERENT = (
    "loader.seed",
    "loader.workers",
    "loader.on_device",
    "dataset.root",
    "dataset.cache",
    "encoder.weights",
)


class CheckpointError(ValueError):
    """A checkpoint cannot be used."""


class SaveConfig(Callback):
    """Store a resolved config of plain values, from which the model can be built again; the latest
    metrics; and whether the subspaces were fitted on embeddings of these weights.

    Args:
        config: Nested dictionaries and lists of plain values.
    """

    def __init__(self, config: dict[str, Any]) -> None:
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
        partial = Path(path).with_suffix(PARTIAL)
        partial.parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()  # torch would hide what the disk says
        torch.save(checkpoint, content)
        try:
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def remove_partial(output_dir: Path) -> None:
    """Remove what a killed run was writing when it was killed."""
    for pattern in (f"checkpoints/*{PARTIAL}", f"hpc_ckpt_*{PARTIAL}", f"report/*{PARTIAL}"):
        for partial in output_dir.glob(pattern):
            partial.unlink()


def load_checkpoint(
    path: str, data_dir: str | None
) -> tuple[DictConfig, ImageDataModule, SubspaceModule]:
    """Rebuild config, data module (images not yet loaded) and module, with weights and subspaces.

    Nothing of the file is executed: it is read as plain tensors and values, and its config may name
    classes of this project and of torch.nn only.

    Args:
        path: Of a checkpoint that training left.
        data_dir: Where data sets are kept now; None where they were in training.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.get("validated", True):
        raise CheckpointError(
            f"{path} is of a run stopped between validations, and its subspaces belong to other "
            "weights: resume it, or take last.ckpt"
        )
    config = OmegaConf.create(checkpoint[CONFIG_KEY])
    for part in PARTS:
        for target in _targets(config[part]):
            if not _is_allowed(target):
                raise CheckpointError(f"{path}: its config asks for {target!r}, which is refused")
    if data_dir is not None and "root" in config.dataset:
        config.dataset.root = data_dir
    state = checkpoint["state_dict"]
    try:
        image_set = instantiate(config.dataset)
        module = build_module(config, image_set, state[MINTERMS], from_checkpoint=True)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} was written by another version of this project: {error}"
        ) from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its config: {error}") from error
    return config, build_data(config, image_set), module.eval()


def find_resumed(ckpt_path: str | None, output_dir: Path) -> str | None:
    """The checkpoint that a run goes on from: what is newest, of ckpt_path and, in a job of SLURM,
    what Lightning left in the output folder when it requeued the job.
    """
    found = [] if ckpt_path is None else [Path(ckpt_path)]
    if SLURMEnvironment.detect():
        found += output_dir.glob("hpc_ckpt_*.ckpt")
    if len(found) < 2:
        return str(found[0]) if found else None
    return str(max(found, key=lambda path: path.stat().st_mtime_ns))


def check_resumable(path: str, checkpoint: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless a run with this config can go on from a checkpoint.

    What decides the weights must be as it was: the same parts, seed and length. The data may have
    moved. Where only the test is left, the run must be resumed in its own folder.

    Args:
        path: Of the checkpoint.
        checkpoint: What it holds.
        config: Of the run.
    """
    if not checkpoint.keys() >= TRAINING_STATE:
        raise CheckpointError(f"{path} cannot be resumed: it holds weights, but not all the rest")
    before = checkpoint[CONFIG_KEY]
    changes = _decisive_changes(before, config)
    if changes:
        raise CheckpointError(
            f"{path} was trained otherwise; resume it with {', '.join(changes[:5])}"
        )
    max_epochs = config["trainer"]["max_epochs"]
    ended = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
    epochs = checkpoint["epoch"] + int(ended or max_epochs == 0)
    if max_epochs is not None and 0 <= max_epochs <= epochs:
        run = Path(path).absolute().parent.parent
        if run != Path(config["output_dir"]).absolute():
            raise CheckpointError(
                f"{path} is of a finished run: python -m src.evaluate tests it, or hydra.run.dir="
                f"{run} ends the run if it was stopped in its test"
            )


def find_finished(output_dir: Path, config: Mapping[str, Any]) -> bool:
    """Whether a folder has the results of a run with this config.

    Raises:
        CheckpointError: If it has those of a run with another.
    """
    if not (output_dir / "metrics.json").exists():
        return False
    before: Any = OmegaConf.to_container(OmegaConf.load(output_dir / "config.yaml"))
    changes = _decisive_changes(before, config)
    if changes:
        raise CheckpointError(
            f"{output_dir} has the results of another run, with {', '.join(changes[:5])}: "
            "move it away, or train into another folder"
        )
    return True


def find_newest(output_dir: Path) -> Path | None:
    """The newest checkpoint that a run can go on from, if there is one."""
    found = (output_dir / "checkpoints" / f"{name}.ckpt" for name in ("last", "interrupted"))
    return max(filter(Path.exists, found), key=lambda path: path.stat().st_mtime_ns, default=None)


def _decisive_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={old} (not {new})"
        for name, old, new in _differences(before, now)
        if name in DECISIVE or (name.split(".")[0] in PARTS and name not in INDIFFERENT)
    ]


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint file of this project as plain values.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {path}; runs leave theirs in <run>/checkpoints/")
    try:
        with ZipFile(file) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums that it writes
        content = None if damaged else torch.load(file, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # what a damaged pickle raises can be anything
        raise CheckpointError(f"{path} {UNREADABLE}") from error
    if damaged:
        raise CheckpointError(f"{path} {UNREADABLE}")
    checkpoint: dict[str, Any] = content if isinstance(content, dict) else {}
    config, state = checkpoint.get(CONFIG_KEY), checkpoint.get("state_dict")
    if not isinstance(config, dict) or not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of this project: it holds no config")
    missing = [part for part in PARTS if not isinstance(config.get(part), dict)]
    if missing:
        raise CheckpointError(
            f"{path} was written by another version of this project: its config has no {missing[0]}"
        )
    if not isinstance(state.get(MINTERMS), Tensor):
        raise CheckpointError(f"{path} is no checkpoint of this project: it holds no minterms")
    return checkpoint


def _targets(config: Any) -> Iterator[str]:
    """What instantiating a config would call; positional arguments count as a call of their own."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key in ("_target_", "_args_"):
                yield str(value)
            yield from _targets(value)
    elif OmegaConf.is_list(config):
        for value in config:
            yield from _targets(value)


def _is_allowed(target: str) -> bool:
    """Whether a name is defined, not merely imported, in this project or torch.nn."""
    module, _, name = target.rpartition(".")
    if not module.startswith(ALLOWED_MODULES):
        return False
    try:
        defined = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    return str(getattr(defined, "__module__", "")).startswith(ALLOWED_MODULES)
