"""CelebA from its published folder: aligned JPEGs, attribute and partition files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from kornia.augmentation import RandomHorizontalFlip
from PIL import Image
from torch import Tensor, nn

from src.data.files import ImageFiles
from src.data.images import ImageSet, LabelledImages
from src.data.missing import MissingDataError

ATTRIBUTES, PARTITION, IMAGES = (
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
    "img_align_celeba",
)
CHECKSUMS = {
    ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c",
    PARTITION: "d32c9cbf5e040fd4025c592c306e6668",
}
PARTITIONS = {"train": 0, "val": 1, "test": 2}
ALIGNED_SIZE = (178, 218)  # width and height
TOP_ROWS = 40  # cut off before resizing, which leaves a square

NAMES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)  # of all attributes, in the order of their file
EXAMPLES = (
    "Eyeglasses & ~Male",
    "Bald | Wearing_Hat",
    "Male & ~Wearing_Necktie & ~Eyeglasses",
)

Unlabelled = Literal["keep", "drop"]


class CelebA(ImageSet):
    """Aligned faces with some of their 40 attributes as literals; the official partition.

    The folder may be as published (`Anno/`, `Eval/`, `Img/`) or as torchvision lays it out.

    Args:
        root: Folder of all data sets.
        image_size: Pixels of the decoded square.
        unlabelled: Whether to `keep` images that have none of the attributes, or to `drop` them
            from every split, test included, as the authors do.
        cache: Whether to decode all images once, into a memory-mapped file, or each image whenever
            it is asked for.
        attributes: The attributes that are literals; None for all 40.

    Raises:
        ValueError: If CelebA has no such attribute.
    """

    mean: ClassVar = (0.0, 0.0, 0.0)
    std: ClassVar = (1.0, 1.0, 1.0)

    def __init__(
        self,
        root: str,
        image_size: int,
        unlabelled: Unlabelled,
        cache: bool,
        attributes: list[str] | None,
    ) -> None:
        self.literals = NAMES if attributes is None else tuple(attributes)
        unknown = sorted(set(self.literals) - set(NAMES))
        if unknown or not self.literals:
            raise ValueError(
                f"dataset.attributes are some of {', '.join(NAMES)}, or null for all, not "
                f"{', '.join(unknown) or 'none'}"
            )
        first, last = self.literals[0], self.literals[-1]
        wanted = [
            query for query in EXAMPLES if set(re.findall(r"\w+", query)) <= set(self.literals)
        ]
        self.example_queries = tuple(wanted) or (f"{first} & ~{last}", f"{first} | {last}")
        self.root = Path(root)
        self.image_size = image_size
        self.unlabelled = unlabelled
        self.cache = cache
        self.image_shape = (3, image_size, image_size)

    @property
    def folder_name(self) -> str:
        """Name of the folder below that of all data sets."""
        return "celeba"

    def augmentation(self) -> nn.Module:
        return RandomHorizontalFlip()

    def load(self) -> Mapping[str, LabelledImages]:
        folder = self.root / self.folder_name
        attributes, partition, images = (
            self._find(folder, name) for name in (ATTRIBUTES, PARTITION, IMAGES)
        )
        names, labels = read_attributes(attributes, self.literals)
        parts = read_partition(partition, names)
        files = ImageFiles([images / name for name in names], self.image_shape, self.decode)
        settings = {"top_rows": TOP_ROWS}
        pixels = files.cached(self.root / "cache", settings) if self.cache else files
        wanted = labels.any(dim=1) if self.unlabelled == "drop" else torch.ones(len(labels)).bool()
        chosen = {
            split: (wanted & (parts == part)).nonzero().flatten()
            for split, part in PARTITIONS.items()
        }
        return {split: LabelledImages(pixels, labels, where) for split, where in chosen.items()}

    def checksums(self) -> Mapping[Path, str]:
        folder = self.root / self.folder_name
        return {self._find(folder, name): md5 for name, md5 in CHECKSUMS.items()}

    def _find(self, folder: Path, name: str) -> Path:
        candidates = [folder / name, *(folder / part / name for part in ("Anno", "Eval", "Img"))]
        for candidate in candidates:
            if candidate.exists():
                return candidate
        raise MissingDataError(
            f"no {name} in {folder} or its Anno, Eval, Img",
            "put CelebA's img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt there "
            "(its site or torchvision.datasets.CelebA has them), or train on drawn stand-ins with "
            "dataset=faces",
        )

    def decode(self, image: Image.Image) -> np.ndarray:
        """An aligned face without its top rows, scaled; the middle of any other picture."""
        if image.size == ALIGNED_SIZE:
            return crop_square(image, self.image_size)
        return super().decode(image)


def crop_square(image: Image.Image, size: int) -> np.ndarray:
    """Drop the top rows of an aligned face and scale its short side: (3, size, size), uint8."""
    face = image.convert("RGB").crop((0, TOP_ROWS, image.width, image.height))
    scale = size / min(face.size)
    shape = (max(size, round(face.width * scale)), max(size, round(face.height * scale)))
    left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
    square = (left, top, left + size, top + size)
    pixels = face.resize(shape, Image.Resampling.BILINEAR).crop(square)
    return np.asarray(pixels).transpose(2, 0, 1)


def read_attributes(path: Path, literals: Sequence[str]) -> tuple[list[str], Tensor]:
    """File names (N,) and labels (N, C), bool, of the attribute file.

    Raises:
        ValueError: If the file does not have these attributes, or not as many rows as it says.
    """
    count, header, *rows = path.read_text().splitlines()
    columns = header.split()
    missing = [name for name in literals if name not in columns]
    if missing:
        raise ValueError(
            f"{path} has no attribute {', '.join(missing)}; it has {', '.join(columns)}"
        )
    if len(rows) != int(count):
        raise ValueError(
            f"{path} says {count.strip()} images and has {len(rows)} rows: fetch it again"
        )
    chosen = [columns.index(name) for name in literals]
    names, labels = [], torch.zeros(len(rows), len(literals), dtype=torch.bool)
    for index, row in enumerate(rows):  # not all at once: 8 million words take half a gigabyte
        name, *values = row.split()
        if len(values) != len(columns):
            raise ValueError(f"{path}, line {index + 3}: {len(values)} values, not {len(columns)}")
        names.append(name)
        labels[index] = torch.tensor([values[column] == "1" for column in chosen])
    return names, labels


def read_partition(path: Path, names: Sequence[str]) -> Tensor:
    """Official split of every image: (N,), 0 train, 1 val, 2 test.

    Raises:
        ValueError: If the file does not name the same images as the attribute file.
    """
    parts = dict(line.split() for line in path.read_text().splitlines())
    if list(parts) != list(names):
        raise ValueError(
            f"{path} lists {len(parts)} images and {ATTRIBUTES} {len(names)}, "
            "or in another order: fetch both again"
        )
    return torch.tensor([int(parts[name]) for name in names])
