"""Image files, decoded when they are asked for, or once into a memory-mapped file.

The memory-mapped file is named after everything that its content depends on, so that other settings
or other source files give another one. It is written beside its name and renamed when it is
complete; a lock lets one of several processes build while the others wait.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, UnidentifiedImageError
from rich.progress import track
from torch import Tensor

from src.data.atomic import replacing

BROKEN = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)
CHUNK = 512  # images decoded at a time: bounds the memory that a build takes


class DamagedImageError(ValueError):
    """An image file cannot be decoded."""


class ImageFiles:
    """A sequence of image files that decode to arrays of one shape.

    Args:
        paths: Paths of the files, (N,).
        shape: Channels, height and width of a decoded image.
        decode: Maps an opened image to pixels of that shape, uint8. Called from several threads.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, int, int],
        decode: Callable[[Image.Image], np.ndarray],
    ) -> None:
        self.paths = paths
        self.shape = shape
        self.decode = decode

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, positions: Tensor) -> Tensor:
        """Decode the files at positions (n,): (n, channels, height, width), uint8.

        Raises:
            DamagedImageError: If a file cannot be decoded. The message names it.
        """
        return torch.from_numpy(
            np.stack([self._read(self.paths[position]) for position in positions.tolist()])
        )

    def cached(self, folder: Path, settings: Mapping[str, Any]) -> Tensor:
        """Pixels of all files, memory-mapped: (N, channels, height, width), uint8.

        Args:
            folder: Folder of caches, made if need be.
            settings: Plain values of all else that decides the pixels, such as a crop.

        Raises:
            DamagedImageError: If a file cannot be decoded. The message names it.
            OSError: If a file is missing or the disk is full. Nothing is left behind.
        """
        name = fingerprint(self.paths, {"shape": list(self.shape), **settings})
        decoded = self._decode_all(f"decoding {len(self):,} images")
        shape = (len(self), *self.shape)
        target = folder / f"{name}.npy"
        write_once(target, shape, np.dtype(np.uint8), decoded)
        # Copy on write: torch takes writable arrays only, and nothing here writes.
        return torch.from_numpy(np.load(target, mmap_mode="c"))

    def _decode_all(self, description: str) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for start in track(range(0, len(self), CHUNK), description, transient=True):
                yield from threads.map(self._read, self.paths[start : start + CHUNK])

    def _read(self, path: Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise DamagedImageError(f"{path} has more than 8 bits a channel: convert it")
                pixels = self.decode(image)
        except FileNotFoundError:
            raise
        except BROKEN as error:
            raise DamagedImageError(f"{path} is damaged ({error}): fetch it again") from error
        assert pixels.shape == self.shape
        assert pixels.dtype == np.uint8
        return pixels


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

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """The rows of a slice, or at positions (n,)."""
        mapped = np.memmap(self.path, self._dtype, "c", self._offset, self.shape)
        # NumPy takes a tensor of one position for that position, and gives a row without its axis
        return torch.from_numpy(mapped[rows.numpy() if isinstance(rows, Tensor) else rows])


def write_once(
    target: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Iterable[np.ndarray]
) -> None:
    """Write an array into a file, whole or not at all, and only if it is not there.

    Args:
        target: The file, `.npy`; its folder is made if need be.
        shape, dtype: Shape and type of the array.
        parts: Parts of the array, in order; not asked for if the file is complete.

    Raises:
        OSError: If the disk is full. Nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not _is_complete(target, shape, dtype):
            _write(target, shape, dtype, parts)


def _is_complete(target: Path, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    try:
        stored = np.load(target, mmap_mode="r")  # a file that is too short cannot be mapped
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return stored.shape == shape and stored.dtype == dtype


def _write(
    target: Path, shape: tuple[int, ...], dtype: np.dtype, parts: Iterable[np.ndarray]
) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with replacing(target) as partial:
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                assert part.dtype == dtype
                file.write(part.tobytes())
        if not _is_complete(partial, shape, dtype):
            raise ValueError(f"{target} would not hold an array of {shape}")


def fingerprint(paths: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """Hash of settings and of files: names below their common folder, sizes and times."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    folder = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        status = path.stat()
        digest.update(
            f"{os.path.relpath(path, folder)} {status.st_size} {status.st_mtime_ns}\n".encode()
        )
    return digest.hexdigest()[:16]
