"""Truth values and names of splits as tables spell them: the one reader of labels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.data.listed import check_once
from src.data.text_files import Table

FALSE, TRUE, UNKNOWN, MINUS = range(4)  # minus one: false beside 1, but often unknown beside 0
SPELLINGS = (
    dict.fromkeys(("1", "1.0", "+1", "true", "t", "yes", "y"), TRUE)
    | dict.fromkeys(("0", "0.0", "false", "f", "no", "n"), FALSE)
    | dict.fromkeys(("-1", "-1.0"), MINUS)
    | dict.fromkeys(("", "nan", "null", "none", "na", "n/a"), UNKNOWN)
)
SPLITS = (
    dict.fromkeys(("train", "training", "0", "0.0"), "train")
    | dict.fromkeys(("val", "valid", "validation", "dev", "1", "1.0"), "val")
    | dict.fromkeys(("test", "testing", "2", "2.0"), "test")
)


class Labels(NamedTuple):
    """The images of a table, and their labels."""

    names: list[str]  # (N,)
    lines: list[int]  # (N,)
    values: Tensor  # (N, C), bool; false where unknown
    unknown: Tensor  # (N, C), bool
    splits: list[str] | None  # (N,), if there is a column of them


def read_labels(
    table: Table, name: int, columns: Sequence[int], split: int | None = None
) -> Labels:
    """Read the rows of a table.

    Args:
        table: The table, whose rows are used up.
        name: The column that names images.
        columns: The columns of labels, (C,).
        split: The column of splits, if there is one.

    Raises:
        ValueError: If a value is spelt in no known way, or -1 where others are 0; a row names no
            image, or one that another names; or there is no row. The message has the line.
    """
    names, lines, splits = [], [], []
    codes = []  # a byte for each label: as words, CelebA's take a gigabyte
    for line, cells in table:
        if not cells[name]:
            raise table.wrong(line, "no image is named")
        names.append(cells[name])
        lines.append(line)
        if split is not None:
            splits.append(read_split(table, line, cells[split]))
        codes.append(bytes(_code(table, line, column, cells[column]) for column in columns))
    if not names:
        raise ValueError(f"{table.path} has no row")
    read = torch.frombuffer(bytearray(b"".join(codes)), dtype=torch.uint8)
    read = read.view(len(names), len(columns))
    _check_minus(table, lines, columns, read)
    check_once((name, table.place(line)) for name, line in zip(names, lines, strict=True))
    return Labels(names, lines, read == TRUE, read == UNKNOWN, splits or None)


def read_split(table: Table, line: int, text: str) -> str:
    """The split that a cell of a table names: `train`, `val` or `test`.

    Raises:
        ValueError: If it names none.
    """
    split = SPLITS.get(text.lower())
    if split is None:
        raise table.wrong(line, f"{text!r} is no split: write train, val or test (or 0, 1, 2)")
    return split


def _code(table: Table, line: int, column: int, text: str) -> int:
    code = SPELLINGS.get(text)
    if code is None:
        code = SPELLINGS.get(text.lower())
    if code is None:
        raise table.wrong(
            line,
            f"{table.columns[column]} is {text!r}, which is no label: write 1 or 0, 1 or -1, true "
            "or false, yes or no",
        )
    return code


def _check_minus(table: Table, lines: Sequence[int], columns: Sequence[int], read: Tensor) -> None:
    """Refuse -1 beside 0: it stands for false in some tables, and for unknown in others."""
    minus = (read == MINUS).nonzero()
    if len(minus) and (read == FALSE).any():
        row, column = minus[0].tolist()
        raise table.wrong(
            lines[row],
            f"{table.columns[columns[column]]} is -1, while other labels are 0 or false: write 0 "
            "if it is false, and nothing if it is unknown",
        )
