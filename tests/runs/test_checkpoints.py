from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run
from omegaconf import OmegaConf

from src.runs.checkpoints import AtomicCheckpointIO, CheckpointError
from src.runs.resume import check_resumable


def test_writes_the_checkpoint_and_nothing_beside_it(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint({"value": torch.ones(3)}, tmp_path / "last.ckpt")
    assert torch.equal(torch.load(tmp_path / "last.ckpt")["value"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_failed_write_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"value": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"value": lambda: None}, path)
    assert torch.load(path)["value"] == 1


@pytest.mark.parametrize("moved", ["dataset.root", "output_dir", "trainer.log_every_n_steps"])
@pytest.mark.parametrize("max_epochs", [12, -1, None])
def test_run_can_be_resumed_when_only_places_changed(
    moved: str, max_epochs: int | None, trained_run: Run
) -> None:
    checkpoint = torch.load(trained_run.checkpoint, weights_only=True)
    checkpoint["epoch"] = 5  # as if it had been killed
    checkpoint["config"]["trainer"]["max_epochs"] = max_epochs
    config = OmegaConf.create(checkpoint["config"])
    OmegaConf.update(config, moved, "elsewhere", force_add=True)
    plain: Any = OmegaConf.to_container(config)
    check_resumable("killed.ckpt", checkpoint, plain)
    plain["trainer"]["max_steps"] = 100
    with pytest.raises(CheckpointError, match=r"trainer\.max_steps=-1 \(not 100\)"):
        check_resumable("killed.ckpt", checkpoint, plain)
