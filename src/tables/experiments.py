"""Tables of `experiments/`: the runs that they are made of, and their results.

A file of `experiments/` is a table or figure, with a `title` of a sentence or two and the `caption`
of its figure. It holds either

- `study`: the function or class that makes it, with a `_target_`, or
- `sweeps`: for each name overrides of `src.train`, those with commas swept; `overrides` and `seeds`
  go to all of them. `columns` are metrics of runs with their headings, `labels` the names that
  settings have in the table, and `published` figures by metric, sweep and label. With `by_score`
  each setting has a row for each of its retrieval scores.

`scales` are changes to the rest: `smoke` (seconds), `cpu` (an evening on 2 cores) and `paper` (the
full protocol, on a GPU), with what it took, in `minutes`, where that was measured. `extends` names
a table whose file is read first, and whose runs are shared.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from src.metrics.names import MARK
from src.reports.figures.settings import estimates_figure
from src.reports.results import METRICS
from src.reports.tables import ResultTable, Row
from src.tables.aggregate import (
    Group,
    describe_runs,
    find_jobs,
    finished_runs,
    group_jobs,
    provenance_of,
)
from src.tables.sensitivity import MEASURES, sensitivity_figure

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
REFERENCE = "reference_numbers"  # published figures, which tables refer to
SEED = "seed"


class Sweep(NamedTuple):
    """Runs of `src.train` that one command starts, and goes on with."""

    name: str
    overrides: list[str]
    folder: Path
    group: str  # of its runs in W&B

    @property
    def jobs(self) -> list[tuple[str, ...]]:
        """The overrides of each job, as Hydra writes them down."""
        values = [
            [f"{key}={value}" for value in override.sweep_string_iterator()]
            if override.is_sweep_override()
            else [f"{key}={override.get_value_element_as_str()}"]
            for key, override in self._parsed.items()
        ]
        return list(product(*values))

    @property
    def groups(self) -> list[Group]:
        """The runs of each setting, read from the folders that Hydra has made for them.

        A folder is that of a job if its run was started with all overrides of the job.
        """
        swept = {key for key, override in self._parsed.items() if override.is_sweep_override()}
        started = find_jobs(self.folder, below="**")
        return group_jobs(
            (
                tuple(item for item in job if item.partition("=")[0] in swept - {SEED}),
                next((found for found in started if set(job) <= set(found.overrides)), None),
            )
            for job in self.jobs
        )

    @property
    def unfinished(self) -> int:
        """The number of runs that are still to be made or gone on with."""
        return sum(group.unfinished for group in self.groups)

    def count_results(self) -> int:
        """Count the runs that have left their metrics, whatever they are, without reading them."""
        return sum(1 for _ in self.folder.glob(f"**/{METRICS}"))

    @property
    def arguments(self) -> list[str]:
        """The arguments of `python -m src.train`.

        Hydra names the folder of a run after what is swept in it, so that the same command finds it
        again and goes on where the run stopped.
        """
        shared = [
            override.key_or_group
            for key, override in self._parsed.items()
            if not override.is_sweep_override() and key != SEED
        ]
        excluded = ",".join(["ckpt_path", "group", *shared])
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
    def _parsed(self) -> dict[str, Override]:
        """The overrides by their keys; of several with one key Hydra takes the last."""
        parsed = OverridesParser.create().parse_overrides(self.overrides)
        return {override.get_key_element(): override for override in parsed}


def table_names() -> list[str]:
    """The names of all tables that can be made."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem != REFERENCE)


def load_experiment(name: str, scale: str, study: Mapping[str, Any]) -> DictConfig:
    """Read a table at a scale.

    Args:
        name: The name of its file in `experiments/`.
        scale: One of its scales.
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
    """The sweeps of a table, but for those that are null.

    Args:
        experiment: The table.
        folder: Where each sweep has a folder of its name.
        group: The group of the runs in W&B.
    """
    seeds = ",".join(map(str, experiment.seeds))
    return [
        Sweep(
            str(name),
            [*overrides, *experiment.overrides, f"{SEED}={seeds}"],
            folder / str(name),
            group,
        )
        for name, overrides in experiment.sweeps.items()
        if overrides is not None
    ]


def tabulate(experiment: DictConfig, sweeps: Sequence[Sweep]) -> tuple[ResultTable, dict[str, str]]:
    """Make a table of means and deviations over seeds, beside published figures.

    Args:
        experiment: The table.
        sweeps: Its sweeps, of which some run is finished.

    Returns:
        The table, and the `provenance` of its runs.
    """
    labels = experiment.get("labels", {})
    by_score = experiment.get("by_score", False)
    rows: list[Row] = []
    all_groups: list[Group] = []
    for sweep in sweeps:
        groups = sweep.groups
        all_groups += groups
        for group in groups:
            names = [labels.get(part, _value(part)) for part in group.setting]
            row = {
                "sweep": labels.get(sweep.name, sweep.name),
                "setting": ", ".join(names) or labels.get("default", "default"),
            }
            figures = _published(experiment, sweep.name, row["setting"])
            if group.is_marked(experiment.columns):
                row["setting"] += f" {MARK}"
            rows += [
                row | cells | _compare(cells, figures)
                for cells in group.rows(experiment.columns, by_score)
            ]
    columns = {"sweep": "data", "setting": "setting"}
    columns |= {"score": "score"} if by_score else {}
    columns["n"] = "n"
    for key, heading in experiment.columns.items():
        columns[key] = heading
        if any(f"{key} published" in row for row in rows):
            columns[f"{key} published"] = "published"
            columns[f"{key} difference"] = "difference"
    conditions = _conditions(experiment, all_groups)
    return ResultTable(columns, rows, conditions), provenance_of(finished_runs(all_groups))


def table_figure(experiment: DictConfig, sweeps: Sequence[Sweep], table: ResultTable) -> Figure:
    """Draw the curves of the one sweep that is over numbers, if any, or else all measures between 0
    and 1, by row.
    """
    curves = [
        sensitivity_figure(
            {group.setting: group.runs for group in sweep.groups},
            {key: heading for key, heading in MEASURES.items() if key in experiment.columns},
            experiment.get("labels", {}),
        )
        for sweep in sweeps
    ]
    drawn = [figure for figure in curves if figure is not None]
    if len(drawn) == 1:
        return drawn[0]
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


def _conditions(experiment: DictConfig, groups: Sequence[Group]) -> str:
    missing = sum(group.unfinished for group in groups)
    lines = [
        describe_runs(finished_runs(groups), shared=" ".join(experiment.overrides)),
        f"Published: {str(experiment.get('published_source', 'not available')).strip()}.",
        f"{missing} runs are not finished." if missing else "",
    ]
    return " ".join(line for line in lines if line)
