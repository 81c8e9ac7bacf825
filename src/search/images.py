"""The images, or texts, that are searched: a split of a data set, or a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from src.data.gallery import Gallery
from src.data.printable import printable
from src.data.stored import StoredRows
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule


class Images(NamedTuple):
    """Embedded images or texts; those of a split have labels, texts and those of a folder have
    names.
    """

    embeddings: Tensor | StoredRows  # (N, D), on the CPU
    # Maps positions (n,) to images (n, channels, height, width), uint8, or to texts (n,)
    show: Callable[[Tensor], Tensor | list[str]]
    names: Sequence[str] | None  # (N,), paths or texts
    labels: Tensor | None  # (N, C), bool
    left_out: Sequence[str]  # what of a folder is not among them and why, in lines
    item: str = "image"  # the word for one of them


def open_split(data: ImageDataModule, split: str, module: SubspaceModule) -> Images:
    """Embed a split of a data set, on the device of the module.

    Raises:
        ValueError: If there is no such split.
        OSError: If files of the data set are missing.
    """
    loader, item = data.split_dataloader(split), data.image_set.item
    images = data.image_set.splits[split]  # with the labels of the set, not wrong ones
    parts = [
        module(batch.images.to(module.device)).cpu()
        for batch in track(loader, f"embedding {len(images):,} {item}s", transient=True)
    ]
    return Images(torch.cat(parts), images.show, images.names, images.labels, [], item)


def open_folder(gallery: Gallery, module: SubspaceModule, cache: Path, model: str) -> Images:
    """Embed a folder, on the device of the module, or read its embeddings: see `Gallery.embed`."""
    embeddings, files, left_out = gallery.embed(module, cache, model)
    names = [printable(path) for path in files.paths]
    return Images(embeddings, files.__getitem__, names, None, left_out)
