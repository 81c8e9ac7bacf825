"""Whether and from where a run goes on."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments import SLURMEnvironment
from omegaconf import OmegaConf

from src.config.groups import PARTS
from src.reports.results import read_results
from src.runs.checkpoints import CONFIG_KEY, CheckpointError, read_step
from src.runs.trust import check_config

TRAINING_STATE = {"loops", "epoch", "optimizer_states", "lr_schedulers"}
DECISIVE = (
    "seed",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.precision",
    "trainer.limit_train_batches",
)  # for resuming, beside the parts
# Said by `seed` already, in the checkpoint, or only about where data are and who cuts batches.
INDIFFERENT = (
    "loader.seed",
    "loader.workers",
    "loader.on_device",
    "dataset.root",
    "dataset.images",
    "dataset.labels",
    "dataset.file",
    "dataset.cache",
    "encoder.weights",
)

PLAIN = re.compile(r"[\w./:+-]+")


def find_resumed(ckpt_path: str | None, output_dir: Path) -> str | None:
    """The checkpoint that a run goes on from: of ckpt_path and, in a job of SLURM, what Lightning
    left in the output folder when it requeued the job, the one of the highest step.

    Raises:
        CheckpointError: If one of several cannot be read.
    """
    found = [] if ckpt_path is None else [Path(ckpt_path)]
    if SLURMEnvironment.detect():
        found += sorted(output_dir.glob("hpc_ckpt_*.ckpt"))
    furthest = _furthest(found)
    return None if furthest is None else str(furthest)


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
    try:
        ended = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
        epochs = checkpoint["epoch"] + int(ended or max_epochs == 0)
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} cannot be resumed: it does not say how far training was"
        ) from None
    if max_epochs is not None and 0 <= max_epochs <= epochs:
        run = Path(path).absolute().parent.parent
        if run != Path(config["output_dir"]).absolute():
            folder = shlex.quote(f"hydra.run.dir={run}")
            raise CheckpointError(
                f"{path} is of a finished run: python -m src.evaluate tests it, or {folder} ends "
                "the run if it was stopped in its test"
            )


def find_finished(output_dir: Path, config: Mapping[str, Any]) -> bool:
    """Whether a folder has the results of a run with this config, with those of a test if it asks
    for one. What cannot be read is not finished.

    Raises:
        CheckpointError: If it has those of a run with another, or its config is none of a run.
    """
    results = read_results(output_dir)
    path = output_dir / "config.yaml"
    if results is None or not path.exists():
        return False
    before = _read_config(path)
    changes = _decisive_changes(before, config)
    if changes:
        raise CheckpointError(
            f"{output_dir} has the results of another run, with {', '.join(changes[:5])}: "
            "move it away, or train into another folder"
        )
    return not config["test"] or any(name.startswith("test/") for name in results)


def find_newest(output_dir: Path) -> Path | None:
    """The checkpoint of the highest step that a run can go on from, if there is one.

    Raises:
        CheckpointError: If one of several cannot be read.
    """
    # Of the same step, `interrupted` was saved later.
    found = (output_dir / "checkpoints" / f"{name}.ckpt" for name in ("interrupted", "last"))
    return _furthest([path for path in found if path.exists()])


def _furthest(found: Sequence[Path]) -> Path | None:
    """The checkpoint of the highest step, the first of several; files are not read without need."""
    return max(found, key=read_step) if len(found) > 1 else next(iter(found), None)


def _read_config(path: Path) -> dict[str, Any]:
    """Read the config of a run's folder, whose values may be printed as advice."""
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        check_config(config)
    except Exception as error:  # what damaged YAML raises can be anything
        raise CheckpointError(f"{path} is no config of a run: {error}: move it away") from error
    return config


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
