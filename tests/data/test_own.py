"""Sets of one's own images, from a table or from folders."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from src.data.folder import ImageFolders
from src.data.images import LabelledImages
from src.data.missing import MissingDataError
from src.data.own import draw_stratified, literal_name, measure
from src.data.table import ImageTable
from src.subspaces.propositions import Proposition

SETTINGS: dict[str, Any] = {
    "literals": None,
    "image_size": 8,
    "resize": "crop",
    "validation": 0.1,
    "test": 0.2,
    "split_seed": 0,
    "cache": True,
    "mean": None,
    "std": None,
}
NUMBER = 100


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images whose level of red is their number, in a folder, and two literals for each."""
    (tmp_path / "pictures").mkdir()
    for number in range(NUMBER):
        picture = Image.new("RGB", (12, 10), (number, 0, 255))
        picture.save(tmp_path / "pictures" / f"{number:02d}.png")
    write_table(tmp_path / "labels.csv", ["file", "odd", "third of all"])
    return tmp_path


def truth(number: int) -> list[bool]:
    return [number % 2 == 1, number % 3 == 0]


def write_table(path: Path, header: Sequence[str], *more: Sequence[str]) -> None:
    """A row for each image, with further cells for each."""
    rows = [
        [f"{number:02d}.png", *map(int, truth(number)), *(cells[number] for cells in more)]
        for number in range(NUMBER)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def load(root: Path, **settings: Any) -> ImageTable:
    options = {
        "root": str(root / "data"),
        "images": str(root / "pictures"),
        "labels": str(root / "labels.csv"),
        "name_column": None,
        "unknown": "refuse",
    }
    table = ImageTable(**{**SETTINGS, **options, **settings})
    assert table.splits  # loaded here
    return table


def load_folders(folder: Path, **settings: Any) -> ImageFolders:
    options = {"root": str(folder.parent / "data"), "images": str(folder)}
    images = ImageFolders(**{**SETTINGS, **options, **settings})
    assert images.splits  # loaded here
    return images


def numbers(split: LabelledImages) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def test_every_image_is_in_one_split_with_its_own_labels(root: Path) -> None:
    table = load(root)
    assert table.literals == ("odd", "third_of_all")
    assert {name: len(split) for name, split in table.splits.items()} == {
        "train": 70,
        "val": 10,
        "test": 20,
    }
    found = [number for split in table.splits.values() for number in numbers(split)]
    assert sorted(found) == list(range(NUMBER))
    for split in table.splits.values():
        assert split.labels.tolist() == [truth(number) for number in numbers(split)]
    assert [Proposition(query, table.literals) for query in table.example_queries]


def test_splits_follow_their_seed_and_images_their_cache(root: Path) -> None:
    first, again, other, uncached = (
        load(root, **settings) for settings in ({}, {}, {"split_seed": 1}, {"cache": False})
    )
    assert numbers(first.splits["test"]) == numbers(again.splits["test"])
    assert numbers(first.splits["test"]) != numbers(other.splits["test"])
    for name, split in first.splits.items():
        assert torch.equal(split.images, uncached.splits[name].images)
    assert len(list((root / "data" / "cache").glob("*.npy"))) == 1


@pytest.mark.parametrize("validation", [True, False])
def test_splits_of_the_table_are_taken(validation: bool, root: Path) -> None:
    words = [
        "Test" if n < 30 else "valid" if validation and n < 50 else "train" for n in range(100)
    ]
    write_table(root / "labels.csv", ["file", "odd", "third", "Split"], words)
    table = load(root)
    assert table.literals == ("odd", "third")
    assert numbers(table.splits["test"]) == list(range(30))
    val = numbers(table.splits["val"])
    assert val == list(range(30, 50)) if validation else len(val) == 7
    assert ("as given" in table.notes[0]) == validation


def test_literals_may_be_chosen_and_other_columns_be_anything(root: Path) -> None:
    write_table(root / "labels.csv", ["id", "odd", "third of all", "age"], ["young"] * NUMBER)
    with pytest.raises(ValueError, match=r"line 2: age is 'young', which is no label"):
        load(root)
    every = load(root, literals=["third of all", "odd"])
    assert every.literals == ("third_of_all", "odd")
    assert load(root, literals=["odd"], name_column="id").literals == ("odd",)
    with pytest.raises(ValueError, match=r"has no column od; did you mean odd\?"):
        load(root, literals=["od"])
    with pytest.raises(ValueError, match=r"has no column name; it has id, odd"):
        load(root, name_column="name")


def test_a_literal_without_two_values_is_left_out_and_noted(root: Path) -> None:
    write_table(
        root / "labels.csv", ["file", "odd", "third", "all", "no_one"], ["yes"] * 100, ["no"] * 100
    )
    table = load(root)
    assert table.literals == ("odd", "third")
    assert table.splits["train"].labels.shape == (70, 2)
    assert "all is left out: it is true of every training image" in table.notes
    assert "no_one is left out: it is false of every training image" in table.notes
    with pytest.raises(ValueError, match=r"nothing to learn in .*: no_one is left out"):
        load(root, literals=["no_one"])


def test_empty_labels_are_refused_unless_it_is_said_how_they_are_meant(root: Path) -> None:
    write_table(root / "labels.csv", ["file", "odd", "third", "old"], ["yes", "", "no", "no"] * 25)
    with pytest.raises(
        ValueError, match=r"line 3: old is empty, one of 25 labels of 25 images: set"
    ):
        load(root)
    negative, dropped = load(root, unknown="negative"), load(root, unknown="drop")
    assert sum(len(split) for split in negative.splits.values()) == 100
    for split in negative.splits.values():
        assert split.labels[:, 2].tolist() == [number % 4 == 0 for number in numbers(split)]
    left = sorted(n for split in dropped.splits.values() for n in numbers(split))
    assert left == [number for number in range(NUMBER) if number % 4 != 1]
    assert "25 labels of 25 images are empty: dataset.unknown=drop" in dropped.notes
    kept = load(root, unknown="keep")
    train = kept.splits["train"]
    assert train.unknown is not None
    empty = [number % 4 == 1 for number in numbers(train)]
    assert any(empty)
    assert train.unknown.tolist() == [[False, False, mark] for mark in empty]
    for name in ("val", "test"):
        assert kept.splits[name].unknown is None
        whole = numbers(negative.splits[name])
        assert numbers(kept.splits[name]) == [number for number in whole if number % 4 != 1]


def test_images_without_a_label_are_counted(root: Path) -> None:
    Image.new("RGB", (9, 9)).save(root / "pictures" / "another.png")
    (root / "pictures" / "read.me").touch()
    note = (
        f"left out of {root / 'pictures'}: images without a label: 1, with other endings (.me): 1"
    )
    assert note in load(root).notes


def test_what_is_settled_makes_the_set_without_its_files(root: Path) -> None:
    first = load(root)
    settled = first.settled()
    assert settled["mean"][2] == 1
    for path in (root / "pictures", root / "labels.csv"):
        path.rename(root / f"moved_{path.name}")
    options = {"root": str(root), "name_column": None, "unknown": "refuse"}
    again = ImageTable(**{**SETTINGS, **options, **settled})
    for name in ("literals", "example_queries", "mean", "std", "image_shape"):
        assert getattr(again, name) == getattr(first, name)
    with pytest.raises(MissingDataError, match=r"there is no .*labels\.csv"):
        again.load()
    for path in (root / "pictures", root / "labels.csv"):
        (root / f"moved_{path.name}").rename(root / "data" / path.name)
    moved = ImageTable(**{**SETTINGS, **options, **settled, "root": str(root / "data")})
    assert numbers(moved.splits["test"]) == numbers(first.splits["test"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.0}, "must be shares above 0"),
        ({"validation": 0.5, "test": 0.5}, "together below 1"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"mean": [0.5, 0.5, 0.5]}, "mean and std go together"),
        ({"literals": ["odd", "odd"]}, "literals must have different names"),
        ({"literals": []}, "literals names none"),
        ({"images": "/nowhere/at/all"}, "there is no /nowhere/at/all"),
        ({"labels": "/nowhere.csv"}, "there is no /nowhere.csv"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str, root: Path) -> None:
    with pytest.raises((ValueError, MissingDataError), match=message):
        load(root, **settings)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.37])
