"""Tables of `experiments/`: the runs that they are made of, and what came out.

A file of `experiments/` is a table or figure, with a `title` of a sentence or two and the `caption`
of its figure. It holds either

- `study`: what is called for it, with a `_target_`, or
- `sweeps`: for each name overrides of `src.train`, those with commas swept; `overrides` and `seeds`
  go to all of them. `columns` are metrics of runs with their headings, `labels` what settings are
  called, and `published` figures by metric, sweep and label. With `by_score` each setting has a row
  for each of its retrieval scores.

`scales` are changes to the rest: `smoke` (seconds), `cpu` (an evening on 2 cores) and `paper` (the
full protocol, on a GPU), with what it took, in `minutes`, where that was measured. `extends` names
a table whose file is read first, and whose runs are shared.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from src.reports.figures import estimates_figure
from src.reports.measures import Results, Setting, describe_runs, estimates, provenance_of
from src.reports.sensitivity import sensitivity_figure
from src.reports.tables import Row, Table

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
REFERENCE = "reference_numbers"  # published figures, which tables refer to


class Job(NamedTuple):
    """A training run of a sweep."""

    setting: Setting
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it has left its metrics."""
        return (self.folder / "metrics.json").exists()

    @property
    def results(self) -> dict[str, Any] | None:
        """What its metrics.json holds; None while it is not finished."""
        return json.loads((self.folder / "metrics.json").read_text()) if self.finished else None


class Sweep(NamedTuple):
    """Runs of `src.train` that one command starts, and goes on with."""

    name: str
    overrides: list[str]
    folder: Path
    group: str  # of its runs in W&B

    @property
    def jobs(self) -> list[Job]:
        (batch,) = BasicSweeper.split_arguments(self._parsed, max_batch_size=None)
        jobs = []
        for overrides in batch:
            parsed = OverridesParser.create().parse_overrides(overrides)
            swept = {
                override.key_or_group: text
                for override, text in zip(parsed, overrides, strict=True)
                if override.key_or_group not in self._shared_keys
            }
            folder = self.folder / ",".join(sorted(swept.values()))
            del swept["seed"]
            jobs.append(Job(tuple(swept.values()), folder))
        return jobs

    @property
    def results(self) -> dict[Setting, list[dict[str, Any]]]:
        """What finished jobs found, by setting; none of a setting without one."""
        settings: dict[Setting, list[dict[str, Any]]] = {}
        for job in self.jobs:
            results = job.results
            settings.setdefault(job.setting, []).extend([] if results is None else [results])
        return settings

    @property
    def arguments(self) -> list[str]:
        """Of `python -m src.train`. A run lies in a folder named after what is swept in it, and
        goes on where it stopped.
        """
        excluded = ",".join(["ckpt_path", "group", *self._shared_keys])
        return [
            "-m",
            *self.overrides,
            "ckpt_path=auto",
            f"group={self.group}",
            f"hydra.sweep.dir={self.folder}",
            "hydra.sweep.subdir=${hydra:job.override_dirname}",
            f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]",
        ]

    @property
    def _parsed(self) -> list[Override]:
        return OverridesParser.create().parse_overrides(self.overrides)

    @property
    def _shared_keys(self) -> list[str]:
        return [
            override.key_or_group
            for override in self._parsed
            if not override.is_sweep_override() and override.key_or_group != "seed"
        ]


