"""The workspace in code, held against what a run really logs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, wandb_history, wandb_summary

from src.dashboard import build

ROOT = Path(__file__).parent.parent


def spec(group: str | None = None) -> dict[str, Any]:
    """What W&B would be sent."""
    view = build("someone", "project", "view", group)._to_model()
    return json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))["section"]


def panels() -> list[dict[str, Any]]:
    return [panel for part in spec()["panelBankConfig"]["sections"] for panel in part["panels"]]


def named(value: Any) -> Iterator[str]:
    """Everything in a panel that reads like the name of a metric."""
    if isinstance(value, dict):
        for part in value.values():
            yield from named(part)
    elif isinstance(value, list):
        for part in value:
            yield from named(part)
    elif isinstance(value, str) and (value == "epoch" or "/" in value):
        yield value


def test_panels_show_what_a_run_logs(trained_run: Run) -> None:
    history = wandb_history(trained_run.folder)
    logged = {key.partition(".")[0] for row in history for key in row}
    shown = [name for panel in panels() for name in named(panel)]
    assert set(shown) <= logged
    assert len(set(shown)) > 50
    assert {"test/retrieval_table", "report/retrieval", "train/spectral/s_10"} <= set(shown)
    for panel in panels():
        assert list(named(panel)), panel


def test_lines_have_the_axis_that_their_metrics_are_logged_with(trained_run: Run) -> None:
    history = wandb_history(trained_run.folder)
    lines = [panel["config"] for panel in panels() if "Line Plot" in panel["viewType"]]
    assert len(lines) > 15
    for line in lines:
        for name in line["metrics"]:
            rows = [row for row in history if any(key.partition(".")[0] == name for key in row)]
            assert line["xAxis"] == ("epoch" if len(rows) == 12 else "trainer/global_step"), name
            assert len({row[line["xAxis"]] for row in rows}) == len(rows)


def test_columns_are_in_the_summary(trained_run: Run) -> None:
    summary = wandb_summary(trained_run.folder)
    (runs,) = spec()["runSets"]
    columns = [name.partition(":")[2] for name in runs["runFeed"]["columnOrder"]]
    for column in columns[3:]:
        name, _, part = column.partition(".")
        assert isinstance(summary[name][part] if part else summary[name], float), column


@pytest.mark.parametrize("group", ["table_1", 'a "quoted" group'])
def test_a_table_is_a_filter(group: str) -> None:
    (runs,) = spec(group)["runSets"]
    (condition,) = runs["filters"]["filters"]
    assert condition["key"] == {"section": "run", "name": "group"}
    assert (condition["op"], condition["value"]) == ("=", group)
    assert not spec()["runSets"][0]["filters"]["filters"]


def test_without_a_key_one_line_says_so_and_nothing_is_written(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if "WANDB" not in key}
    result = subprocess.run(
        [sys.executable, "-m", "src.dashboard", "entity=someone"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "NETRC": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: there is no W&B key: run `wandb login`")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
