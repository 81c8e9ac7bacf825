"""The W&B logger, which tells W&B what each metric is drawn over and what sums it up."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import wandb
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from src.metrics.names import (
    BATCH,
    BESIDE,
    CALIBRATED,
    CALIBRATION,
    HEADLINES,
    KNN_ACCURACY,
    LINEAR_ACCURACY,
    LITERAL_AUPRC,
    MAP,
    MINTERM_ACCURACY,
    PRECISION,
    PROPOSITIONS,
    RELATIVE_GAP,
    RETRIEVAL,
    SEMANTIC_COHERENCE,
    SPECTRAL,
    calibration_name,
)
from src.reports.console import make_console
from src.runs.naming import read_flag

EVERY_EPOCH = re.compile(rf"val/|train/({SPECTRAL}|{BATCH})/")
BY_OTHERS = f"({'|'.join(BESIDE)})"
BEST = {
    "max": re.compile(
        rf"val/(({BY_OTHERS}/)?({MINTERM_ACCURACY}|{LITERAL_AUPRC})"
        rf"|({RETRIEVAL}(_\w+)?|{BY_OTHERS})/({MAP}|{PRECISION})(_\w+)?)$"
    ),
    "min": re.compile(rf"(train|val)/(\w+/)?(loss|\w+_gap)$|val/{CALIBRATION}/"),
}
# What to look at first. It is logged a second time below `main/`: W&B makes a section of panels of
# each prefix, and this one comes before those of the stages.
MAIN = {
    name: f"main/{name.replace('/', '_')}"
    for name in (
        "train/loss",
        *(f"val/{name}" for name in HEADLINES),
        f"val/{calibration_name(CALIBRATED, PROPOSITIONS)}",
        *(f"val/{name}" for name in (SEMANTIC_COHERENCE, RELATIVE_GAP)),
        *(f"test/{name}" for name in HEADLINES),
        *(f"test/{name}" for name in (LINEAR_ACCURACY, KNN_ACCURACY)),
    )
}

# Variables of the environment that conf/ has keys for; W&B reads all others by itself.
KEYS = {
    "WANDB_PROJECT": "project",
    "WANDB_ENTITY": "entity",
    "WANDB_NAME": "name",
    "WANDB_RUN_GROUP": "group",
    "WANDB_JOB_TYPE": "job_type",
    "WANDB_TAGS": "tags",
    "WANDB_NOTES": "notes",
    "WANDB_DIR": "save_dir",
    "WANDB_RUN_ID": "id",
    "WANDB_RESUME": "resume",
}
ALIASES = {"dryrun": "offline", "run": "online"}  # of modes of W&B
MODES = ("online", "offline", "shared", "disabled", *ALIASES)


class DefinedMetrics(WandbLogger):
    """Draws metrics of validations over epochs and those of steps over steps, and sums up with the
    best and the last value those that have a best one, `NAME.max` or `NAME.min` and `NAME.last`.

    The metrics to look at first are logged below `main/` as well, and `epoch` has no panel, so that
    a new workspace begins with them.

    Every metric is defined by its full name: where patterns overlap, as any does with the one that
    Lightning defines for all metrics, W&B takes one of them at random.

    Prints which variables of the environment are used, and which give way to configured values.

    Args:
        project, entity, name, group, job_type, tags, notes, id, resume, settings: As in
            `wandb.init`.
        save_dir: The folder below which W&B keeps the run.
        offline: Whether the run is kept here, for `wandb sync`, and not sent; None for what
            WANDB_DISABLED and WANDB_MODE say, else true.
        log_model: `best` to keep the best checkpoint as an artifact when training has ended; None
            for none.
        more: Further arguments of Lightning's logger and of `wandb.init`.

    Raises:
        ValueError: If the run is to be sent and there is no key, or the environment asks for a mode
            that W&B does not have.
    """

    def __init__(
        self,
        project: str,
        entity: str | None,
        name: str,
        group: str,
        job_type: str,
        tags: list[str],
        notes: str | None,
        save_dir: str,
        id: str | None,
        resume: str,
        offline: bool | None,
        log_model: Literal["best"] | None,
        settings: wandb.Settings,
        **more: Any,
    ) -> None:
        mode = {True: "offline", False: "online", None: mode_of_environment() or "offline"}[offline]
        values: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "name": name,
            "group": group,
            "job_type": job_type,
            "tags": list(tags),
            "notes": notes,
            "save_dir": str(Path(save_dir).absolute()),  # W&B's service may run elsewhere
            "id": id,
            "resume": resume,
        }
        _say_which_won(values, mode)
        if mode in ("online", "shared"):
            require_key("logger.offline=true keeps the run here")
        # As Lightning's own argument, `offline` would set WANDB_MODE for all that comes later.
        super().__init__(
            **values, mode=mode, log_model=log_model is not None, settings=settings, **more
        )
        del self._wandb_init["anonymous"]  # Lightning gives it, and W&B warns of it
        self._defined: set[str] = set()

    @property
    def experiment(self) -> Any:
        """The run in W&B, begun when it is first asked for.

        Raises:
            ValueError: If W&B does not take it.
        """
        try:
            return super().experiment
        except wandb.Error as error:
            raise ValueError(
                f"W&B does not take the run: {error}. logger.offline=true keeps it here"
            ) from error

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        for name in sorted(metrics.keys() - self._defined):
            best = next((kind for kind, pattern in BEST.items() if pattern.match(name)), None)
            for shown in (name, *([MAIN[name]] if name in MAIN else [])):
                self.experiment.define_metric(
                    shown,
                    step_metric="epoch" if EVERY_EPOCH.match(name) else "trainer/global_step",
                    hidden=name == "epoch",
                    summary=f"{best},last" if best else None,
                )
            self._defined.add(name)
        main = {MAIN[name]: value for name, value in metrics.items() if name in MAIN}
        super().log_metrics(main | dict(metrics), step)

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Note where the best checkpoint is, for an artifact; others are none."""
        if checkpoint_callback.monitor is not None:
            super().after_save_checkpoint(checkpoint_callback)


