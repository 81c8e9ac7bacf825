"""ChestX-ray14 from its published files: PNG folders, findings and the official lists."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.data.files import ImageFiles
from src.data.images import ImageSet, LabelledImages
from src.data.listed import check_once, check_same, locate
from src.data.missing import MissingDataError, found_in
from src.data.text_files import Table, read_lines, read_table

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
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

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
                f"no {' or '.join(FINDINGS_NAMES)}, {TRAIN_LIST} and {TEST_LIST} in {folder} "
                f"({found_in(folder)})",
                "put the files of ChestX-ray14 there (the NIH Clinical Center publishes them)",
            )
        listed = {path: read_lines(path) for path in lists}
        check_once((name, f"{path}, line {line}") for path in lists for line, name in listed[path])
        train_names, test_names = ([name for _, name in listed[path]] for path in lists)
        names = [*train_names, *test_names]
        found, patient_of = self._read_findings(read_table(findings))
        check_same(names, f"{TRAIN_LIST} and {TEST_LIST}", found, str(findings))
        labels = [found[name] for name in names]
        paths = locate(folder, names, "unpack all image archives there")
        files = ImageFiles(paths, self.stored_shape, self.decode)
        pixels = files.cached(self.root / "cache", {"set": "cxr14"}) if self.cache else files
        patients = torch.tensor([patient_of[name] for name in train_names])
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

    def _read_findings(self, table: Table) -> tuple[dict[str, list[bool]], dict[str, int]]:
        """The labels (C,) of every image, and its patient."""
        image, findings, patient = map(table.find, ("Image Index", "Finding Labels", "Patient ID"))
        labels, patients, places = {}, {}, []
        for line, cells in table:
            name = cells[image]
            present = {part.strip().replace(" ", "_") for part in cells[findings].split("|")}
            unknown = sorted(present - set(self.literals))
            if unknown:
                raise table.wrong(line, f"unknown finding {', '.join(map(repr, unknown))}")
            if len(present) > 1 and "No_Finding" in present:
                raise table.wrong(line, f"{cells[findings]!r} names findings and No Finding")
            if not cells[patient].isdecimal():
                raise table.wrong(line, f"Patient ID is {cells[patient]!r}, which is no number")
            labels[name] = [literal in present for literal in self.literals]
            patients[name] = int(cells[patient])
            places.append((name, table.place(line)))
        check_once(places)
        return labels, patients

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        return (1, self.image_size, self.image_size)

    def decode(self, image: Image.Image) -> np.ndarray:
        size = (self.image_size, self.image_size)
        return np.asarray(image.convert("L").resize(size, Image.Resampling.BILINEAR))[None]
