"""Pictures of spectra, of the coherence of minterms and of calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from src.metrics.calibration import Reliability
from src.reports.figures.colors import MEASURED, THEORY
from src.subspaces.minterms import minterm_name
from src.subspaces.projectors import coherence

MAX_NAMED_MINTERMS = 48


def spectrum_figure(
    epochs: Sequence[int], measured: Sequence[Sequence[float]], optimal: Sequence[float]
) -> Figure:
    """Draw singular values of the embeddings over training, with the closed-form optimum.

    Args:
        epochs: (T,), counted from 1.
        measured: (T, D), descending in every row.
        optimal: (r,), descending; none where it is out of reach.
    """
    values = np.asarray(measured)
    rank = len(optimal) or values.shape[1]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    over_time, final = figure.subplots(1, 2)

    over_time.plot(epochs, values[:, :rank], color=MEASURED, linewidth=1)
    over_time.plot(epochs, values[:, rank:], color="0.75", linewidth=0.8)
    for level in sorted({round(value, 6) for value in optimal}):
        over_time.axhline(level, color=THEORY, linestyle="--", linewidth=1)
    over_time.set(xlabel="epoch", ylabel="singular value", title="over training", ylim=(0, None))

    final.plot(range(1, len(optimal) + 1), optimal, "--_", color=THEORY, markersize=14)
    final.plot(range(1, values.shape[1] + 1), values[-1], "o", color=MEASURED, markersize=4)
    final.set(xlabel="index", title=f"after epoch {epochs[-1]}", ylim=(0, None))
    if optimal:
        handles = [
            over_time.plot([], [], color=MEASURED, label=f"largest {rank}, as many as optimal")[0],
            over_time.plot([], [], color="0.75", label="others, optimally 0")[0],
            over_time.plot([], [], "--", color=THEORY, label="closed-form optimum")[0],
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Singular values of the embeddings of a training batch")
    return figure


def coherence_figure(directions: Tensor, minterms: Tensor, literals: Sequence[str]) -> Figure:
    """Draw squared cosines between minterm directions.

    Args:
        directions: (M, D), unit rows.
        minterms: (M, C), bool.
        literals: The names of the literals, (C,).
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


def reliability_figure(panels: Mapping[str, Mapping[str, Reliability]]) -> Figure:
    """Draw frequencies against probabilities, over the share of each bin of the first curve.

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
