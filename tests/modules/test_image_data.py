from typing import Any

import pytest
import torch

from src.data.corruption import draw_unseen
from src.data.digits import Digits
from src.modules.image_data import ImageDataModule

DIGITS = Digits(split_seed=0)


def serve(**settings: Any) -> ImageDataModule:
    plain: dict[str, Any] = {
        "batch_size": 100,
        "minterms_per_batch": None,
        "repeat_images": False,
        "fit_images": None,
        "flipped": 0.0,
        "masked": 0.0,
        "unseen": 0.0,
        "workers": 0,
        "on_device": False,
        "seed": 0,
    }
    return ImageDataModule(DIGITS, **(plain | settings))


@pytest.mark.parametrize("settings", [{}, {"workers": 2}, {"on_device": True}])
def test_loaders_cut_whole_batches(settings: dict[str, Any]) -> None:
    batches = list(serve(**settings).train_dataloader())
    assert len(batches) == 1257 // 100
    train = DIGITS.splits["train"]
    for batch in batches:
        assert batch.images.shape == (100, 1, 8, 8)
        assert torch.equal(batch.labels, train.labels[batch.indices])
        assert torch.equal(batch.images, train.images[batch.indices])


def test_fit_and_validation_loaders_see_every_image_once_in_order() -> None:
    for loader, split in zip(serve().val_dataloader(), ("train", "val"), strict=True):
        indices = torch.cat([batch.indices for batch in loader])
        assert indices.tolist() == list(range(len(DIGITS.splits[split])))


def test_minterms_are_counted() -> None:
    data = serve(masked=0.5)
    labels = data.splits["train"].labels.bool()
    expected = [int((labels == minterm).all(dim=1).sum()) for minterm in data.minterms]
    assert data.minterm_counts.tolist() == expected
    assert sum(expected) == len(labels)


def test_subspaces_can_be_fitted_on_the_last_images_of_each_minterm() -> None:
    fit = list(serve(fit_images=30).val_dataloader()[0])
    labels = torch.cat([batch.labels for batch in fit])
    images = torch.cat([batch.images for batch in fit])
    train = DIGITS.splits["train"]
    for minterm in train.labels.unique(dim=0):
        members = (train.labels == minterm).all(dim=1)
        chosen = (labels == minterm).all(dim=1)
        assert torch.equal(images[chosen], train.images[members][-30:])


def test_minterm_batches_reach_the_loader() -> None:
    for batch in serve(batch_size=125, minterms_per_batch=5).train_dataloader():
        assert sorted(batch.labels.unique(dim=0, return_counts=True)[1].tolist()) == [25] * 5


def test_unknown_split_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="train, val, test"):
        serve().split_dataloader("dev")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"fit_images": 0}, "fit_images must be at least 1"),
        ({"on_device": True, "workers": 1}, "set loader.workers=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        serve(**settings)


def test_wrong_labels_are_those_of_training_alone() -> None:
    data = serve(flipped=0.4)
    batch = next(iter(data.split_dataloader("train")))
    true = DIGITS.splits["train"].labels[batch.indices]
    changed = (batch.labels != true).any(dim=1).double().mean()
    assert 0.2 < changed < 0.4
    for split in ("val", "test"):
        assert data.splits[split] is DIGITS.splits[split]
    other = serve(flipped=0.4, seed=1).splits["train"].labels
    assert not torch.equal(other, data.splits["train"].labels)
    assert torch.equal(serve(flipped=0.4).splits["train"].labels, data.splits["train"].labels)


def test_minterms_are_those_of_the_labels_that_training_sees() -> None:
    assert not (serve().minterms == 0).all(dim=1).any()
    assert (serve(masked=0.5).minterms == 0).all(dim=1).any()


def test_unknown_labels_are_those_of_training_and_travel_with_its_images() -> None:
    data = serve(masked=0.4)
    true = DIGITS.splits["train"].labels
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()[0]))):
        assert batch.unknown is not None
        assert 0.3 < batch.unknown.double().mean() < 0.5
        assert torch.equal(batch.labels, true[batch.indices] & ~batch.unknown)
    assert all(batch.unknown is None for batch in data.val_dataloader()[1])
    assert all(batch.unknown is None for batch in data.test_dataloader())
    assert all(batch.unknown is None for batch in serve().train_dataloader())
    fewer = serve(masked=0.4, fit_images=5).val_dataloader()[0]
    assert all(not (batch.labels & batch.unknown).any() for batch in fewer)


def test_labels_that_are_unknown_twice_stay_so() -> None:
    train = DIGITS.splits["train"]
    first, second = (torch.rand(2, *train.labels.shape) < 0.3).unbind()
    both = train.without(first).without(second).select(torch.arange(100)).to(torch.device("cpu"))
    assert both.unknown is not None
    assert torch.equal(both.unknown, (first | second)[:100])
    assert torch.equal(both.labels, (train.labels & ~first & ~second)[:100])


def test_minterms_that_training_leaves_out_are_in_the_test_alone() -> None:
    data = serve(unseen=0.4)
    seen = {tuple(row) for row in data.minterms.tolist()}
    assert len(seen) == 8 - 3
    for name in ("train", "val"):
        whole = DIGITS.splits[name]
        chosen = [place for place, row in enumerate(whole.labels.tolist()) if tuple(row) in seen]
        assert torch.equal(data.splits[name].images, whole.images[chosen])
        assert torch.equal(data.splits[name].labels, whole.labels[chosen])
        assert {tuple(row) for row in data.splits[name].labels.tolist()} == seen
    assert data.splits["test"] is DIGITS.splits["test"]
    assert torch.equal(serve(unseen=0.4, seed=1).minterms, data.minterms)
    fit, val = data.val_dataloader()
    assert sum(len(batch.labels) for batch in fit) == len(data.splits["train"])
    assert sum(len(batch.labels) for batch in val) == len(data.splits["val"])


def test_labels_are_wrong_among_the_minterms_that_are_left() -> None:
    data = serve(unseen=0.4, flipped=0.5)
    assert torch.equal(data.minterms, serve(unseen=0.4).minterms)
    assert not torch.equal(data.splits["train"].labels, serve(unseen=0.4).splits["train"].labels)


def test_validation_that_loses_all_its_images_is_refused() -> None:
    train, val, test = (DIGITS.splits[name] for name in ("train", "val", "test"))
    (left_out,) = draw_unseen(train.labels, 0.125)
    of_one_minterm = val.select((val.labels == left_out).all(dim=1).nonzero().flatten())
    data = serve(unseen=0.125)
    data.image_set = Digits(split_seed=0)
    data.image_set.splits = {"train": train, "val": of_one_minterm, "test": test}
    with pytest.raises(ValueError, match=r"loader\.unseen=0\.125 leaves no image to val \(train"):
        assert data.splits
