import json
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from src.tables.aggregate import Group, Job, describe_runs, find_jobs, group_jobs

ACCURACY, NEGATED = "test/minterm_accuracy", "test/retrieval/map_negated"


def start(folder: Path, overrides: list[str], metrics: dict[str, Any] | None) -> None:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))


def test_jobs_are_found_by_what_they_were_started_with(tmp_path: Path) -> None:
    for number in (10, 2):
        start(tmp_path / str(number), [f"seed={number}", "~callbacks.report=null"], None)
    start(tmp_path / "encoder.model=a" / "b", ["encoder.model=a/b"], {ACCURACY: 0.5})
    (tmp_path / "no_job").mkdir()
    assert [job.folder.name for job in find_jobs(tmp_path)] == ["2", "10"]
    assert find_jobs(tmp_path)[0].overrides == ["seed=2", "~callbacks.report=null"]
    assert find_jobs(tmp_path)[0].results is None
    *_, nested = find_jobs(tmp_path, below="**")
    assert nested == Job(tmp_path / "encoder.model=a" / "b", ["encoder.model=a/b"])
    assert nested.results == {ACCURACY: 0.5}


def test_runs_of_a_setting_are_averaged_and_missing_ones_counted(tmp_path: Path) -> None:
    asked = "test/retrieval_projector/map_negated"
    for number, value in enumerate((0.5, 0.75, None)):
        metrics = {ACCURACY: value, NEGATED: 0.25, asked: 1.0, "run/score": "sum"}
        start(tmp_path / str(number), ["a=1", f"seed={number}"], metrics if value else None)
    jobs = find_jobs(tmp_path)
    done, started, absent = group_jobs(
        [*((("a=1",), job) for job in jobs), (("a=2",), jobs[2]), (("a=3",), None)]
    )
    assert (done.setting, len(done.runs), done.unfinished) == (("a=1",), 2, 1)
    for group in (started, absent):
        assert (group.runs, group.unfinished) == ([], 1)
        assert group.rows([ACCURACY], by_score=True) == [{"n": "0"}]
    (row,) = done.rows([ACCURACY, "test/none"], by_score=False)
    assert row == {
        "n": "2",
        ACCURACY: pytest.approx((0.625, stdev([0.5, 0.75]))),
        "test/none": "",
    }
    by_score = done.rows([ACCURACY, NEGATED], by_score=True)
    assert [row["score"] for row in by_score] == ["sum", "projector"]
    assert [row[NEGATED].mean for row in by_score] == [0.25, 1]
    assert [row[ACCURACY].mean for row in by_score] == [0.625, 0.625]


def test_rows_are_marked_whose_figures_were_calibrated_on_the_test_split() -> None:
    common = {"run/data": "Mnist", "run/test_images": 9, "run/protocol": "authors", "run/seed": 1}
    run = common | {"run/epochs": 1, "run/score": "sum", ACCURACY: 0.5, "test/retrieval/map": 1.0}
    discriminants = "test/discriminant/map_negated"
    for split, marked in (("test", True), ("validation", False)):
        found = run | {"run/calibrated_on": split}
        group = Group((), [found], 0)
        assert group.is_marked([ACCURACY, discriminants]) == marked
        assert not group.is_marked([ACCURACY, NEGATED])
        assert ("† Calibrated on the test images" in describe_runs([found], "")) == marked
        asked = Group((), [found | {"run/score": "calibrated"}], 0)
        assert asked.is_marked([NEGATED]) == marked
    assert not Group((), [run], 0).is_marked([discriminants])  # of a run that does not say
