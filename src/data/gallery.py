"""A folder of any images, to search in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from src.data.files import ImageFiles, StoredRows, fingerprint, write_once
from src.data.images import ImageSet

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
BATCH_SIZE = 256


def find_images(folder: Path) -> list[Path]:
    """All images in a folder and those below it, by name.

    Raises:
        ValueError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise ValueError(f"no images in {folder}: files that end in {', '.join(sorted(SUFFIXES))}")
    return found


class Gallery:
    """Images of a folder, decoded as those of an image set, and their embeddings.

    Embeddings are computed once for a checkpoint and kept in a file.

    Args:
        folder: Folder that is searched, with all folders below it.
        image_set: Set whose way of making pixels of a picture is used.
    """

    def __init__(self, folder: Path, image_set: ImageSet) -> None:
        self.files = ImageFiles(find_images(folder), image_set.stored_shape, image_set.decode)

    def embed(self, encoder: nn.Module, cache: Path, checkpoint: Path) -> StoredRows:
        """Embeddings of all images, in a file: (N, D), float32.

        Args:
            encoder: Module that maps stored images to embeddings, in evaluation mode.
            cache: Folder for the file.
            checkpoint: File that the encoder was loaded from; another one gives another file of
                embeddings.
        """
        sample = self._embed_batch(encoder, torch.arange(1))
        settings = {"shape": list(self.files.shape), "model": fingerprint([checkpoint], {})}
        name = fingerprint(self.files.paths, settings)
        shape = (len(self.files), sample.shape[1])
        parts = self._embed_all(encoder)
        target = cache / f"embeddings-{name}.npy"
        write_once(target, shape, np.dtype(np.float32), parts)
        return StoredRows(target)

    def _embed_all(self, encoder: nn.Module) -> Iterator[np.ndarray]:
        positions = torch.arange(len(self.files)).split(BATCH_SIZE)
        for batch in track(positions, f"embedding {len(self.files):,} images", transient=True):
            yield self._embed_batch(encoder, batch).numpy()

    @torch.inference_mode()
    def _embed_batch(self, encoder: nn.Module, positions: Tensor) -> Tensor:
        device = next(encoder.parameters()).device
        return encoder(self.files[positions].to(device)).float().cpu()
