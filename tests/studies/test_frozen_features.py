from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import interpolate

from src.data.digits import Digits
from src.encoders.pretrained import Pretrained
from src.losses.nuclear import NuclearNormLoss
from src.losses.nuclear_discriminant import NuclearDiscriminantLoss
from src.metrics import names
from src.optimizers import adamw_one_cycle
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.sigmoid import SigmoidReadout
from src.studies.frozen_features import (
    FEATURES,
    SETTINGS,
    Split,
    Task,
    extract,
    measure,
    on_validation,
    prepare,
    run,
    train,
)
from src.subspaces.minterms import distinct_minterms
from src.subspaces.queries import make_queries

LITERALS = ("a", "b")
OPTIMIZER = partial(adamw_one_cycle, lr=4e-3, weight_decay=1e-4)
IMAGES = {"train": 200, "val": 60, "test": 60}


def encoder() -> Pretrained:
    torch.manual_seed(0)
    made = Pretrained((3, 32, 32), "resnet18.tv_in1k", None, True, 32, 1, None, False)
    made.network.reset_classifier(0)
    return made.eval()


def gaussians(overlap: float) -> Task:
    """Features around additive means, of the minterms of two literals."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(len(LITERALS), 6, generator=generator)
    splits = {}
    for name, number in (("train", 600), ("val", 300), ("test", 600)):
        labels = torch.rand(number, len(LITERALS), generator=generator) < 0.4
        noise = overlap * torch.randn(number, 6, generator=generator)
        splits[name] = Split(labels.float() @ directions + noise, labels)
    minterms = distinct_minterms(splits["train"].labels)
    return Task(splits, LITERALS, minterms, make_queries(LITERALS, minterms, 2, 1, 0))


def test_features_are_those_of_the_network_and_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = encoder(), Digits(split_seed=0).splits["val"]
    found = extract("digits", images, network, tmp_path)
    pixels = images.images.expand(-1, 3, -1, -1) / 255
    assert network.normalization is not None
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in network.normalization)
    with torch.no_grad():
        scaled = interpolate((pixels - mean) / std, (32, 32), mode="bilinear", antialias=True)
        expected = network.network(scaled)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    # From another network they are others, and from the same one they are read
    other = encoder()
    other.image_size = 40
    assert not torch.equal(extract("digits", images, other, tmp_path), found)
    monkeypatch.setattr(Pretrained, "features", None)
    assert torch.equal(extract("digits", images, network, tmp_path), found)


def test_only_training_features_standardise(tmp_path: Path) -> None:
    task = prepare("digits", Digits(split_seed=0), IMAGES, encoder(), tmp_path)
    assert {name: len(part.labels) for name, part in task.splits.items()} == IMAGES
    features = task.splits["train"].features
    varying = features.std(dim=0) > 0  # some are constant
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(512), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        features.std(dim=0)[varying], torch.ones(int(varying.sum())), rtol=1e-4, atol=0
    )
    assert task.splits["test"].features.mean(dim=0).abs().max() > 1e-3


def test_features_as_they_are_are_asked_through_linear_discriminants() -> None:
    task = gaussians(overlap=0.5)
    found = measure(task, DiscriminantReadout, nn.Identity(), "test")
    classes = {
        name: part.labels.int() @ torch.tensor([2, 1]).int() for name, part in task.splits.items()
    }
    reference = LinearDiscriminantAnalysis().fit(task.splits["train"].features, classes["train"])
    expected = reference.score(task.splits["test"].features, classes["test"])
    assert found[names.MINTERM_ACCURACY] == pytest.approx(expected, abs=0.02)
    assert found[names.MINTERM_ACCURACY] < 0.97  # or nothing would be compared


def test_a_head_learns_what_logistic_regression_does() -> None:
    task = gaussians(overlap=0.5)
    torch.manual_seed(0)
    linear = task.linear_map("literals", 4, is_head=True)
    train(task, "literals", linear, nn.BCEWithLogitsLoss(), OPTIMIZER, 60, 50)
    found = measure(task, SigmoidReadout, linear, "test")
    (features, labels), (others, truths) = task.splits["train"], task.splits["test"]
    right = [
        LogisticRegression().fit(features, labels[:, column]).predict(others)
        == truths[:, column].numpy()
        for column in range(len(LITERALS))
    ]
    expected = float(np.logical_and(*right).mean())
    assert found[names.MINTERM_ACCURACY] == pytest.approx(expected, abs=0.02)


def test_lengths_of_training_are_chosen_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def seen(task: Task, kind: type, linear: nn.Module, split: str) -> dict[str, float]:
        asked.append(split)
        return {names.retrieval_name(names.MAP): len(asked)}

    monkeypatch.setattr("src.studies.frozen_features.measure", seen)
    maps = [nn.Identity(), nn.Identity(), nn.Identity()]
    assert on_validation(gaussians(0.5), SigmoidReadout, maps) == 2
    assert asked == ["val"] * 3


def test_table_has_every_setting_and_the_same_numbers_again(tmp_path: Path) -> None:
    def make(*epochs: int) -> Any:
        return run(
            folder=tmp_path,
            image_sets={"digits": Digits(split_seed=0)},
            images=IMAGES,
            encoder=encoder(),
            cache=str(tmp_path / "cache"),
            embedding_dim=16,
            nuclear=NuclearNormLoss(0.99, 0.05),
            discriminant=lambda labels, dim: NuclearDiscriminantLoss(
                labels, dim, 0.99, 0.02, 0.01, 0.95, 0.01
            ),
            optimizer=OPTIMIZER,
            epochs=epochs,
            batch_size=50,
            seeds=[1, 2],
        )

    table = make(1, 2)
    assert [row["setting"] for row in table.rows] == [FEATURES, *SETTINGS]
    assert [row["n"] for row in table.rows] == ["1", *["2"] * len(SETTINGS)]
    assert (tmp_path / "figure.png").exists()
    # Each setting has the length that is better on validation, whatever the order of lengths
    alone = {number: make(number).rows for number in (1, 2)}
    assert table.rows[0]["epochs"] == ""
    for place, row in enumerate(table.rows[1:], start=1):
        assert row == alone[int(row["epochs"])][place]
