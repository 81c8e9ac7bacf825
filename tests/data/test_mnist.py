from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import idx, write_idx_files
from torchvision import datasets

from src.data.fashion_attributes import CLASSES_WITH, FashionAttributes
from src.data.fashion_sets import FREQUENCIES, FashionSets
from src.data.missing import MissingDataError
from src.data.mnist import FILES, FashionMnist, Mnist, read_idx
from src.subspaces.minterms import distinct_minterms

SETTINGS: dict[str, Any] = {"validate_on": "held_out", "validation": 10, "split_seed": 0}


@pytest.mark.parametrize("source", [Mnist, FashionMnist])
def test_reads_what_torchvision_reads(source: type[Mnist], tmp_path: Path) -> None:
    name = source.source.__name__
    write_idx_files(tmp_path, name, zipped=False)
    data = source(str(tmp_path), **SETTINGS)
    assert {split: len(images) for split, images in data.splits.items()} == {
        "train": 50,
        "val": 10,
        "test": 30,
    }
    reference = source.source(str(tmp_path), train=False)
    assert torch.equal(data.splits["test"].images.squeeze(1), reference.data)
    assert torch.equal(data.splits["test"].labels.int().argmax(dim=1), reference.targets)
    train = torch.cat([data.splits["train"].images, data.splits["val"].images]).flatten(1)
    official = source.source(str(tmp_path), train=True).data.flatten(1)
    assert torch.equal(train.unique(dim=0), official.unique(dim=0))


def test_gzipped_and_plain_files_are_the_same(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "plain", "MNIST", zipped=False)
    write_idx_files(tmp_path / "zipped", "MNIST", zipped=True)
    for file in (*FILES["train"], *FILES["test"]):
        plain, zipped = (
            read_idx(tmp_path / kind / "MNIST" / "raw" / file) for kind in ("plain", "zipped")
        )
        assert torch.equal(plain, zipped)


def test_class_order_is_torchvisions() -> None:
    names = [name.replace("-", "_").replace("/top", "") for name in datasets.FashionMNIST.classes]
    assert [name.replace(" ", "_") for name in names] == list(FashionMnist.literals)


def test_missing_files_are_answered_with_where_and_how(tmp_path: Path) -> None:
    data = Mnist(str(tmp_path), **SETTINGS)
    with pytest.raises(MissingDataError) as caught:
        data.load()
    for part in (str(tmp_path / "MNIST" / "raw"), "train-images-idx3-ubyte.gz", "src.prepare"):
        assert part in str(caught.value)
    assert "dataset=digits" in str(caught.value)


def test_cut_off_file_is_named(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=False)
    path = tmp_path / "MNIST" / "raw" / FILES["train"][0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        Mnist(str(tmp_path), **SETTINGS).load()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (0, b"", "is no IDX file of bytes: it starts with b''; fetch it again"),
        (1, b"\0\0", "is no IDX file of bytes"),
        (0, b"\0\0\x08\x03\0\0", "is no IDX file of bytes"),
        (1, b"<!DOCTYPE html>", "is no IDX file of bytes: it starts with b'<!DOCTYPE ht'"),
        (1, idx(torch.zeros(59, dtype=torch.uint8)), r"holds \(59,\) classes for the 60 images"),
        (
            1,
            idx(torch.full((60,), 26, dtype=torch.uint8)),
            "has classes up to 26, where 0 to 9 are",
        ),
        (0, idx(torch.zeros(60, 32, 32, dtype=torch.uint8)), r"holds \(60, 32, 32\) bytes"),
        (0, idx(torch.zeros(60, dtype=torch.uint8)), r"holds \(60,\) bytes, where \(N, 28, 28\)"),
        (1, idx(torch.zeros(60, 28, 28, dtype=torch.uint8)), r"holds \(60, 28, 28\) classes"),
    ],
    ids=["empty", "cut", "cut header", "web page", "count", "EMNIST", "size", "classes", "images"],
)
@pytest.mark.parametrize("source", [Mnist, FashionAttributes])
def test_files_that_hold_something_else_are_named(
    source: type[Mnist], file: int, content: bytes, message: str, tmp_path: Path
) -> None:
    write_idx_files(tmp_path, source.source.__name__, zipped=False)
    path = tmp_path / source.source.__name__ / "raw" / FILES["train"][file]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} {message}"):
        source(str(tmp_path), **SETTINGS).load()


