"""Ranked images and probabilities as HTML: text is escaped, and images are in the page itself."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

STYLE = """
.gradio-container {overflow: visible !important}
#tokens {flex-wrap: wrap; gap: 6px}
#tokens .token {flex: none; padding: 4px 12px; border: 1px solid transparent; font-weight: 500}
#tokens .literal {border-color: var(--color-accent)}
#message:not(:has(.problem)), #detail:not(:has(.detail)) {display: none}
.cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(116px, 1fr)); gap: 10px}
.card {padding: 0; margin: 0 !important; border: 3px solid transparent; border-radius: 8px;
  background: var(--background-fill-secondary); overflow: hidden; cursor: pointer; font-weight: 400;
  scroll-margin-bottom: 50vh}
.card:hover {border-color: var(--border-color-primary)}
.pixels {display: block; width: 100%; image-rendering: pixelated}
.caption {display: flex; justify-content: space-between; padding: 1px 7px; font-size: 12px;
  font-variant-numeric: tabular-nums}
.right {color: #16a34a; font-weight: 700}
.wrong {color: #dc2626; font-weight: 700}
.quiet {opacity: 0.7; font-size: 13px}
.problem {padding: 9px 12px; border-left: 4px solid #dc2626; background: rgb(220 38 38 / 8%);
  overflow-wrap: anywhere}
.model {display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 12px; margin-bottom: 8px}
.rows {margin-top: 10px; overflow-x: auto; scroll-margin-bottom: 50vh}
.rows table {font-size: 12px; font-variant-numeric: tabular-nums}
.rows :is(th, td) {padding: 2px 8px; text-align: right; white-space: nowrap}
#detail {position: sticky; bottom: 0; max-height: 50vh; overflow: auto;
  background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary)}
.detail {display: flex; flex-wrap: wrap; gap: 14px 36px; padding: 10px 0}
.detail figure {width: 150px; margin: 0; overflow-wrap: anywhere}
.detail section {flex: 1; min-width: 340px}
.charts {display: grid; grid-template-columns: 2fr 3fr; gap: 24px}
.bars {display: grid; grid-template-columns: minmax(0, max-content) minmax(60px, 1fr) 3em;
  gap: 1px 8px; align-items: center; font-size: 13px; font-variant-numeric: tabular-nums}
.bars span {overflow: hidden; white-space: nowrap; text-overflow: ellipsis}
.bar {height: 11px; border-radius: 2px; background: var(--background-fill-secondary)}
.bar i {display: block; height: 100%; min-width: 1px; border-radius: 2px; background: #94a3b8}
.bar i.counts {background: var(--color-accent)}
"""


class Bar(NamedTuple):
    """A probability to draw."""

    name: str
    value: float  # in [0, 1]
    counts: bool  # drawn in colour


def message(text: str) -> str:
    """Something that went wrong."""
    return f'<div class="problem" role="alert">{escape(text)}</div>'


def model_heading(title: str, path: str, result: str) -> str:
    """Which model, and how its ranking did."""
    return (
        f'<div class="model"><b title="{escape(path)}">{escape(title)}</b>'
        f'<span class="quiet">{escape(result)}</span></div>'
    )


def ranking(rows: Sequence[dict[str, Any]], positions: Sequence[int], images: Tensor) -> str:
    """Images to click on, best first, and a table of all that is known of them.

    Args:
        rows: (k,), as `src.search.describe` gives them.
        positions: (k,), of the images in what was searched; a click tells which.
        images: (k, channels, height, width), uint8.
    """
    cards = [_card(*parts) for parts in zip(rows, positions, images, strict=True)]
    return f'<div class="cards">{"".join(cards)}</div>{_table(rows)}'


def detail(image: Tensor, position: int, caption: Sequence[str], sections: Sequence[str]) -> str:
    """An image (channels, height, width), lines about it, and what each model says of it.

    The cards of its position are marked wherever they are on the page.
    """
    lines = "".join(f'<div class="quiet">{escape(line)}</div>' for line in caption)
    mark = f'.card[data-position="{position}"] {{border-color: var(--color-accent) !important}}'
    return (
        f'<style>{mark}</style><div class="detail"><figure>{_pixels(image)}{lines}</figure>'
        f"{''.join(f'<section>{section}</section>' for section in sections)}</div>"
    )


def charts(title: str, named: Mapping[str, Sequence[Bar]]) -> str:
    """Bars beside each other under a title, each group with its name."""
    groups = [
        f'<div><div class="quiet">{escape(name)}</div><div class="bars">'
        f"{''.join(_bar(bar) for bar in bars)}</div></div>"
        for name, bars in named.items()
    ]
    return f'<b>{escape(title)}</b><div class="charts">{"".join(groups)}</div>'


def _card(row: dict[str, Any], position: int, image: Tensor) -> str:
    right, wrong = '<span class="right">✓</span>', '<span class="wrong">✗</span>'
    mark = (right if row["answers"] else wrong) if "answers" in row else ""
    return (
        f'<button class="card" data-position="{position}" title="{escape(str(row["image"]))}">'
        f"{_pixels(image)}"
        f'<span class="caption"><b>{row["rank"]}</b>{mark}</span>'
        f'<span class="caption"><span>score</span>{row["score"]:.3f}</span>'
        f'<span class="caption"><span>p(q | x)</span>{row["probability"]:.3f}</span></button>'
    )


def _table(rows: Sequence[dict[str, Any]]) -> str:
    headings = [key for key in rows[0] if key != "query"]
    lines = [
        "".join(f"<td>{escape(_cell(row[heading]))}</td>" for heading in headings) for row in rows
    ]
    return (
        '<details class="rows"><summary class="quiet">all numbers</summary><table><tr>'
        f"{''.join(f'<th>{escape(heading)}</th>' for heading in headings)}</tr>"
        f"{''.join(f'<tr>{line}</tr>' for line in lines)}</table></details>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _bar(bar: Bar) -> str:
    name = escape(bar.name)
    colour = ' class="counts"' if bar.counts else ""
    return (
        f'<span title="{name}">{name}</span>'
        f'<div class="bar"><i{colour} style="width: {bar.value:.1%}"></i></div>'
        f"<span>{bar.value:.3f}</span>"
    )


def _pixels(image: Tensor) -> str:
    """An image (channels, height, width), uint8, as an element that needs no other file."""
    array = image.permute(1, 2, 0).squeeze(2).numpy()  # grey images have no third axis
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="pixels" alt="" src="data:image/png;base64,{data}">'
