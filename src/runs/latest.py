"""The newest finished run."""

from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from src.reports.results import METRICS, read_results
from src.runs.checkpoints import CheckpointError

LATEST = "latest"
RUNS = Path("outputs")  # where runs are, unless hydra.run.dir says otherwise
LAST = Path("checkpoints", "last.ckpt")


def find_checkpoint(path: str) -> str:
    """Return a path as it is, but for `latest` the last checkpoint of the newest finished run in
    `outputs` that is no debug run, which is printed.

    Raises:
        CheckpointError: If there is no such run.
    """
    if path != LATEST:
        return path
    runs = [last.parents[1] for last in RUNS.rglob(str(LAST))]
    finished = [run for run in runs if (run / METRICS).is_file()]
    # The newest first, so that few of them are read
    for run in sorted(finished, key=lambda run: (run / METRICS).stat().st_mtime_ns, reverse=True):
        if read_results(run) is not None and not _is_debug(run):
            found = str(run / LAST)
            Console(stderr=True).print(f"{LATEST}: {found}", soft_wrap=True, markup=False)
            return found
    raise CheckpointError(
        f"no finished run in {RUNS.absolute()}: train one with python -m src.train, or give "
        "ckpt_path=RUN/checkpoints/last.ckpt"
    )


def _is_debug(run: Path) -> bool:
    """Whether a run was started with debug=..., as Hydra wrote down, unless it was told not to."""
    written = run / ".hydra" / "hydra.yaml"
    if not written.exists():
        return False
    return OmegaConf.select(OmegaConf.load(written), "hydra.runtime.choices.debug") != "none"
