import json
from pathlib import Path

from conftest import run_command


def test_compares_both_forms_and_writes_the_table(tmp_path: Path) -> None:
    result = run_command(
        "benchmark", "sizes=[[60,5,25],[40,20,10]]", "seconds=0.05", f"hydra.run.dir={tmp_path}"
    )
    assert result == (0, "")
    record = json.loads((tmp_path / "loss.json").read_text())
    assert [row["size"] for row in record["rows"]] == ["60, 5, 25", "40, 20, 10"]
    for row in record["rows"]:
        assert row["gram_error"] < 1e-6 < row["svdvals_error"] * 100
        assert row["gram_error"] < row["svdvals_error"]
    assert "60, 5, 25" in (tmp_path / "loss.md").read_text()
    assert record["run/version/torch"]
