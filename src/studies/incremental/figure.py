"""The figure of the study: accuracies over epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from src.reports.figures.colors import THEORY
from src.studies.incremental.learner import Accuracies

TITLES = {
    "old_own": "old among the old",
    "new_own": "new among the new",
    "old_all": "old among all",
    "new_all": "new among all",
}
COLORS = ("tab:red", "tab:orange", "tab:cyan", "tab:blue", "tab:green")


def accuracy_figure(histories: Mapping[str, Sequence[Sequence[Accuracies]]], epochs: int) -> Figure:
    """Accuracy over epochs: old and new classes, each among their own and among all.

    Args:
        histories: Accuracies after every epoch, in a list over seeds, for each method.
        epochs: Number of epochs of each of the two phases.
    """
    drawing = Figure(figsize=(9, 6.4), layout="constrained")
    panels = drawing.subplots(2, 2, sharex=True, sharey=True)
    for axes, (measure, title) in zip(panels.T.flat, TITLES.items(), strict=True):
        start = 0 if measure.startswith("old") else epochs
        for color, (name, runs) in zip(COLORS, histories.items(), strict=True):
            values = np.array([[point[measure] for point in run] for run in runs])[:, start:]
            x, mean_value, spread = np.arange(start, 2 * epochs) + 1, values.mean(0), values.std(0)
            axes.plot(x, mean_value, "o-", color=color, markersize=3, linewidth=1.3, label=name)
            axes.fill_between(
                x, mean_value - spread, mean_value + spread, color=color, alpha=0.15, linewidth=0
            )
        axes.axvline(epochs + 0.5, color=THEORY, linestyle="--", linewidth=1)
        axes.set(title=f"{title} classes", ylim=(-0.02, 1))
    for axes in panels[-1]:
        axes.set_xlabel("epoch; dashed: from here on new classes alone")
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("accuracy")
    handles, names = panels[0, 0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return drawing
