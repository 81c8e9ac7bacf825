from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from src.tables.sensitivity import parallel_figure, sensitivity_figure

Settings = dict[tuple[str, ...], list[dict[str, Any]]]

ACCURACY, GAP = "test/minterm_accuracy", "test/spectral/relative_gap"
NEGATED = "test/retrieval/map_negated"


def test_a_sweep_over_one_number_is_a_curve_for_each_choice_of_the_rest() -> None:
    settings: Settings = {
        (f"method={method}", f"loader.flipped={share}"): [
            {ACCURACY: 1 - share - offset, GAP: None},
            {ACCURACY: 1 - share + offset, GAP: None},
        ]
        for method, offset in (("ours", 0.1), ("theirs", 0.2))
        for share in (0.5, 0.1, 0.25)
    }
    figure = sensitivity_figure(settings, labels={"method=theirs": "all others"})
    assert figure is not None
    (axes,) = figure.axes  # nothing has a gap
    assert axes.get_title() == "minterm accuracy"
    assert axes.get_xlabel() == "share of training images with wrong labels"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.25", "0.5"]
    handles, labels = axes.get_legend_handles_labels()
    assert labels == ["ours", "all others"]
    for container, offset in zip(handles, (0.1, 0.2), strict=True):
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container
        assert np.allclose(line.get_ydata(), [0.9, 0.75, 0.5])
        heights = [high - low for (_, low), (_, high) in bars.get_segments()]
        assert heights == pytest.approx([2 * offset * 2**0.5] * 3)


def test_a_sweep_over_two_numbers_is_a_grid_with_holes_where_runs_are_missing() -> None:
    settings: Settings = {
        (f"loss.alpha={alpha}", f"loss.beta={beta}"): [{ACCURACY: alpha * beta}]
        for alpha in (0.9, 0.5, 0.99)
        for beta in (0.1, 1, 10, 2)
        if (alpha, beta) != (0.5, 10)
    }
    figure = sensitivity_figure(settings)
    assert figure is not None
    (axes,) = figure.axes
    shown: np.ndarray = np.ma.filled(np.ma.asarray(axes.images[0].get_array(), dtype=float), np.nan)
    expected = np.outer([0.5, 0.9, 0.99], [0.1, 1, 2, 10])
    assert [text.get_text() for text in axes.texts][:3] == ["0.050", "0.500", "1.000"]
    expected[0, 3] = np.nan
    expected = (expected - 0.05) / (9.9 - 0.05)
    assert np.allclose(shown, expected, equal_nan=True)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.5", "0.9", "0.99"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "1", "2", "10"]


@pytest.mark.parametrize(
    ("values", "places"), [((0, 0.1, 0.5), (0, 0.1, 0.5)), ((1, 2, 9), (0, 1, 2))]
)
def test_shares_stand_at_their_distances(values: Sequence[float], places: Sequence[float]) -> None:
    settings: Settings = {
        (f"loader.masked={value}",): [{ACCURACY: 1.0, NEGATED: 1.0}] for value in values
    }
    figure = sensitivity_figure(settings, {NEGATED: "mAP"})
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_title() == "mAP"
    assert np.allclose(np.asarray(axes.lines[0].get_xdata(), dtype=float), places)


def test_two_values_are_worth_a_picture() -> None:
    settings: Settings = {
        ("loss.alpha=0.9",): [{ACCURACY: 1.0}],
        ("loss.alpha=0.5",): [{ACCURACY: 0.5}],
    }
    figure = sensitivity_figure(settings)
    assert figure is not None
    heights = np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float)
    assert np.allclose(heights, [0.5, 1])


def test_the_best_cell_of_a_grid_is_the_brightest() -> None:
    settings: Settings = {
        (f"loss.alpha={alpha}", f"loss.beta={beta}"): [{ACCURACY: alpha + beta, GAP: alpha + beta}]
        for alpha in (0.1, 0.2)
        for beta in (0.3, 0.6)
    }
    figure = sensitivity_figure(settings)
    assert figure is not None
    rising, falling = (axes.images[0] for axes in figure.axes)
    expected = np.array([[0, 0.75], [0.25, 1]])
    assert np.allclose(np.asarray(rising.get_array(), dtype=float), expected)
    assert np.allclose(np.asarray(falling.get_array(), dtype=float), 1 - expected)
    assert rising.get_clim() == falling.get_clim() == (0, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {("loss.alpha=0.9", f"loss={name}"): [{ACCURACY: 1.0}] for name in ("ole", "mmcr")},
        {(f"loss={name}",): [{ACCURACY: 1.0}] for name in ("ole", "mmcr", "mcr2")},
        {(f"loss.alpha={alpha}",): [] for alpha in (0.5, 0.9, 0.99)},
        {(): [{ACCURACY: 1.0}]},
    ],
    ids=["one value", "names", "nothing finished", "one setting"],
)
def test_other_sweeps_have_no_picture(settings: Settings) -> None:
    assert sensitivity_figure(settings) is None
    assert parallel_figure(settings) is None


def test_a_search_is_a_line_for_each_setting_and_no_grid() -> None:
    chosen = {(0.5, 0.01): 0.6, (0.9, 1.0): 0.7, (0.7, 0.1): 0.9}
    settings: Settings = {
        (f"loss.alpha={alpha}", f"loss.beta={beta}"): [
            {NEGATED: value - 0.1},
            {NEGATED: value + 0.1},
        ]
        for (alpha, beta), value in chosen.items()
    }
    assert sensitivity_figure(settings) is None
    figure = parallel_figure(settings)
    assert figure is not None
    (axes,) = figure.axes
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    assert names == ["loss alpha", "loss beta", "mAP negated"]
    drawn = [np.asarray(line.get_ydata()).astype(float) for line in axes.lines]
    lines = np.stack([heights for heights in drawn if heights.size == 3])
    # From the least to the largest mAP; alpha by its logarithm, 0.7 between 0.5 and 0.9
    middle = np.log(0.7 / 0.5) / np.log(0.9 / 0.5)
    expected = np.array([[0, 0, 0], [1, 1, 1 / 3], [middle, 0.5, 1]])
    assert np.allclose(lines, expected)
    assert {"0.5", "0.9", "0.01", "1", "0.6"} <= {text.get_text() for text in axes.texts}
