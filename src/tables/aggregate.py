"""The runs of a sweep, grouped by what was set in them, and their means over seeds.

`src.tables.sweeps` and `src.tables.experiments` make their tables of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from src.metrics.names import (
    CALIBRATED_ON,
    ON_TEST,
    QUERIES,
    RETRIEVAL,
    SKIPPED,
    is_calibrated,
    query_groups,
    retrieval_name,
    retrieval_sources,
)
from src.metrics.retrieval import TOP_K
from src.reports.provenance import provenance
from src.reports.results import read_results
from src.reports.tables import Estimate, Row

Results = Sequence[Mapping[str, Any]]  # the content of metrics.json, of each run
Setting = tuple[str, ...]  # overrides that tell runs apart, but for their seeds

SPLITS = {"test": "test", "val": "validation"}


class Job(NamedTuple):
    """A run that a sweep has started."""

    folder: Path
    overrides: list[str]  # those of its command line, as Hydra has written them down

    @property
    def results(self) -> dict[str, Any] | None:
        """The metrics of the run; None while it is not finished."""
        return read_results(self.folder)


class Group(NamedTuple):
    """The runs of one setting, which differ in their seeds alone."""

    setting: Setting
    runs: Results  # of those that are finished
    unfinished: int

    def is_marked(self, columns: Iterable[str]) -> bool:
        """Whether one of these metrics was calibrated on the test split."""
        return any(
            run.get(CALIBRATED_ON) == "test"
            and any(is_calibrated(key.partition("/")[2], run["run/score"]) for key in columns)
            for run in self.runs
        )

    def rows(self, columns: Iterable[str], by_score: bool) -> list[Row]:
        """Make a row of estimates over the finished runs, or one for each of their scores.

        Args:
            columns: Keys of metrics; a cell is empty where no run has it.
            by_score: Whether to read retrieval by each score, named in the key `score`.

        Returns:
            Rows with the number of runs in the key `n`; without a run, a row of it alone.
        """
        number = {"n": str(len(self.runs))}
        if not self.runs:
            return [number]
        sources = retrieval_sources(self.runs[0], "test") if by_score else {"": RETRIEVAL}
        rows = []
        for score, source in sources.items():
            row: Row = number | ({"score": score} if by_score else {})
            for key in columns:
                measured = measurements(self.runs, key.replace(f"/{RETRIEVAL}/", f"/{source}/"))
                row[key] = Estimate.of(measured) if measured else ""
            rows.append(row)
        return rows


def find_jobs(folder: Path, below: str = "*") -> list[Job]:
    """Find the jobs of a sweep that have started, in the order of their numbers or names.

    Args:
        folder: The folder of the sweep.
        below: A pattern of the folders of jobs; `**` finds names with slashes, too.
    """
    found = folder.glob(f"{below}/.hydra/overrides.yaml")
    return [
        Job(path.parents[1], [str(override) for override in OmegaConf.load(path)])
        for path in sorted(found, key=lambda path: (len(str(path)), path))  # 2 before 10
    ]


def group_jobs(jobs: Iterable[tuple[Setting, Job | None]]) -> list[Group]:
    """Read the results of jobs and group them by setting, settings in the order of their first.

    Args:
        jobs: Settings and their jobs, None for one that has not started.
    """
    read: dict[Setting, list[dict[str, Any] | None]] = {}
    for setting, job in jobs:
        read.setdefault(setting, []).append(None if job is None else job.results)
    return [
        Group(setting, [run for run in runs if run is not None], runs.count(None))
        for setting, runs in read.items()
    ]


def finished_runs(groups: Iterable[Group]) -> list[Mapping[str, Any]]:
    """The results of all groups together."""
    return [run for group in groups for run in group.runs]


def measurements(runs: Results, key: str) -> list[float]:
    """The values of a metric, of the runs that have it."""
    return [run[key] for run in runs if run.get(key) is not None]


def groups_asked(runs: Results) -> dict[str, str]:
    """The `query_groups` of runs together."""
    return query_groups({key for run in runs for key in run}, stage_of(runs))


def stage_of(runs: Results) -> str:
    """`test`, or `val` where runs were validated alone."""
    return "test" if any(key.startswith("test/") for run in runs for key in run) else "val"


def describe_runs(runs: Results, shared: str) -> str:
    """Say what the numbers of a table hold for.

    Args:
        runs: At least one.
        shared: The overrides that all of them have; an empty text for none.

    Returns:
        Sentences with data, protocol, seeds, epochs and numbers of queries.
    """
    described = {
        "data (test images)": {f"{run['run/data']} ({run['run/test_images']:,})" for run in runs},
        "protocol": {run["run/protocol"] for run in runs},
        "seeds": {run["run/seed"] for run in runs},
        "epochs": {run["run/epochs"] for run in runs},
    }
    stage = stage_of(runs)
    parts = [f"{name} {', '.join(map(str, sorted(values)))}" for name, values in described.items()]
    queries = [
        f"{data} {_count_queries([run for run in runs if run['run/data'] == data])}"
        for data in sorted({run["run/data"] for run in runs})
    ]
    sentences = [
        f"Mean ± standard deviation over n seeds on the {SPLITS[stage]} split; {'; '.join(parts)}.",
        f"Queries scored (in brackets: left out, fewer than {TOP_K} positives): "
        f"{'; '.join(queries)}.",
        *([ON_TEST] if any(run.get(CALIBRATED_ON) == "test" for run in runs) else []),
        *([f"All with {shared}."] if shared else []),
    ]
    return " ".join(sentences)


def provenance_of(runs: Results) -> dict[str, str]:
    """The `provenance` that runs recorded, all values of each key."""
    return {key: ", ".join(sorted({str(run[key]) for run in runs})) for key in provenance()}


def _count_queries(runs: Results) -> str:
    """Count the queries of each group that count, over all runs."""
    counts, stage = [], stage_of(runs)
    for group, name in groups_asked(runs).items():
        asked, skipped = (
            sorted({int(run.get(f"{stage}/{retrieval_name(measure, group)}") or 0) for run in runs})
            for measure in (QUERIES, SKIPPED)
        )
        counts.append(f"{name} {_span(asked)} ({_span(skipped)})")
    if any(run.get("run/conjunctions") == "sampled" for run in runs):
        counts.append("conjunctions sampled")
    return ", ".join(counts)


def _span(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
