"""MNIST and FashionMNIST, from the IDX files as they are published."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision import datasets

from src.data.images import LabelledImages, OfficialSplits
from src.data.missing import MissingDataError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
SIDE = 28  # pixels
CLASSES = 10
SHOWN = 12  # bytes of a file in a message


class Mnist(OfficialSplits):
    """28 x 28 grey digits: 60,000 for training, 10,000 for the test, one literal per class.

    The files are looked for in torchvision's layout below `root`, gzipped or not.
    """

    literals: tuple[str, ...] = (
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
    )
    example_queries = ("three", "three | eight", "~(one | seven) & ~four")
    image_shape = (1, 28, 28)
    mean = (0.1307,)
    std = (0.3081,)
    source: ClassVar[type[datasets.MNIST]] = datasets.MNIST
    system_folder: ClassVar[Path | None] = None  # folder of a distribution's package

    def fetch(self) -> None:
        if self._find_folder() is None:
            self.source(self.root, download=True)

    def checksums(self) -> Mapping[Path, str]:
        """MD5 sums of torchvision's gzipped files; a distribution compresses its own."""
        folder = self._torchvision_folder()
        published = {folder / name: md5 for name, md5 in self.source.resources}
        return {path: md5 for path, md5 in published.items() if path.exists()}

    def label(self, classes: Tensor) -> Tensor:
        """Labels (N, C) of class numbers (N,)."""
        return one_hot(classes, len(self.literals))

    def read_split(self, name: str) -> LabelledImages:
        paths = [self.folder() / file for file in FILES[name]]
        images, classes = map(read_idx, paths)
        _check_pair(images, classes, *map(find_file, paths))
        return LabelledImages(images.unsqueeze(1), self.label(classes.long()))

    def _torchvision_folder(self) -> Path:
        return Path(self.root) / self.source.__name__ / "raw"

    def _candidates(self) -> list[Path]:
        folder = self._torchvision_folder()
        return [folder] if self.system_folder is None else [folder, self.system_folder]

    def _find_folder(self) -> Path | None:
        for candidate in self._candidates():
            if all(
                find_file(candidate / file).exists() for files in FILES.values() for file in files
            ):
                return candidate
        return None

    def folder(self) -> Path:
        """Folder of the files.

        Raises:
            MissingDataError: If the files are nowhere.
        """
        folder = self._find_folder()
        if folder is None:
            looked = " or ".join(map(str, self._candidates()))
            raise MissingDataError(
                f"no {self.source.__name__} in {looked}, four files like {FILES['train'][0]}.gz",
                "python -m src.prepare with the same dataset and data_dir fetches it",
            )
        return folder


class FashionMnist(Mnist):
    """28 x 28 grey garments: 60,000 for training, 10,000 for the test, one literal per class.

    The files are also found where Debian's package `dataset-fashion-mnist` puts them.
    """

    literals: tuple[str, ...] = (
        "T_shirt",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle_boot",
    )
    example_queries = (
        "Dress",
        "Sneaker | Ankle_boot",
        "~Bag & ~(Coat | Pullover | Shirt)",
    )
    mean = (0.5,)
    std = (0.5,)
    source: ClassVar = datasets.FashionMNIST
    system_folder: ClassVar = Path("/usr/share/datasets/fashion-mnist")


def _check_pair(images: Tensor, classes: Tensor, images_path: Path, classes_path: Path) -> None:
    """Refuse files that are sound but no images of 28 x 28 pixels and their ten classes."""
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"{images_path} holds {tuple(images.shape)} bytes, where (N, {SIDE}, {SIDE}) are due"
        )
    if classes.shape != images.shape[:1]:
        raise ValueError(
            f"{classes_path} holds {tuple(classes.shape)} classes for the {len(images)} images of "
            f"{images_path}: fetch both again"
        )
    if len(classes) and classes.max() >= CLASSES:
        raise ValueError(
            f"{classes_path} has classes up to {classes.max()}, where 0 to {CLASSES - 1} are due: "
            "is it another set, such as EMNIST?"
        )


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of bytes, gzipped (with `.gz` after its name) or not.

    Raises:
        ValueError: If it is no such file, or damaged.
    """
    stored = find_file(path)
    data = stored.read_bytes()
    if stored.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{stored} is damaged ({error}): fetch it again") from error
    dimensions = data[3] if len(data) > 3 else 0
    start = 4 + 4 * dimensions
    if data[:3] != b"\0\0\x08" or not dimensions or len(data) < start:
        raise ValueError(
            f"{stored} is no IDX file of bytes: it starts with {data[:SHOWN]!r}; fetch it again"
        )
    shape = np.frombuffer(data, ">u4", dimensions, offset=4)
    values = np.frombuffer(data, np.uint8, offset=start)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{stored} is damaged: {len(values)} bytes where {shape.tolist()} are due")
    return torch.from_numpy(values.reshape(shape).copy())


def find_file(path: Path) -> Path:
    """A file, or its gzipped form where only that is there."""
    zipped = path.with_name(path.name + ".gz")
    return path if path.exists() or not zipped.exists() else zipped
