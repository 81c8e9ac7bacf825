import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from src.config.groups import CONF_DIR
from src.data.digits import DigitClasses, Digits
from src.subspaces.minterms import distinct_minterms


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(split_seed=0)


def test_splits_hold_every_image_once(digits: Digits) -> None:
    sizes = {name: len(split) for name, split in digits.splits.items()}
    assert sizes == {"train": 1257, "val": 180, "test": 360}
    images = torch.cat([split.images for split in digits.splits.values()]).flatten(1)
    source = torch.from_numpy(load_digits().images).flatten(1)
    levels = (images.double() * 16 / 255).round()
    assert torch.equal(
        torch.unique(levels, dim=0, return_counts=True)[1],
        torch.unique(source, dim=0, return_counts=True)[1],
    )


def test_labels_state_what_is_true_of_a_digit(digits: Digits) -> None:
    arithmetic = {
        "even": lambda digit: digit % 2 == 0,
        "prime": lambda digit: digit in (2, 3, 5, 7),
        "at_least_five": lambda digit: digit >= 5,
        "square": lambda digit: int(digit**0.5) ** 2 == digit,
    }
    source = load_digits()
    digit_of = dict(zip(map(bytes, source.images), source.target, strict=True))
    for split in digits.splits.values():
        levels = (split.images.squeeze(1).double() * 16 / 255).round().numpy()
        for image, labels in zip(levels, split.labels, strict=True):
            digit = int(digit_of[bytes(image)])
            for name, holds in arithmetic.items():
                assert labels[digits.literals.index(name)] == holds(digit)


def test_split_is_stratified_by_minterm(digits: Digits) -> None:
    minterms = distinct_minterms(digits.splits["train"].labels)
    assert len(minterms) == 8
    shares = []
    for split in digits.splits.values():
        index = (split.labels[:, None] == minterms).all(dim=2).double()
        shares.append(index.mean(dim=0))
    torch.testing.assert_close(shares[0], shares[2], atol=0.005, rtol=0)
    torch.testing.assert_close(shares[0], shares[1], atol=0.01, rtol=0)
    again, other = Digits(split_seed=0), Digits(split_seed=1)
    assert torch.equal(again.splits["test"].images, digits.splits["test"].images)
    assert not torch.equal(other.splits["test"].images, digits.splits["test"].images)


def test_normalization_constants_are_those_of_the_training_pixels(digits: Digits) -> None:
    pixels = digits.splits["train"].images.double() / 255
    assert pixels.mean().item() == pytest.approx(digits.mean[0], abs=2e-3)
    assert pixels.std().item() == pytest.approx(digits.std[0], abs=2e-3)


def test_classes_are_the_digits_themselves(digits: Digits) -> None:
    classes = DigitClasses(split_seed=0)
    assert {name: len(split) for name, split in classes.splits.items()} == {
        name: len(split) for name, split in digits.splits.items()
    }
    source = load_digits()
    digit_of = dict(zip(map(bytes, source.images), source.target, strict=True))
    for split in classes.splits.values():
        assert torch.equal(split.labels.sum(dim=1), torch.ones(len(split)))
        levels = (split.images.squeeze(1).double() * 16 / 255).round().numpy()
        found = [int(digit_of[bytes(image)]) for image in levels]
        assert split.labels.int().argmax(dim=1).tolist() == found


def test_the_nearest_image_is_as_accurate_as_any_method() -> None:
    splits = Digits(split_seed=0).splits
    pixels = {name: split.images.flatten(1).numpy() for name, split in splits.items()}
    minterms = {name: split.labels.numpy() @ (16 >> np.arange(5)) for name, split in splits.items()}
    nearest = KNeighborsClassifier(1).fit(pixels["train"].astype(float), minterms["train"])
    found = nearest.score(pixels["test"].astype(float), minterms["test"])
    table = pd.read_csv(CONF_DIR.parent / "results/classification/cpu/table.csv")
    assert found >= table[table["data"] == "digits"]["accuracy"].max() - 1e-9
