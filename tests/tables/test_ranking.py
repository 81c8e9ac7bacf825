import re
from typing import Any

import pytest
from rich.console import Console

from src.tables.aggregate import Group
from src.tables.ranking import BEST, for_terminal, ranked_table

MAP, GAP, ACCURACY = "val/retrieval/map", "val/spectral/relative_gap", "test/minterm_accuracy"


def group(setting: str, values: list[float], unfinished: int = 0) -> Group:
    runs: list[dict[str, Any]] = [{MAP: value, GAP: value, ACCURACY: 1 - value} for value in values]
    return Group(tuple(setting.split()), runs, unfinished)


GROUPS = [
    group("loss.alpha=0.1 +loss.beta=1", [0.4, 0.6]),
    group("loss.alpha=0.2", [], 2),
    group("loss.alpha=0.3", [0.9], 1),
    group("~callbacks.report", [0.1]),
]


@pytest.mark.parametrize(("metric", "order"), [(MAP, "0.3 0.1 "), (GAP, " 0.1 0.3")])
def test_settings_are_ranked_and_the_best_marked(metric: str, order: str) -> None:
    table = ranked_table(GROUPS, metric)
    assert list(table.columns)[:5] == ["loss.alpha", "loss.beta", "~callbacks.report", "n", metric]
    assert len(table.columns) == 3 + 1 + 5 + 1
    shown = [row.get("loss.alpha", "") for row in table.rows]
    assert shown == [*order.split(" "), "0.2"]
    assert [row.get(BEST) for row in table.rows] == ["*", None, None, None]
    by_alpha = {row.get("loss.alpha"): row for row in table.rows}
    assert by_alpha["0.1"][ACCURACY].mean == pytest.approx(0.5)
    assert [by_alpha[alpha]["n"] for alpha in ("0.1", "0.2", "0.3")] == ["2", "0 of 2", "1 of 2"]


def test_a_single_setting_is_no_best_one() -> None:
    (row,) = ranked_table(GROUPS[:1], MAP).rows
    assert BEST not in row


def test_terminal_shows_every_setting() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(for_terminal(ranked_table(GROUPS[:3], MAP)))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    settings = [line for line in lines if re.match(r" 0\.\d", line)]
    assert [line.split()[0] for line in settings] == ["0.3", "0.1", "0.2"]
    assert settings[0].endswith("*")
    assert "0.5000" in settings[1]
    assert "± 0.1414" in lines[lines.index(settings[1]) + 1]
