"""Pictures of spectra, of the coherence of minterms and of calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from src.metrics.calibration import Reliability
from src.metrics.names import CALIBRATED, PROBABILITY
from src.reports.figures.colors import MEASURED, THEORY
from src.subspaces.minterms import minterm_name
from src.subspaces.projectors import coherence

MAX_NAMED_MINTERMS = 48
CURVES = {PROBABILITY: "before calibration", CALIBRATED: "after calibration"}


def spectrum_figure(
    epochs: Sequence[int], measured: Sequence[Sequence[float]], optimal: Sequence[float]
) -> Figure:
    """Draw singular values of the embeddings over training, with the closed-form optimum.

    Args:
        epochs: (T,), counted from 1.
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
    final.set(xlabel="index, largest first", title=f"after epoch {epochs[-1]}", ylim=(0, None))
    handles = [
        figure.axes[0].plot([], [], color=MEASURED, label=f"largest {rank}, as many as optimal")[0],
        figure.axes[0].plot([], [], color="0.75", label="others, optimally 0")[0],
        figure.axes[0].plot([], [], "--", color=THEORY, label="closed-form optimum")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Singular values of the embeddings of a training batch")
    return figure


def coherence_figure(directions: Tensor, minterms: Tensor, literals: Sequence[str]) -> Figure:
    """Draw squared cosines between minterm directions, rows with the names of the minterms.

    Args:
        directions: (M, D), unit rows.
        minterms: (M, C), bool.
        literals: The names of the literals, (C,).
    """
    matrix = coherence(directions).cpu().numpy()
    names = [minterm_name(row, literals) for row in minterms.cpu()]
    size = min(1.8 + 0.3 * len(names), 10)
    figure = Figure(figsize=(size + 3, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    if len(names) <= MAX_NAMED_MINTERMS:
        numbers = range(1, len(names) + 1)
        axes.set_xticks(range(len(names)), map(str, numbers), fontsize=8)
        numbered = [f"{name}   {number}" for number, name in zip(numbers, names, strict=True)]
        axes.set_yticks(range(len(names)), numbered, fontsize=8)
    axes.set_ylabel("minterm; what it does not name is false", fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8, label="squared cosine")
    largest = np.max(matrix - np.diag(np.diag(matrix)), initial=0)
    axes.set_title(f"Largest off the diagonal: {largest:.2g}", fontsize=10)
    return figure


def reliability_figure(panels: Mapping[str, Mapping[str, Reliability]]) -> Figure:
    """Draw frequencies against probabilities, above the number of entries in each bin.

    Args:
        panels: The curves of each panel, before and after calibration, by the names of their
            scores.
    """
    figure = Figure(figsize=(4.6 * len(panels), 6.4), layout="constrained")
    axes = figure.subplots(2, len(panels), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (above, below), (title, curves) in zip(axes.T, panels.items(), strict=True):
        above.plot([0, 1], [0, 1], "--", color=THEORY, linewidth=1)
        for place, (name, curve) in enumerate(curves.items()):
            confidence, frequency, number = (
                part.cpu().numpy() for part in (curve.confidence, curve.frequency, curve.number)
            )
            above.plot(confidence, frequency, "o-", markersize=4, linewidth=1, label=CURVES[name])
            width = 1 / len(number) / len(curves)
            below.bar(
                np.arange(len(number)) / len(number) + place * width, number, width, align="edge"
            )
        errors = [f"{CURVES[name]} {each.expected_error():.3f}" for name, each in curves.items()]
        above.set_title(f"{title}\nerror {', '.join(errors)}", fontsize=10)
        above.set(xlim=(0, 1), ylim=(0, 1.02))
        below.set(xlabel="probability", yscale="log")
    axes[0, 0].set_ylabel("share that is true")
    axes[1, 0].set_ylabel("number in the bin")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure
