"""Pictures of costs: the time of steps and runs, and how costs grow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from src.reports.figures.colors import MEASURED, THEORY, WRONG


def phases_figure(names: Sequence[str], phases: Mapping[str, Sequence[float]]) -> Figure:
    """Draw where time goes: a bar for each of several steps, parted by phases.

    Args:
        names: The steps, (n,).
        phases: The milliseconds of each phase, (n,), by its name.
    """
    figure = Figure(figsize=(8, 1.4 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    start = np.zeros(len(names))
    colors = ("0.6", "tab:cyan", WRONG, MEASURED, "tab:olive")
    for (phase, values), color in zip(phases.items(), colors, strict=True):
        axes.barh(names, values, left=start, label=phase, color=color, height=0.6)
        start += values
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(phases), frameon=False)
    return figure


def target_figure(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]], target: float
) -> Figure:
    """Draw accuracies over time, a line for each run.

    Args:
        curves: The runs of each method: seconds and accuracies, both (T,).
        target: The accuracy that runs stop at.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for index, (method, runs) in enumerate(curves.items()):
        for run, (seconds, accuracies) in enumerate(runs):
            label = method if run == 0 else None
            axes.plot(seconds, accuracies, "o-", color=f"C{index}", markersize=3, label=label)
    axes.axhline(target, color=THEORY, linestyle="--", linewidth=1)
    axes.set(xlabel="seconds", ylabel="minterm accuracy", xlim=(0, None), ylim=(None, 1))
    axes.grid(color="0.9")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def growth_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw costs over sizes in logarithms, with their slope and that of theory: a panel for each.

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
