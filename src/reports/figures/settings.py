"""Pictures of measures over settings: coloured tables, curves, grids and parallel coordinates."""

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from src.metrics.names import smaller_is_better
from src.reports.tables import Row

HEADING_WIDTH = 15  # characters
DARK = 0.6  # shades on which text is white
LETTER, HANDLE = 0.08, 0.5  # inches of a legend


def estimates_figure(
    names: Sequence[tuple[str, str]], columns: Mapping[str, str], rows: Sequence[Row], title: str
) -> Figure:
    """Draw a table of estimates, each column coloured from its worst mean to its best.

    Args:
        names: (R,), a method and how it was asked; rows of one method stand together.
        columns: From the keys of a row to headings.
        rows: (R,), of estimates; a missing one is an empty cell.
        title: The title of the picture.
    """
    cells = [[row.get(key) or None for key in columns] for row in rows]
    means = np.array([[np.nan if cell is None else cell.mean for cell in line] for line in cells])
    columns_shaded = zip(columns, means.T, strict=True)
    shades = np.transpose([shade(values, smaller_is_better(key)) for key, values in columns_shaded])
    figure = Figure(
        figsize=(5 + 1.15 * len(columns), 1.2 + 0.32 * len(names)), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(shades, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if cell is not None:
                text = f"{cell.mean:.3f}" + ("" if cell.std is None else f" ± {cell.std:.3f}")
                color = "white" if shades[row, column] < DARK else "black"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    methods = [method for method, _ in names]
    for row in range(1, len(names)):
        if methods[row] != methods[row - 1]:
            axes.axhline(row - 0.5, color="white", linewidth=4)
    labels = [
        f"{method}    {score}" if row == 0 or methods[row - 1] != method else score
        for row, (method, score) in enumerate(names)
    ]
    axes.set_yticks(range(len(names)), labels, fontsize=8)
    headings = [fill(heading, HEADING_WIDTH) for heading in columns.values()]
    axes.set_xticks(range(len(columns)), headings, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    return figure


def lines_figure(
    axes: Mapping[str, Sequence[float]], logarithmic: Sequence[str], colored_by: str
) -> Figure:
    """Draw parallel coordinates: a line for each setting through all axes.

    Each axis goes from its least to its largest value.

    Args:
        axes: The values of all settings, (n,), by the name of the axis.
        logarithmic: Names of axes in logarithms, whose values are above 0.
        colored_by: The axis whose values colour the lines; the largest are drawn on top.
    """
    heights = {}
    for name, values in axes.items():
        scaled = np.log(values) if name in logarithmic else np.asarray(values, dtype=float)
        width = scaled.max() - scaled.min()
        heights[name] = (scaled - scaled.min()) / width if width else np.full(len(scaled), 0.5)
    figure = Figure(figsize=(1.8 * len(axes) + 1, 3.6), layout="constrained")
    panel = figure.subplots()
    color = colormaps["viridis"]
    for row in np.argsort(heights[colored_by]):
        line = [heights[name][row] for name in axes]
        panel.plot(range(len(axes)), line, color=color(heights[colored_by][row]), linewidth=1.5)
    for place, values in enumerate(axes.values()):
        panel.axvline(place, color="0.6", linewidth=1)
        for value, height, side in (
            (min(values), -0.03, "top"),
            (max(values), 1.03, "bottom"),
        ):
            panel.text(place, height, f"{value:.3g}", ha="center", va=side, fontsize=8)
    panel.set_xticks(range(len(axes)), list(axes))
    panel.tick_params(length=0, pad=14)
    panel.set(yticks=[], ylim=(-0.05, 1.05))
    panel.spines[:].set_visible(False)
    return figure


def curves_figure(
    name: str,
    values: Sequence[str],
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
) -> Figure:
    """Draw measures over a setting: a panel for each measure, a line for each series.

    Args:
        name: The setting.
        values: (n,), ascending numbers: of shares, which begin at 0, shown at their distances, of
            others, whose ratios matter, at equal ones.
        panels: From measures to series to means and deviations, both (n,); NaN where there is none.
    """
    figure = Figure(figsize=(3.6 * len(panels), 3.4), layout="constrained")
    numbers = [float(value) for value in values]
    places = numbers if numbers[0] == 0 else range(len(numbers))
    for axes, (measure, series) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for label, (means, deviations) in series.items():
            axes.errorbar(
                places, means, np.nan_to_num(deviations), fmt="o-", markersize=4,
                capsize=2, label=label,
            )  # fmt: skip
        axes.set_xticks(places, values)
        axes.set(xlabel=name, title=measure)
        axes.grid(color="0.9")
    if len(series) > 1:
        widest = max(map(len, series)) * LETTER + HANDLE
        columns = min(4, max(1, int(figure.get_figwidth() / widest)))  # that fit beside each other
        handles = axes.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=columns)
    return figure


def grid_figure(
    names: tuple[str, str],
    values: tuple[Sequence[str], Sequence[str]],
    panels: Mapping[str, Sequence[Sequence[float]]],
    falling: Collection[str],
) -> Figure:
    """Draw measures over two settings: a grid for each, coloured from its worst value to its best.

    Args:
        names: The settings down and across.
        values: Their values, (m,) and (n,).
        panels: From measures to means, (m, n); NaN where there is none.
        falling: Measures of which smaller values are better.
    """
    down, across = values
    width = 1 + 0.75 * len(across)
    figure = Figure(figsize=(width * len(panels), 1.4 + 0.5 * len(down)), layout="constrained")
    for axes, (measure, means) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        shown = np.asarray(means, dtype=float)
        shades = shade(shown, measure in falling)
        axes.imshow(shades, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(shown):
            if not np.isnan(value):
                color = "white" if shades[row, column] < DARK else "black"
                axes.text(
                    column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=color
                )
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down)
        axes.set(xlabel=names[1], ylabel=names[0], title=measure)
    return figure


def shade(values: np.ndarray, falling: bool) -> np.ndarray:
    """Scale values, NaN where there is none, from 0 for the worst to 1 for the best; 1/2 where all
    are the same.

    Args:
        values: Of any shape.
        falling: Whether smaller values are better.
    """
    known = values[~np.isnan(values)]
    width = np.ptp(known) if known.size else 0
    if not width:
        return np.where(np.isnan(values), np.nan, 0.5)
    shades = (values - known.min()) / width
    return 1 - shades if falling else shades
