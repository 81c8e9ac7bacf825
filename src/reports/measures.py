"""What runs measured, by the headings of tables: means and deviations over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from src.reports.provenance import provenance
from src.reports.tables import Estimate, Row

Results = Sequence[Mapping[str, Any]]  # what metrics.json of each run holds
Setting = tuple[str, ...]  # overrides that tell runs apart, but for their seeds

RETRIEVAL = "test/retrieval"  # by the score that a run was asked for
MAIN_COLUMNS = {
    "test/minterm_accuracy": "minterm accuracy",
    "test/calibrated_minterm_accuracy": "calibrated accuracy",
    "test/subspaces/minterm_accuracy": "accuracy by subspaces",
    "test/literal_auprc": "literal AUPRC",
    "test/probe/linear_accuracy": "linear probe",
    "test/probe/knn_accuracy": "kNN",
    "test/probe/effective_rank": "effective rank",
    "test/retrieval/map_positive": "mAP positive",
    "test/retrieval/map_negated": "mAP negated",
    "test/retrieval/precision_at_10_positive": "P@10 positive",
    "test/retrieval/precision_at_10_negated": "P@10 negated",
    "test/subspaces/map_positive": "mAP positive by subspaces",
    "test/subspaces/map_negated": "mAP negated by subspaces",
    "test/calibration/probability_of_propositions": "calibration error",
    "test/calibration/calibrated_of_propositions": "after calibration",
    "test/spectral/max_coherence": "largest coherence",
    "test/spectral/semantic_coherence": "semantic coherence",
    "test/spectral/optimality_gap": "optimality gap",
    "test/spectral/relative_gap": "gap, share of the optimum",
}


def main_columns(stage: str) -> dict[str, str]:
    """`MAIN_COLUMNS` of a stage, `test` or `val`."""
    return {key.replace("test", stage, 1): heading for key, heading in MAIN_COLUMNS.items()}


def estimates(runs: Results, columns: Iterable[str], by_score: bool) -> list[Row]:
    """Rows of what runs of one setting measured: one, or one for each of their retrieval scores.

    Args:
        runs: Of one setting, at least one.
        columns: Keys of metrics; a cell is empty where no run has it.
        by_score: Whether to read retrieval by each score, named in the key `score`.
    """
    scores = retrieval_scores(runs[0], "test") if by_score else {"": f"{RETRIEVAL}/"}
    rows = []
    for score, prefix in scores.items():
        row: Row = {"score": score} if by_score else {}
        for key in columns:
            measured = measurements(runs, key.replace(f"{RETRIEVAL}/", prefix))
            row[key] = Estimate.of(measured) if measured else ""
        rows.append(row)
    return rows


def measurements(runs: Results, key: str) -> list[float]:
    """What the runs that have a metric measured."""
    return [run[key] for run in runs if run.get(key) is not None]


def retrieval_scores(metrics: Mapping[str, Any], stage: str) -> dict[str, str]:
    """From the scores that a run was tested with, the chosen one first, to what keys start with."""
    start = f"{stage}/retrieval_"
    return {metrics["run/score"]: f"{stage}/retrieval/"} | {
        key.removeprefix(start).partition("/")[0]: f"{key.rpartition('/')[0]}/"
        for key in metrics
        if key.startswith(start)
    }


def query_groups(runs: Results) -> dict[str, str]:
    """Names of the groups of queries that runs were asked, for keys and for headings."""
    prefix = f"{RETRIEVAL}/queries_depth_"
    found = {key for run in runs for key in run if key.startswith(prefix)}
    depths = sorted(int(key.removeprefix(prefix)) for key in found)
    groups = {"positive": "positive", "negated": "negated"}
    return groups | {f"depth_{depth}": f"depth {depth}" for depth in depths}


def describe_runs(runs: Results) -> str:
    """Data, protocol, seeds, epochs and numbers of queries of what a table shows."""
    described = {
        "data (test images)": {f"{run['run/data']} ({run['run/test_images']:,})" for run in runs},
        "protocol": {run["run/protocol"] for run in runs},
        "seeds": {run["run/seed"] for run in runs},
        "epochs": {run["run/epochs"] for run in runs},
    }
    parts = [f"{name} {', '.join(map(str, sorted(values)))}" for name, values in described.items()]
    queries = [
        f"{data} {_count_queries([run for run in runs if run['run/data'] == data])}"
        for data in sorted({run["run/data"] for run in runs})
    ]
    return (
        f"Mean ± standard deviation over n seeds on the test split; {'; '.join(parts)}. "
        f"Queries scored (in brackets: left out, fewer than 10 positives): {'; '.join(queries)}."
    )


def provenance_of(runs: Results) -> dict[str, str]:
    """The `provenance` that runs recorded, all values of each key."""
    return {key: ", ".join(sorted({str(run[key]) for run in runs})) for key in provenance()}


def _count_queries(runs: Results) -> str:
    """How many queries of each group count, over all runs."""
    counts = []
    for group, name in query_groups(runs).items():
        asked, skipped = (
            sorted({int(run.get(f"{RETRIEVAL}/{key}_{group}") or 0) for run in runs})
            for key in ("queries", "queries_skipped")
        )
        counts.append(f"{name} {_span(asked)} ({_span(skipped)})")
    return ", ".join(counts)


def _span(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