def test_draws_hold_their_share_of_every_minterm(share: float) -> None:
    labels = torch.rand(997, 4) < torch.tensor([0.5, 0.3, 0.1, 0.02])
    drawn = draw_stratified(labels, share, torch.Generator().manual_seed(0))
    assert len(drawn) == int(997 * share) == len(drawn.unique())
    for minterm in labels.unique(dim=0):
        members = (labels == minterm).all(dim=1)
        assert abs(float(members[drawn].sum() - share * members.sum())) <= 1


def test_mean_and_deviation_are_those_of_all_pixels() -> None:
    pixels = torch.randint(0, 256, (300, 3, 5, 4), dtype=torch.uint8)
    mean, std = measure(LabelledImages(pixels, torch.zeros(300, 1)))
    values = pixels.double() / 255
    torch.testing.assert_close(mean, tuple(values.mean((0, 2, 3)).tolist()), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        std, tuple(values.std((0, 2, 3), unbiased=False).tolist()), atol=1e-4, rtol=0
    )
    assert min(measure(LabelledImages(pixels[:1] * 0, torch.zeros(1, 1)))[1]) > 0


@pytest.mark.parametrize("size", [(60, 40), (40, 60)])
def test_pictures_become_squares_in_three_ways(size: tuple[int, int], root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    crop, pad, squash = (
        torch.from_numpy(load(root, image_size=20, resize=name).decode(picture).copy())
        for name in ("crop", "pad", "squash")
    )
    transform = v2.Compose([v2.CenterCrop(40), v2.Resize(20), v2.PILToTensor()])
    # The outermost pixels mix in a little of what is outside the crop.
    assert torch.equal(crop[:, 1:-1, 1:-1], transform(picture)[:, 1:-1, 1:-1])
    assert torch.equal(squash, v2.PILToTensor()(v2.Resize((20, 20))(picture)))
    rows, columns = pad.any(dim=0).any(dim=1).sum(), pad.any(dim=0).any(dim=0).sum()
    assert sorted([int(rows), int(columns)]) == [13, 20]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *(("wearing hat", "wearing_hat"), (" a-b (c) ", "a_b_c"), ("5_o_Clock", "5_o_Clock")),
        *(("Grün", "Grün"), ("0", "label_0"), ("???", "")),
    ],
)
def test_names_become_words_of_queries(text: str, name: str) -> None:
    assert literal_name(text) == name
    assert not name or Proposition(name, [name])


