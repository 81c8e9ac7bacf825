"""Pages that show the files of a folder: one HTML file, pictures inside, no script, no network."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

WIDE = 1.3  # pictures of this aspect are scrolled on a phone, where they would be too small to read
NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ± [\d.]+)?$")


class Heading(NamedTuple):
    """The heading of a section."""

    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Link(NamedTuple):
    """A cell that leads to another page."""

    text: str
    href: str


class Facts(NamedTuple):
    """A few numbers to see at a glance, by their names."""

    values: Mapping[str, Any]


class PageTable(NamedTuple):
    """A table with columns of numbers aligned to the right and floats rounded to four digits."""

    columns: Sequence[str]  # none for a table without headings
    rows: Sequence[Sequence[Any]]  # text, numbers, None where there is none, or links
    caption: str = ""
    folded: str = ""  # the line to click on to see the table; without one it is shown at once


class Listing(NamedTuple):
    """A text shown as it is, after a click on its summary."""

    summary: str
    text: str


class Picture(NamedTuple):
    """A PNG file with its caption."""

    path: Path
    caption: str


Section = Heading | Text | Facts | PageTable | Listing | Picture


def write_page(path: Path, title: str, sections: Sequence[Section], subtitle: str = "") -> None:
    """Write a page that needs no other file.

    Args:
        path: The file; its folder is made if need be.
        title, subtitle: The lines at the top.
        sections: The rest, in this order. All text is escaped.

    Raises:
        OSError: If a picture cannot be read.
    """
    named = [(type(section).__name__, section) for section in sections]
    page = _TEMPLATE.render(title=title, subtitle=subtitle, sections=named)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _show(cell: Any) -> str:
    if cell is None or cell != cell:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:.1e}" if 0 < abs(cell) < 0.001 else f"{cell:.4f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _numeric(table: PageTable) -> list[bool]:
    """Whether each column holds numbers alone."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [
        any(_is_number(cell) for cell in column)
        and all(_is_number(cell) or cell in (None, "") for cell in column)
        for column in columns
    ]


def _is_number(cell: Any) -> bool:
    if isinstance(cell, str):
        return NUMBER.match(cell) is not None
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _data(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.path.read_bytes()).decode()}"


def _wide(picture: Picture) -> bool:
    with Image.open(picture.path) as image:
        return image.width > WIDE * image.height


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"show": _show, "numeric": _numeric, "data": _data, "wide": _wide}
_TEMPLATE = _ENVIRONMENT.get_template("page.html.jinja")
