"""Tables at the end of a sweep: mean and standard deviation over seeds."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.reports import pages
from src.reports.figures import estimates_figure
from src.reports.measures import (
    MAIN_COLUMNS,
    RETRIEVAL,
    Results,
    Setting,
    describe_runs,
    estimates,
    provenance_of,
)
from src.reports.sensitivity import parallel_figure, sensitivity_figure
from src.reports.tables import Table, show_cells, write_table

NO_SETTINGS = ("seed=", "data_dir=")  # rows are means over seeds, wherever the data lies
SENSITIVITY_CAPTION = (
    "Test results over what was set. Of curves, bars are standard deviations over seeds; of grids, "
    "colours go from the least to the largest mean."
)
PARALLEL_CAPTION = (
    "A line for each setting, from what was set to what came of it, coloured by the mean mAP over "
    "queries with negation. Axes go from the least to the largest value."
)
RETRIEVAL_CAPTION = (
    "mAP of each setting, asked by each of its scores, for each kind of query: mean ± standard "
    "deviation over seeds."
)
RETRIEVAL_MEASURES = {"map": "mAP", "precision_at_10": "P@10"}


class SweepTable(Callback):
    """Writes tables into the folder of a multirun, as Markdown and CSV, and a page that shows them.

    `sweep`: a row is a setting; runs that differ in their seed alone share it. Jobs without results
    are counted in their row as unfinished. `retrieval`: a row is a setting and a score; with a
    picture. `sensitivity` and `parallel`: pictures alone, of a sweep over numbers. Tables are
    written anew after every job and all else at the end, which a sweep with a failing job does not
    reach: after that job as well.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            failed = job_return.status != JobStatus.COMPLETED
            write_tables(Path(config.hydra.sweep.dir), pictures=failed)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).resolve()
        write_tables(folder, pictures=True)
        console = Console()
        for table in sorted(folder.glob("*.md"), reverse=True):
            console.print(table.read_text(), soft_wrap=True, markup=False, highlight=False)
        names = (path.name for kind in ("html", "md", "png") for path in folder.glob(f"*.{kind}"))
        console.print(f"sweep:   {folder}: {', '.join(sorted(names))}", soft_wrap=True)


def write_tables(folder: Path, pictures: bool) -> None:
    """Read the results of all jobs below a folder and write its tables, if any job is finished.

    Args:
        folder: Of a sweep.
        pictures: Whether to draw them as well, and to write the page that shows all.
    """
    jobs = _find_jobs(folder)
    settings = {
        job: {item for item in overrides if not item.startswith(NO_SETTINGS)}
        for job, overrides in jobs.items()
    }
    common = set.intersection(*settings.values())
    differing: dict[Setting, list[dict[str, Any]]] = {}
    unfinished: dict[Setting, int] = {}
    for job, overrides in settings.items():
        setting = tuple(sorted(overrides - common))
        runs = differing.setdefault(setting, [])
        metrics = job / "metrics.json"
        if metrics.exists():
            runs.append(json.loads(metrics.read_text()))
        else:
            unfinished[setting] = unfinished.get(setting, 0) + 1
    finished = [run for runs in differing.values() for run in runs]
    if not finished:
        return
    shared = f" All with {', '.join(sorted(common))}." if common else ""
    conditions = describe_runs(finished) + shared
    groups = _query_groups(finished)
    tables = {
        "sweep": _sweep_table(differing, unfinished, conditions),
        "retrieval": _retrieval_table(
            differing, groups, f"{_count_queries(finished, groups)} {conditions}"
        ),
    }
    started = {job.name: overrides for job, overrides in jobs.items()}
    for name, table in tables.items():
        write_table(folder / name, table, started, provenance_of(finished))
    if not pictures:
        return
    sections: list[pages.Section] = [_on_page(tables["sweep"]), pages.Text(conditions)]
    for name, figure, caption in (
        ("sensitivity", sensitivity_figure(differing), SENSITIVITY_CAPTION),
        ("parallel", parallel_figure(differing), PARALLEL_CAPTION),
    ):
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            sections.append(pages.Picture(folder / f"{name}.png", caption))
    names = [
        (re.sub(r"\+\w+=", "", row["setting"]), row["score"]) for row in tables["retrieval"].rows
    ]
    figure = estimates_figure(
        names,
        {f"{RETRIEVAL}/map_{group}": heading for group, heading in groups.items()},
        tables["retrieval"].rows,
        "mAP of each method and score, by kind of query",
    )
    figure.savefig(folder / "retrieval.png", dpi=130)
    sections += [
        pages.Heading("Retrieval"),
        _on_page(tables["retrieval"]),
        pages.Text(_count_queries(finished, groups)),
        pages.Picture(folder / "retrieval.png", RETRIEVAL_CAPTION),
        pages.Heading("Runs"),
        _table_of_runs(jobs),
    ]
    here = folder.resolve()
    pages.write_page(folder / "index.html", here.parent.name, sections, here.name)


