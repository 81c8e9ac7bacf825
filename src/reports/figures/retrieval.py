"""Pictures of retrieved images."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from src.reports.figures.colors import WRONG


def retrieval_figure(
    queries: Sequence[str],
    captions: Sequence[str],
    images: Sequence[Tensor],
    ranks: Sequence[Sequence[int]],
    hits: Sequence[Sequence[bool]],
) -> Figure:
    """Draw retrieved images, one row a query; those that do not answer it are framed and crossed.

    Args:
        queries: (Q,).
        captions: (Q,), shown after each query.
        images: For each query, (k, channels, height, width), uint8, best first.
        ranks: For each query, (k,), counted from 1.
        hits: For each query, (k,), whether an image answers it.
    """
    columns = max(len(row) for row in images)
    figure = Figure(figsize=(0.95 * columns + 0.4, 1.5 * len(queries) + 0.2), layout="constrained")
    panels = figure.subfigures(len(queries), 1, squeeze=False)[:, 0]
    for row, panel in enumerate(panels):
        panel.suptitle(f"{queries[row]}    {captions[row]}", x=0.01, ha="left", fontsize=10)
        axes = panel.subplots(1, columns, squeeze=False)[0]
        for column, axis in enumerate(axes):
            axis.set_xticks([])
            axis.set_yticks([])
            if column >= len(images[row]):
                axis.axis("off")
                continue
            pixels = images[row][column].permute(1, 2, 0).numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axis.set_title(str(ranks[row][column]), fontsize=8, pad=2)
            if not hits[row][column]:
                axis.plot([0, 1], [0, 1], color=WRONG, transform=axis.transAxes, linewidth=1.5)
                axis.plot([0, 1], [1, 0], color=WRONG, transform=axis.transAxes, linewidth=1.5)
                for spine in axis.spines.values():
                    spine.set(color=WRONG, linewidth=2.5)
    return figure