@pytest.mark.parametrize("split", FILES)
def test_files_without_images_are_refused(split: str, tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=False, **{split: 0})
    settings = {**SETTINGS, "validate_on": "test"}
    with pytest.raises(ValueError, match=f"Mnist leaves no image to .*{split}"):
        assert Mnist(str(tmp_path), **settings).splits


def test_validation_is_drawn_from_the_split_seed(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=False)
    first, again, other = (
        Mnist(str(tmp_path), **{**SETTINGS, "split_seed": seed}).splits["val"].images
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_authors_validate_on_the_test_split(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=False)
    images = Mnist(str(tmp_path), **{**SETTINGS, "validate_on": "test"})
    splits = images.splits
    assert splits["val"] is splits["test"]  # by which figures calibrated there are marked
    assert "validation is the test split" in images.notes[0]
    assert torch.equal(splits["val"].images, splits["test"].images)
    assert len(splits["train"]) == 60


def test_checksums_are_the_published_ones(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=True)
    with pytest.raises(ValueError, match=rf"{FILES['train'][0]}.gz has MD5 \w+, not f68b3c2dcbeaa"):
        Mnist(str(tmp_path), **SETTINGS).verify()


def test_attributes_make_ten_minterms_that_share_literals(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "FashionMNIST", zipped=False)
    data = FashionAttributes(str(tmp_path), **SETTINGS)
    classes = datasets.FashionMNIST(str(tmp_path), train=False).targets
    for labels, number in zip(data.splits["test"].labels, classes, strict=True):
        name = FashionMnist.literals[number]
        assert labels.tolist() == [name in CLASSES_WITH[key] for key in data.literals]
    assert len(distinct_minterms(data.splits["train"].labels)) == 10
    assert data.splits["test"].labels.int().sum(dim=0).min() > 3


def canvases(root: Path, split_seed: int = 0) -> FashionSets:
    return FashionSets(450, 100, str(root), validation=50, split_seed=split_seed)


def test_canvases_are_a_function_of_the_split_seed(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "FashionMNIST", zipped=False, train=1200, test=100)
    first, again, other = canvases(tmp_path), canvases(tmp_path), canvases(tmp_path, 1)
    assert torch.equal(first.splits["train"].images, again.splits["train"].images)
    assert not torch.equal(first.splits["test"].images, other.splits["test"].images)
    assert len(first.splits["train"]) == 450
    assert len(first.splits["test"]) == 100


def test_canvases_show_what_their_labels_say_and_share_no_image_between_train_and_test(
    tmp_path: Path,
) -> None:
    # Every image is one flat grey level that tells its split and class.
    write_idx_files(tmp_path, "FashionMNIST", zipped=False, train=1200, test=100)
    folder = tmp_path / "FashionMNIST" / "raw"
    for split, offset in (("train", 10), ("test", 120)):
        classes = read_idx(folder / FILES[split][1])
        levels = (offset + 10 * classes).view(-1, 1, 1).expand(-1, 28, 28).contiguous()
        (folder / FILES[split][0]).write_bytes(idx(levels))
    data = canvases(tmp_path)
    for split, offset in (("train", 10), ("val", 10), ("test", 120)):
        images = data.splits[split]
        for image, labels in zip(images.images, images.labels, strict=True):
            seen = {(level - offset) / 10 for level in image.unique().tolist() if level}
            names = {FashionMnist.literals[int(number)] for number in seen}
            assert seen <= set(range(10))
            assert {name for name in FREQUENCIES if name in names} == {
                name for name, value in zip(data.literals, labels, strict=True) if value
            }
