"""ChestX-ray14 from its published files: PNG folders, findings and the official lists."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from src.data.files import ImageFiles
from src.data.folders import list_files
from src.data.images import ImageSet, LabelledImages
from src.data.missing import MissingDataError

FINDINGS, TRAIN_LIST, TEST_LIST = "Data_Entry_2017.csv", "train_val_list.txt", "test_list.txt"
FINDINGS_NAMES = (FINDINGS, "Data_Entry_2017_v2020.csv")


class ChestXray14(ImageSet):
    """Frontal chest X-rays with 14 findings, or none: 15 literals; the official test list.

    Grey images are repeated to three channels. The validation split holds other patients than the
    training split.

    Args:
        root: Folder of all data sets; the files are looked for in `cxr14` below it, the images
            anywhere below that.
        image_size: Pixels of the decoded square.
        validation: Share of the training patients held out for validation, in (0, 1).
        split_seed: Seed of the draw of those patients.
        cache: As in `CelebA`.
    """

    literals = (
        "Atelectasis",
        "Cardiomegaly",
        "Effusion",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pneumonia",
        "Pneumothorax",
        "Consolidation",
        "Edema",
        "Emphysema",
        "Fibrosis",
        "Pleural_Thickening",
        "Hernia",
        "No_Finding",
    )
    example_queries = (
        "Effusion & ~Cardiomegaly",
        "Mass | Nodule",
        "Pneumothorax & ~(Infiltration | Effusion)",
    )
    mean: ClassVar = (0.5, 0.5, 0.5)
    std: ClassVar = (0.25, 0.25, 0.25)

    def __init__(
        self, root: str, image_size: int, validation: float, split_seed: int, cache: bool
    ) -> None:
        if not 0 < validation < 1:
            raise ValueError(f"validation must be a share between 0 and 1, not {validation}")
        self.root = Path(root)
        self.image_size = image_size
        self.validation = validation
        self.split_seed = split_seed
        self.cache = cache
        self.image_shape = (3, image_size, image_size)

    def load(self) -> Mapping[str, LabelledImages]:
        folder = self.root / "cxr14"
        findings = next(
            (folder / name for name in FINDINGS_NAMES if (folder / name).exists()), None
        )
        lists = [folder / TRAIN_LIST, folder / TEST_LIST]
        if findings is None or not all(path.exists() for path in lists):
            raise MissingDataError(
                f"no {FINDINGS}, {TRAIN_LIST} and {TEST_LIST} in {folder}",
                "put the files of ChestX-ray14 there (the NIH Clinical Center publishes them)",
            )
        rows = {row["Image Index"]: row for row in csv.DictReader(findings.open())}
        train_names, test_names = (path.read_text().split() for path in lists)
        names = [*train_names, *test_names]
        unknown = [name for name in names if name not in rows]
        if unknown:
            raise ValueError(f"{findings} has no row for {unknown[0]} and {len(unknown) - 1} more")
        labels = [self._labels(rows[name]["Finding Labels"]) for name in names]
        places = {path.name: path for path in list_files(folder, {".png"}).files}
        absent = [name for name in names if name not in places]
        if absent:
            raise MissingDataError(
                f"{len(absent)} of {len(names)} images, such as {absent[0]}, are not in {folder}",
                "unpack all image archives there",
            )
        files = ImageFiles([places[name] for name in names], self.stored_shape, self.decode)
        pixels = files.cached(self.root / "cache", {"set": "cxr14"}) if self.cache else files
        patients = torch.tensor([int(rows[name]["Patient ID"]) for name in train_names])
        held_out = self._draw_patients(patients)
        train = torch.arange(len(train_names))
        chosen = {
            "train": train[~held_out],
            "val": train[held_out],
            "test": torch.arange(len(train_names), len(names)),
        }
        table = torch.tensor(labels)
        return {split: LabelledImages(pixels, table, where) for split, where in chosen.items()}

    def _draw_patients(self, patients: torch.Tensor) -> torch.Tensor:
        """Mask (N,) of the images whose patients are held out."""
        distinct = patients.unique()
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(distinct), generator=generator)
        return torch.isin(patients, distinct[order[: round(self.validation * len(distinct))]])

    def _labels(self, findings: str) -> list[bool]:
        present = {name.replace(" ", "_") for name in findings.split("|")}
        unknown = present - set(self.literals)
        if unknown:
            raise ValueError(f"unknown finding {', '.join(sorted(unknown))} in {FINDINGS}")
        return [name in present for name in self.literals]

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        return (1, self.image_size, self.image_size)

    def decode(self, image: Image.Image) -> np.ndarray:
        size = (self.image_size, self.image_size)
        return np.asarray(image.convert("L").resize(size, Image.Resampling.BILINEAR))[None]
