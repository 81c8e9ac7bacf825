"""Fill the pages with what results/ has: `python -m src.readme`.

Pages are the README.md of the project and of its folders. A table stands between two comments, the
first of which says what it shows:

    <!-- table NAME/SCALE; COLUMN=VALUE: COLUMN, COLUMN as HEADING, ... -->
    <!-- end of table -->

with as many conditions on rows as need be. The lines between are written anew from
`results/NAME/SCALE/table.csv`. A number in a sentence stands between two comments as well, and is
the cell of the one row that fulfils the conditions, the number of rows that do, or a key of a JSON
file, to so many significant figures or digits after the point:

    <!-- value NAME/SCALE; COLUMN=VALUE: COLUMN -->0.9158<!-- end -->
    <!-- value NAME/SCALE; COLUMN="VALUE: WITH A COLON": COLUMN, 1 figures -->2e-14<!-- end -->
    <!-- count NAME/SCALE; COLUMN=VALUE -->79<!-- end -->
    <!-- value results/NAME.json: KEY, 3 digits -->0.916<!-- end -->

A section of a report stands between two others:

    <!-- section TITLE of results/NAME/report.md -->
    <!-- end of section -->
"""

import json
import re
from pathlib import Path

import pandas as pd

from src.data.atomic import write_whole
from src.reports.tables import Estimate, markdown_table

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "",
    "conf",
    "experiments",
    "results",
    "results/benchmark",
    "src",
    "src/readouts",
    "src/search",
)
PAGES = tuple(ROOT / folder / "README.md" for folder in FOLDERS)
COLUMN, CELL = r"[^:;=<>]+", r"\"[^\"<>]+\"|[^:;\"<>]+"
WHERE = rf"(?P<where>\w+/\w+)(?P<conditions>(?:; {COLUMN}=(?:{CELL}))*)"
BLOCK = re.compile(rf"<!-- table {WHERE}: (?P<columns>[^>]+) -->\n.*?<!-- end of table -->", re.S)
VALUE = re.compile(
    rf"(?P<marker><!-- value {WHERE}: (?P<column>[^>]+?)(?:, (?P<figures>\d) figures)? -->)"
    r"[^<]*<!-- end -->"
)
COUNT = re.compile(rf"(?P<marker><!-- count {WHERE} -->)[^<]*<!-- end -->")
KEY = re.compile(
    r"(?P<marker><!-- value (?P<path>[\w/]+\.json): (?P<key>[^>,]+), (?P<digits>\d) digits -->)"
    r"[^<]*<!-- end -->"
)
SECTION = re.compile(
    r"<!-- section (?P<title>[^>]+) of (?P<path>[\w/.]+) -->\n.*?<!-- end of section -->", re.S
)


def fill(text: str, folder: Path) -> str:
    """Write all that stands between comments anew, in the text of a page of this folder.

    Raises:
        OSError: If a table of results or a report is not there.
        ValueError: If it has no such column, title or key, or other rows fulfil the conditions than
            one for a number and some for a table.
    """
    for marked, written in ((BLOCK, _block), (VALUE, _value), (COUNT, _count), (KEY, _key)):
        text = marked.sub(written, text)
    return SECTION.sub(lambda match: _section(match, folder), text)


def _section(match: re.Match[str], folder: Path) -> str:
    path = ROOT / match["path"]
    sections = re.split(r"^## (.+)\n", path.read_text(), flags=re.M)[1:]  # titles and texts
    titles, texts = sections[::2], sections[1::2]
    if match["title"] not in titles:
        raise ValueError(f"{path} has no section {match['title']!r}; there are {', '.join(titles)}")
    content = texts[titles.index(match["title"])].strip()
    moved = path.parent.relative_to(folder).as_posix()
    links_moved = re.sub(r"\]\((?!https?:|#)", "](" if moved == "." else f"]({moved}/", content)
    first = match[0].partition("\n")[0]
    return "\n".join([first, "", links_moved, "", "<!-- end of section -->"])


def _block(match: re.Match[str]) -> str:
    table = _rows(match)
    chosen = [part.strip().partition(" as ") for part in match["columns"].split(",")]
    columns = {column: heading or column for column, _, heading in chosen}
    rows = [
        {column: _cell(table, row, column) for column in columns} for _, row in table.iterrows()
    ]
    markdown = markdown_table(columns, rows)
    first = match[0].partition("\n")[0]
    return "\n".join([first, "", markdown, "<!-- end of table -->"])


def _value(match: re.Match[str]) -> str:
    table = _rows(match)
    if len(table) > 1:
        raise ValueError(f"{len(table)} rows of {match['where']} have{match['conditions']}")
    text = _cell(table, table.iloc[0], match["column"])
    if match["figures"]:
        text = f"{float(table.iloc[0][match['column']]):.{match['figures']}g}"
    return f"{match['marker']}{text}<!-- end -->"


def _count(match: re.Match[str]) -> str:
    return f"{match['marker']}{len(_rows(match))}<!-- end -->"


def _key(match: re.Match[str]) -> str:
    content = json.loads((ROOT / match["path"]).read_text())
    if match["key"] not in content:
        raise ValueError(f"{match['path']} has no key {match['key']!r}")
    return f"{match['marker']}{content[match['key']]:.{match['digits']}f}<!-- end -->"


def _rows(match: re.Match[str]) -> pd.DataFrame:
    """The rows of a table that fulfil the conditions."""
    path = ROOT / "results" / match["where"] / "table.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in re.findall(f"; ({COLUMN})=({CELL})", match["conditions"]):
        table = table[_column(table, column) == value.strip('"')]
    if table.empty:
        raise ValueError(f"{path} has no row with{match['conditions']}")
    return table


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
    for page in PAGES:
        write_whole(page, fill(page.read_text(), page.parent))


if __name__ == "__main__":
    main()
