"""Tables of experiments/: every file, and one made, interrupted and made again."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from conftest import CommandResult, run_command
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from src.config.groups import CONF_DIR
from src.reports.tables import ResultTable
from src.tables.experiments import (
    EXPERIMENTS,
    Sweep,
    load_experiment,
    sweeps_of,
    table_names,
    tabulate,
)

ROOT = CONF_DIR.parent
TABLES = [(name, scale) for name in table_names() for scale in ("cpu", "paper")]


def in_folder(folder: Path, *arguments: str) -> list[str]:
    return [f"runs_dir={folder / 'runs'}", f"results_dir={folder / 'results'}", *arguments]


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "results" / name / "smoke" / "table.csv").open() as file:
        return list(csv.DictReader(file))


def metrics_of(folder: Path, name: str) -> dict[Path, dict[str, Any]]:
    found = (folder / "runs" / name).rglob("metrics.json")
    return {path: json.loads(path.read_text()) for path in found}


@pytest.mark.parametrize(("name", "scale"), TABLES)
def test_what_every_table_runs_composes(name: str, scale: str, tmp_path: Path) -> None:
    experiment = load_experiment(name, scale, {})
    if "study" in experiment:
        assert str(experiment.study["_target_"]).startswith("src.studies.")
        return
    sweeps = sweeps_of(experiment, tmp_path, name)
    assert sweeps
    jobs = [(sweep.folder, *sorted(job)) for sweep in sweeps for job in sweep.jobs]
    assert len(set(jobs)) == len(jobs)
    parse = OverridesParser.create().parse_overrides
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        for sweep in sweeps:
            overrides = parse(sweep.overrides)
            single = [str(item.input_line) for item in overrides if not item.is_sweep_override()]
            swept = {
                str(item.input_line).partition("=")[0]: list(item.sweep_string_iterator())
                for item in overrides
                if item.is_sweep_override()
            }
            first = [f"{key}={values[0]}" for key, values in swept.items()]
            assert compose("train", [*single, *first]).seed in experiment.seeds
            for key, values in swept.items():
                group = CONF_DIR / key.lstrip("+")
                if group.is_dir():
                    assert all((group / f"{value}.yaml").exists() for value in values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attributes and retrieval at scale smoke, which share their runs."""
    folder = tmp_path_factory.mktemp("made")
    for table in ("attributes", "retrieval"):
        assert run_command("reproduce", *in_folder(folder, f"table={table}")) == (0, "")
    return folder


def test_table_holds_the_means_of_its_runs(made: Path) -> None:
    runs = metrics_of(made, "attributes")
    assert len(runs) == 4
    rows = {row["setting"]: row for row in read_table(made, "attributes")}
    for path, metrics in runs.items():
        label = {
            "nuclear_discriminant": "nuclear norm and discriminants",
            "nuclear": "nuclear norm of minterms",
            "bce": "binary cross-entropy",
            "cross_entropy": "cross-entropy over minterms",
        }[path.parent.name.removeprefix("method=").removesuffix(",seed=1")]
        for key, heading in (
            ("test/minterm_accuracy", "minterm accuracy"),
            ("test/retrieval/map_negated", "mAP negated"),
        ):
            assert float(rows[label][heading]) == pytest.approx(metrics[key])
    folder = made / "results" / "attributes" / "smoke"
    assert "seeds 1; epochs 1." in (folder / "table.md").read_text()
    assert r"\begin{tabular}" in (folder / "table.tex").read_text()
    with Image.open(folder / "figure.png") as image:
        assert image.width > 300


def test_table_by_score_shares_the_runs_of_the_other(made: Path) -> None:
    assert not metrics_of(made, "retrieval")
    rows = read_table(made, "retrieval")
    assert "minterm accuracy" not in rows[0]
    (path,) = (made / "runs").rglob("method=nuclear,seed=1/metrics.json")
    metrics = json.loads(path.read_text())
    shown = {row["score"]: row for row in rows if row["setting"] == "nuclear norm of minterms"}
    assert float(shown["sum"]["mAP depth 3"]) == pytest.approx(
        metrics["test/retrieval/map_depth_3"]
    )
    expected = metrics["test/retrieval_calibrated/map_depth_3"]
    assert float(shown["calibrated"]["mAP depth 3"]) == pytest.approx(expected)


