"""Real runs that some minterms are left out of, asked for what they never saw."""

import csv
import json
from pathlib import Path
from statistics import mean

import pytest
from conftest import Run, Shared, run_command

from src.data.digits import Digits
from src.metrics.names import retrieval_sources
from src.runs.load import load_checkpoint

UNSEEN = "loader.unseen=0.4"
TABLES = {  # methods whose classes are minterms
    "nuclear": ("method=nuclear", "callbacks=probe"),
    "cross_entropy": ("method=cross_entropy",),
    "harmonic": ("method=harmonic",),
}
LITERALS = Digits.literals
TEST = [tuple(row) for row in Digits(0).splits["test"].labels.tolist()]


def unseen_run(shared: Shared, name: str, *overrides: str) -> Run:
    return shared.run(f"unseen_{name}", "logger=none", UNSEEN, *overrides)


@pytest.fixture(params=list(TABLES))
def table_run(request: pytest.FixtureRequest, shared: Shared) -> Run:
    return unseen_run(shared, request.param, *TABLES[request.param])


def is_true(conjunction: str, row: tuple[bool, ...]) -> bool:
    parts = conjunction.split(" & ")
    return all(row[LITERALS.index(part.lstrip("~"))] != part.startswith("~") for part in parts)


def queries_of(run: Run) -> list[dict[str, str]]:
    """The conjunctions that count, at least ten test images answering."""
    with (run.folder / "report" / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["depth"] == "1" and int(row["positives"]) >= 10]


def seen_minterms(run: Run) -> set[tuple[bool, ...]]:
    """The minterms that a checkpoint knows directions of."""
    data = load_checkpoint(str(run.checkpoint), None)[1]
    return {tuple(row) for row in data.splits["train"].labels.tolist()}


def test_table_of_minterms_cannot_tell_images_apart_by_what_it_never_saw(table_run: Run) -> None:
    seen = seen_minterms(table_run)
    assert len(seen) == 5
    shares, hits = [], []
    for row in queries_of(table_run):
        if any(is_true(row["query"], minterm) for minterm in seen):
            continue
        answers = [is_true(row["query"], image) for image in TEST]
        assert float(row["average_precision"]) == pytest.approx(mean(answers))  # all tie
        assert float(row["precision_at_10"]) == pytest.approx(mean(answers[:10]))
        shares.append(mean(answers))
        hits.append(mean(answers[:10]))
    metrics = table_run.metrics
    for source in retrieval_sources(metrics, "test").values():
        assert metrics[f"test/{source}/map_unseen"] == pytest.approx(mean(shares))
        assert metrics[f"test/{source}/precision_at_10_unseen"] == pytest.approx(mean(hits))
        assert metrics[f"test/{source}/queries_unseen"] == len(shares) > 20
    known = mean(image in seen for image in TEST)
    assert metrics["test/unseen_minterm_accuracy"] == 0
    assert metrics["test/minterm_accuracy"] == pytest.approx(
        metrics["test/seen_minterm_accuracy"] * known
    )
    assert metrics["test/seen_minterm_accuracy"] > 0.8
    assert not [key for key in metrics if key.startswith("val/") and "seen" in key]


def test_literals_answer_for_what_training_never_showed(shared: Shared) -> None:
    metrics = unseen_run(shared, "bce", "method=bce").metrics
    assert metrics["test/retrieval/map_unseen"] > metrics["test/subspaces/map_unseen"] + 0.1


def test_probes_and_spectra_bear_images_of_unseen_minterms(shared: Shared) -> None:
    run = unseen_run(shared, "nuclear", *TABLES["nuclear"])
    seen = seen_minterms(run)
    known = mean(image in seen for image in TEST)
    for probe in ("linear", "knn"):
        assert 0.7 * known < run.metrics[f"test/probe/{probe}_accuracy"] <= known
    assert run.metrics["test/spectral/minterms"] == 5
    assert run.metrics["test/spectral/label_rank"] == 5
    assert run.metrics["test/spectral/optimality_gap"] > run.metrics["val/spectral/optimality_gap"]


def test_evaluation_of_the_checkpoint_leaves_out_the_same(shared: Shared, tmp_path: Path) -> None:
    run = unseen_run(shared, "nuclear", *TABLES["nuclear"])
    arguments = (f"ckpt_path={run.checkpoint}", f"hydra.run.dir={tmp_path / 'again'}")
    assert run_command("evaluate", *arguments) == (0, "")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    repeated = [key for key in again if key.startswith("test/")]
    assert "test/unseen_minterm_accuracy" in repeated
    assert {key: again[key] for key in repeated} == pytest.approx(
        {key: run.metrics[key] for key in repeated}
    )
