"""The folders that commands write into."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from src.config.errors import USER_ERRORS, describe_error
from src.config.occupied import occupy
from src.config.overrides import quote
from src.config.refused import missing, note_made

# What torchrun and srun tell each of several processes.
NUMBERS_OF_PROCESSES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class NewFolder(Callback):
    """Hydra calls this before a run or a sweep. A folder that is named by a time is this command's
    alone, under the next free name: others may start within the same second. A folder that is
    named otherwise is taken as it is, and occupied before Hydra writes into it.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _said():
            settle(config, "run")
            occupy(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        with _said():
            settle(config, "sweep")
            occupy(Path(config.hydra.sweep.dir))
        # Jobs compose their configs anew, of these overrides.
        with read_write(config.hydra.overrides):
            config.hydra.overrides.hydra.append(quote("hydra.sweep.dir", config.hydra.sweep.dir))


@contextmanager
def _said() -> Iterator[None]:
    """End the command at an error within, of which Hydra would only warn."""
    try:
        yield
    except USER_ERRORS as error:
        sys.exit(f"error: {describe_error(error)}")


def settle(config: DictConfig, kind: str) -> None:
    """Replace the interpolations in `hydra.run.dir`, or `hydra.sweep.dir`, by their values, and
    reserve what is named by a time.

    Raises:
        OmegaConfBaseException: If they have none.
        ValueError: If this is one of several processes that must agree on a folder.
        OSError: If no folder can be made there.
    """
    section = config.hydra[kind]
    by_time = "${now:" in OmegaConf.to_yaml(section, resolve=False)
    with _resolvable(config):
        folder = Path(section.dir).expanduser()
    if by_time:
        _check_alone(kind)
        folder = reserve(folder)
    elif kind == "sweep":
        note_made(missing(folder))  # Hydra makes it
    with read_write(section):
        section.dir = str(folder)


@contextmanager
def _resolvable(config: DictConfig) -> Iterator[None]:
    """Let interpolations of Hydra's own values find them, as they do in a job."""
    outer = HydraConfig.instance().cfg  # of a command that runs this one
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = outer


def reserve(folder: Path) -> Path:
    """Make a new folder of this name, or with a number behind it where that is taken.

    Raises:
        OSError: If no folder can be made there.
    """
    outer = missing(folder.parent)
    for number in count(1):
        numbered = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            numbered.mkdir(parents=True)
        except FileExistsError:
            continue
        note_made([numbered.absolute(), *outer])
        return numbered
    raise AssertionError("numbers never end")


def _check_alone(kind: str) -> None:
    for name in NUMBERS_OF_PROCESSES:
        if int(os.environ.get(name, "1")) > 1:
            raise ValueError(
                f"{os.environ[name]} processes were started ({name}), and each would name a folder "
                f"by its own time: give them one with hydra.{kind}.dir=FOLDER"
            )
