"""Encoded pictures, decoded when they are asked for, or once into a memory-mapped file.

The memory-mapped file is named after everything that its content depends on, so that other settings
or other source files give another one.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from src.data.pictures import read_picture
from src.data.printable import printable
from src.data.stored import write_once

CHUNK = 512  # images decoded at a time: bounds the memory that a build takes


class Pictures:
    """Base of sequences of encoded pictures that decode to arrays of one shape.

    Args:
        shape: Channels, height and width of a decoded image.
        decode: Maps a picture, upright and without transparency, to pixels of that shape, uint8.
            Called from several threads.
    """

    def __init__(
        self, shape: tuple[int, int, int], decode: Callable[[Image.Image], np.ndarray]
    ) -> None:
        self.shape = shape
        self.decode = decode

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def sources(self) -> Sequence[Path]:
        """The files that hold the pictures."""
        raise NotImplementedError

    def read(self, position: int) -> np.ndarray:
        """Decode one: (channels, height, width), uint8.

        Raises:
            DamagedImageError: If that cannot be done. The message names the picture.
        """
        raise NotImplementedError

    def __getitem__(self, positions: Tensor) -> Tensor:
        """Decode those at positions (n,): (n, channels, height, width), uint8.

        Raises:
            DamagedImageError: If one cannot be decoded. The message names it.
        """
        return torch.from_numpy(np.stack(list(map(self._read, positions.tolist()))))

    def cached(self, folder: Path, settings: Mapping[str, Any]) -> Tensor:
        """Pixels of all pictures, memory-mapped: (N, channels, height, width), uint8.

        Args:
            folder: Folder of caches, made if need be.
            settings: Plain values of all else that decides the pixels, such as a crop.

        Raises:
            DamagedImageError: If one cannot be decoded. The message names it.
            OSError: If a file is missing, the disk is full or the folder cannot be written. Nothing
                is left behind.
        """
        name = fingerprint(self.sources, {"shape": list(self.shape), **settings})
        target = folder / f"{name}.npy"
        write_once(target, self._decode_all(), "dataset.cache=false does without it")
        # Copy on write: torch takes writable arrays only, and nothing here writes.
        return torch.from_numpy(np.load(target, mmap_mode="c"))

    def _decode_all(self) -> Iterator[np.ndarray]:
        starts = range(0, len(self), CHUNK)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for start in track(starts, f"decoding {len(self):,} images", transient=True):
                chunk = range(start, min(start + CHUNK, len(self)))
                yield np.stack(list(threads.map(self._read, chunk)))

    def _read(self, position: int) -> np.ndarray:
        pixels = self.read(position)
        assert pixels.shape == self.shape
        assert pixels.dtype == np.uint8
        return pixels


class ImageFiles(Pictures):
    """Pictures in a file each.

    Args:
        paths: Paths of the files, (N,).
        shape, decode: As in `Pictures`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, int, int],
        decode: Callable[[Image.Image], np.ndarray],
    ) -> None:
        super().__init__(shape, decode)
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sources(self) -> Sequence[Path]:
        return self.paths

    def read(self, position: int) -> np.ndarray:
        path = self.paths[position]
        return read_picture(path, self.decode, printable(path))


def fingerprint(paths: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """Hash of settings and of files: names below their common folder, sizes and times.

    The times are those of the last change of content or of anything else about a file (ctime).
    Programs that copy can set the former, but not the latter.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    folder = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        status = path.stat()
        digest.update(os.fsencode(os.path.relpath(path, folder)))
        digest.update(f" {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:16]
