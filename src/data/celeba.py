"""CelebA from its published folder, or a copy: aligned images, attribute and partition files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from kornia.augmentation import RandomHorizontalFlip
from PIL import Image
from torch import Tensor, nn

from src.data.files import ImageFiles
from src.data.images import ImageSet, LabelledImages
from src.data.labels import read_labels, read_split
from src.data.listed import check_once, check_same, locate
from src.data.missing import MissingDataError, found_in
from src.data.text_files import Row, Table, read_lines, read_table

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
FORMS = {
    ATTRIBUTES: (ATTRIBUTES, "list_attr_celeba.csv"),
    PARTITION: (PARTITION, "list_eval_partition.csv"),
    IMAGES: (IMAGES, "img_align_celeba_png"),
}  # as published, and in other copies
SHOWN = 40  # characters of a file in a message
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

    The folder may be as published (`Anno/`, `Eval/`, `Img/`), as torchvision lays it out, or as on
    Kaggle, with tables as CSV. Images may lie deeper in their folder, and be PNGs.

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

    mean = (0.0, 0.0, 0.0)
    std = (1.0, 1.0, 1.0)

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
        paths = locate(images, names, "unpack all of them there")
        files = ImageFiles(paths, self.image_shape, self.decode)
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
        found = {self._find(folder, name): md5 for name, md5 in CHECKSUMS.items()}
        return {path: md5 for path, md5 in found.items() if path.name in CHECKSUMS}

    def _find(self, folder: Path, name: str) -> Path:
        for part in ("", "Anno", "Eval", "Img"):
            for form in FORMS[name]:
                if (folder / part / form).exists():
                    return folder / part / form
        raise MissingDataError(
            f"no {name} in {folder} or its Anno, Eval, Img ({found_in(folder)})",
            "put CelebA's img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt there "
            "(its site, torchvision.datasets.CelebA or, as .csv, Kaggle has them), or train on "
            "drawn stand-ins with dataset=faces",
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
    """File names (N,) and labels (N, C), bool, of the attribute file: the published one, or CSV.

    Raises:
        ValueError: If the file does not have these attributes, not as many rows as it says, or
            anything but labels. The message has the line.
    """
    table = read_table(path) if path.suffix == ".csv" else _read_published(path)
    labels = read_labels(table, 0, [table.find(name) for name in literals])
    if labels.unknown.any():
        line = labels.lines[int(labels.unknown.any(dim=1).int().argmax())]
        raise table.wrong(line, "a label is missing: fetch the file again")
    return labels.names, labels.values


def _read_published(path: Path) -> Table:
    """The table in the words of the published attribute file, below the number of its rows."""
    (first, count), *rest = read_lines(path)
    if not count.isdecimal() or not rest:
        raise ValueError(
            f"{path}, line {first}: {count[:SHOWN]!r} in the place of the number of images, and of "
            "a header below it"
        )
    (_, header), *rows = rest
    if len(rows) != int(count):
        raise ValueError(f"{path} says {count} images and has {len(rows)} rows: fetch it again")
    return Table(path, ["image", *header.split()], (Row(line, text.split()) for line, text in rows))


def read_partition(path: Path, names: Sequence[str]) -> Tensor:
    """Official split of every image: (N,), 0 train, 1 val, 2 test.

    Raises:
        ValueError: If the file, the published one or CSV, does not name each of these images once,
            and no others, or not their split. The message has the line, or the first names.
    """
    if path.suffix == ".csv":
        table = read_table(path)
    else:
        rows = (Row(line, text.split()) for line, text in read_lines(path))
        table = Table(path, ["image", "partition"], rows)
    column, places, parts = table.find("partition"), [], {}
    for line, cells in table:
        places.append((cells[0], table.place(line)))
        parts[cells[0]] = PARTITIONS[read_split(table, line, cells[column])]
    check_once(places)
    check_same(parts, str(path), names, "the attribute file")
    return torch.tensor([parts[name] for name in names])