def test_finished_runs_are_not_repeated_and_missing_ones_are(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in metrics_of(made, "attributes")}
    table = read_table(made, "attributes")
    lost = next(path for path in before if "bce" in str(path))
    lost.unlink()
    assert run_command("reproduce", *in_folder(made, "table=attributes", "--dry-run")) == (0, "")
    assert "4 runs, 3 finished: python -m src.train -m " in capsys.readouterr().out
    assert not lost.exists()
    assert run_command("reproduce", *in_folder(made, "table=attributes")) == (0, "")
    assert "1 of 4 runs to go" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in metrics_of(made, "attributes")}
    assert [path for path in after if after[path] != before[path]] == [lost]
    assert read_table(made, "attributes") == table


def test_runs_of_other_settings_are_not_taken_for_finished(made: Path) -> None:
    path = next(iter(metrics_of(made, "attributes")))
    result = run_command(
        "train",
        f"hydra.run.dir={path.parent}",
        "logger=none",
        "trainer.max_epochs=2",
        "ckpt_path=auto",
    )
    assert result.status == 1
    assert "has the results of another run, with" in result.message
    assert "trainer.max_epochs=1 (not 2)" in result.message


def small_study(folder: Path, seed: int) -> ResultTable:
    """A study that takes no time."""
    Image.new("L", (8, 8), seed).save(folder / "figure.png")
    return ResultTable({"seed": "seed"}, [{"seed": float(seed)}], "One number.")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandResult]:
    """Makes the table of `small_study`, and again."""
    (tmp_path / "experiments").mkdir()
    lines = [
        "title: Small.",
        "caption: A square.",
        "study: {_target_: test_reproduce.small_study, _partial_: true, seed: 0}",
        "scales: {smoke: {}}",
    ]
    (tmp_path / "experiments" / "small.yaml").write_text("\n".join(lines))
    (tmp_path / "experiments" / "reference_numbers.yaml").write_text("{}")
    monkeypatch.setattr("src.tables.experiments.EXPERIMENTS", tmp_path / "experiments")

    def make(*arguments: str) -> CommandResult:
        return run_command("reproduce", *in_folder(tmp_path, "table=small", *arguments))

    assert make() == (0, "")
    return make


