"""Answers to many queries: tables in a terminal, CSV and JSON, and a picture."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from src.data.atomic import naming
from src.reports.figures.retrieval import retrieval_figure
from src.search.answers import Answer, show
from src.search.images import Images

DRAWN_QUERIES, DRAWN_IMAGES = 10, 10


def make_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Make a table of the rows of a query for a terminal."""
    table = Table(title=Text(title), title_justify="left")
    headings = [key for key in rows[0] if key not in ("model", "query") and key[:2] != "p("]
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = {heading: Text(show(row[heading])) for heading in headings}
        if row.get("answers") is False:
            cells["answers"].stylize("red")
        table.add_row(*cells.values())
    return table


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as `retrieval.csv` and `retrieval.json`.

    Raises:
        OSError: If the disk is full.
    """
    path = folder / "retrieval.csv"
    with naming(path), path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "retrieval.json").write_text(json.dumps(list(rows), indent=2) + "\n")


def draw(path: Path, answers: Mapping[str, Sequence[Answer]], images: Mapping[str, Images]) -> None:
    """Draw the first queries and their best images, or texts; wrong ones, if known, are marked.

    Args:
        path: The PNG file.
        answers: The answers of each model to Q queries, (Q,).
        images: The images that each model searched.
    """
    titles, captions, shown, ranks, hits = [], [], [], [], []
    for answered in list(zip(*answers.values(), strict=True))[:DRAWN_QUERIES]:
        for name, answer in zip(answers, answered, strict=True):
            chosen = answer.positions[:DRAWN_IMAGES]
            right = [row.get("answers") for row in answer.rows[: len(chosen)]]
            known = images[name].labels is not None
            caption = [f"{sum(map(bool, right))} of {len(chosen)} right"] if known else []
            titles.append(answer.query.text)
            captions.append("    ".join([*caption, *([name] if len(answers) > 1 else [])]))
            shown.append(images[name].show(chosen))
            ranks.append(range(1, len(chosen) + 1))
            hits.append([holds is not False for holds in right])
    retrieval_figure(titles, captions, shown, ranks, hits).savefig(path, dpi=130)
