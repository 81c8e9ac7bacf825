import csv
import json
from collections.abc import Callable
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


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def as_the_second_version(folder: Path) -> None:
    """The name and columns of 2020, with a byte-order mark and an end of line as on Windows."""
    lines = (folder / FINDINGS).read_text().splitlines()
    text = "\ufeff" + "".join(f"{line},\r\n" for line in lines)
    (folder / "Data_Entry_2017_v2020.csv").write_text(text, newline="")
    (folder / FINDINGS).unlink()


def with_blank_lines(folder: Path) -> None:
    for name in (FINDINGS, TRAIN_LIST, TEST_LIST):
        edit(folder / name, lambda text: "\ufeff" + text.replace("\n", "\r\n\r\n"))


def as_jpegs(folder: Path) -> None:
    for path in list(folder.rglob("*.png")):
        path.rename(path.with_suffix(".jpg"))  # Pillow looks at the content


@pytest.mark.parametrize("change", [as_the_second_version, with_blank_lines, as_jpegs])
def test_other_copies_are_read_as_the_published_one(change: Any, root: Path) -> None:
    expected = load(root).splits
    change(root / "cxr14")
    for name, split in load(root).splits.items():
        assert torch.equal(split.labels, expected[name].labels)
        assert torch.equal(split.images, expected[name].images)


def repeat_in_other_list(folder: Path) -> None:
    first = (folder / TRAIN_LIST).read_text().split()[0]
    edit(folder / TEST_LIST, lambda text: f"{text}\n{first}")


def repeat_in_list(folder: Path) -> None:
    edit(folder / TRAIN_LIST, lambda text: f"{text}\n{text.split()[0]}")


def leave_out_of_lists(folder: Path) -> None:
    edit(folder / TEST_LIST, lambda text: text.rpartition("\n")[0])


def repeat_findings(folder: Path) -> None:
    edit(folder / FINDINGS, lambda text: text + "00000001_000.png,Hernia,0,1,50,M,PA\n")


def empty_test_list(folder: Path) -> None:
    edit(folder / TEST_LIST, lambda text: "\n \n")


def misspell_patient(folder: Path) -> None:
    edit(folder / FINDINGS, lambda text: text.replace("png,No Finding,0,1,", "png,No Finding,0,A,"))


def contradict(folder: Path) -> None:
    edit(folder / FINDINGS, lambda text: text.replace("Effusion|Mass", "No Finding|Mass"))


def rename_column(folder: Path) -> None:
    edit(folder / FINDINGS, lambda text: text.replace("Finding Labels", "Finding_Labels"))


def save_a_web_page(folder: Path) -> None:
    (folder / FINDINGS).write_text("<!DOCTYPE html><html>404</html>")


def save_as_utf_16(folder: Path) -> None:
    (folder / FINDINGS).write_text((folder / FINDINGS).read_text(), encoding="utf-16")


def keep_two_copies(folder: Path) -> None:
    copy = folder / "small" / "00000001_000.png"
    copy.parent.mkdir()
    copy.write_bytes(next(folder.rglob("00000001_000.png")).read_bytes())


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (repeat_in_other_list, r"00000001_000.png \(.*train_val_list.txt, line 1, and .*test_list"),
        (repeat_in_list, r"00000001_000.png \(.*train_val_list.txt, line 1, and .*line 33\)"),
        (leave_out_of_lists, "1 images of .*2017.csv are not in .*test_list.txt: 00000020_001"),
        (repeat_findings, r"00000001_000.png \(.*, line 41, and .*, line 42\)"),
        (empty_test_list, "test_list.txt is empty"),
        (misspell_patient, "2017.csv, line 41: Patient ID is 'A', which is no number"),
        (contradict, "names findings and No Finding"),
        (rename_column, "has no column Finding Labels; did you mean Finding_Labels"),
        (save_a_web_page, "2017.csv holds a web page"),
        (save_as_utf_16, "2017.csv, line 1: no text in UTF-8"),
        (keep_two_copies, "00000001_000.png may be .* or .*: keep one of them"),
    ],
)
def test_lists_and_findings_that_do_not_fit_are_named(harm: Any, message: str, root: Path) -> None:
    harm(root / "cxr14")
    with pytest.raises(ValueError, match=message):
        load(root)


def test_missing_parts_are_named(root: Path) -> None:
    image = next((root / "cxr14").rglob("00000003_000.png"))
    image.unlink()
    with pytest.raises(MissingDataError, match=r"1 of 40 images are not in .*: 00000003_000\.png"):
        load(root)
    (root / "cxr14" / TEST_LIST).unlink()
    with pytest.raises(MissingDataError, match=r"test_list\.txt"):
        load(root)


def test_unknown_finding_and_missing_row_are_named(root: Path) -> None:
    path = root / "cxr14" / FINDINGS
    text = path.read_text()
    path.write_text(text.replace("Hernia", "Hernias"))
    with pytest.raises(ValueError, match="line 3: unknown finding 'Hernias'"):
        load(root)
    path.write_text("\n".join(text.splitlines()[:-2]) + "\n")
    with pytest.raises(ValueError, match=r"2 images of .* are not in .*2017\.csv: 00000001_000"):
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
