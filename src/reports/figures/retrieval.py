"""Pictures of what was retrieved: images or texts."""

from collections.abc import Sequence
from textwrap import shorten

from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from src.reports.figures.colors import HALO, WRONG

LINE = 110  # characters that are shown of a text
LINE_WIDTH, LINE_HEIGHT = 9.9, 0.19  # inches


def retrieval_figure(
    queries: Sequence[str],
    captions: Sequence[str],
    shown: Sequence[Tensor | Sequence[str]],
    ranks: Sequence[Sequence[int]],
    hits: Sequence[Sequence[bool]],
) -> Figure:
    """Draw what was retrieved, images in one row a query, or texts in one line each. Images that do
    not answer it are framed and crossed, in red, and on red images still seen by white edges; texts
    that do not are red.

    Args:
        queries: (Q,).
        captions: (Q,), shown after each query.
        shown: For each query, images (k, channels, height, width), uint8, or texts (k,), best
            first. Heights and widths may differ between queries.
        ranks: For each query, (k,), counted from 1.
        hits: For each query, (k,), whether it is answered.
    """
    columns = max(len(row) for row in shown)
    pictures = [row for row in shown if isinstance(row, Tensor)]
    if pictures:
        tallest = max(row.shape[-2] / row.shape[-1] for row in pictures)
        width, height = 0.95 * columns + 0.4, 0.95 * tallest + 0.55
    else:
        width, height = LINE_WIDTH, LINE_HEIGHT * columns + 0.35
    figure = Figure(figsize=(width, height * len(queries) + 0.2), layout="constrained")
    panels = figure.subfigures(len(queries), 1, squeeze=False)[:, 0]
    for row, panel in enumerate(panels):
        panel.suptitle(f"{queries[row]}    {captions[row]}", x=0.01, ha="left", fontsize=10)
        items = shown[row]
        if isinstance(items, Tensor):
            _draw_images(panel, items, columns, ranks[row], hits[row])
        else:
            _draw_texts(panel, items, columns, ranks[row], hits[row])
    return figure


def _draw_images(
    panel: SubFigure, images: Tensor, columns: int, ranks: Sequence[int], hits: Sequence[bool]
) -> None:
    axes = panel.subplots(1, columns, squeeze=False)[0]
    for column, axis in enumerate(axes):
        axis.set_xticks([])
        axis.set_yticks([])
        if column >= len(images):
            axis.axis("off")
            continue
        pixels = images[column].permute(1, 2, 0).numpy()
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(str(ranks[column]), fontsize=8, pad=2)
        if not hits[column]:
            for ends in ([0, 1], [1, 0]):
                (line,) = axis.plot([0, 1], ends, transform=axis.transAxes)
                line.set(color=WRONG, linewidth=1.5, path_effects=HALO)
            for spine in axis.spines.values():
                spine.set(color=WRONG, linewidth=2.5)


def _draw_texts(
    panel: SubFigure,
    texts: Sequence[str],
    lines: int,
    ranks: Sequence[int],
    hits: Sequence[bool],
) -> None:
    axis = panel.subplots()
    axis.axis("off")
    axis.set_ylim(lines, 0)
    for line, (text, rank, hit) in enumerate(zip(texts, ranks, hits, strict=True)):
        color = "black" if hit else WRONG
        axis.text(0.03, line + 0.5, str(rank), color=color, ha="right", va="center", fontsize=8)
        said = shorten(text, LINE, placeholder="...")
        axis.text(0.04, line + 0.5, said, color=color, va="center", fontsize=8, parse_math=False)
