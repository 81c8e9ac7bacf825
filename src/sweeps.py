"""Tables at the end of a sweep: mean and standard deviation over seeds."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src import pages
from src.figures import score_figure
from src.sensitivity import parallel_figure, sensitivity_figure
from src.tables import markdown_table

MAIN_COLUMNS = {
    "test/minterm_accuracy": "minterm accuracy",
    "test/calibrated_minterm_accuracy": "calibrated accuracy",
    "test/subspaces/minterm_accuracy": "accuracy by subspaces",
    "test/literal_auprc": "literal AUPRC",
    "test/probe/linear_accuracy": "linear probe",
    "test/probe/knn_accuracy": "kNN",
    "test/probe/effective_rank": "effective rank",
    "test/retrieval/map_positive": "mAP positive",
    "test/retrieval/map_negated": "mAP negated",
    "test/retrieval/precision_at_10_positive": "P@10 positive",
    "test/retrieval/precision_at_10_negated": "P@10 negated",
    "test/subspaces/map_positive": "mAP positive by subspaces",
    "test/subspaces/map_negated": "mAP negated by subspaces",
    "test/calibration/probability_of_propositions": "calibration error",
    "test/calibration/calibrated_of_propositions": "after calibration",
    "test/spectral/max_coherence": "largest coherence",
    "test/spectral/semantic_coherence": "semantic coherence",
    "test/spectral/optimality_gap": "optimality gap",
    "test/spectral/relative_gap": "gap, share of the optimum",
}
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

Results = list[dict[str, Any]]
Table = list[dict[str, str]]


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
    """Read the results of all jobs below a folder and write its tables.

    Args:
        folder: Of a sweep.
        pictures: Whether to draw them as well, and to write the page that shows all.
    """
    jobs: list[tuple[set[str], dict[str, Any]]] = []
    found = _find_jobs(folder)
    for job, overrides in found.items():
        metrics = job / "metrics.json"
        results = json.loads(metrics.read_text()) if metrics.exists() else {}
        jobs.append(({item for item in overrides if not item.startswith(NO_SETTINGS)}, results))
    common = set.intersection(*(overrides for overrides, _ in jobs))
    differing: dict[tuple[str, ...], Results] = {}
    for setting, result in jobs:
        differing.setdefault(tuple(sorted(setting - common)), []).append(result)
    settings = {", ".join(setting) or "as below": runs for setting, runs in differing.items()}
    conditions = _conditions(common, [result for _, result in jobs])
    table = _write(folder / "sweep", _sweep_table(settings), conditions)
    groups = _query_groups(settings)
    retrieval = _retrieval_table(settings, groups)
    if retrieval:
        counts = _count_queries(settings, groups)
        shown = _write(folder / "retrieval", retrieval, f"{counts} {conditions}")
    if not pictures:
        return
    sections: list[pages.Section] = [table, *map(pages.Text, conditions.splitlines())]
    for name, figure, caption in (
        ("sensitivity", sensitivity_figure(differing), SENSITIVITY_CAPTION),
        ("parallel", parallel_figure(differing), PARALLEL_CAPTION),
    ):
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)
            sections.append(pages.Picture(folder / f"{name}.png", caption))
    if retrieval:
        _retrieval_figure(retrieval, groups).savefig(folder / "retrieval.png", dpi=130)
        picture = pages.Picture(folder / "retrieval.png", RETRIEVAL_CAPTION)
        sections += [pages.Heading("Retrieval"), shown, pages.Text(counts), picture]
    sections += [pages.Heading("Runs"), _table_of_runs(found)]
    here = folder.resolve()
    pages.write_page(folder / "index.html", here.parent.name, sections, here.name)


def retrieval_scores(metrics: Mapping[str, Any], stage: str) -> dict[str, str]:
    """From the scores that a run was tested with, the chosen one first, to what keys start with."""
    start = f"{stage}/retrieval_"
    return {metrics["run/score"]: f"{stage}/retrieval/"} | {
        key.removeprefix(start).partition("/")[0]: f"{key.rpartition('/')[0]}/"
        for key in metrics
        if key.startswith(start)
    }


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


def _sweep_table(settings: Mapping[str, Results]) -> Table:
    found = [result for results in settings.values() for result in results]
    measured = {key for result in found for key in result if result[key] is not None}
    columns = {key: heading for key, heading in MAIN_COLUMNS.items() if key in measured}
    table = []
    for setting, results in settings.items():
        finished = [result for result in results if result]
        row = {"setting": setting, "n": str(len(finished))} | _cells(finished, columns)
        table.append(row | {"unfinished": str(len(results) - len(finished))})
    return table


def _retrieval_figure(table: Table, groups: Mapping[str, str]) -> Figure:
    return score_figure(
        [(re.sub(r"\+\w+=", "", row["setting"]), row["score"]) for row in table],
        list(groups.values()),
        [[_number(row[f"mAP {group}"]) for group in groups.values()] for row in table],
        [[_number(row[f"mAP {group} std"]) for group in groups.values()] for row in table],
        "mAP of each method and score, by kind of query",
    )


def _query_groups(settings: Mapping[str, Results]) -> dict[str, str]:
    """Names of the groups of queries that were asked, for keys and for headings."""
    prefix = "test/retrieval/queries_depth_"
    depths = {
        int(key.removeprefix(prefix))
        for results in settings.values()
        for result in results
        for key in result
        if key.startswith(prefix)
    }
    groups = {"positive": "positive", "negated": "negated"}
    return groups | {f"depth_{depth}": f"depth {depth}" for depth in sorted(depths)}


def _retrieval_table(settings: Mapping[str, Results], groups: Mapping[str, str]) -> Table:
    table = []
    for setting, results in settings.items():
        finished = [result for result in results if "run/score" in result]
        if not finished:
            continue
        for score, prefix in retrieval_scores(finished[0], "test").items():
            columns = {
                f"{prefix}{measure}_{group}": f"{heading} {name}"
                for measure, heading in RETRIEVAL_MEASURES.items()
                for group, name in groups.items()
            }
            row = {"setting": setting, "score": score, "n": str(len(finished))}
            table.append(row | _cells(finished, columns))
    return table


def _count_queries(settings: Mapping[str, Results], groups: Mapping[str, str]) -> str:
    """How many queries of each group count, over all settings."""
    counts = []
    results = [result for setting in settings.values() for result in setting if result]
    for group, name in groups.items():
        asked, skipped = (
            sorted({int(result.get(f"test/retrieval/{key}_{group}") or 0) for result in results})
            for key in ("queries", "queries_skipped")
        )
        counts.append(f"{name} {_span(asked)} ({_span(skipped)})")
    return f"Queries that count (and, with fewer than 10 positives, do not): {', '.join(counts)}."


def _span(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _cells(results: Results, columns: Mapping[str, str]) -> dict[str, str]:
    cells = {}
    for key, heading in columns.items():
        values = [result[key] for result in results if result.get(key) is not None]
        cells[heading] = f"{mean(values):.4f}" if values else ""
        cells[f"{heading} std"] = f"{stdev(values):.4f}" if len(values) > 1 else ""
    return cells


def _number(cell: str) -> float:
    return float(cell or "nan")


def _conditions(common: set[str], results: Results) -> str:
    finished = [result for result in results if result]
    conditions = {
        "All with": sorted(common),
        "Data": sorted(
            {f"{result['run/data']} ({result['run/test_images']:,})" for result in finished}
        ),
        "Protocol": sorted({result["run/protocol"] for result in finished}),
        "Seeds": sorted({result["run/seed"] for result in finished}),
        "Epochs": sorted({result["run/epochs"] for result in finished}),
        "Hardware": sorted({result["run/hardware"] for result in finished}),
        "PyTorch": sorted({result["run/version/torch"] for result in finished}),
        "Commit": sorted({result["run/commit"] for result in finished}),
    }
    notes = [
        f"{key}: {', '.join(map(str, values))}" for key, values in conditions.items() if values
    ]
    shown = "Mean ± standard deviation over n seeds, on the test split (its images in brackets)."
    return f"{shown}\n{'. '.join(notes)}."


def _write(stem: Path, table: Table, conditions: str) -> pages.Table:
    """Write a table as CSV and Markdown; returns it as a page shows it."""
    with stem.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    headings = [heading for heading in table[0] if not heading.endswith(" std")]
    rows = [
        [
            f"{row[heading]} ± {row[f'{heading} std']}"
            if row.get(f"{heading} std")
            else row[heading]
            for heading in headings
        ]
        for row in table
    ]
    shown = [dict(zip(headings, cells, strict=True)) for cells in rows]
    markdown = markdown_table({heading: heading for heading in headings}, shown)
    stem.with_suffix(".md").write_text(f"{markdown}\n{conditions}\n")
    return pages.Table(headings, rows)
