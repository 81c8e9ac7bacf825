"""Fill the tables and sections of README.md from results/: `python -m src.readme`.

A table stands between two comments, the first of which says what it shows:

    <!-- table NAME/SCALE, COLUMN=VALUE: COLUMN, COLUMN as HEADING, ... -->
    <!-- end of table -->

with as many conditions on rows as need be. The lines between are written anew from
`results/NAME/SCALE/table.csv`. A section of a report stands between two others:

    <!-- section TITLE of results/NAME/report.md -->
    <!-- end of section -->
"""

import re
from pathlib import Path

import pandas as pd

from src.data.atomic import write_whole
from src.reports.tables import Estimate, markdown_table

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(
    r"<!-- table (?P<where>[\w/]+)(?P<conditions>(?:, [^:=]+=[^:,]+)*): (?P<columns>[^>]+) -->\n"
    r".*?<!-- end of table -->",
    re.S,
)
SECTION = re.compile(
    r"<!-- section (?P<title>[^>]+) of (?P<path>[\w/.]+) -->\n.*?<!-- end of section -->", re.S
)


def fill(text: str) -> str:
    """Write every table and section of a text anew.

    Raises:
        OSError: If a table of results or a report is not there.
        ValueError: If it has no such column or title, or no row fulfils the conditions.
    """
    return SECTION.sub(_section, BLOCK.sub(_block, text))


def _section(match: re.Match[str]) -> str:
    path = ROOT / match["path"]
    sections = re.split(r"^## (.+)\n", path.read_text(), flags=re.M)[1:]  # titles and texts
    titles, texts = sections[::2], sections[1::2]
    if match["title"] not in titles:
        raise ValueError(f"{path} has no section {match['title']!r}; there are {', '.join(titles)}")
    content = texts[titles.index(match["title"])].strip()
    links_moved = re.sub(r"\]\((?!https?:|#)", f"]({Path(match['path']).parent}/", content)
    first = match[0].partition("\n")[0]
    return "\n".join([first, "", links_moved, "", "<!-- end of section -->"])


def _block(match: re.Match[str]) -> str:
    path = ROOT / "results" / match["where"] / "table.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for condition in match["conditions"].split(", ")[1:]:
        column, _, value = condition.partition("=")
        table = table[_column(table, column) == value]
    if table.empty:
        raise ValueError(f"{path} has no row with{match['conditions']}")
    chosen = [part.strip().partition(" as ") for part in match["columns"].split(",")]
    columns = {column: heading or column for column, _, heading in chosen}
    rows = [
        {column: _cell(table, row, column) for column in columns} for _, row in table.iterrows()
    ]
    markdown = markdown_table(columns, rows)
    first = match[0].partition("\n")[0]
    return "\n".join([first, "", markdown, "<!-- end of table -->"])


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table:
        raise ValueError(f"there is no column {name!r}; there are {', '.join(table)}")
    return table[name]


def _cell(table: pd.DataFrame, row: pd.Series, column: str) -> str:
    _column(table, column)
    if f"{column} std" not in table or not row[column]:
        return row[column]
    std = row[f"{column} std"]
    return str(Estimate(float(row[column]), float(std) if std else None))


def main() -> None:
    write_whole(README, fill(README.read_text()))


if __name__ == "__main__":
    main()
