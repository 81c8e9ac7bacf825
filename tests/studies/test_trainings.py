"""Models of studies are those that the command trains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import UNDRAWN
from conftest import train as train_by_command
from hydra import initialize_config_dir

from src.config.groups import CONF_DIR
from src.data.digits import Digits
from src.data.relabelled import RelabelledSet, without
from src.runs.load import load_checkpoint
from src.studies.trainings import Trained, compose_run, train

TWO_EPOCHS = ("trainer.max_epochs=2", "seed=3")
UNVALIDATED = "trainer.limit_val_batches=0"
DIGITS = Digits(split_seed=0)


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    """As within a command."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.module.encoder.state_dict()


@pytest.mark.parametrize("method", ["nuclear_discriminant", "two_views"])
def test_weights_are_those_of_the_command_bit_for_bit(method: str, tmp_path: Path) -> None:
    overrides = (*TWO_EPOCHS, f"method={method}")
    trained = train(compose_run([*overrides, UNVALIDATED]), DIGITS, tmp_path)
    run = train_by_command(tmp_path / "run", *overrides, "logger=none", UNDRAWN)
    expected = load_checkpoint(str(run.checkpoint), None)[2].encoder.state_dict()
    assert weights(trained).keys() == expected.keys()
    for name, values in weights(trained).items():
        assert torch.equal(values, expected[name])
    assert not list(tmp_path.rglob("*.ckpt.partial"))


def test_splits_are_embedded_by_two_layers(tmp_path: Path) -> None:
    trained = train(compose_run([*TWO_EPOCHS, UNVALIDATED]), DIGITS, tmp_path)
    images = DIGITS.splits["test"].images
    encoder: Any = trained.module.encoder
    assert not encoder.training
    found = trained.embed("test")
    with torch.no_grad():
        assert torch.allclose(found.embeddings, trained.module(images), atol=1e-6)
        pixels = trained.module.normalize(images)
        features = encoder.layers[:-1](pixels)
    assert found.features.shape == (360, 128)
    assert torch.allclose(found.features, features, atol=1e-5)


def test_without_an_epoch_the_encoder_stays_as_it_was(tmp_path: Path) -> None:
    untrained = train(compose_run(["trainer.max_epochs=0", "seed=3"]), DIGITS, tmp_path)
    again = train(compose_run(["trainer.max_epochs=0", "seed=3"]), DIGITS, tmp_path)
    other = train(compose_run(["trainer.max_epochs=0", "seed=4"]), DIGITS, tmp_path)
    assert torch.equal(untrained.embed("val").embeddings, again.embed("val").embeddings)
    assert not torch.equal(untrained.embed("val").embeddings, other.embed("val").embeddings)


def test_a_hidden_literal_says_nothing_to_training(tmp_path: Path) -> None:
    def forget(labels: torch.Tensor) -> torch.Tensor:
        changed = labels.clone()
        changed[:, 1] = torch.rand(len(labels), generator=torch.Generator().manual_seed(0)) < 0.5
        return changed

    spoilt = RelabelledSet(DIGITS, DIGITS.literals, forget)
    config = compose_run([*TWO_EPOCHS, UNVALIDATED])
    first = train(config, without(DIGITS, "prime"), tmp_path)
    second = train(config, without(spoilt, "prime"), tmp_path)
    seen = train(config, spoilt, tmp_path)
    assert first.module.literals == ("even", "at_least_five", "has_loop", "square")
    embedded = [trained.embed("test").embeddings for trained in (first, second, seen)]
    assert torch.equal(embedded[0], embedded[1])
    assert not torch.equal(embedded[0], embedded[2])
