from pathlib import Path

import pytest
from conftest import UNDRAWN, train

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
