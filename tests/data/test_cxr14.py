import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run_command
from PIL import Image

from src.data.cxr14 import FINDINGS, TEST_LIST, TRAIN_LIST, ChestXray14
from src.data.missing import MissingDataError

SETTINGS: dict[str, Any] = {"image_size": 16, "validation": 0.25, "split_seed": 0, "cache": True}
FINDING_LABELS = ["No Finding", "Effusion|Mass", "Pleural_Thickening", "Hernia", "Edema|Effusion"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty X-rays of twenty patients in the published layout, in two archives' folders."""
    folder = tmp_path / "cxr14"
    names, rows = [], []
    generator = np.random.default_rng(0)
    for number in range(40):
        patient, follow_up = divmod(number, 2)
        name = f"{patient + 1:08d}_{follow_up:03d}.png"
        path = folder / f"images_{1 + number % 2:03d}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
        names.append(name)
        rows.append([name, FINDING_LABELS[number % 5], follow_up, patient + 1, 50, "M", "PA"])
    with (folder / FINDINGS).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Age", "Sex", "View"]
        )
        writer.writerows(reversed(rows))  # in another order than the lists
    (folder / TRAIN_LIST).write_text("\n".join(names[:32]))
    (folder / TEST_LIST).write_text("\n".join(names[32:]))
    return tmp_path


def load(root: Path) -> ChestXray14:
    images = ChestXray14(str(root), **SETTINGS)
    assert images.splits  # loaded here
    return images


def test_labels_belong_to_their_images(root: Path) -> None:
    data = load(root)
    test = data.splits["test"]
    names = (root / "cxr14" / TEST_LIST).read_text().split()
    for name, image, labels in zip(names, test.images, test.labels, strict=True):
        (path,) = (root / "cxr14").rglob(name)
        with Image.open(path) as file:
            grey = np.asarray(file.resize((16, 16), Image.Resampling.BILINEAR))
        assert np.array_equal(image[0].numpy(), grey)
        number = 2 * (int(name[:8]) - 1) + int(name[9:12])
        present = {name for name, value in zip(data.literals, labels, strict=True) if value}
        assert present == {part.replace(" ", "_") for part in FINDING_LABELS[number % 5].split("|")}


def test_validation_holds_out_whole_patients(root: Path) -> None:
    data = load(root)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 24,
        "val": 8,
        "test": 8,
    }
    both = torch.cat([data.splits["train"].images, data.splits["val"].images])
    assert len(both.flatten(1).unique(dim=0)) == 32


def test_images_behind_links_are_found(root: Path) -> None:
    expected = load(root).splits["train"].images
    archives = root / "archives"
    archives.mkdir()
    for folder in sorted((root / "cxr14").glob("images_*")):
        folder.rename(archives / folder.name)
        folder.symlink_to(archives / folder.name)
    (archives / "images_001" / "back").symlink_to(root / "cxr14")
    assert torch.equal(load(root).splits["train"].images, expected)


def test_missing_parts_are_named(root: Path) -> None:
    image = next((root / "cxr14").rglob("00000003_000.png"))
    image.unlink()
    with pytest.raises(MissingDataError, match=r"1 of 40 images, such as 00000003_000\.png"):
        load(root)
    (root / "cxr14" / TEST_LIST).unlink()
    with pytest.raises(MissingDataError, match=r"test_list\.txt"):
        load(root)


def test_unknown_finding_and_missing_row_are_named(root: Path) -> None:
    path = root / "cxr14" / FINDINGS
    text = path.read_text()
    path.write_text(text.replace("Hernia", "Hernias"))
    with pytest.raises(ValueError, match="unknown finding Hernias"):
        load(root)
    path.write_text("\n".join(text.splitlines()[:-2]) + "\n")
    with pytest.raises(ValueError, match="has no row for"):
        load(root)


def test_the_recipe_trains_and_answers_by_discriminants_of_literals(
    root: Path, tmp_path: Path
) -> None:
    settings = ("dataset.image_size=16", "dataset.validation=0.25", "encoder=convnet")
    once = ("trainer.max_epochs=1", "logger=none", "loader.batch_size=8")
    readout = "readout=literal_discriminants"
    folder = f"hydra.run.dir={tmp_path}/run"
    data = ("dataset=cxr14", f"data_dir={root}")
    assert run_command("train", *data, *settings, *once, readout, folder) == (0, "")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["run/conjunctions"] == "all"
    assert "test/subspaces/minterm_accuracy" in metrics  # a table holds so few minterms
    asked = (f"ckpt_path={tmp_path}/run/checkpoints/last.ckpt", "query=Effusion & ~Mass | Hernia")
    assert run_command("retrieve", *asked, f"hydra.run.dir={tmp_path}/out") == (0, "")
