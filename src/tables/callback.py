"""Hydra calls this at the end of a job and of a sweep. It is loaded for every run, and its tables,
with pandas and Matplotlib, for sweeps alone.
"""

from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from src.metrics.names import MAP, retrieval_name
from src.reports.console import make_console

LOCK = ".tables.lock"


class SweepTable(Callback):
    """Writes tables into the folder of a multirun, by `write_table`, and a page that shows them.

    `sweep`: a row is a setting; runs that differ in their seed alone share it. Jobs without results
    are counted in their row as unfinished. `retrieval`: a row is a setting and a score; with a
    picture. `sensitivity` and `parallel`: pictures alone, of a sweep over numbers. Tables are
    written anew after every job and all else at the end, which a sweep with a failing job does not
    reach: after that job as well. The settings are printed, ranked by `optimized_metric` or else by
    mAP on validation.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            from src.tables.sweeps import write_tables

            folder = Path(config.hydra.sweep.dir)
            failed = job_return.status != JobStatus.COMPLETED
            with FileLock(folder / LOCK):  # jobs of a launcher may end together
                write_tables(folder, _ranked_by(config), pictures=failed)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from src.tables.aggregate import find_jobs, finished_runs
        from src.tables.ranking import for_terminal, ranked_table
        from src.tables.sweeps import group_by_setting, write_tables

        folder = Path(config.hydra.sweep.dir).resolve()
        metric = _ranked_by(config)
        write_tables(folder, metric, pictures=True)
        groups, _ = group_by_setting(find_jobs(folder))
        console = make_console()
        if finished_runs(groups):
            console.print(for_terminal(ranked_table(groups, metric)))
        names = (path.name for kind in ("html", "md", "png") for path in folder.glob(f"*.{kind}"))
        console.print(f"sweep:   {folder}: {', '.join(sorted(names))}", soft_wrap=True)


def _ranked_by(config: DictConfig) -> str:
    return config.optimized_metric or f"val/{retrieval_name(MAP)}"
