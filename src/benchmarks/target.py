"""Time to a target accuracy."""

from collections.abc import Iterator, Sequence
from statistics import median
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
from matplotlib.figure import Figure

from src.benchmarks.timing import now
from src.benchmarks.training import CROSS_ENTROPY, compose_training, fit
from src.config.instantiate import instantiate
from src.metrics.names import MINTERM_ACCURACY
from src.reports.figures.costs import target_figure
from src.reports.tables import Row

METHODS: dict[str, list[str]] = {"nuclear norm": [], "cross-entropy": CROSS_ENTROPY}
TITLE = "Time to a target accuracy"
COLUMNS = {
    "method": "loss",
    "target": "target",
    "reached": "seeds that reach it",
    "seconds": "s, median",
    "fastest": "fastest, s",
    "slowest": "slowest, s",
    "epochs": "epochs, median",
}
CONDITIONS = (
    "The default training on handwritten digits until the minterm accuracy of the validation split "
    "is at the target. Time is that of Trainer.fit from its first batch: epochs with their "
    "validation, in which subspaces are fitted and all queries asked, and checkpoints; no logger."
)


class StopAtAccuracy(pl.Callback):
    """Ends training at a validation accuracy, and keeps seconds and accuracies up to there.

    Args:
        target: Minterm accuracy to stop at.
        device: `cpu` or `cuda`.
    """

    def __init__(self, target: float, device: str) -> None:
        self.target = target
        self.device = device
        self.seconds: list[float] = []
        self.accuracies: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = now(self.device)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds.append(now(self.device) - self.start)
        self.accuracies.append(float(trainer.callback_metrics[f"val/{MINTERM_ACCURACY}"]))
        trainer.should_stop = self.accuracies[-1] >= self.target


def measure(device: str, target: float, epochs: int, seeds: Sequence[int]) -> Iterator[Row]:
    """One row for every method.

    Args:
        device: `cpu` or `cuda`.
        target: Minterm accuracy on the validation split.
        epochs: Number of epochs of the whole schedule, after which a run gives up.
        seeds: Seeds of the runs.
    """
    for method, overrides in METHODS.items():
        runs = [train_until(device, target, epochs, seed, overrides) for seed in seeds]
        reached = [run for run in runs if run.accuracies[-1] >= target]
        seconds = [run.seconds[-1] for run in reached]
        yield {
            "method": method,
            "target": target,
            "reached": f"{len(reached)} of {len(runs)}",
            "seconds": median(seconds) if seconds else "",
            "fastest": min(seconds, default=""),
            "slowest": max(seconds, default=""),
            "epochs": median(len(run.seconds) for run in reached) if reached else "",
            "curves": [[run.seconds, run.accuracies] for run in runs],
        }


def train_until(
    device: str, target: float, epochs: int, seed: int, overrides: Sequence[str]
) -> StopAtAccuracy:
    """Train, and return the callback that stopped it."""
    with TemporaryDirectory() as folder:
        epochs_and_seed = f"trainer.max_epochs={epochs}", f"seed={seed}"
        config = compose_training(device, folder, *overrides, *epochs_and_seed, "logger=none")
        stop = StopAtAccuracy(target, device)
        fit(config, instantiate(config.dataset), stop)
    return stop


def draw_rows(rows: Sequence[Row]) -> Figure:
    """Accuracies over time."""
    return target_figure({row["method"]: row["curves"] for row in rows}, rows[0]["target"])
