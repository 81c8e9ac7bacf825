import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import UNDRAWN, Run, run_command, train
from torchvision.models import resnet18

from src.runs.load import load_checkpoint

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_same_numbers_as_at_the_end_of_training(
    checkpoint: str, trained_run: Run, tmp_path: Path
) -> None:
    path = trained_run.folder / "checkpoints" / f"{checkpoint}.ckpt"
    result = run_command("evaluate", f"ckpt_path={path}", f"hydra.run.dir={tmp_path / 'out'}")
    assert result == (0, "")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    tested = {key: value for key, value in metrics.items() if key.startswith("test/")}
    if checkpoint == "last":
        expected = trained_run.metrics
        assert tested == {key: expected[key] for key in expected if key.startswith("test/")}
    assert metrics["test/minterm_accuracy"] > 0.9
    assert metrics["run/checkpoint"] == str(path)
    assert (tmp_path / "out" / "report" / "retrieval.png").exists()


def test_readouts_beside_are_in_the_checkpoint(bce_run: Run, tmp_path: Path) -> None:
    checkpoint = f"ckpt_path={bce_run.checkpoint}"
    assert run_command("evaluate", checkpoint, f"hydra.run.dir={tmp_path}") == (0, "")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    tested = {key: value for key, value in bce_run.metrics.items() if key.startswith("test/")}
    assert {key: metrics[key] for key in tested} == tested
    assert tested["test/subspaces/map_negated"] > 0.8
    assert tested["test/discriminant/map_negated"] > 0.8


def test_two_processes_give_the_numbers_of_one(trained_run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.evaluate", f"ckpt_path={trained_run.checkpoint}"]
    command += ["trainer.devices=2", "trainer.strategy=ddp", f"hydra.run.dir={tmp_path / 'out'}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for key, value in trained_run.metrics.items():
        if key.startswith("test/"):
            assert metrics[key] == pytest.approx(value, rel=1e-5, abs=1e-6), key


def test_pretrained_weights_are_in_the_checkpoint(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), "weights.pth")
    encoder = ["encoder=imagenet_resnet18", "encoder.weights=weights.pth", "encoder.image_size=32"]
    fast = ["logger=none", "debug=fast", "test=false", "module.max_query_depth=1", UNDRAWN]
    run = train(tmp_path / "run", *fast, *encoder)
    Path("weights.pth").unlink()
    out = tmp_path / "out"
    assert run_command("evaluate", f"ckpt_path={run.checkpoint}", f"hydra.run.dir={out}") == (0, "")
    loaded = load_checkpoint(str(run.checkpoint), None)[2].state_dict()
    saved = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_data_can_have_moved(tmp_path: Path) -> None:
    settings = ["dataset=faces", "dataset.number=200", "loader.batch_size=16", "debug=fast"]
    run = train(tmp_path / "run", "logger=none", UNDRAWN, "data_dir=here", *settings)
    Path("here").rename("there")
    moved = [f"ckpt_path={run.checkpoint}", f"hydra.run.dir={tmp_path / 'out'}"]
    assert run_command("evaluate", *moved, "data_dir=there") == (0, "")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert not Path("here").exists()
    assert metrics["test/retrieval/map"] == run.metrics["test/retrieval/map"]
    assert metrics["run/protocol"] == "clean"
