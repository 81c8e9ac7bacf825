"""Tables at the end of a sweep: mean and standard deviation over seeds."""

import json
import re
from collections.abc import Mapping, Sequence
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
    query_groups,
)
from src.reports.sensitivity import parallel_figure, sensitivity_figure
from src.reports.tables import Table, describe, show_cells, write_table

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
    """Writes tables into the folder of a multirun, by `write_table`, and a page that shows them.

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
    common, settings = _settings_of(jobs)
    results = {setting: _results(folders) for setting, folders in settings.items()}
    finished = [run for runs in results.values() for run in runs]
    if not finished:
        return
    shared = f" All with {', '.join(sorted(common))}." if common else ""
    conditions = describe_runs(finished) + shared
    tables = {
        "sweep": _sweep_table(results, settings, conditions),
        "retrieval": _retrieval_table(results, conditions),
    }
    where = provenance_of(finished)
    started = {job.name: overrides for job, overrides in jobs.items()}
    for name, table in tables.items():
        write_table(folder / name, table, started, where)
    if pictures:
        _write_page(folder, tables, describe(tables["sweep"], where), results, jobs)


def _write_page(
    folder: Path,
    tables: Mapping[str, Table],
    conditions: str,
    results: Mapping[Setting, Results],
    jobs: Mapping[Path, list[str]],
) -> None:
    """Write index.html, and the pictures that it shows."""
    sweep, retrieval = tables["sweep"], tables["retrieval"]
    sections: list[pages.Section] = [_on_page(sweep), pages.Text(conditions)]
    for name, figure, caption in (
        ("sensitivity", sensitivity_figure(results), SENSITIVITY_CAPTION),
        ("parallel", parallel_figure(results), PARALLEL_CAPTION),
    ):
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            sections.append(pages.Picture(folder / f"{name}.png", caption))
    figure = estimates_figure(
        [(re.sub(r"\+\w+=", "", row["setting"]), row["score"]) for row in retrieval.rows],
        {key: heading for key, heading in retrieval.columns.items() if f"{RETRIEVAL}/map_" in key},
        retrieval.rows,
        "mAP of each method and score, by kind of query",
    )
    figure.savefig(folder / "retrieval.png", dpi=130)
    sections += [
        pages.Heading("Retrieval"),
        _on_page(retrieval),
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


def _settings_of(jobs: Mapping[Path, list[str]]) -> tuple[set[str], dict[Setting, list[Path]]]:
    """What all jobs were set to, but for their seed, and the jobs of each choice of the rest."""
    chosen = {
        job: {item for item in overrides if not item.startswith(NO_SETTINGS)}
        for job, overrides in jobs.items()
    }
    common = set.intersection(*chosen.values())
    settings: dict[Setting, list[Path]] = {}
    for job, overrides in chosen.items():
        settings.setdefault(tuple(sorted(overrides - common)), []).append(job)
    return common, settings


def _results(jobs: Sequence[Path]) -> Results:
    """What the finished ones of some jobs measured."""
    found = (job / "metrics.json" for job in jobs)
    return [json.loads(path.read_text()) for path in found if path.exists()]


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
    results: Mapping[Setting, Results], settings: Mapping[Setting, Sequence[Path]], conditions: str
) -> Table:
    measured = {
        key
        for runs in results.values()
        for run in runs
        for key, value in run.items()
        if value is not None
    }
    columns = {key: heading for key, heading in MAIN_COLUMNS.items() if key in measured}
    rows = [
        _named(setting, runs)
        | (estimates(runs, columns, by_score=False)[0] if runs else {})
        | {"unfinished": str(len(settings[setting]) - len(runs))}
        for setting, runs in results.items()
    ]
    headings = {"setting": "setting", "n": "n"} | columns | {"unfinished": "unfinished"}
    return Table(headings, rows, conditions)


def _retrieval_table(results: Mapping[Setting, Results], conditions: str) -> Table:
    groups = query_groups([run for runs in results.values() for run in runs])
    columns = {
        f"{RETRIEVAL}/{measure}_{group}": f"{heading} {name}"
        for measure, heading in RETRIEVAL_MEASURES.items()
        for group, name in groups.items()
    }
    rows = [
        _named(setting, runs) | cells
        for setting, runs in results.items()
        if runs
        for cells in estimates(runs, columns, by_score=True)
    ]
    headings = {"setting": "setting", "score": "score", "n": "n"} | columns
    return Table(headings, rows, conditions)


def _named(setting: Setting, runs: Results) -> dict[str, str]:
    return {"setting": ", ".join(setting) or "as below", "n": str(len(runs))}
