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

from src.config.refused import LOCK
from src.reports.console import make_console


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
            from src.tables.sweeps import write_tables

            folder = Path(config.hydra.sweep.dir)
            with FileLock(folder / LOCK):  # jobs of a launcher may end together
                write_tables(folder, pictures=job_return.status != JobStatus.COMPLETED)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from src.tables.sweeps import write_tables

        folder = Path(config.hydra.sweep.dir).resolve()
        write_tables(folder, pictures=True)
        console = make_console()
        for table in sorted(folder.glob("*.md"), reverse=True):
            console.print(table.read_text(), soft_wrap=True)
        names = (path.name for kind in ("html", "md", "png") for path in folder.glob(f"*.{kind}"))
        console.print(f"sweep:   {folder}: {', '.join(sorted(names))}", soft_wrap=True)
