import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from src.data.cifar import Cifar10, Cifar100
from src.data.missing import MissingDataError

SETTINGS: dict[str, Any] = {"validate_on": "held_out", "validation": 10, "split_seed": 0}


def write_files(root: Path, source: Any, key: str, classes: list[str]) -> None:
    """Small files in the published layout, with the checksums that torchvision compares."""
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = {}
    for name, _ in [*source.train_list, *source.test_list]:
        content = {
            "data": generator.integers(0, 256, (20, 3072), dtype=np.uint8),
            key: [int(number) for number in generator.integers(0, len(classes), 20)],
        }
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    (folder / source.meta["filename"]).write_bytes(pickle.dumps({source.meta["key"]: classes}))
    meta_sum = hashlib.md5((folder / source.meta["filename"]).read_bytes()).hexdigest()
    source.train_list = [[name, sums[name]] for name, _ in source.train_list]
    source.test_list = [[name, sums[name]] for name, _ in source.test_list]
    source.meta = {**source.meta, "md5": meta_sum}


@pytest.fixture(
    params=[(Cifar10, datasets.CIFAR10, "labels"), (Cifar100, datasets.CIFAR100, "fine_labels")]
)
def small_set(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A set class over small files in its layout, and torchvision's class for the same."""
    ours, theirs, key = request.param
    small = type(theirs.__name__, (theirs,), {})
    monkeypatch.setattr(ours, "source", small)
    write_files(tmp_path, small, key, list(ours.literals))
    return ours, small, tmp_path


def test_reads_what_torchvision_reads(small_set: Any) -> None:
    ours, theirs, root = small_set
    data = ours(str(root), **SETTINGS)
    reference = theirs(str(root), train=False)
    test = data.splits["test"]
    assert np.array_equal(test.images.permute(0, 2, 3, 1).numpy(), reference.data)
    assert test.labels.int().argmax(dim=1).tolist() == reference.targets
    assert reference.classes == list(data.literals)
    assert len(data.splits["val"]) == 10


def test_wrong_checksum_is_refused(small_set: Any) -> None:
    ours, theirs, root = small_set
    path = root / theirs.base_folder / theirs.train_list[0][0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MissingDataError, match="with the published checksums"):
        ours(str(root), **SETTINGS).load()


def test_missing_files_are_answered_with_the_command_that_gets_them(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"src\.prepare"):
        Cifar10(str(tmp_path), **SETTINGS).load()


def test_literal_names_can_be_asked_for() -> None:
    assert len(set(Cifar100.literals)) == 100
    assert list(Cifar100.literals) == sorted(Cifar100.literals)


def test_every_image_is_augmented_by_itself() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    changed = Cifar10("", **SETTINGS).augmentation()(image.expand(64, -1, -1, -1))
    assert changed.shape == (64, 3, 32, 32)
    assert len(changed.flatten(1).unique(dim=0)) > 30
    # Each is a crop of the padded image, flipped or not.
    padded = torch.nn.functional.pad(image[0], (4, 4, 4, 4))
    crops = {
        flip(padded[:, top : top + 32, left : left + 32]).numpy().tobytes()
        for top in range(9)
        for left in range(9)
        for flip in (torch.clone, lambda crop: crop.flip(-1).contiguous())
    }
    assert {one.contiguous().numpy().tobytes() for one in changed} <= crops
