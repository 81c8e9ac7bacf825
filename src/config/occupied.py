"""Folders that one command at a time writes into."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.config.refused import LOCK, is_first_process, missing, note_made

GRACE = 10.0  # seconds; workers of a killed run hold its lock until they notice

_taken: dict[Path, FileLock] = {}  # by `occupy`, of folders that no block has yet


class FolderInUseError(ValueError):
    """Another command writes into the folder."""


def occupy(folder: Path) -> None:
    """Keep other commands out of a folder from now on, until the block of `occupied` that comes.

    Raises:
        FolderInUseError, OSError: As `occupied`.
    """
    if is_first_process() and folder.resolve() not in _taken:
        _taken[folder.resolve()] = _lock(folder)


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder, which is made if need be, until the block ends or the
    process is killed. Of several processes of a command, the first does it for all.

    Raises:
        FolderInUseError: If another command has it.
        OSError: If it cannot be made or written into.
    """
    if not is_first_process():
        yield
        return
    lock = _taken.pop(folder.resolve(), None) or _lock(folder)
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    made = missing(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=GRACE)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use by another command: wait for its end, or name another folder"
        ) from None
    note_made(made)  # not before it is this command's own
    return lock
