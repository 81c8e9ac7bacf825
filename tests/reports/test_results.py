import json
from pathlib import Path

from src.reports.results import write_metrics


def test_record_is_valid_json_with_null_for_nan_and_its_provenance(tmp_path: Path) -> None:
    write_metrics(tmp_path, {"test/map": float("nan"), "test/accuracy": 0.5}, {"run/seed": 3})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert record["test/map"] is None
    assert record["test/accuracy"] == 0.5
    assert record["run/seed"] == 3
    assert record["run/version/torch"].startswith("2.")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
