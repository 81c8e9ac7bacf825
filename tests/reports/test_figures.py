from io import BytesIO

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from src.metrics.calibration import reliability
from src.reports.figures.colors import WRONG
from src.reports.figures.retrieval import retrieval_figure
from src.reports.figures.settings import estimates_figure
from src.reports.figures.spectra import coherence_figure, reliability_figure, spectrum_figure
from src.reports.tables import Estimate, Row
from src.subspaces.minterms import minterm_name


def marked(figure: Figure) -> np.ndarray:
    """Where the picture of a figure has the colour that marks wrongly retrieved images."""
    file = BytesIO()
    figure.savefig(file)
    pixels = np.asarray(Image.open(file).convert("RGB"), dtype=float) / 255
    return np.abs(pixels - to_rgb(WRONG)).max(axis=2) < 0.02


def heights(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata(), dtype=float).tolist()


def test_wrongly_retrieved_images_are_marked_and_others_are_not() -> None:
    images = [torch.full((3, 1, 8, 8), 128, dtype=torch.uint8)]
    none, one, two = (
        marked(retrieval_figure(["a & ~b"], ["caption"], images, [[1, 2, 3]], [hits])).sum()
        for hits in ([True, True, True], [True, False, True], [False, False, True])
    )
    assert none == 0
    assert 1.9 < two / one < 2.1


def test_marks_are_seen_on_images_of_their_colour() -> None:
    color = torch.tensor(to_rgb(WRONG)).mul(255).round().byte()
    images = [color.view(1, 3, 1, 1).expand(1, 3, 8, 8)]
    shares = []
    for hit in (True, False):
        same = marked(retrieval_figure(["a"], [""], images, [[1]], [[hit]]))
        rows, columns = (np.flatnonzero(same.any(axis=axis)) for axis in (1, 0))
        inside = same[rows[0] + 9 : rows[-1] - 9, columns[0] + 9 : columns[-1] - 9]
        shares.append(1 - inside.mean())
    assert shares[0] == 0
    assert shares[1] > 0.05  # the edges of the cross


def test_retrieval_grid_takes_rows_of_any_length_and_colour_images() -> None:
    images = [
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
    ]
    ranks, hits = [[1, 9], [1, 2, 3, 4]], [[True, False], [True] * 4]
    figure = retrieval_figure(["a", "b"], ["", ""], images, ranks, hits)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["1", "9", "1", "2", "3", "4"]


def test_spectrum_shows_measured_values_and_the_optimum() -> None:
    measured = [[3.0, 2.0, 0.5], [4.0, 3.0, 0.1]]
    over_time, final = spectrum_figure([1, 2], measured, [4.5, 3.5]).axes[:2]
    lines = [heights(line) for line in over_time.lines]
    for series in ([3.0, 4.0], [2.0, 3.0], [0.5, 0.1], [4.5, 4.5], [3.5, 3.5]):
        assert series in lines
    assert [heights(line) for line in final.lines] == [[4.5, 3.5], [4.0, 3.0, 0.1]]


def test_coherence_shows_squared_cosines_under_the_names_of_minterms() -> None:
    directions = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    minterms = torch.tensor([[False, False], [True, True]])
    axes = coherence_figure(directions, minterms, ["a", "b"]).axes[0]
    shown = torch.as_tensor(np.asarray(axes.images[0].get_array(), dtype=float))
    torch.testing.assert_close(shown, torch.tensor([[1, 0.36], [0.36, 1]]).double())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none   1", "a & b   2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]


def test_minterm_is_named_by_what_is_true() -> None:
    assert minterm_name(torch.tensor([True, False, True]), ["x", "y", "z"]) == "x & z"


def test_scores_are_written_where_there_are_some() -> None:
    names = [("ours", "sum"), ("ours", "projector"), ("theirs", "probability")]
    rows: list[Row] = [
        {"a": Estimate(0.5, 0.01), "b": Estimate(0.9, None)},
        {"a": Estimate(0.25, 0.02), "b": ""},
        {"a": Estimate(1.0, 0.0), "b": Estimate(0.0, 0.125), "other": Estimate(7.0, None)},
    ]
    figure = estimates_figure(names, {"a": "positive", "b": "negated"}, rows, "mAP")
    written = [text.get_text() for text in figure.axes[0].texts]
    expected = ["0.500 ± 0.010", "0.900", "0.250 ± 0.020", "1.000 ± 0.000", "0.000 ± 0.125"]
    assert written == expected
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["ours    sum", "projector", "theirs    probability"]


def test_the_best_of_a_column_is_the_brightest() -> None:
    keys = {"test/minterm_accuracy": "accuracy", "test/spectral/max_coherence": "coherence"}
    rows: list[Row] = [
        {key: Estimate(value, None) for key, value in zip(keys, values, strict=True)}
        for values in ((0.90, 0.3), (0.92, 0.1), (0.94, 0.2))
    ]
    figure = estimates_figure([("a", "b")] * 3, keys, [*rows, {}], "mAP")
    drawn: np.ma.MaskedArray = np.ma.asarray(figure.axes[0].images[0].get_array(), dtype=float)
    shades: np.ndarray = np.ma.filled(drawn, np.nan)
    expected = np.array([[0, 0], [0.5, 1], [1, 0.5], [np.nan, np.nan]])
    assert np.allclose(shades, expected, equal_nan=True)


def test_reliability_shows_frequencies_and_how_many_there_are() -> None:
    probabilities = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.95, 0.95]])
    curve = reliability(probabilities, torch.tensor([[1, 0, 0, 0, 1, 1]]))
    figure = reliability_figure({"literals": {"probability": curve, "calibrated": curve}})
    above, below = figure.axes
    for line in above.lines[1:]:
        measured = np.asarray(line.get_xydata())
        shown = measured[~np.isnan(measured).any(axis=1)]
        assert np.allclose(shown, [(0.1, 0.25), (0.95, 1)])  # empty bins are left out
    for bars in below.containers:
        heights = [bar.get_height() for bar in bars]
        assert {place: height for place, height in enumerate(heights) if height} == {1: 4, 14: 2}
    assert "before calibration 0.117, after calibration 0.117" in above.get_title()
    assert [legend.axes for legend in figure.legends] == [None]  # on no curve
    assert above.get_legend() is None


def test_texts_are_lines_and_those_that_do_not_answer_are_red() -> None:
    shown = [["first", "second $x_1$", "third " * 50], ["fourth"]]
    ranks, hits = [[1, 2, 30], [1]], [[True, False, True], [False]]
    figure = retrieval_figure(["a & ~b", "b"], ["", ""], shown, ranks, hits)
    lines = {text.get_text(): text.get_color() for axes in figure.axes for text in axes.texts}
    assert {line for line, color in lines.items() if color == WRONG} >= {"second $x_1$", "fourth"}
    assert lines["first"] == lines["30"] == "black"
    assert any(line.startswith("third") and len(line) < 120 for line in lines)
    assert marked(figure).any()
