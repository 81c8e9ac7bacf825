"""Pictures of spectra, coherence, calibration, retrieved images and costs."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from src.metrics.calibration import Reliability
from src.reports.tables import Row
from src.subspaces.minterms import minterm_name
from src.subspaces.projectors import coherence

MAX_NAMED_MINTERMS = 48
HEADING_WIDTH = 15  # characters
MEASURED, THEORY, WRONG = "tab:blue", "black", "tab:red"


def spectrum_figure(
    epochs: Sequence[int], measured: Sequence[Sequence[float]], optimal: Sequence[float]
) -> Figure:
    """Singular values of the embeddings over training, with the closed-form optimum.

    Args:
        epochs: (T,).
        measured: (T, D), descending in every row.
        optimal: (r,), descending.
    """
    values = np.asarray(measured)
    rank = len(optimal)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    over_time, final = figure.subplots(1, 2)

    over_time.plot(epochs, values[:, :rank], color=MEASURED, linewidth=1)
    over_time.plot(epochs, values[:, rank:], color="0.75", linewidth=0.8)
    for level in sorted({round(value, 6) for value in optimal}):
        over_time.axhline(level, color=THEORY, linestyle="--", linewidth=1)
    over_time.set(xlabel="epoch", ylabel="singular value", title="over training", ylim=(0, None))

    final.plot(range(1, rank + 1), optimal, "--_", color=THEORY, markersize=14)
    final.plot(range(1, values.shape[1] + 1), values[-1], "o", color=MEASURED, markersize=4)
    final.set(xlabel="index", title=f"after epoch {epochs[-1]}", ylim=(0, None))
    handles = [
        figure.axes[0].plot([], [], color=MEASURED, label=f"largest {rank}, as many as optimal")[0],
        figure.axes[0].plot([], [], color="0.75", label="others, optimally 0")[0],
        figure.axes[0].plot([], [], "--", color=THEORY, label="closed-form optimum")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Singular values of the embeddings of a training batch")
    return figure


def coherence_figure(directions: Tensor, minterms: Tensor, literals: Sequence[str]) -> Figure:
    """Squared cosines between minterm directions.

    Args:
        directions: (M, D), unit rows.
        minterms: (M, C), bool.
        literals: (C,), names.
    """
    matrix = coherence(directions).cpu().numpy()
    names = [minterm_name(row, literals) for row in minterms.cpu()]
    size = min(2.8 + 0.32 * len(names), 12)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    if len(names) <= MAX_NAMED_MINTERMS:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.8, label=r"$|u_i \cdot u_j|^2$")
    largest = np.max(matrix - np.diag(np.diag(matrix)), initial=0)
    axes.set_title(f"Coherence of minterms, largest {largest:.2g}", fontsize=10)
    return figure


def retrieval_figure(
    queries: Sequence[str],
    captions: Sequence[str],
    images: Sequence[Tensor],
    ranks: Sequence[Sequence[int]],
    hits: Sequence[Sequence[bool]],
) -> Figure:
    """Retrieved images, one row a query; those that do not answer it are framed and crossed.

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


