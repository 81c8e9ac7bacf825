from pathlib import Path

import pytest
import torch

from src.checkpoints import AtomicCheckpointIO


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
