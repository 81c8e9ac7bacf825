"""Folders that a command has made are gone again if it is refused."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

LOCK = ".lock"
# Variables that number the processes of one command, which share its folder
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
NO_RESULTS = (".*lock", ".hydra/*", "*.log", "multirun.yaml")  # that Hydra and locks leave
_made: ContextVar[list[list[Path]]] = ContextVar("_made")


def is_first_process() -> bool:
    """Whether this is the first process of a command, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def missing(folder: Path) -> list[Path]:
    """The folder and those that it is in, as far as they are not there, the innermost first."""
    return [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]


def note_made(folders: list[Path]) -> None:
    """Tell `removing_if_refused` that a folder was made for output, and with it those it is in.

    Args:
        folders: As `missing` has found them.
    """
    if folders and is_first_process():
        _made.get([]).append(folders)


@contextmanager
def removing_if_refused() -> Iterator[None]:
    """If the block raises, remove the folders that were made in it, as far as nothing was written
    into them.
    """
    made: list[list[Path]] = []
    token = _made.set(made)
    try:
        yield
    except BaseException:
        for folder, *outer in reversed(made):
            _remove_without_results(folder, outer)
        raise
    finally:
        _made.reset(token)


def _remove_without_results(folder: Path, outer: list[Path]) -> None:
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if all(any(map(path.match, NO_RESULTS)) for path in files):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other commands have theirs there
            for path in outer:
                path.rmdir()
