"""Tables of numbers with their conditions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.provenance import provenance

Row = dict[str, Any]  # text or numbers


class Table(NamedTuple):
    """What was found, and what it holds for."""

    columns: Mapping[str, str]  # from the keys of a row to headings
    rows: Sequence[Row]
    conditions: str


def write_table(stem: Path, table: Table, settings: Any) -> str:
    """Write a table with commit, versions and hardware, as JSON with all digits and as Markdown.

    Args:
        stem: Of the two files.
        table: What to write.
        settings: What it was made with; plain values.

    Returns:
        The Markdown.
    """
    where = provenance()
    record = {"rows": list(table.rows), "settings": settings} | where
    stem.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    machine = f"{where['run/hardware']}, PyTorch {where['run/version/torch']}"
    conditions = f"{table.conditions} {machine}, commit {where['run/commit']}."
    markdown = f"{markdown_table(table.columns, table.rows)}\n{conditions}\n"
    stem.with_suffix(".md").write_text(markdown)
    return markdown


def markdown_table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Rows as Markdown, numbers with two significant digits.

    Args:
        columns: From the keys of a row to headings.
        rows: Text or numbers.
    """
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [cell(row[key]) for key in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(value: str | float) -> str:
    """Text as it is, a number with two significant digits."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
