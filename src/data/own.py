"""Images of one's own: divided into splits, decoded and measured."""

import re
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from src.data.files import ImageFiles, Pictures
from src.data.folders import list_files
from src.data.images import ImageSet, LabelledImages, check_filled
from src.data.missing import MissingDataError, found_in
from src.data.pictures import picture_endings
from src.subspaces.minterms import distinct_minterms, find_minterms
from src.subspaces.propositions import Proposition, PropositionError

SPLITS = ("train", "val", "test")
MEASURED = 2048  # training images that mean and deviation are taken over
CHUNK = 256  # of them at a time
LEAST_STD = 1 / 255  # of images of one colour

Resize = Literal["crop", "pad", "squash"]
RESIZED: Mapping[Resize, str] = {
    "crop": "its middle is cut out",
    "pad": "black bars make it a square",
    "squash": "its sides are scaled to a square",
}


class Listed(NamedTuple):
    """The images of a set, as they are labelled."""

    pictures: Pictures  # (N,)
    labels: Tensor  # (N, C), bool, for all literals; false where unknown
    splits: Sequence[str] | None  # (N,), train, val or test; None to draw them
    notes: list[str]  # to be said
    unknown: Tensor | None = None  # (N, C), bool, if some labels are to stay unknown


class OwnImages(ImageSet):
    """Base of sets of one's own images, in colour and scaled to a square.

    Splits that are not given are drawn, so that each holds its share of every minterm. A literal
    that is true of every training image, or of none, is left out, as no query can be about it.
    Where labels stay unknown, they do so in training: validation and test leave their images out,
    as nobody can say whether an answer of theirs is right.

    Args:
        root: Folder of all data sets, for the file of decoded images.
        images: Folder of the images. If there is none, the one of that name in `root`.
        literals: Those that are used; None for all.
        image_size: Pixels of a side.
        resize: How a picture becomes a square: `crop` its middle, `pad` it with black, or `squash`.
        validation, test: Shares of the images that are drawn for these splits, above 0 and
            together below 1.
        split_seed: Seed of the draw.
        cache: As in `CelebA`.
        mean, std: Of pixels in [0, 1], for each of three channels; None to measure them on training
            images.

    Raises:
        ValueError: If the shares leave nothing, or a literal cannot be written in a query.
    """

    def __init__(
        self,
        root: str,
        images: str,
        literals: list[str] | None,
        image_size: int,
        resize: Resize,
        validation: float,
        test: float,
        split_seed: int,
        cache: bool,
        mean: list[float] | None,
        std: list[float] | None,
    ) -> None:
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise ValueError(
                f"validation and test must be shares above 0, together below 1, not {validation} "
                f"and {test}"
            )
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1, not {image_size}")
        self.root = Path(root)
        self.images = Path(images).expanduser().absolute()
        self._set_literals(self.all_literals() if literals is None else literals)
        self.image_size = image_size
        self.image_shape = (3, image_size, image_size)
        self.resize = resize
        self.validation = validation
        self.test = test
        self.split_seed = split_seed
        self.cache = cache
        if mean is not None and std is not None:
            self.mean, self.std = tuple(mean), tuple(std)
        elif mean is not None or std is not None:
            raise ValueError("mean and std go together: give both, or null for both")

    def all_literals(self) -> list[str]:
        """The names of all literals that the files have."""
        raise NotImplementedError

    def read(self) -> Listed:
        """Read which images there are, with labels for `literals`."""
        raise NotImplementedError

    def settled(self) -> Mapping[str, Any]:
        assert self.splits  # loaded here
        return {
            "images": str(self.images),
            "literals": list(self.literals),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def load(self) -> Mapping[str, LabelledImages]:
        listed = self.read()
        positions, how = self._divide(listed)
        if listed.unknown is not None:
            known = ~listed.unknown.any(dim=1)
            for name in ("val", "test"):
                positions[name] = positions[name][known[positions[name]]]
        check_filled(positions, str(self.images))
        varies, left_out = self._leave_out_constants(listed.labels, positions["train"])
        labels = listed.labels[:, varies]
        pictures, settings = listed.pictures, {"resize": self.resize}
        pixels = pictures.cached(self.root / "cache", settings) if self.cache else pictures
        splits = {name: LabelledImages(pixels, labels, where) for name, where in positions.items()}
        if listed.unknown is not None:
            unknown = listed.unknown[positions["train"]][:, varies]
            splits["train"] = splits["train"].without(unknown)
        if not hasattr(self, "mean"):
            self.mean, self.std = measure(splits["train"])
        sizes = ", ".join(f"{name} {len(where):,}" for name, where in positions.items())
        size = f"{self.image_size} x {self.image_size} pixels"
        self.notes = [
            f"{sum(map(len, positions.values())):,} images: {sizes}; {how}",
            f"a picture becomes {size}: {RESIZED[self.resize]} (dataset.resize={self.resize}, of "
            f"{', '.join(RESIZED)})",
            *listed.notes,
            *left_out,
        ]
        return splits

    def decode(self, image: Image.Image) -> np.ndarray:
        picture, size = image.convert("RGB"), (self.image_size, self.image_size)
        if self.resize == "crop":
            picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
        elif self.resize == "pad":
            picture = ImageOps.pad(picture, size, Image.Resampling.BILINEAR)
        else:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(picture).transpose(2, 0, 1)

    def image_files(self, paths: Sequence[Path]) -> ImageFiles:
        """Files (N,) as images of this set."""
        return ImageFiles(paths, self.stored_shape, self.decode)

    def find(self, path: Path) -> Path:
        """A file or folder, or what has its name in the folder of all data sets.

        Raises:
            MissingDataError: If there is neither.
        """
        for candidate in (path, self.root / path.name):
            if candidate.exists():
                return candidate
        raise MissingDataError(
            f"there is no {path} ({path.parent}: {found_in(path.parent)}), and no {path.name} in "
            f"{self.root}",
            "say where it is by dataset.images and dataset.labels",
        )

    def count_others(self, folder: Path, paths: Sequence[Path]) -> list[str]:
        """Notes on what is in a folder beside these images, if there is anything."""
        listing = list_files(folder, picture_endings())
        others = len(set(listing.files) - set(paths))
        left_out = {"images without a label": others} if others else {}
        counted = ", ".join(f"{why}: {n:,}" for why, n in {**left_out, **listing.left_out}.items())
        return [f"left out of {folder}: {counted}"] if counted else []

    def _set_literals(self, names: Sequence[str]) -> None:
        self.literals = tuple(map(literal_name, names))
        if not self.literals:
            raise ValueError("literals names none: leave it null for all")
        first, last = self.literals[0], self.literals[-1]
        queries = (f"{first} & ~{last}", f"{first} | {last}") if first != last else (first,)
        try:
            self.example_queries = tuple(Proposition(text, self.literals).text for text in queries)
        except PropositionError as error:
            raise ValueError(f"{error}; rename it in {self.images} or its table") from error

    def _divide(self, listed: Listed) -> tuple[dict[str, Tensor], str]:
        """Positions of the images of every split, and how they came about."""
        given = listed.splits or ["train"] * len(listed.pictures)
        masks = {name: torch.tensor([split == name for split in given]) for name in SPLITS}
        shares = {"test": self.test, "val": self.validation / (1 - self.test)}
        if listed.splits is not None:
            shares = {} if masks["val"].any() else {"val": self.validation}
        generator = torch.Generator().manual_seed(self.split_seed)
        for name, share in shares.items():
            rest = masks["train"].nonzero().flatten()
            drawn = rest[draw_stratified(listed.labels[rest], share, generator)]
            masks[name][drawn], masks["train"][drawn] = True, False
        names = " and ".join(shares)
        how = f"{names} drawn by dataset.split_seed={self.split_seed}" if shares else "as given"
        return {name: mask.nonzero().flatten() for name, mask in masks.items()}, how

    def _leave_out_constants(self, labels: Tensor, train: Tensor) -> tuple[Tensor, list[str]]:
        """Keep the literals that vary in training: their mask, (C,), and notes on the others."""
        share = labels[train].double().mean(dim=0)
        varies = (share > 0) & (share < 1)
        notes = [
            f"{name} is left out: it is {'true' if value else 'false'} of every training image"
            for name, value in zip(self.literals, share.tolist(), strict=True)
            if not 0 < value < 1
        ]
        if not varies.any():
            raise ValueError(f"nothing to learn in {self.images}: {'; '.join(notes)}")
        names = zip(self.literals, varies.tolist(), strict=True)
        self._set_literals([name for name, kept in names if kept])
        return varies, notes


def literal_name(text: str) -> str:
    """The name of a literal in queries: letters, digits and underscores of a text."""
    name = re.sub(r"\W+", "_", text.strip()).strip("_")
    return f"label_{name}" if name.isdecimal() else name  # 0 and 1 mean something else in queries


def draw_stratified(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw a share of images at random that has its share of every minterm, to one image.

    Args:
        labels: (N, C), bool.
        share: Between 0 and 1.
        generator: Generator of the draw.

    Returns:
        Positions, (floor(share N),).
    """
    order = torch.randperm(len(labels), generator=generator)
    minterm = find_minterms(labels, distinct_minterms(labels))[order]
    order = order[minterm.argsort(stable=True)]
    # Every 1/share-th of the images, minterm after minterm
    steps = (torch.arange(len(labels) + 1, dtype=torch.float64) * share + 1e-9).floor()
    return order[steps.diff() > 0]


def measure(images: LabelledImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in [0, 1], one for each channel, over images evenly
    taken from a split, at most 2,048.
    """
    chosen = torch.arange(0, len(images), ceil(len(images) / MEASURED))
    sums = torch.zeros(2, 3, dtype=torch.float64)
    for part in chosen.split(CHUNK):
        pixels = images[part].images.double() / 255
        sums += torch.stack([pixels.mean(dim=(2, 3)), pixels.square().mean(dim=(2, 3))]).sum(dim=1)
    mean, square = sums / len(chosen)
    std = (square - mean.square()).clamp(min=LEAST_STD**2).sqrt()
    return _rounded(mean), _rounded(std)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
