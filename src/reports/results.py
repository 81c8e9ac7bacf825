"""Results of a run: a flat JSON file and a table on the terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from src.data.atomic import write_whole
from src.metrics.evaluation import QueryResult
from src.metrics.names import (
    LITERAL_AUPRC,
    MAIN_HEADINGS,
    MAP,
    MINTERM_ACCURACY,
    NEGATED,
    POSITIVE,
    PROBABILITY,
    PROPOSITIONS,
    calibration_name,
    retrieval_name,
)
from src.reports.console import make_console
from src.reports.provenance import provenance
from src.reports.run_page import write_run_page

METRICS = "metrics.json"
EXPLAINED = {  # the metrics that the terminal shows
    MINTERM_ACCURACY: "share whose labels are all predicted right",
    LITERAL_AUPRC: "mean precision of finding single labels",
    retrieval_name(MAP, POSITIVE): "mean precision of rankings by a & b and the like",
    retrieval_name(MAP, NEGATED): "the same with negations, by a & ~b",
    calibration_name(PROBABILITY, PROPOSITIONS): "how far probabilities are from frequencies",
}
NO_VALUE = "too few answers to measure it"
CHECKPOINT = "run/checkpoint"  # what an evaluation has tested


def write_results(
    output_dir: Path,
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    run: Mapping[str, int | str],
    queries: Sequence[QueryResult],
) -> None:
    """Write the page of a run, with the pictures that lie beside it, and last, whole, metrics.json:
    whoever finds it takes the run for finished.

    Args:
        output_dir: The folder of both.
        config: The resolved config of the model.
        metrics: The metrics.
        run: This run's own keys.
        queries: The results of every query of the test; empty without a test.

    Raises:
        OSError: If a file cannot be written.
    """
    record = make_record(metrics, run)
    write_run_page(output_dir / "report", config, record, queries)
    write_whole(output_dir / METRICS, json.dumps(record, indent=2) + "\n")


def read_results(output_dir: Path) -> dict[str, Any] | None:
    """Read the metrics of a run; None while it is not finished, of a file that is not whole, and of
    an evaluation, which finishes no run.
    """
    try:
        results = json.loads((output_dir / METRICS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return results if isinstance(results, dict) and CHECKPOINT not in results else None


def make_record(metrics: Mapping[str, float], run: Mapping[str, int | str]) -> dict[str, Any]:
    """The content of metrics.json: the metrics, this run's own keys, commit, versions and hardware.

    NaN, which JSON does not have, becomes null.
    """
    record = dict(metrics) | dict(run) | provenance()
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in sorted(record.items())
    }


def print_results(
    metrics: Mapping[str, float], stage: str, output_dir: Path, commands: Sequence[str] = ()
) -> None:
    """Print five metrics of a stage, where all are and the page with the pictures, and what to do
    next.
    """
    split = "test" if stage == "test" else "validation"
    table = Table(
        title=f"results on the {split} split", title_justify="left", box=None, show_header=False
    )
    for name, said in EXPLAINED.items():
        key = f"{stage}/{name}"
        if key in metrics:
            value = metrics[key]
            row = ("none", NO_VALUE) if math.isnan(value) else (f"{value:.4f}", said)
            table.add_row(MAIN_HEADINGS[name], *row)
    console = make_console()
    console.print(table)
    console.print(f"all metrics: {output_dir / METRICS}", soft_wrap=True)
    console.print(f"page:        {output_dir / 'report' / 'index.html'}", soft_wrap=True)
    if commands:
        console.print("next:")
    for command in commands:
        console.print(f"  {command}", soft_wrap=True)
