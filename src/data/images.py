"""Labelled images, and the sets that they belong to."""

import hashlib
from collections.abc import Mapping, Sequence, Sized
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import Dataset

from src.data.files import Pictures

ValidateOn = Literal["held_out", "test"]


class ImageBatch(NamedTuple):
    """A batch of images, as a data loader yields it."""

    images: Tensor  # (N, channels, height, width), uint8
    labels: Tensor  # (N, C), bool
    indices: Tensor  # (N,), int64, positions in the split
    unknown: Tensor | None = None  # (N, C), bool; None where the split knows all its labels


class LabelledImages(Dataset[ImageBatch]):
    """A split: images with their labels, or some of a larger collection, which is not copied.

    Labels that are unknown read as false, and `unknown` marks them.

    Args:
        images: (N, channels, height, width), uint8: in memory, memory-mapped, or pictures that
            are decoded whenever they are asked for.
        labels: (N, C), nonzero where a literal is true.
        positions: (n,), positions of the images that make up the split; all by default.

    Raises:
        ValueError: If there are not as many images as labels.
    """

    def __init__(
        self, images: Tensor | Pictures, labels: Tensor, positions: Tensor | None = None
    ) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and labels of {len(labels)} belong together")
        self._images = images
        self._positions = torch.arange(len(images)) if positions is None else positions
        self.labels = labels[self._positions].bool()
        self.unknown: Tensor | None = None  # (n, C), bool; None where all are known

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> ImageBatch:
        """Cut a whole batch at once."""
        chosen = torch.as_tensor(indices, device=self._positions.device)
        unknown = None if self.unknown is None else self.unknown[chosen]
        images = self._images[self._positions[chosen]]
        return ImageBatch(images, self.labels[chosen], chosen, unknown)

    @property
    def images(self) -> Tensor:
        """All images of the split, in order and in memory."""
        return self._images[self._positions]

    @property
    def names(self) -> list[str] | None:
        """Texts that name the images of the split, if there are any."""
        return None

    def show(self, positions: Tensor) -> Tensor | list[str]:
        """What a person sees of the images at these positions (n,): pixels, or texts."""
        return self[positions].images

    def to(self, device: torch.device) -> "LabelledImages":
        """The split in the memory of a device.

        Raises:
            ValueError: If the images are not decoded.
        """
        if isinstance(self._images, Pictures):
            raise ValueError("loader.on_device=true needs decoded images: set dataset.cache=true")
        moved = copy(self)
        moved._images, moved.labels = self.images.to(device), self.labels.to(device)
        if self.unknown is not None:
            moved.unknown = self.unknown.to(device)
        moved._positions = torch.arange(len(self), device=device)
        return moved

    def relabelled(self, labels: Tensor) -> "LabelledImages":
        """The same images with other labels, (n, C), bool."""
        relabelled = copy(self)
        relabelled.labels = labels
        return relabelled

    def without(self, unknown: Tensor) -> "LabelledImages":
        """The same images, of whose labels some are unknown, (n, C), bool; none need be."""
        forgetful = copy(self)
        if unknown.any():
            forgetful.labels = self.labels & ~unknown
            forgetful.unknown = unknown if self.unknown is None else self.unknown | unknown
        return forgetful

    def split(self, held_out: int, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """Part the split at random: all but `held_out` images, and those."""
        if not 0 < held_out < len(self):
            raise ValueError(f"validation must be between 1 and {len(self) - 1}, not {held_out}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        kept, held = order[held_out:].sort().values, order[:held_out].sort().values
        return self.select(kept), self.select(held)

    def select(self, indices: Tensor) -> "LabelledImages":
        """The images at these positions (n,) of this split."""
        selected = copy(self)
        selected._positions = self._positions[indices]
        selected.labels = self.labels[indices]
        if self.unknown is not None:
            selected.unknown = self.unknown[indices]
        return selected


class ImageSet:
    """Base of all image sets: a subclass names its literals and loads its splits."""

    item: ClassVar[str] = "image"  # the word for what the set holds
    literals: tuple[str, ...]
    example_queries: tuple[str, ...]  # shown in the report
    image_shape: tuple[int, int, int]  # channels, height, width
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    notes: Sequence[str] = ()  # on what was loaded, in lines for the user

    def fetch(self) -> None:
        """Download or make the files, for sets where that can be done; only on request."""

    def checksums(self) -> Mapping[Path, str]:
        """MD5 sums of files, for sets that publish some."""
        return {}

    def verify(self) -> None:
        """Compare files with their published checksums.

        Raises:
            ValueError: If a file has another checksum. The message names it.
        """
        for path, published in self.checksums().items():
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found != published:
                raise ValueError(f"{path} has MD5 {found}, not {published}: fetch it again")

    def load(self) -> Mapping[str, LabelledImages]:
        """Return the splits `train`, `val` and `test`."""
        raise NotImplementedError

    def settled(self) -> Mapping[str, Any]:
        """Values of arguments that were left to the files, for the config that a checkpoint keeps:
        with them the set is made without its files.
        """
        return {}

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of stored pixels; normalisation may repeat the channel."""
        return self.image_shape

    def decode(self, image: Image.Image) -> np.ndarray:
        """Scale the middle of a picture, as `read_picture` gives it, to an image of this set:
        `stored_shape`, uint8.
        """
        channels, height, width = self.stored_shape
        picture = image.convert("L" if channels == 1 else "RGB")
        fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
        return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)

    def augmentation(self) -> nn.Module:
        """Random changes of training images on the device, before normalisation; each by itself."""
        return nn.Identity()

    @cached_property
    def splits(self) -> Mapping[str, LabelledImages]:
        """The splits, loaded on first use.

        Raises:
            ValueError: If one of them is empty.
        """
        splits = self.load()
        check_filled(splits, type(self).__name__)
        return splits


def check_filled(splits: Mapping[str, Sized], source: str) -> None:
    """Raise ValueError if a split has no image: training, validation and test need some each.

    Args:
        splits: The splits by name.
        source: The set or setting that they come from, for the message.
    """
    empty = [name for name, split in splits.items() if not len(split)]
    if empty:
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in splits.items())
        raise ValueError(
            f"{source} leaves no image to {' and '.join(empty)} ({sizes}): every split needs some"
        )


class OfficialSplits(ImageSet):
    """Base of sets with an official training and test split.

    Args:
        root: Folder of all data sets.
        validate_on: `held_out`, training images set apart; or `test`, the official test split, as
            the authors do, although every choice made on it flatters the test.
        validation: Number of training images that are held out.
        split_seed: Seed of splits that are drawn here. It is not the seed of the run, so that runs
            share the splits.
    """

    def __init__(
        self, root: str, validate_on: ValidateOn, validation: int, split_seed: int
    ) -> None:
        self.root = root
        self.validate_on = validate_on
        if validate_on == "test":
            self.notes = ["validation is the test split: calibrated figures flatter the run"]
        self.validation = validation
        self.split_seed = split_seed

    def read_split(self, name: str) -> LabelledImages:
        """Return the official split `train` or `test`."""
        raise NotImplementedError

    def load(self) -> Mapping[str, LabelledImages]:
        train, test = self.read_split("train"), self.read_split("test")
        if self.validate_on == "test":
            return {"train": train, "val": test, "test": test}
        train, val = train.split(self.validation, self.split_seed)
        return {"train": train, "val": val, "test": test}