def _find_jobs(folder: Path) -> dict[Path, list[str]]:
    """Folders of the jobs of a sweep and what each was started with."""
    found = folder.glob("*/.hydra/overrides.yaml")
    return {
        path.parent.parent: [str(override) for override in OmegaConf.load(path)]
        for path in sorted(found, key=lambda path: (len(str(path)), path))  # 2 before 10
    }


def _table_of_runs(jobs: Mapping[Path, list[str]]) -> pages.Table:
    rows = []
    for job, overrides in jobs.items():
        page = job / "report" / "index.html"
        link = pages.Link(job.name, f"{job.name}/report/index.html") if page.exists() else job.name
        rows.append((link, ", ".join(overrides)))
    return pages.Table(("run", "set on the command line"), rows)


def _on_page(table: Table) -> pages.Table:
    return pages.Table(list(table.columns.values()), show_cells(table))


def _sweep_table(
    settings: Mapping[Setting, Results], unfinished: Mapping[Setting, int], conditions: str
) -> Table:
    measured = {
        key
        for runs in settings.values()
        for run in runs
        for key, value in run.items()
        if value is not None
    }
    columns = {key: heading for key, heading in MAIN_COLUMNS.items() if key in measured}
    rows = [
        _named(setting, runs)
        | (estimates(runs, columns, by_score=False)[0] if runs else {})
        | {"unfinished": str(unfinished.get(setting, 0))}
        for setting, runs in settings.items()
    ]
    headings = {"setting": "setting", "n": "n"} | columns | {"unfinished": "unfinished"}
    return Table(headings, rows, conditions)


def _retrieval_table(
    settings: Mapping[Setting, Results], groups: Mapping[str, str], conditions: str
) -> Table:
    columns = {
        f"{RETRIEVAL}/{measure}_{group}": f"{heading} {name}"
        for measure, heading in RETRIEVAL_MEASURES.items()
        for group, name in groups.items()
    }
    rows = [
        _named(setting, runs) | cells
        for setting, runs in settings.items()
        if runs
        for cells in estimates(runs, columns, by_score=True)
    ]
    headings = {"setting": "setting", "score": "score", "n": "n"} | columns
    return Table(headings, rows, conditions)


def _named(setting: Setting, runs: Results) -> dict[str, str]:
    return {"setting": ", ".join(setting) or "as below", "n": str(len(runs))}


def _query_groups(runs: Results) -> dict[str, str]:
    """Names of the groups of queries that were asked, for keys and for headings."""
    prefix = f"{RETRIEVAL}/queries_depth_"
    depths = {
        int(key.removeprefix(prefix)) for run in runs for key in run if key.startswith(prefix)
    }
    groups = {"positive": "positive", "negated": "negated"}
    return groups | {f"depth_{depth}": f"depth {depth}" for depth in depths}


def _count_queries(runs: Results, groups: Mapping[str, str]) -> str:
    """How many queries of each group count, over all settings."""
    counts = []
    for group, name in groups.items():
        asked, skipped = (
            sorted({int(run.get(f"{RETRIEVAL}/{key}_{group}") or 0) for run in runs})
            for key in ("queries", "queries_skipped")
        )
        counts.append(f"{name} {_span(asked)} ({_span(skipped)})")
    return f"Queries that count (and, with fewer than 10 positives, do not): {', '.join(counts)}."


def _span(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
