"""Decode images once: a memory-mapped file of uint8 pixels, built whole or not at all.

The file is named after everything that its content depends on, so that other settings or other
source files give another cache. It is written beside its name and renamed when it is complete; a
lock lets one of several processes build while the others wait.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from rich.progress import track
from torch import Tensor

CHUNK = 512  # images decoded at a time: bounds the memory that a build takes

Decode = Callable[[Path], np.ndarray]


class DamagedImageError(ValueError):
    """An image file cannot be decoded."""


def cached_images(
    folder: Path,
    paths: Sequence[Path],
    shape: tuple[int, int, int],
    decode: Decode,
    settings: Mapping[str, Any],
) -> Tensor:
    """Pixels of all images, memory-mapped: (N, channels, height, width), uint8.

    Args:
        folder: Of caches, made if need be.
        paths: (N,), image files, in the order of the result.
        shape: Channels, height and width of a decoded image.
        decode: Reads a file into an array of that shape, uint8. Called from several threads.
        settings: What else decides the pixels, such as crop and size; plain values.

    Raises:
        DamagedImageError: If a file cannot be decoded; it is named.
        OSError: If a file is missing or the disk is full. Nothing is left behind.
    """
    target = folder / f"{fingerprint(paths, {'shape': list(shape), **settings})}.npy"
    full_shape = (len(paths), *shape)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not _is_complete(target, full_shape):
            _build(target, paths, full_shape, decode)
    # Copy on write: torch takes writable arrays only, and nothing here writes.
    return torch.from_numpy(np.load(target, mmap_mode="c"))


def fingerprint(paths: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """Hash of names, sizes and times of files, and of settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _is_complete(target: Path, shape: tuple[int, ...]) -> bool:
    try:
        stored = np.load(target, mmap_mode="r")  # a file that is too short cannot be mapped
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return stored.shape == shape and stored.dtype == np.uint8


def _build(target: Path, paths: Sequence[Path], shape: tuple[int, ...], decode: Decode) -> None:
    partial = target.with_suffix(".partial")
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    chunks = range(0, len(paths), CHUNK)
    try:
        with partial.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as threads:
            np.lib.format.write_array_header_1_0(file, header)
            for start in track(chunks, f"decoding {len(paths):,} images", transient=True):
                for pixels in threads.map(decode, paths[start : start + CHUNK]):
                    assert pixels.shape == shape[1:]
                    assert pixels.dtype == np.uint8
                    file.write(pixels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