def reliability_figure(panels: Mapping[str, Mapping[str, Reliability]]) -> Figure:
    """Frequencies against probabilities, over the share of each bin of the first curve.

    Args:
        panels: The curves of each panel, by their names.
    """
    figure = Figure(figsize=(4.6 * len(panels), 4.8), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        shares = next(iter(curves.values())).share.cpu().numpy()
        bins = len(shares)
        axes.bar(np.arange(bins) / bins, shares, 1 / bins, align="edge", color="0.9")
        axes.plot([0, 1], [0, 1], "--", color=THEORY, linewidth=1)
        for name, curve in curves.items():
            label = f"{name}: error {curve.expected_error():.3f}"
            measured = curve.confidence.cpu().numpy(), curve.frequency.cpu().numpy()
            axes.plot(*measured, "o-", markersize=4, linewidth=1, label=label)
        axes.set(title=title, xlabel="probability", xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    all_axes[0].set_ylabel("share that is true; grey: share of all")
    return figure


def estimates_figure(
    names: Sequence[tuple[str, str]], columns: Mapping[str, str], rows: Sequence[Row], title: str
) -> Figure:
    """A coloured table of estimates.

    Args:
        names: (R,), a method and how it was asked; rows of one method stand together.
        columns: From the keys of a row to headings.
        rows: (R,), of estimates between 0 and 1; a missing one is an empty cell.
        title: What is shown.
    """
    cells = [[row.get(key) or None for key in columns] for row in rows]
    means = [[float("nan") if cell is None else cell.mean for cell in line] for line in cells]
    figure = Figure(
        figsize=(5 + 1.15 * len(columns), 1.2 + 0.32 * len(names)), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(means, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if cell is not None:
                text = f"{cell.mean:.3f}" + ("" if cell.std is None else f" ± {cell.std:.3f}")
                color = "white" if cell.mean < 0.6 else "black"
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
    """Parallel coordinates: a line for each setting through all axes, each from its least to its
    largest value.

    Args:
        axes: (n,) values of the settings, by the name of the axis.
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
    shade = colormaps["viridis"]
    for row in np.argsort(heights[colored_by]):
        line = [heights[name][row] for name in axes]
        panel.plot(range(len(axes)), line, color=shade(heights[colored_by][row]), linewidth=1.5)
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
    """Measures over a setting: a panel for each measure, a line for each series.

    Args:
        name, values: Of the setting: (n,), shown at equal distances.
        panels: From measures to series to means and deviations, both (n,); NaN where there is none.
    """
    figure = Figure(figsize=(3.6 * len(panels), 3.4), layout="constrained")
    for axes, (measure, series) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for label, (means, deviations) in series.items():
            axes.errorbar(
                range(len(values)), means, np.nan_to_num(deviations), fmt="o-", markersize=4,
                capsize=2, label=label,
            )  # fmt: skip
        axes.set_xticks(range(len(values)), values)
        axes.set(xlabel=name, title=measure)
        axes.grid(color="0.9")
    if len(series) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def grid_figure(
    names: tuple[str, str],
    values: tuple[Sequence[str], Sequence[str]],
    panels: Mapping[str, Sequence[Sequence[float]]],
) -> Figure:
    """Measures over two settings: a coloured grid for each measure.

    Args:
        names, values: Of the settings down and across: (m,) and (n,).
        panels: From measures to means, (m, n); NaN where there is none.
    """
    down, across = values
    width = 1 + 0.75 * len(across)
    figure = Figure(figsize=(width * len(panels), 1.4 + 0.5 * len(down)), layout="constrained")
    for axes, (measure, means) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        shown = np.asarray(means, dtype=float)
        middle = (np.nanmin(shown) + np.nanmax(shown)) / 2
        axes.imshow(shown, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(shown):
            if not np.isnan(value):
                color = "white" if value < middle else "black"
                axes.text(
                    column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=color
                )
        axes.set_xticks(range(len(across)), across)
        axes.set_yticks(range(len(down)), down)
        axes.set(xlabel=names[1], ylabel=names[0], title=measure)
    return figure


def phases_figure(names: Sequence[str], phases: Mapping[str, Sequence[float]]) -> Figure:
    """Where time goes: a bar for each of several steps, parted by phases.

    Args:
        names: Of the steps, (n,).
        phases: From their names to milliseconds, (n,).
    """
    figure = Figure(figsize=(8, 1.4 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    start = np.zeros(len(names))
    colors = ("0.6", "tab:cyan", WRONG, MEASURED, "tab:olive")
    for (phase, values), color in zip(phases.items(), colors, strict=True):
        axes.barh(names, values, left=start, label=phase, color=color, height=0.6)
        start += values
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(phases), frameon=False)
    return figure


def target_figure(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]], target: float
) -> Figure:
    """Accuracies over time, a line for each run.

    Args:
        curves: From methods to runs: seconds and accuracies, both (T,).
        target: Where the runs stop.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for index, (method, runs) in enumerate(curves.items()):
        for run, (seconds, accuracies) in enumerate(runs):
            label = method if run == 0 else None
            axes.plot(seconds, accuracies, "o-", color=f"C{index}", markersize=3, label=label)
    axes.axhline(target, color=THEORY, linestyle="--", linewidth=1)
    axes.set(xlabel="s", ylabel="minterm accuracy", xlim=(0, None), ylim=(None, 1))
    axes.grid(color="0.9")
    axes.legend(frameon=False, loc="lower right")
    return figure


def growth_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Costs over sizes in logarithms, with their slope and that of theory: a panel for each.

    Args:
        rows: As `src.benchmarks.growth.growth_row` gives.
    """
    columns = min(len(rows), 4)
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(3.3 * columns, 3.2 * lines), layout="constrained")
    all_axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes in all_axes[len(rows) :]:
        axes.axis("off")
    for axes, row in zip(all_axes, rows, strict=False):
        sizes, values = np.asarray(row["sizes"]), np.asarray(row["measured"])
        middle = np.exp(np.log(sizes).mean()), np.exp(np.log(values).mean())
        for slope, style, color in ((row["slope"], "-", MEASURED), (row["theory"], "--", THEORY)):
            line = middle[1] * (sizes / middle[0]) ** slope
            axes.plot(sizes, line, style, color=color, linewidth=1, label=f"slope {slope:.2f}")
        axes.plot(sizes, values, "o", color=MEASURED, markersize=5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45, fontsize=8)
        axes.set_yticks(values, [_three_digits(value) for value in values], fontsize=8)
        axes.minorticks_off()
        axes.set(xlabel=row["over"], ylabel=row["unit"], title=row["what"])
        axes.grid(color="0.9")
        axes.legend(frameon=False, fontsize=8)
    handles = [
        figure.axes[0].plot([], [], "o-", color=MEASURED, label="measured")[0],
        figure.axes[0].plot([], [], "--", color=THEORY, label="theory, through the middle")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