@pytest.mark.parametrize(
    "change",
    [
        lambda record: "",
        lambda record: record[: len(record) // 2],
        lambda record: "[]",
        lambda record: "{}",
        lambda record: record.replace('"seed": 0', '"seed": 1'),
        None,
    ],
    ids=["empty", "cut off", "list", "of nothing", "of other settings", "missing"],
)
def test_a_study_is_finished_by_its_whole_table(
    change: Callable[[str], str] | None,
    study: Callable[..., CommandResult],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "runs" / "small" / "smoke" / "table" / "table.json"
    record, table = path.read_text(), read_table(tmp_path, "small")
    assert study() == (0, "")
    assert "small: finished already" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "results")
    if change is None:
        path.unlink()
    else:
        path.write_text(change(record))
    assert study() == (0, "")
    assert "finished already" not in capsys.readouterr().out
    assert path.read_text() == record
    assert read_table(tmp_path, "small") == table


FILES_OF_A_TABLE = ["figure.png", "index.html", *(f"table.{it}" for it in ("md", "tex", "csv"))]


@pytest.mark.parametrize("blocked", FILES_OF_A_TABLE)
def test_a_study_that_does_not_end_is_not_finished_and_not_published(
    blocked: str, study: Callable[..., CommandResult], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "small" / "smoke" / "table"
    shutil.rmtree(tmp_path / "results")
    (folder / blocked).unlink()
    (folder / blocked).mkdir()
    failed = study("+study.seed=1")
    assert failed.status == 1
    assert blocked in failed.message
    assert not (folder / "table.json").exists()
    assert not (tmp_path / "results").exists()
    (folder / blocked).rmdir()
    assert study() == (0, "")
    assert read_table(tmp_path, "small") == [{"seed": "0.0"}]


def test_failing_cell_is_reported_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "title: Broken.",
        "caption: One of two.",
        "columns: {test/minterm_accuracy: accuracy}",
        "sweeps: {digits: ['loss.alpha=2,0.99']}",
        "overrides: [trainer.max_epochs=1, logger=none, ~callbacks.report]",
        "seeds: [1]",
        "scales: {smoke: {}}",
    ]
    (tmp_path / "broken.yaml").write_text("\n".join(lines))
    (tmp_path / "reference_numbers.yaml").write_text("{}")
    monkeypatch.setattr("src.tables.experiments.EXPERIMENTS", tmp_path)
    result = run_command("reproduce", *in_folder(tmp_path, "table=all"))
    assert result.status == 1
    assert "broken: digits: loss: alpha must be a number between 0 and 1" in result.message
    rows = {row["setting"]: row for row in read_table(tmp_path, "broken")}
    assert rows["loss.alpha=2"]["n"] == "0"
    assert 0.5 < float(rows["loss.alpha=0.99"]["accuracy"]) < 1
    conditions = (tmp_path / "results" / "broken" / "smoke" / "table.md").read_text()
    assert "1 runs are not finished." in conditions


def test_a_run_with_other_overrides_is_no_run_of_the_sweep(tmp_path: Path) -> None:
    overrides = ["loss.alpha=0.5,0.9", "trainer.max_epochs=2", "~callbacks.report", "seed=1"]
    sweep = Sweep("digits", overrides, tmp_path, "made")
    assert sweep.jobs[1] == (
        *("loss.alpha=0.9", "trainer.max_epochs=2", "~callbacks.report=null", "seed=1"),
    )
    started = {
        "other": ["loss.alpha=0.5", "trainer.max_epochs=1", "~callbacks.report=null", "seed=1"],
        "same": [*sweep.jobs[1], "ckpt_path=auto"],
    }
    for name, given in started.items():
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra" / "overrides.yaml").write_text(json.dumps(given))
        (tmp_path / name / "metrics.json").write_text(json.dumps({"run": name}))
    assert sweep.groups == [
        (("loss.alpha=0.5",), [], 1),
        (("loss.alpha=0.9",), [{"run": "same"}], 0),
    ]
    assert sweep.unfinished == 1


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    experiment = load_experiment("classification", "cpu", {})
    sweeps = sweeps_of(experiment, tmp_path, "classification")
    for sweep in sweeps:
        for number, job in enumerate(sweep.jobs):
            folder = sweep.folder / str(number)
            (folder / ".hydra").mkdir(parents=True)
            (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(["x=1", *job]))
            numbers = dict.fromkeys(("run/test_images", "run/seed", "run/epochs"), 1)
            metrics = {"test/minterm_accuracy": 0.9 + number / 100, **numbers}
            names = ("data", "protocol", "commit", "hardware", "python")
            versions = json.loads((ROOT / "results/digits_subspace/metrics.json").read_text())
            record = versions | {f"run/{name}": name for name in names} | metrics
            (folder / "metrics.json").write_text(json.dumps(record))
    table, where = tabulate(experiment, sweeps)
    assert where["run/commit"] == "commit"
    shown = {(row["sweep"], row["setting"]): row for row in table.rows}
    ours = shown["fashion_mnist", "cross-entropy"]
    values = [0.96, 0.97, 0.98]
    assert ours["test/minterm_accuracy"] == pytest.approx((mean(values), stdev(values)))
    assert ours["test/minterm_accuracy published"] == "0.9300"
    assert ours["test/minterm_accuracy difference"] == "+0.0400"
    assert "test/minterm_accuracy published" not in shown["digits", "cross-entropy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table=nothing"], "table must be all or one of alpha_beta, attributes, "),
        ([], "table is missing: add table=..."),
        (["table=claims", "scale=huge"], "scale must be one of smoke, cpu, paper, not 'huge'"),
        (["table=attributes", "launch=logger=none"], "launch takes overrides of hydra alone"),
        (["table=attributes", "+study.seeds=[1]"], "attributes is a table of trainings"),
    ],
)
def test_what_cannot_be_reproduced_is_answered_with_what_can(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = run_command("reproduce", *in_folder(tmp_path, *arguments))
    assert result.status == 1
    assert message in result.message


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_table(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.reproduce", *in_folder(tmp_path, "table=attributes")]
    finished: dict[Path, int] = {}
    for runs in (1, 2):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while len(found := list((tmp_path / "runs").rglob("metrics.json"))) < runs:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
        assert all(path.stat().st_mtime_ns == moment for path, moment in finished.items())
        finished = {path: path.stat().st_mtime_ns for path in found}
    subprocess.run(command, cwd=ROOT, check=True)
    assert all(path.stat().st_mtime_ns == moment for path, moment in finished.items())
    assert read_table(tmp_path, "attributes") == read_table(made, "attributes")


def test_reference_numbers_are_there() -> None:
    assert (EXPERIMENTS / "reference_numbers.yaml").exists()
    assert "reference_numbers" not in table_names()
