"""Folders that one command at a time writes into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
GRACE = 10.0  # seconds; workers of a killed run hold its lock until they notice
# Variables that number the processes of one command, which share its folder
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")

_taken: dict[Path, FileLock] = {}  # by `occupy`, of folders that no block has yet


class FolderInUseError(ValueError):
    """Another command writes into the folder."""


def occupy(folder: Path) -> None:
    """Keep other commands out of a folder from now on, until the block of `occupied` that comes.

    Raises:
        FolderInUseError, OSError: As `occupied`.
    """
    if not _follows() and folder.resolve() not in _taken:
        _taken[folder.resolve()] = _lock(folder)


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder, which is made if need be, until the block ends or the
    process is killed. Of several processes of a command, the first does it for all.

    Raises:
        FolderInUseError: If another command has it.
        OSError: If it cannot be made or written into.
    """
    if _follows():
        yield
        return
    lock = _taken.pop(folder.resolve(), None) or _lock(folder)
    try:
        yield
    finally:
        lock.release()


def _follows() -> bool:
    """Whether this is one of several processes of a command, and not the first."""
    return any(os.environ.get(name, "0") != "0" for name in RANKS)


def _lock(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=GRACE)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use by another command: wait for its end, or name another folder"
        ) from None
    return lock
