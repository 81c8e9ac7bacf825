"""Pictures of retrieved images."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from src.reports.figures.colors import HALO, WRONG


def retrieval_figure(
    queries: Sequence[str],
    captions: Sequence[str],
    images: Sequence[Tensor],
    ranks: Sequence[Sequence[int]],
    hits: Sequence[Sequence[bool]],
) -> Figure:
    """Draw retrieved images, one row a query; those that do not answer it are framed and crossed,
    in red, and on red images still seen by white edges.

    Args:
        queries: (Q,).
        captions: (Q,), shown after each query.
        images: For each query, (k, channels, height, width), uint8, best first. Heights and widths
            may differ between queries.
        ranks: For each query, (k,), counted from 1.
        hits: For each query, (k,), whether an image answers it.
    """
    columns = max(len(row) for row in images)
    tallest = max(row.shape[-2] / row.shape[-1] for row in images)
    height = (0.95 * tallest + 0.55) * len(queries) + 0.2
    figure = Figure(figsize=(0.95 * columns + 0.4, height), layout="constrained")
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
                for ends in ([0, 1], [1, 0]):
                    (line,) = axis.plot([0, 1], ends, transform=axis.transAxes)
                    line.set(color=WRONG, linewidth=1.5, path_effects=HALO)
                for spine in axis.spines.values():
                    spine.set(color=WRONG, linewidth=2.5)
    return figure
