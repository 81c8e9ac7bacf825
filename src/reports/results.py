"""Results of a run: a flat JSON file and a table on the terminal."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from src.data.atomic import write_whole
from src.metrics.names import main_columns
from src.reports.console import make_console
from src.reports.provenance import provenance


def write_metrics(
    output_dir: Path, metrics: Mapping[str, float], run: Mapping[str, int | str]
) -> dict[str, Any]:
    """Write metrics.json: the metrics, this run's own keys, commit, versions and hardware.

    NaN, which JSON does not have, becomes null.

    Returns:
        The content of the file.
    """
    path = output_dir / "metrics.json"
    record = dict(metrics) | dict(run) | provenance()
    values = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in sorted(record.items())
    }
    write_whole(path, json.dumps(values, indent=2) + "\n")
    return values


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
    console.print(f"results: {output_dir / 'metrics.json'} has all metrics", soft_wrap=True)
    console.print(f"report:  {output_dir / 'report' / 'index.html'}", soft_wrap=True)
