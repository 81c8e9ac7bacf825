"""A folder of any images, to search in."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from src.data.files import ImageFiles, fingerprint
from src.data.folders import list_files
from src.data.images import ImageSet
from src.data.pictures import DamagedImageError, picture_endings
from src.data.printable import printable
from src.data.stored import StoredRows, write_once

BATCH_SIZE = 256
SHOWN = 20  # files that cannot be decoded


class Embedded(NamedTuple):
    """The images of a gallery that can be decoded."""

    embeddings: StoredRows  # (N, D), float32
    files: ImageFiles  # (N,)
    left_out: list[str]  # what is no part of them and why, in lines; empty if nothing


class Gallery:
    """Images of a folder, decoded as those of an image set, and their embeddings.

    Embeddings are computed once for a model and kept in a file, until an image changes.

    Args:
        folder: Folder that is searched, with all folders below it, links included.
        image_set: Set whose way of making pixels of a picture is used.
        strict: Whether to stop at an image that cannot be decoded, rather than leave it out.

    Raises:
        ValueError: If the set is one of texts, there is no such folder, or no file in it that is
            named as images are.
        PermissionError: If the folder may not be read.
    """

    def __init__(self, folder: Path, image_set: ImageSet, strict: bool) -> None:
        if image_set.item != "image":
            raise ValueError(f"this model reads {image_set.item}s: it searches no folder of images")
        paths, self._unlisted = list_files(folder, picture_endings())
        if not paths:
            raise ValueError("; ".join([f"no images in {printable(folder)}", *self._describe([])]))
        self.folder = folder
        self.files = ImageFiles(paths, image_set.stored_shape, image_set.decode)
        self.strict = strict

    def embed(self, encoder: nn.Module, cache: Path, model: str) -> Embedded:
        """Embed all images that can be decoded, or read their embeddings from a file.

        Args:
            encoder: Module that maps stored images to embeddings, in evaluation mode.
            cache: Folder for the file.
            model: Text that is another one for every other encoder, such as the hash of the file
                that it was loaded from.

        Raises:
            DamagedImageError: If an image cannot be decoded and none may be left out.
            ValueError: If no image can be decoded.
            OSError: If the file cannot be written.
        """
        settings = {"shape": list(self.files.shape), "model": model}
        target = cache / f"embeddings-{fingerprint(self.files.paths, settings)}.npy"
        undecodable: dict[str, str] = {}
        parts = self._embed_all(encoder, undecodable)
        write_once(target, parts, "cache_dir=FOLDER chooses another place", undecodable)
        rows = StoredRows(target)
        reasons = {int(position): reason for position, reason in rows.notes.items()}
        paths = self.files.paths
        messages = [
            f"{printable(paths[position])} {reason}" for position, reason in reasons.items()
        ]
        if messages and self.strict:
            raise DamagedImageError(messages[0])
        kept = [path for position, path in enumerate(paths) if position not in reasons]
        files = ImageFiles(kept, self.files.shape, self.files.decode)
        return Embedded(rows, files, self._describe(messages))

    def _embed_all(self, encoder: nn.Module, undecodable: dict[str, str]) -> Iterator[np.ndarray]:
        positions = torch.arange(len(self.files)).split(BATCH_SIZE)
        for batch in track(positions, f"embedding {len(self.files):,} images", transient=True):
            decoded = []
            for position in batch:
                try:
                    decoded.append(self.files[position.view(1)])
                except DamagedImageError as error:
                    if self.strict:
                        raise
                    undecodable[str(int(position))] = error.reason
            if decoded:
                yield self._embed_batch(encoder, torch.cat(decoded)).numpy()
        if len(undecodable) == len(self.files):
            path, reason = printable(self.files.paths[0]), undecodable["0"]
            raise ValueError(
                f"no image in {printable(self.folder)} can be decoded: {path} {reason}"
            )

    @torch.inference_mode()
    def _embed_batch(self, encoder: nn.Module, images: Tensor) -> Tensor:
        device = next(encoder.parameters()).device
        return encoder(images.to(device)).float().cpu()

    def _describe(self, undecodable: Sequence[str]) -> list[str]:
        """Count what is left out, and list what cannot be decoded."""
        counts = dict(self._unlisted)
        if undecodable:
            counts["cannot be decoded"] = len(undecodable)
        if not counts:
            return []
        counted = ", ".join(f"{reason}: {number:,}" for reason, number in counts.items())
        more = len(undecodable) - SHOWN
        return [
            f"left out: {counted}",
            *undecodable[:SHOWN],
            *([f"and {more:,} more"] if more > 0 else []),
        ]
