import json
import math
from pathlib import Path
from typing import Any

import pytest

from src.reports import results
from src.reports.results import (
    CHECKPOINT,
    METRICS,
    make_record,
    print_results,
    read_results,
    write_results,
)


def test_record_is_valid_json_with_null_for_nan_and_its_provenance() -> None:
    metrics = {"test/map": float("nan"), "test/accuracy": 0.5}
    record = json.loads(json.dumps(make_record(metrics, {"run/seed": 3}), allow_nan=False))
    assert record["test/map"] is None
    assert record["test/accuracy"] == 0.5
    assert record["run/seed"] == 3
    assert record["run/version/torch"].startswith("2.")


def test_metrics_are_written_after_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write_page(folder: Path, *_: Any) -> None:
        assert folder == tmp_path / "report"
        written.append(sorted(path.name for path in tmp_path.iterdir()))

    monkeypatch.setattr(results, "write_run_page", write_page)
    write_results(tmp_path, {}, {"test/map": 0.5}, {"run/seed": 3}, [])
    assert written == [[]]
    assert [path.name for path in tmp_path.iterdir()] == [METRICS]
    found = read_results(tmp_path)
    assert found == make_record({"test/map": 0.5}, {"run/seed": 3})


@pytest.mark.parametrize(
    "content",
    [b"", b'{"test/map": 0.', b"[0.5]", b"\xff\xfe", f'{{"{CHECKPOINT}": "last.ckpt"}}'.encode()],
    ids=["empty", "cut off", "list", "no text", "of an evaluation"],
)
def test_other_content_is_of_no_finished_run(content: bytes, tmp_path: Path) -> None:
    assert read_results(tmp_path) is None
    (tmp_path / METRICS).write_bytes(content)
    assert read_results(tmp_path) is None


def test_a_metric_without_a_value_is_said_and_not_nan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_results({"test/retrieval/map_negated": math.nan}, "test", tmp_path)
    said = capsys.readouterr().out
    assert "mAP negated  none  too few answers to measure it" in said
    assert "nan" not in said
