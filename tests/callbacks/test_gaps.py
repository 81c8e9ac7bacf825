from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import UNDRAWN, train
from torch import Tensor

from src.callbacks.spectra import Spectra
from src.losses.nuclear import NuclearNormLoss
from src.subspaces.closed_form import optimal_loss

NARROW = ("readout=discriminant", "module.label_coding=minterms")
KINDS = ("optimality", "relative")
ONE_EPOCH = ("method=nuclear", "trainer.max_epochs=1", "logger=none", UNDRAWN)


@pytest.mark.parametrize(
    ("overrides", "known"),
    [
        ([], True),
        (["encoder.radius=1", "encoder.batch_norm=true"], True),
        (["encoder.radius=1"], False),
        (
            ["readout=discriminant", "module.label_coding=minterms", "encoder.embedding_dim=4"],
            False,
        ),
    ],
)
def test_gaps_are_logged_where_the_optimum_is_within_reach(
    overrides: list[str], known: bool, tmp_path: Path
) -> None:
    metrics = train(tmp_path / "run", *ONE_EPOCH, *overrides).metrics
    gaps = {f"{split}/spectral/{name}_gap" for split in ("train", "val", "test") for name in KINDS}
    assert (gaps | {"train/batch/optimality_gap"} <= metrics.keys()) == known
    assert any("gap" in key or "optimum" in key for key in metrics) == known
    assert metrics["test/spectral/loss"] > 0
    assert metrics["train/batch/label_rank"] == 8


CAPTIONS = ("method=nuclear_captions", "trainer.max_epochs=1", "logger=none", UNDRAWN)


def test_the_gap_of_a_batch_is_that_of_the_captions_that_its_loss_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, float]] = []
    logged: list[float] = []
    forward, log = NuclearNormLoss.forward, Spectra.on_train_batch_end

    def recorded(loss: NuclearNormLoss, embeddings: Tensor, labels: Tensor) -> Tensor:
        value = forward(loss, embeddings, labels)
        seen.append((labels.detach(), float(value.detach())))
        return value

    def compared(callback: Spectra, trainer: pl.Trainer, *arguments: Any) -> None:
        log(callback, trainer, *arguments)
        if trainer.is_last_batch:
            logged.append(float(trainer.callback_metrics["train/batch/optimality_gap"]))

    monkeypatch.setattr(NuclearNormLoss, "forward", recorded)
    monkeypatch.setattr(Spectra, "on_train_batch_end", compared)
    metrics = train(tmp_path / "run", *CAPTIONS).metrics
    labels, value = seen[-1]
    singular = torch.linalg.svdvals(labels.double()).diag()
    assert logged == [pytest.approx(value - optimal_loss(singular, 0.99, 0.05), rel=1e-4)]
    assert metrics["train/batch/label_rank"] == torch.linalg.matrix_rank(labels.double())
