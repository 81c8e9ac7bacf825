"""Growth of a cost: its slope in logarithms, beside that of its theory."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import linregress

from src.reports.figures.costs import growth_figure
from src.reports.tables import Row, cell

TOLERANCE = 0.15  # of the theoretical slope
COLUMNS = {
    "what": "cost",
    "over": "over",
    "range": "range",
    "values": "first to last",
    "slope": "slope measured",
    "theory": "slope in theory",
    "reason": "why they differ",
}


class Growth(NamedTuple):
    """A cost whose growth is known in theory."""

    what: str  # the cost
    over: str  # the size that it grows with
    theory: float  # slope in logarithms
    reason: str  # why it may grow otherwise


def slope(sizes: ArrayLike, values: ArrayLike) -> float:
    """Slope of the least-squares line through logarithms."""
    return float(linregress(np.log(sizes), np.log(values)).slope)


def growth_row(growth: Growth, sizes: Sequence[int], values: Sequence[float], unit: str) -> Row:
    """A row of `COLUMNS`; the reason is given where slopes differ by more than `TOLERANCE`."""
    measured = slope(sizes, values)
    differs = abs(measured - growth.theory) > TOLERANCE * abs(growth.theory)
    return {
        "what": growth.what,
        "over": growth.over,
        "range": f"{sizes[0]:,} to {sizes[-1]:,}",
        "values": f"{cell(values[0])} to {cell(values[-1])} {unit}",
        "slope": measured,
        "theory": growth.theory,
        "reason": growth.reason if differs else "",
        "unit": unit,
        "sizes": list(sizes),
        "measured": list(values),
    }


def draw_rows(rows: Sequence[Row]) -> Figure:
    """A panel for every row."""
    return growth_figure(rows)
