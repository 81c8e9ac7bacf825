"""Results of a run: a flat JSON file and a table on the terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from src.data.atomic import write_whole
from src.metrics.evaluation import QueryResult
from src.metrics.names import main_columns
from src.reports.console import make_console
from src.reports.provenance import provenance
from src.reports.run_page import write_run_page

METRICS = "metrics.json"
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


def print_results(metrics: Mapping[str, float], stage: str, output_dir: Path) -> None:
    """Print the main metrics of a stage, and where all are and the page with the pictures."""
    table = Table(title=f"{stage} results", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for key, heading in main_columns(stage).items():
        if key in metrics:
            table.add_row(heading, f"{metrics[key]:.4f}")
    console = make_console()
    console.print(table)
    console.print(f"results: {output_dir / METRICS} has all metrics", soft_wrap=True)
    console.print(f"report:  {output_dir / 'report' / 'index.html'}", soft_wrap=True)
