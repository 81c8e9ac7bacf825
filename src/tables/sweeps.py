"""Tables at the end of a sweep: mean and standard deviation over seeds."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.metrics.names import MAP, MEASURE_HEADINGS, main_columns, retrieval_name
from src.reports import pages
from src.reports.figures.settings import estimates_figure
from src.reports.tables import ResultTable, Row, describe, on_page, write_table
from src.tables.aggregate import (
    Group,
    Job,
    describe_runs,
    find_jobs,
    finished_runs,
    group_jobs,
    groups_asked,
    provenance_of,
)
from src.tables.ranking import ranked_table
from src.tables.sensitivity import parallel_figure, sensitivity_figure

NO_SETTINGS = ("seed=", "data_dir=")  # rows are means over seeds, wherever the data lies
SENSITIVITY_CAPTION = (
    "Test results over what was set. Of curves, bars are standard deviations over seeds; of grids, "
    "colours go from the worst mean (dark) to the best (bright)."
)
PARALLEL_CAPTION = (
    "A line for each setting, from what was set to what came of it, coloured by the mean mAP over "
    "queries with negation. Axes go from the least to the largest value."
)
RETRIEVAL_CAPTION = (
    "mAP of each setting, asked by each of its scores, for each kind of query: mean ± standard "
    "deviation over seeds. The brightest of a column is the best."
)


def write_tables(folder: Path, metric: str, pictures: bool) -> None:
    """Read the results of all jobs below a folder and write its tables, if any job is finished.

    Args:
        folder: The folder of the sweep.
        metric: The metric that the page ranks settings by.
        pictures: Whether to draw them as well, and to write the page that shows all.
    """
    jobs = find_jobs(folder)
    groups, common = group_by_setting(jobs)
    finished = finished_runs(groups)
    if not finished:
        return
    conditions = describe_runs(finished, shared=", ".join(sorted(common)))
    tables = {
        "sweep": _sweep_table(groups, conditions),
        "retrieval": _retrieval_table(groups, conditions),
    }
    where = provenance_of(finished)
    started = {job.folder.name: job.overrides for job in jobs}
    for name, table in tables.items():
        write_table(folder / name, table, started, where)
    if pictures:
        _write_page(folder, tables, describe(tables["sweep"], where), groups, jobs, metric)


def group_by_setting(jobs: Sequence[Job]) -> tuple[list[Group], set[str]]:
    """Group the jobs of a sweep by what differs between them but for their seeds.

    Returns:
        The groups, and the overrides that all of them have.
    """
    chosen = [{item for item in job.overrides if not item.startswith(NO_SETTINGS)} for job in jobs]
    common = set.intersection(*chosen)
    groups = group_jobs(
        (tuple(sorted(overrides - common)), job)
        for overrides, job in zip(chosen, jobs, strict=True)
    )
    return groups, common


def _write_page(
    folder: Path,
    tables: Mapping[str, ResultTable],
    conditions: str,
    groups: Sequence[Group],
    jobs: Sequence[Job],
    metric: str,
) -> None:
    """Write index.html, and the pictures that it shows."""
    sweep, retrieval = tables["sweep"], tables["retrieval"]
    sections: list[pages.Section] = [
        on_page(ranked_table(groups, metric)),
        pages.Text(f"Best first, by {metric}. {conditions}"),
        on_page(sweep)._replace(folded="All measures"),
    ]
    results = {group.setting: group.runs for group in groups}
    for name, figure, caption in (
        ("sensitivity", sensitivity_figure(results), SENSITIVITY_CAPTION),
        ("parallel", parallel_figure(results), PARALLEL_CAPTION),
    ):
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            sections.append(pages.Picture(folder / f"{name}.png", caption))
    drawn = f"test/{retrieval_name(MAP)}_"
    figure = estimates_figure(
        [(re.sub(r"(\+\w+|method)=", "", row["setting"]), row["score"]) for row in retrieval.rows],
        {key: heading for key, heading in retrieval.columns.items() if key.startswith(drawn)},
        retrieval.rows,
        "mAP of each method and score, by kind of query",
    )
    figure.savefig(folder / "retrieval.png", dpi=130)
    sections += [
        pages.Heading("Retrieval"),
        on_page(retrieval),
        pages.Picture(folder / "retrieval.png", RETRIEVAL_CAPTION),
        pages.Heading("Runs"),
        _table_of_runs(jobs),
    ]
    here = folder.resolve()
    pages.write_page(folder / "index.html", here.parent.name, sections, here.name)


def _table_of_runs(jobs: Sequence[Job]) -> pages.PageTable:
    rows = []
    for folder, overrides in jobs:
        name = folder.name
        page = folder / "report" / "index.html"
        link = pages.Link(name, f"{name}/report/index.html") if page.exists() else name
        rows.append((link, ", ".join(overrides)))
    return pages.PageTable(("run", "set on the command line"), rows)


def _sweep_table(groups: Sequence[Group], conditions: str) -> ResultTable:
    measured = {
        key for run in finished_runs(groups) for key, value in run.items() if value is not None
    }
    columns = {key: heading for key, heading in main_columns("test").items() if key in measured}
    rows = [
        _named(group) | row | {"unfinished": str(group.unfinished)}
        for group in groups
        for row in group.rows(columns, by_score=False)
    ]
    headings = {"setting": "setting", "n": "n"} | columns | {"unfinished": "unfinished"}
    return ResultTable(headings, rows, conditions)


def _retrieval_table(groups: Sequence[Group], conditions: str) -> ResultTable:
    columns = {
        f"test/{retrieval_name(measure, queries)}": f"{heading} {name}"
        for measure, heading in MEASURE_HEADINGS.items()
        for queries, name in groups_asked(finished_runs(groups)).items()
    }
    rows = [
        _named(group) | row
        for group in groups
        if group.runs
        for row in group.rows(columns, by_score=True)
    ]
    headings = {"setting": "setting", "score": "score", "n": "n"} | columns
    return ResultTable(headings, rows, conditions)


def _named(group: Group) -> Row:
    return {"setting": ", ".join(group.setting) or "as below"}
