"""Arrays in files that are written once, whole or not at all, and checked when they are opened.

An array is an `.npy` file, after whose rows notes may follow, as JSON. A file beside it holds its
checksum as `sha256sum` writes it, and makes it complete. A lock lets one of several processes write
while the others wait.
"""

import errno
import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from torch import Tensor

from src.data.atomic import replacing, write_whole

# Of places where nobody writes, or no folder can be; a full disk is none.
NO_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT),
)


class StoredRows:
    """Rows of an array in a file, mapped only while a slice of them is used.

    So a file of any size can be read in the memory that a slice takes.

    Args:
        path: An `.npy` file that holds an array (N, ...).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = np.load(path, mmap_mode="r")  # reads the header, once
        self.shape, self._dtype, self._offset = stored.shape, stored.dtype, stored.offset
        self._end = stored.offset + stored.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """The rows of a slice, or at positions (n,)."""
        mapped = np.memmap(self.path, self._dtype, "c", self._offset, self.shape)
        # NumPy takes a tensor of one position for that position, and gives a row without its axis
        return torch.from_numpy(mapped[rows.numpy() if isinstance(rows, Tensor) else rows])

    @property
    def notes(self) -> dict[str, str]:
        """What `write_once` noted beside the rows."""
        with self.path.open("rb") as file:
            file.seek(self._end)
            return json.loads(file.read() or "{}")


def write_once(
    target: Path,
    parts: Iterable[np.ndarray],
    elsewhere: str,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write an array into a file, unless it is there and its checksum right.

    One that decayed is written anew, and a line on standard error says so. Checking takes about a
    second for a gigabyte.

    Args:
        target: The file, `.npy`; its folder is made if need be.
        parts: Consecutive rows of the array, at least one, (n, ...) each, of one type and shape;
            not asked for if the file is there.
        elsewhere: The way to do without the file, said where it cannot be written.
        notes: Plain values, read when all parts are.

    Raises:
        OSError: If the file cannot be written, as on a full disk. Nothing is left behind.
    """
    try:
        if _is_right(target):  # without a lock, which folders for reading alone do not take
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if _is_right(target):
                return
            if _checksum_file(target).exists():
                Console(stderr=True).print(
                    f"{target} is damaged: making it anew", markup=False, soft_wrap=True
                )
            _write(target, parts, notes)
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        raise OSError(f"{target} cannot be written ({error.strerror}): {elsewhere}") from error


def file_hash(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_file(target: Path) -> Path:
    return target.with_suffix(".sha256")


def _is_right(target: Path) -> bool:
    try:
        return _checksum_file(target).read_text() == _checksum(target, target.name)
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def _checksum(path: Path, name: str) -> str:
    return f"{file_hash(path)}  {name}\n"


def _write(target: Path, parts: Iterable[np.ndarray], notes: Mapping[str, str] | None) -> None:
    rest = iter(parts)
    first = next(rest)
    row = first.shape[1:]
    with replacing(target) as partial:
        with partial.open("wb") as file:
            # NumPy leaves room in the header for any number of rows, which is known at the end.
            _write_header(file, (0, *row), first.dtype)
            start, rows = file.tell(), 0
            for part in chain([first], rest):
                assert (part.shape[1:], part.dtype) == (row, first.dtype)
                file.write(part.tobytes())
                rows += len(part)
            if notes:
                file.write(json.dumps(notes).encode())
            file.seek(0)
            _write_header(file, (rows, *row), first.dtype)
            assert file.tell() == start
        checksum = _checksum(partial, target.name)
    write_whole(_checksum_file(target), checksum)


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
