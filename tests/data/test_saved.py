"""Data sets of the datasets library, saved to disk."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from conftest import read_run, run_command
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from PIL import Image

from src.config.errors import describe_error
from src.config.groups import CONF_DIR
from src.config.instantiate import instantiate
from src.data.saved import SavedImages

COLOURS = ("red", "green", "blue")
NUMBER = 60
CLASSES = datasets.ClassLabel(names=list(COLOURS))


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (6, 4), colour)


def rows(labels: dict[str, list[Any]], kinds: dict[str, Any]) -> datasets.Dataset:
    """As many pictures, one colour after the other, with these columns of labels."""
    pictures = [picture(COLOURS[index % 3]) for index in range(NUMBER)]
    features = datasets.Features({"picture": datasets.Image(), **kinds})
    return datasets.Dataset.from_dict({"picture": pictures, **labels}, features=features)


def colours(names: list[str] | None = None) -> datasets.Dataset:
    kind = datasets.ClassLabel(names=names or list(COLOURS))
    return rows({"colour": [index % 3 for index in range(NUMBER)]}, {"colour": kind})


def opened(folder: Path, **changes: Any) -> SavedImages:
    config = OmegaConf.load(CONF_DIR / "dataset" / "folder.yaml").dataset
    config.merge_with(OmegaConf.load(CONF_DIR / "dataset" / "hub.yaml").dataset)
    config.merge_with({"root": str(folder.parent), "images": str(folder), "image_size": 4})
    config.merge_with(changes)
    image_set = instantiate(config)
    assert isinstance(image_set, SavedImages)
    return image_set


@pytest.mark.parametrize("cache", [True, False])
def test_classes_are_literals_and_pixels_those_of_the_pictures(cache: bool, tmp_path: Path) -> None:
    colours().save_to_disk(tmp_path / "set")
    image_set = opened(tmp_path / "set", cache=cache)
    assert image_set.literals == COLOURS
    assert sum(map(len, image_set.splits.values())) == NUMBER
    for split in image_set.splits.values():
        pixels = split.images[:, :, 0, 0].bool()  # (n, 3): green is (0, 128, 0)
        assert torch.equal(pixels, split.labels)


def test_lists_of_classes_and_truth_values_are_literals(tmp_path: Path) -> None:
    lists = [[index % 3, (index + 1) % 3] if index % 2 else [] for index in range(NUMBER)]
    large = [index % 4 == 0 for index in range(NUMBER)]
    kinds = {"shown": datasets.List(CLASSES), "large size": datasets.Value("bool")}
    rows({"shown": lists, "large size": large}, kinds).save_to_disk(tmp_path / "set")
    image_set = opened(tmp_path / "set")
    assert image_set.literals == (*COLOURS, "large_size")
    found = torch.cat([split.labels for split in image_set.splits.values()]).sum(dim=0)
    counts = [sum(place in chosen for chosen in lists) for place in range(3)]
    assert found.tolist() == [*counts, sum(large)]
    chosen = opened(tmp_path / "set", label_columns=["large size"])
    assert chosen.literals == ("large_size",)
    assert opened(tmp_path / "set", literals=["blue", "large_size"]).literals[0] == "blue"


def test_columns_of_classes_go_before_their_names(tmp_path: Path) -> None:
    twice = {name: [index % 3 for index in range(NUMBER)] for name in ("top", "sole")}
    rows(twice, dict.fromkeys(twice, CLASSES)).save_to_disk(tmp_path / "set")
    names = opened(tmp_path / "set").all_literals()
    assert names == [f"{column}_{name}" for column in twice for name in COLOURS]


def test_splits_are_taken_and_others_named(tmp_path: Path) -> None:
    names = ("train", "validation", "test", "unsupervised")
    parts = {name: colours().select(range(3 * (4 - place))) for place, name in enumerate(names)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    image_set = opened(tmp_path / "set")
    assert {name: len(split) for name, split in image_set.splits.items()} == {
        "train": 12,
        "val": 9,
        "test": 6,
    }
    assert "left out: splits unsupervised" in image_set.notes


def unknown(folder: Path) -> None:
    labels: list[int | None] = [index % 3 for index in range(NUMBER)]
    labels[7] = None
    rows({"colour": labels}, {"colour": CLASSES}).save_to_disk(folder)


def damaged(folder: Path) -> None:
    encoded = [{"bytes": b"no picture", "path": None}] * NUMBER
    features = datasets.Features({"picture": datasets.Image(), "colour": CLASSES})
    columns = {"picture": encoded, "colour": [index % 3 for index in range(NUMBER)]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)


FAULTS: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no data set": (
        lambda folder: folder.mkdir(),
        {},
        "set cannot be read as a data set .* nothing",
    ),
    "nowhere": (lambda folder: None, {}, "there is no "),
    "unknown label": (unknown, {}, "set, row 8: colour is unknown"),
    "damaged picture": (damaged, {}, r"set, row 1 is damaged"),
    "no such literal": (
        lambda folder: colours().save_to_disk(folder),
        {"literals": ["rod"]},
        "has no literal rod; .*red",
    ),
    "no such column of images": (
        lambda folder: colours().save_to_disk(folder),
        {"image_column": "photo"},
        "has no column photo: its columns of images are picture",
    ),
    "no column of images": (
        lambda folder: colours().remove_columns("picture").save_to_disk(folder),
        {},
        "it has none of images, only colour",
    ),
    "no such column of labels": (
        lambda folder: colours().save_to_disk(folder),
        {"label_columns": ["color"]},
        "has no column color of labels; .*colour",
    ),
    "no labels": (
        lambda folder: colours().remove_columns("colour").save_to_disk(folder),
        {},
        "name no literals",
    ),
    "one name twice": (
        lambda folder: colours(["a b", "a_b", "c"]).save_to_disk(folder),
        {},
        r"one twice \(a_b, a_b, c\)",
    ),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_faults_are_said_in_two_lines(name: str, tmp_path: Path) -> None:
    make, changes, message = FAULTS[name]
    make(tmp_path / "set")
    with pytest.raises((ValueError, OSError, InstantiationException)) as raised:
        assert opened(tmp_path / "set", **changes).splits
    said = describe_error(raised.value)
    assert re.search(message, said)
    assert len(said.splitlines()) <= 2


def test_one_is_trained_on_and_asked_by_commands(tmp_path: Path) -> None:
    colours().save_to_disk(tmp_path / "set")
    data = ("dataset=hub", f"dataset.images={tmp_path}/set", f"data_dir={tmp_path}/data")
    assert run_command("prepare", *data) == (0, "")
    quick = ("debug=fast", "dataset.image_size=8", "loader.batch_size=8", "logger=none")
    assert run_command("train", *data, *quick, f"hydra.run.dir={tmp_path}/run") == (0, "")
    run = read_run(tmp_path / "run")
    assert run.config.dataset.literals == list(COLOURS)
    arguments = (f"ckpt_path={run.checkpoint}", "query=red & ~blue")
    assert run_command("retrieve", *arguments, f"hydra.run.dir={tmp_path}/out") == (0, "")
    assert np.genfromtxt(tmp_path / "out" / "retrieval.csv", delimiter=",", skip_header=1).size
