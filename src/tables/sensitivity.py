"""Pictures of sweeps over numbers, which show how much results depend on a setting."""

from collections.abc import Mapping, Sequence
from math import prod
from statistics import mean, stdev
from types import MappingProxyType

from matplotlib.figure import Figure

from src.metrics.names import (
    MAIN_HEADINGS,
    MAP,
    MINTERM_ACCURACY,
    NEGATED,
    POSITIVE,
    RELATIVE_GAP,
    retrieval_name,
    smaller_is_better,
)
from src.reports.figures.settings import curves_figure, grid_figure, lines_figure
from src.reports.words import in_words
from src.tables.aggregate import Results, Setting, measurements

DRAWN = (
    *(MINTERM_ACCURACY, retrieval_name(MAP, POSITIVE)),
    *(retrieval_name(MAP, NEGATED), RELATIVE_GAP),
)
MEASURES = {f"test/{name}": MAIN_HEADINGS[name] for name in DRAWN}
COLORING = f"test/{retrieval_name(MAP, NEGATED)}"  # of parallel coordinates
FEWEST = 2  # values of a setting that are worth a picture
MOSTLY = 0.5  # share of a grid's cells that make it one


def sensitivity_figure(
    settings: Mapping[Setting, Results],
    measures: Mapping[str, str] = MEASURES,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Figure | None:
    """Draw curves over one number, a line for each choice of the rest, or a grid over two numbers.

    Args:
        settings: The results of the runs of each setting, an override `key=value` for each thing
            that settings differ in.
        measures: Metrics, with their headings; those that no run has are left out.
        labels: What overrides are called; by default their value.

    Returns:
        None if no setting is a number with at least two values, or there is more to show.
    """
    chosen, numbers = _numbers_of(settings)
    values = {key: sorted({choice[key] for choice in chosen}, key=float) for key in numbers}
    rest = [
        ", ".join(
            labels.get(f"{key}={value}", value)
            for key, value in choice.items()
            if key not in numbers
        )
        for choice in chosen
    ]
    measures = {
        key: heading
        for key, heading in measures.items()
        if any(measurements(results, key) for results in settings.values())
    }
    if not measures:
        return None
    cells = {
        (label, *(choice[key] for key in numbers)): results
        for choice, label, results in zip(chosen, rest, settings.values(), strict=True)
    }
    if len(numbers) == 1:
        (name,) = numbers
        panels = {
            heading: {
                label: _statistics([cells.get((label, value), ()) for value in values[name]], key)
                for label in dict.fromkeys(rest)
            }
            for key, heading in measures.items()
        }
        return curves_figure(in_words(name), values[name], panels)
    filled = len(cells) / prod(len(values[key]) for key in numbers) if numbers else 0
    if len(numbers) == 2 and len(set(rest)) == 1 and filled > MOSTLY:
        down, across = numbers
        grids = {
            heading: [
                _statistics(
                    [cells.get((rest[0], row, column), ()) for column in values[across]], key
                )[0]
                for row in values[down]
            ]
            for key, heading in measures.items()
        }
        falling = [heading for key, heading in measures.items() if smaller_is_better(key)]
        named = in_words(down), in_words(across)
        return grid_figure(named, (values[down], values[across]), grids, falling)
    return None


def parallel_figure(settings: Mapping[Setting, Results]) -> Figure | None:
    """Draw a line for each setting through the numbers that were set and the measures of its runs.

    Args:
        settings: As in `sensitivity_figure`.

    Returns:
        None if settings differ in fewer than two numbers, or in anything else.
    """
    chosen, numbers = _numbers_of(settings)
    measures = [key for key in MEASURES if all(measurements(run, key) for run in settings.values())]
    others = any(len(choice) > len(numbers) for choice in chosen)
    if len(numbers) < 2 or others or COLORING not in measures:
        return None
    axes = {in_words(key): [float(choice[key]) for choice in chosen] for key in numbers}
    logarithmic = [name for name, values in axes.items() if min(values) > 0]
    axes |= {MEASURES[key]: _statistics(list(settings.values()), key)[0] for key in measures}
    return lines_figure(axes, logarithmic, colored_by=MEASURES[COLORING])


def _numbers_of(
    settings: Mapping[Setting, Results],
) -> tuple[list[dict[str, str]], list[str]]:
    """The choices of each setting, by key, and the keys that are numbers with values enough."""
    chosen = [dict(override.partition("=")[::2] for override in setting) for setting in settings]
    numbers = [
        key
        for key in chosen[0]
        if all(_is_number(choice.get(key, "")) for choice in chosen)
        and len({choice[key] for choice in chosen}) >= FEWEST
    ]
    return chosen, numbers


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _statistics(settings: Sequence[Results], key: str) -> tuple[list[float], list[float]]:
    """Means and deviations over the runs of each setting, NaN where there are none."""
    numbers = [measurements(results, key) for results in settings]
    means = [mean(part) if part else float("nan") for part in numbers]
    return means, [stdev(part) if len(part) > 1 else float("nan") for part in numbers]