def require_key(otherwise: str) -> None:
    """Raise ValueError where there is no key of W&B.

    Args:
        otherwise: A way to do without, for the message.
    """
    if not wandb.login(prompt=False, verify=False):
        raise ValueError(
            "there is no W&B key: run `wandb login` or set WANDB_API_KEY. Without an account, "
            f"{otherwise}"
        )


def mode_of_environment() -> str | None:
    """Read the mode of W&B that the environment asks for, if it does.

    Raises:
        ValueError: If W&B has no such mode.
    """
    if read_flag("WANDB_DISABLED", False):
        return "disabled"
    mode = os.environ.get("WANDB_MODE") or None
    if mode not in (None, *MODES):
        raise ValueError(f"WANDB_MODE must be one of {', '.join(MODES)}, not {mode!r}")
    return ALIASES.get(mode, mode) if mode else None


@rank_zero_only
def _say_which_won(values: Mapping[str, Any], mode: str) -> None:
    used, lost = [], []
    for variable, key in KEYS.items():
        value = values[key]
        text = ",".join(value) if isinstance(value, list) else str(value)
        asked = os.environ.get(variable)
        if asked is None:
            continue
        if text == (str(Path(asked).expanduser().absolute()) if key == "save_dir" else asked):
            used.append(variable)
        else:
            lost.append(f"{variable}={asked} gives way to logger.{key}={text}")
    asked = mode_of_environment()
    variable = "WANDB_DISABLED" if read_flag("WANDB_DISABLED", False) else "WANDB_MODE"
    if asked == mode:
        used.append(variable)
    elif asked is not None:
        lost.append(f"{variable} gives way to logger.offline={str(mode == 'offline').lower()}")
    said = [*([f"uses {', '.join(used)}"] if used else []), *lost]
    if said:
        make_console().print(f"W&B: {'; '.join(said)}", soft_wrap=True)
