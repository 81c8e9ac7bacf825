"""The report of a benchmark: `report.json` with all digits, and a page and pictures made of it."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from src.reports.tables import Row, markdown_table

VERSION = "run/version/"


def write_report(folder: Path, record: Mapping[str, Any]) -> None:
    """Write `report.json`, and the page with its pictures.

    Args:
        folder: A folder that exists.
        record: `parts`, for each name `rows` and `settings`, `run/device` and the `provenance`.
    """
    (folder / "report.json").write_text(json.dumps(record, indent=2) + "\n")
    write_page(folder)


def write_page(folder: Path) -> None:
    """Write `report.md` and the pictures of the `report.json` in a folder.

    Raises:
        OSError: If there is no such file.
    """
    record = json.loads((folder / "report.json").read_text())
    versions = ", ".join(
        f"{key.removeprefix(VERSION)} {value}"
        for key, value in record.items()
        if key.startswith(VERSION)
    )
    where = record["run/hardware"]
    texts = [
        f"# Benchmark on {where}\n",
        f"Device: {record['run/device']}. Python {record['run/python']}, {versions}. "
        f"Commit {record['run/commit']}.\n",
    ]
    for part, measured in record["parts"].items():
        texts.append(section(part, measured["rows"], where))
        module = import_module(f"src.benchmarks.{part}")
        if hasattr(module, "draw_rows"):
            module.draw_rows(measured["rows"]).savefig(folder / f"{part}.png", dpi=130)
    (folder / "report.md").write_text("\n".join(texts))


def section(part: str, rows: Sequence[Row], where: str) -> str:
    """A part of the page: its table, the conditions, and the picture where it has one.

    Args:
        part: The name of a module of this package.
        rows: The rows that it measured.
        where: The hardware that it measured them on.
    """
    module = import_module(f"src.benchmarks.{part}")  # each weighs on the memory of others
    text = (
        f"## {module.TITLE}\n\n{markdown_table(module.COLUMNS, rows)}\n"
        f"{module.CONDITIONS} Hardware: {where}.\n"
    )
    return text + (f"\n![{module.TITLE}]({part}.png)\n" if hasattr(module, "draw_rows") else "")
