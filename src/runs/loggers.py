"""The W&B logger, which tells W&B what each metric is drawn over and what sums it up."""

import re
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from src.metrics.names import (
    BATCH,
    BESIDE,
    CALIBRATION,
    LITERAL_AUPRC,
    MAP,
    MINTERM_ACCURACY,
    PRECISION,
    RETRIEVAL,
    SPECTRAL,
)

EVERY_EPOCH = re.compile(rf"val/|train/({SPECTRAL}|{BATCH})/")
BY_OTHERS = f"({'|'.join(BESIDE)})"
BEST = {
    "max": re.compile(
        rf"val/(({BY_OTHERS}/)?({MINTERM_ACCURACY}|{LITERAL_AUPRC})"
        rf"|({RETRIEVAL}(_\w+)?|{BY_OTHERS})/({MAP}|{PRECISION})(_\w+)?)$"
    ),
    "min": re.compile(rf"(train|val)/(\w+/)?(loss|\w+_gap)$|val/{CALIBRATION}/"),
}


class DefinedMetrics(WandbLogger):
    """Draws metrics of validations over epochs and those of steps over steps, and sums up with the
    best and the last value those that have a best one, `NAME.max` or `NAME.min` and `NAME.last`.

    Every metric is defined by its full name: where patterns overlap, as any does with the one that
    Lightning defines for all metrics, W&B takes one of them at random.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._defined: set[str] = set()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        for name in sorted(metrics.keys() - self._defined):
            best = next((kind for kind, pattern in BEST.items() if pattern.match(name)), None)
            self.experiment.define_metric(
                name,
                step_metric="epoch" if EVERY_EPOCH.match(name) else "trainer/global_step",
                summary=f"{best},last" if best else None,
            )
            self._defined.add(name)
        super().log_metrics(metrics, step)
