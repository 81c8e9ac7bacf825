"""Tables of numbers with their conditions, written in four formats."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import pandas as pd

from src.data.atomic import write_whole
from src.reports.pages import PageTable


class Estimate(NamedTuple):
    """Mean and standard deviation of one number over runs."""

    mean: float
    std: float | None  # None for a single run

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Estimate from the number of each run, at least one."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if self.std is None else f" ± {self.std:.4f}")


Row = dict[str, Any]  # text, numbers or estimates; a missing one is an empty cell


class ResultTable(NamedTuple):
    """Numbers, and the conditions that they hold under."""

    columns: Mapping[str, str]  # from the keys of a row to headings
    rows: Sequence[Row]
    conditions: str


def write_table(stem: Path, table: ResultTable, settings: Any, where: Mapping[str, str]) -> str:
    """Write a table as Markdown, as LaTeX (booktabs), and as CSV and JSON with all digits: each
    file whole, and last the JSON, which tells that all are there.

    Args:
        stem: The path of the files, without their suffixes.
        table: The table.
        settings: The settings it was made with, as plain values.
        where: The `provenance` of its numbers.

    Returns:
        The Markdown.
    """
    rows = [
        {key: cell._asdict() if isinstance(cell, Estimate) else cell for key, cell in row.items()}
        for row in table.rows
    ]
    record = {"rows": rows, "settings": settings, **where}
    markdown = f"{markdown_table(table.columns, table.rows)}\n{describe(table, where)}\n"
    frame = pd.DataFrame(_show_cells(table), columns=list(table.columns.values()))
    numbers = pd.DataFrame([_numbers(table.columns, row) for row in table.rows])
    for suffix, text in {
        ".md": markdown,
        ".tex": frame.to_latex(index=False, escape=True),
        ".csv": numbers.to_csv(index=False),
        ".json": json.dumps(record, indent=2) + "\n",
    }.items():
        write_whole(stem.with_suffix(suffix), text)
    return markdown


def describe(table: ResultTable, where: Mapping[str, str]) -> str:
    """Say what the numbers of a table hold for, and where they come from."""
    machine = f"{where['run/hardware']}, PyTorch {where['run/version/torch']}"
    return f"{table.conditions} {machine}, commit {where['run/commit']}."


def on_page(table: ResultTable) -> PageTable:
    """The table as a section of a page."""
    return PageTable(list(table.columns.values()), _show_cells(table))


def markdown_table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Write rows as Markdown, numbers with two significant digits, estimates with four decimals.

    Args:
        columns: From the keys of a row to headings.
        rows: Text, numbers or estimates.
    """
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [cell(row.get(key, "")) for key in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(value: str | float | Estimate) -> str:
    """Text as it is, a number with two significant digits, an estimate with four decimals."""
    if isinstance(value, str | Estimate):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _show_cells(table: ResultTable) -> list[list[str]]:
    return [[cell(row.get(key, "")) for key in table.columns] for row in table.rows]


def _numbers(columns: Mapping[str, str], row: Row) -> Row:
    """The cells of a row by their headings, an estimate as two numbers."""
    cells: Row = {}
    for key, heading in columns.items():
        value = row.get(key, "")
        if isinstance(value, Estimate):
            cells |= {heading: value.mean, f"{heading} std": value.std}
        else:
            cells[heading] = value
    return cells
