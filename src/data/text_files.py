"""The one reader of tables and lists in text files, as all kinds of programs leave them.

Files are UTF-8, with a byte-order mark or without, and their lines end as on any system. Blank
lines are skipped, but counted: every error says file and line.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import NamedTuple

DELIMITERS = ",;\t"
WEB_PAGE = re.compile(r"\s*<(!doctype|html|\?xml)", re.I)


class Row(NamedTuple):
    """A row of a table."""

    line: int  # from 1
    cells: list[str]  # without spaces around them


class Table:
    """Named columns and rows of so many cells.

    Args:
        path: The file, for messages.
        columns: Names of the columns; they may be empty, but no two are the same.
        rows: The rows, read as they are asked for, once.
        unit: The word for the place of a row in this kind of file.

    Raises:
        ValueError: If two columns have one name.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], rows: Iterator[Row], unit: str = "line"
    ) -> None:
        self.path = path
        self.columns = list(columns)
        self._rows = rows
        self._unit = unit
        named = [name for name in columns if name]
        twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
        if twice:
            raise ValueError(f"{path} has two columns {twice[0]}: rename or remove one")

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            ValueError: If a row has not as many cells as there are columns. Empty ones at its end
                do not count.
        """
        for line, cells in self._rows:
            if any(cells[len(self.columns) :]) or len(cells) < len(self.columns):
                problem = f"{len(cells)} values, where {len(self.columns)} columns are named"
                raise self.wrong(line, problem)
            yield Row(line, cells[: len(self.columns)])

    def find(self, name: str) -> int:
        """The place of a column.

        Raises:
            ValueError: If there is none of that name. The message has the nearest, or all.
        """
        if name in self.columns:
            return self.columns.index(name)
        raise ValueError(f"{self.path} has no column {name}; {nearest(name, self.columns)}")

    def place(self, line: int) -> str:
        """The place of a row, for messages."""
        return f"{self.path}, {self._unit} {line}"

    def wrong(self, line: int, problem: str) -> ValueError:
        """The error for what is wrong in a row."""
        return ValueError(f"{self.place(line)}: {problem}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say for a message which of the known names is meant, or all of them."""
    names = list(filter(None, known))
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Every line of a file that is not blank, with its number from 1 and without spaces around it.

    Raises:
        ValueError: If it is no text in UTF-8, or empty.
        OSError: If it cannot be read.
    """
    lines = StringIO(_read(path), newline=None)
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def read_table(path: Path) -> Table:
    """Open a table with a header: Parquet if its name says so (`.parquet`), or text whose cells are
    parted by tabs (`.tsv`) or else by what its header has most of: commas, semicolons or tabs.

    Raises:
        ValueError: If it is no such table, or empty; also while rows are read.
        OSError: If it cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    text = _read(path)
    header = text.lstrip().splitlines()[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=header.count)
    rows = _parse(path, text, delimiter)
    columns = next(rows).cells
    while not columns[-1]:  # some programs end every line with a delimiter
        columns.pop()
    return Table(path, columns, rows)


def _parse(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield Row(line, stripped)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}: no row of a table ({error})") from error


def _read_parquet(path: Path) -> Table:
    import pandas  # takes half a second

    with path.open("rb"):  # says in a word if it is not there
        pass
    try:
        frame = pandas.read_parquet(path)
    except Exception as error:  # what a damaged file raises can be anything
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from error
    cells = frame.astype(object).where(frame.notna(), "").astype(str).to_numpy().tolist()
    rows = (Row(number, [cell.strip() for cell in row]) for number, row in enumerate(cells, 1))
    return Table(path, list(map(str, frame.columns)), rows, unit="row")


def _read(path: Path) -> str:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
        end = text.find("\0")  # UTF-16 without a mark
        start = len(text[:end].encode()) if end >= 0 else None
    except UnicodeDecodeError as error:
        start = error.start
    if start is not None:
        line = data.count(b"\n", 0, start) + 1
        raise ValueError(f"{path}, line {line}: no text in UTF-8: save the file in this encoding")
    if not text.strip():
        raise ValueError(f"{path} is empty")
    if WEB_PAGE.match(text):
        raise ValueError(f"{path} holds a web page, no table: fetch it again")
    return text
