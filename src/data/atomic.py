"""Files and folders that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # ends the name of what is being written


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside a target, and rename what is written there to the target at the end.

    A block that raises leaves the target as it was and nothing else. A killed process leaves the
    target as it was, and beside it the unfinished part, whose name is the target's and `PARTIAL`;
    the next one to write the target removes it.

    Args:
        target: A file, there or not, or a folder that is not there. The folder it lies in exists.

    Raises:
        OSError: If the disk is full, or the target is a folder with content. It names the target,
            if nothing else.
    """
    partial = target.with_name(target.name + PARTIAL)
    _remove(partial)
    try:
        with naming(target):
            yield partial
            if partial.is_file():
                with partial.open("rb") as file:
                    os.fsync(file.fileno())  # a power cut must not leave a name without content
            partial.replace(target)
    finally:
        _remove(partial)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a path in an error that names none, as one that says only that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_whole(path: Path, text: str) -> None:
    """Write a text file, UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)
