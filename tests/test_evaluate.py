import json
from pathlib import Path

import pytest
from conftest import Run, run_command


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
