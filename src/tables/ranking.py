"""The settings of a sweep, best first: what was varied, and five of the metrics."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from src.metrics.names import HEADLINES, MAIN_HEADINGS, smaller_is_better
from src.reports.tables import Estimate, ResultTable, Row, cell
from src.tables.aggregate import Group, finished_runs, stage_of

BEST = "best"


def ranked_table(groups: Sequence[Group], metric: str) -> ResultTable:
    """Rank settings by the mean of a metric; those without it are the last.

    Args:
        groups: The runs of each setting, of which some run is finished.
        metric: The metric, which is the first of the five that the table has.
    """
    stage = stage_of(finished_runs(groups))
    measures = {metric: metric.replace("val/retrieval/map", "val mAP").replace("_", " ")}
    measures |= {f"{stage}/{name}": MAIN_HEADINGS[name] for name in HEADLINES}
    keys = list(dict.fromkeys(_key(override) for group in groups for override in group.setting))
    rows = []
    for group in groups:
        row: Row = {_key(override): override.partition("=")[2] for override in group.setting}
        (cells,) = group.rows(measures, by_score=False)
        finished, all_runs = len(group.runs), len(group.runs) + group.unfinished
        cells["n"] = str(finished) if finished == all_runs else f"{finished} of {all_runs}"
        rows.append(row | cells)
    sign = 1 if smaller_is_better(metric) else -1
    measured = [row for row in rows if isinstance(row.get(metric), Estimate)]
    measured.sort(key=lambda row: sign * row[metric].mean)
    if len(measured) > 1:
        measured[0][BEST] = "*"
    others = [row for row in rows if row not in measured]
    columns = {key: key for key in keys} | {"n": "n"} | measures | {BEST: BEST}
    return ResultTable(columns, [*measured, *others], f"Best first, by {metric}.")


def for_terminal(table: ResultTable) -> Table:
    """A ranked table for a terminal of 80 columns, its best setting in bold."""
    shown = Table(
        title=table.conditions,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for key, heading in table.columns.items():
        numbers = any(isinstance(row.get(key), Estimate) for row in table.rows)
        words = "" if key == BEST else heading.replace(".", ".\n").replace(" ", "\n")
        shown.add_column(words, justify="right" if numbers else "left", overflow="fold")
    for row in table.rows:
        cells = [cell(row.get(key, "")).replace(" ± ", "\n± ") for key in table.columns]
        shown.add_row(*cells, style="bold" if row.get(BEST) else None)
    return shown


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