def table_names() -> list[str]:
    """What can be reproduced."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem != REFERENCE)


def load_experiment(name: str, scale: str, study: Mapping[str, Any]) -> DictConfig:
    """Read a table at a scale.

    Args:
        name: Of a file in `experiments/`.
        scale: One that it has.
        study: Changes to its study.

    Raises:
        ValueError: If there is no such table, it has no such scale, or no study to be changed.
    """
    if name not in table_names():
        raise ValueError(f"table must be all or one of {', '.join(table_names())}, not {name!r}")
    experiment = _read(name)
    runs = experiment.get("extends", name)
    if runs != name:
        columns = experiment.columns  # its own alone
        experiment = _merge(_read(runs), experiment)
        experiment.columns = columns
    if scale not in experiment.scales:
        raise ValueError(f"scale must be one of {', '.join(experiment.scales)}, not {scale!r}")
    if study and "study" not in experiment:
        raise ValueError(f"{name} is a table of trainings, not a study: change its file")
    reference = OmegaConf.create({"reference": _read(REFERENCE)})
    changed = OmegaConf.create({"study": study} if study else {})
    return _merge(reference, experiment, experiment.scales[scale], changed)


def _read(name: str) -> DictConfig:
    experiment = OmegaConf.load(EXPERIMENTS / f"{name}.yaml")
    assert isinstance(experiment, DictConfig)
    return experiment


def _merge(*configs: DictConfig) -> DictConfig:
    merged = OmegaConf.merge(*configs)
    assert isinstance(merged, DictConfig)
    return merged


def sweeps_of(experiment: DictConfig, folder: Path, group: str) -> list[Sweep]:
    """The sweeps of a table, but for those that are null; they leave their runs below a folder, and
    in a group of W&B.
    """
    seeds = ",".join(map(str, experiment.seeds))
    return [
        Sweep(
            str(name),
            [*overrides, *experiment.overrides, f"seed={seeds}"],
            folder / str(name),
            group,
        )
        for name, overrides in experiment.sweeps.items()
        if overrides is not None
    ]


def tabulate(experiment: DictConfig, sweeps: Sequence[Sweep]) -> tuple[Table, dict[str, str]]:
    """Means and deviations over seeds, beside published figures; some run must be finished.

    Returns:
        The table, and the `provenance` of its runs.
    """
    labels = experiment.get("labels", {})
    by_score = experiment.get("by_score", False)
    rows: list[Row] = []
    finished: list[dict[str, Any]] = []
    missing = sum(not job.finished for sweep in sweeps for job in sweep.jobs)
    for sweep in sweeps:
        for setting, runs in sweep.results.items():
            finished += runs
            names = [labels.get(part, _value(part)) for part in setting]
            row = {
                "sweep": labels.get(sweep.name, sweep.name),
                "setting": ", ".join(names) or labels.get("default", "default"),
                "n": str(len(runs)),
            }
            found = estimates(runs, experiment.columns, by_score) if runs else [{}]
            figures = _published(experiment, sweep.name, row["setting"])
            rows += [row | cells | _compare(cells, figures) for cells in found]
    columns = {"sweep": "data", "setting": "setting"}
    columns |= {"score": "score"} if by_score else {}
    columns["n"] = "n"
    for key, heading in experiment.columns.items():
        columns[key] = heading
        if any(f"{key} published" in row for row in rows):
            columns[f"{key} published"] = "published"
            columns[f"{key} difference"] = "difference"
    return Table(columns, rows, _conditions(experiment, finished, missing)), provenance_of(finished)


def table_figure(experiment: DictConfig, sweeps: Sequence[Sweep], table: Table) -> Figure:
    """Curves of a sweep over numbers, or else all measures between 0 and 1, by row."""
    if len(sweeps) == 1:
        curves = sensitivity_figure(sweeps[0].results)
        if curves is not None:
            return curves
    shown = {
        key: heading
        for key, heading in experiment.columns.items()
        if all(0 <= row[key].mean <= 1 for row in table.rows if row.get(key))
    }
    names = [
        (f"{row['sweep']}: {row['setting']}", row["score"])
        if "score" in row
        else (row["sweep"], row["setting"])
        for row in table.rows
    ]
    return estimates_figure(names, shown, table.rows, str(experiment.title).split(".")[0])


def _published(experiment: DictConfig, sweep: str, setting: str) -> dict[str, float]:
    """Published figures of a row, by metric."""
    figures = {
        key: OmegaConf.select(experiment, f"published[{key}][{sweep}][{setting}]")
        for key in experiment.columns
    }
    return {key: figure for key, figure in figures.items() if figure is not None}


def _compare(cells: Row, figures: Mapping[str, float]) -> Row:
    """Cells of published figures, and of how far ours are from them."""
    compared: Row = {}
    for key, figure in figures.items():
        compared[f"{key} published"] = f"{figure:.4f}"
        ours = cells.get(key)
        compared[f"{key} difference"] = f"{ours.mean - figure:+.4f}" if ours else ""
    return compared


def _value(override: str) -> str:
    return override.partition("=")[2] if override.startswith("+") else override


def _conditions(experiment: DictConfig, finished: Results, missing: int) -> str:
    shared = " ".join(experiment.overrides)
    lines = [
        describe_runs(finished),
        f"All with {shared}." if shared else "",
        f"Published: {str(experiment.get('published_source', 'not available')).strip()}.",
        f"{missing} runs are not finished." if missing else "",
    ]
    return " ".join(line for line in lines if line)
