"""Whether and from where a run goes on."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments import SLURMEnvironment
from omegaconf import OmegaConf

from src.config.groups import PARTS
from src.runs.checkpoints import CONFIG_KEY, CheckpointError

TRAINING_STATE = {"loops", "epoch", "optimizer_states", "lr_schedulers"}
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
    "dataset.images",
    "dataset.labels",
    "dataset.cache",
    "encoder.weights",
)

PLAIN = re.compile(r"[\w./:+-]+")


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
        path: The path of the checkpoint.
        checkpoint: The content of the checkpoint.
        config: The config of the run.
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
            folder = shlex.quote(f"hydra.run.dir={run}")
            raise CheckpointError(
                f"{path} is of a finished run: python -m src.evaluate tests it, or {folder} ends "
                "the run if it was stopped in its test"
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
        f"{_override(name, old)} (not {_text(new)})"
        for name, old, new in _differences(before, now)
        if name in DECISIVE or (name.split(".")[0] in PARTS and name not in INDIFFERENT)
    ]


def _override(name: str, value: Any) -> str:
    """An argument that sets a value, as a shell and Hydra read it."""
    return shlex.quote(f"{name}={_text(value)}")


def _text(value: Any) -> str:
    """A value as Hydra reads it; what is not plain is quoted, with control characters escaped."""
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return json.dumps(value)


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new