def put(folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number}.png")


def test_folders_are_classes_as_torchvision_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "animals"
    for number in range(60):
        put(folder / ("cat", "sea lion", "0")[number % 3], number)
    (folder / ".ipynb_checkpoints").mkdir()
    images = load_folders(folder)
    reference = ImageFolder(
        str(folder), is_valid_file=lambda path: path.endswith(".png"), allow_empty=True
    )
    named = {literal_name(name): place for name, place in reference.class_to_idx.items()}
    assert images.literals == ("label_0", "cat", "sea_lion")
    expected = {int(Path(path).stem): target for path, target in reference.samples}
    seen = []
    for split in images.splits.values():
        for number, labels in zip(numbers(split), split.labels, strict=True):
            (place,) = labels.nonzero().flatten().tolist()
            assert named[images.literals[place]] == expected[number]
            seen.append(number)
    assert sorted(seen) == list(range(60))


def test_folders_of_splits_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "animals"
    for number in range(60):
        split = "test" if number < 12 else "train"
        put(folder / split / ("cat", "dog", "cow")[number % 3], number)
    images = load_folders(folder)
    assert images.literals == ("cat", "cow", "dog")
    assert sorted(numbers(images.splits["test"])) == list(range(12))
    assert len(images.splits["val"]) == 4
    for number in range(60, 66):
        put(folder / "Valid" / ("cat", "dog")[number % 2], number)
    assert sorted(numbers(load_folders(folder).splits["val"])) == list(range(60, 66))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "has 0 folders of images"),
        (["cat"], "has 1 folders of images"),
        (["cat", "and"], r"'and' cannot name a literal.*; rename it in .*animals"),
        (["a b", "a-b"], "a folder needs another name than 'a b'"),
        (["train/cat", "train/dog"], r"animals leaves no image to test \(train"),
        (["train/cat", "test/cat", "dog"], "animals has folders beside those of splits: dog; move"),
        (["ant", "zoo", "val/cat"], "animals has folders beside those of splits: ant, zoo; move"),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    folders: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "animals").mkdir()
    for name in folders:
        for number in range(10):
            put(tmp_path / "animals" / name, number)
    with pytest.raises(ValueError, match=message):
        load_folders(tmp_path / "animals")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("test/cat/copy.png", "train/cat/0.png"),  # in two splits
        ("train/cat/copy.png", "train/cat/0.png"),  # twice in one
        ("train/dog/copy.png", "train/cat/0.png"),  # of two classes
        ("test/cow", "train/cat"),
        ("val", "train"),
        ("test/cat/up", "train"),
    ],
)
def test_folders_that_hold_a_file_twice_by_links_are_refused(
    link: str, target: str, tmp_path: Path
) -> None:
    folder = tmp_path / "animals"
    for number in range(8):
        put(folder / ("train/cat", "train/dog", "test/cat", "test/dog")[number % 4], number)
    (folder / link).symlink_to(folder / target)
    with pytest.raises(ValueError, match=r"images are listed more than once: .*/0\.png"):
        load_folders(folder)
