"""Tables of measurements with their conditions."""

from collections.abc import Mapping, Sequence

Row = dict[str, str | float]


def markdown_table(columns: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Rows as Markdown, numbers with two significant digits.

    Args:
        columns: From the keys of a row to headings.
        rows: Measurements.
    """
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [_cell(row[key]) for key in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
