"""Make a table or figure of the papers: `python -m src.reproduce table=NAME scale=smoke`."""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypedDict

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src.config.command import call, command
from src.config.errors import USER_ERRORS, describe_error
from src.config.instantiate import instantiate
from src.config.occupied import occupied
from src.reports import pages
from src.reports.console import make_console
from src.reports.provenance import check_clean, provenance
from src.reports.tables import ResultTable, describe, on_page, write_table
from src.tables.experiments import (
    Sweep,
    load_experiment,
    sweeps_of,
    table_figure,
    table_names,
    tabulate,
)

RECORD = "table.json"  # written last: a folder that has it has the whole table
INTERVAL = 0.5  # seconds between two looks at which runs are finished


class Keys(TypedDict):
    """The root keys of conf/reproduce.yaml that have plain values."""

    table: str
    scale: str
    dry_run: bool
    dirty: bool
    launch: str
    runs_dir: str
    results_dir: str


def reproduce(config: DictConfig) -> None:
    """Make one table, or all: run what is not finished, then write and publish the table."""
    names = table_names() if config.table == "all" else [config.table]
    experiments = {name: load_experiment(name, config.scale, config.study) for name in names}
    launch = shlex.split(config.launch)
    strange = [override for override in launch if not override.startswith("hydra")]
    if strange:
        raise ValueError(f"launch takes overrides of hydra alone, not {strange[0]!r}")
    console = make_console()
    failures = []
    results = {name: Path(config.results_dir) / name / config.scale for name in names}
    if not config.dry_run:
        for target in results.values():  # before a run, not after all
            check_clean((target / RECORD).absolute(), provenance()["run/commit"], config.dirty)
    for name, experiment in experiments.items():
        runs = Path(config.runs_dir).absolute() / experiment.get("extends", name) / config.scale
        if config.dry_run:
            list_runs(name, experiment, runs, launch, console)
            continue
        folder = Path(config.runs_dir) / name / config.scale / "table"
        try:
            with occupied(folder.parent):
                folder.mkdir(exist_ok=True)
                if "study" in experiment:
                    failed = run_study(name, experiment, folder, console)
                else:
                    failed = run_sweeps(name, experiment, runs, folder, launch, console)
                if (folder / RECORD).exists():
                    target = results[name]
                    commit = json.loads((folder / RECORD).read_text())["run/commit"]
                    check_clean((target / RECORD).absolute(), commit, config.dirty)
                    shutil.copytree(folder, target, dirs_exist_ok=True)
                    shown = (folder / "table.md").read_text(encoding="utf-8")
                    console.print(shown, soft_wrap=True)
                    console.print(f"table: {target}", soft_wrap=True)
        except USER_ERRORS as error:
            failed = [describe_error(error)]
        failures += [f"{name}: {failure}" for failure in failed]
    if failures:
        raise ValueError("; ".join(failures))


def run_study(name: str, experiment: DictConfig, folder: Path, console: Console) -> list[str]:
    """Run a study, unless the folder has its table with these settings already."""
    settings = OmegaConf.to_container(experiment.study, resolve=True)
    record = folder / RECORD
    if _read_settings(record) == settings:
        console.print(f"{name}: finished already, in {folder}", soft_wrap=True)
        return []
    console.print(f"{name}: running", soft_wrap=True)
    record.unlink(missing_ok=True)  # of other settings, to which what comes does not belong
    table = instantiate(experiment.study)(folder=folder)
    publish(folder, experiment, table, settings, provenance())
    return []


def _read_settings(record: Path) -> Any:
    """The settings of a table; None where there is none, or none that is whole."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content.get("settings") if isinstance(content, dict) else None


def run_sweeps(
    name: str,
    experiment: DictConfig,
    runs: Path,
    folder: Path,
    launch: Sequence[str],
    console: Console,
) -> list[str]:
    """Train the runs that are not finished and write the table.

    Returns:
        The errors of sweeps that failed.
    """
    sweeps = sweeps_of(experiment, runs, runs.parent.name)
    total = sum(len(sweep.jobs) for sweep in sweeps)
    # To watch, files are counted and not read. Runs that an earlier version of the table has left
    # in the same folders are taken off.
    finished = total - sum(sweep.unfinished for sweep in sweeps)
    foreign = sum(sweep.count_results() for sweep in sweeps) - finished
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    ended = Event()
    with progress:
        task = progress.add_task(name, total=total)

        def watch() -> None:
            while not ended.wait(INTERVAL):
                found = sum(sweep.count_results() for sweep in sweeps)
                progress.update(task, completed=found - foreign)

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            errors = [_run_sweep(name, sweep, launch, console) for sweep in sweeps]
        finally:
            ended.set()
            watcher.join()
    if any(sweep.unfinished < len(sweep.jobs) for sweep in sweeps):
        table, where = tabulate(experiment, sweeps)
        table_figure(experiment, sweeps, table).savefig(folder / "figure.png", dpi=130)
        settings = {sweep.name: sweep.overrides for sweep in sweeps}
        publish(folder, experiment, table, settings, where)
    return [error for error in errors if error is not None]


def publish(
    folder: Path,
    experiment: DictConfig,
    table: ResultTable,
    settings: Any,
    where: Mapping[str, str],
) -> None:
    """Write a table, and a page that shows it with its figure."""
    said = " ".join(experiment.title.split())
    title, _, subtitle = said.rstrip(".").partition(". ")
    sections: list[pages.Section] = [
        pages.Picture(folder / "figure.png", " ".join(experiment.caption.split())),
        on_page(table),
        pages.Text(describe(table, where)),
        pages.Listing("What was run", OmegaConf.to_yaml(OmegaConf.create(settings))),
    ]
    pages.write_page(folder / "index.html", title, sections, subtitle)
    titled = table._replace(conditions=f"{said} {table.conditions}")
    write_table(folder / "table", titled, settings, where)


def list_runs(
    name: str, experiment: DictConfig, runs: Path, launch: Sequence[str], console: Console
) -> None:
    """Print the commands of a table, and the time that they took when it was measured."""
    minutes = experiment.get("minutes")
    cost = f"about {minutes} minutes on one core" if minutes else "time not measured"
    console.print(f"{name}: {cost}", soft_wrap=True)
    if "study" in experiment:
        console.print(f"  {experiment.study['_target_']}", soft_wrap=True)
        return
    for sweep in sweeps_of(experiment, runs, runs.parent.name):
        jobs = len(sweep.jobs)
        arguments = " ".join([*sweep.overrides, *launch])
        console.print(
            f"  {sweep.name}: {jobs} runs, {jobs - sweep.unfinished} finished: "
            f"python -m src.train -m {arguments}",
            soft_wrap=True,
        )


def _run_sweep(name: str, sweep: Sweep, launch: Sequence[str], console: Console) -> str | None:
    """Train the unfinished jobs of a sweep, with their output in its log; return an error."""
    left = sweep.unfinished
    if not left:
        console.print(f"{name}, {sweep.name}: finished already")
        return None
    console.print(f"{name}, {sweep.name}: {left} of {len(sweep.jobs)} runs to go")
    sweep.folder.mkdir(parents=True, exist_ok=True)
    log = sweep.folder / "log.txt"
    with log.open("a") as file, redirect_stdout(file):
        error = call("train", [*sweep.arguments, *launch])
    return None if error is None else f"{sweep.name}: {error.removeprefix('error: ')} ({log})"


main = command("reproduce", Keys, flags=["dry_run", "dirty"])(reproduce)

if __name__ == "__main__":
    main()
