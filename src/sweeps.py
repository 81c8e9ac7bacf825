"""One table at the end of a sweep: mean and standard deviation over seeds."""

import csv
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

COLUMNS = {
    "test/minterm_accuracy": "minterm accuracy",
    "test/literal_auprc": "literal AUPRC",
    "test/retrieval/map_positive": "mAP positive",
    "test/retrieval/map_negated": "mAP negated",
    "test/retrieval/precision_at_10_positive": "P@10 positive",
    "test/retrieval/precision_at_10_negated": "P@10 negated",
    "test/spectral/max_coherence": "largest coherence",
    "test/spectral/optimality_gap": "optimality gap",
}
UNFINISHED = "unfinished"


class SweepTable(Callback):
    """Writes `sweep.md` and `sweep.csv` into the folder of a multirun.

    A row is a setting; runs that differ in their seed alone share it. Jobs without results are
    counted in their row as unfinished. The table is written anew after every job, so that a failing
    one does not cost the others their rows.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            self._write(Path(config.hydra.sweep.dir), config.name)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        table = Path(config.hydra.sweep.dir) / "sweep.md"
        Console().print(f"sweep:   {table.resolve()}", soft_wrap=True)

    def _write(self, folder: Path, name: str) -> None:
        rows: dict[str, list[dict[str, Any]]] = {}
        for job in sorted(folder.glob("*/.hydra/overrides.yaml")):
            overrides = sorted(str(override) for override in OmegaConf.load(job))
            setting = ", ".join(item for item in overrides if not item.startswith("seed="))
            metrics = job.parent.parent / "metrics.json"
            results = json.loads(metrics.read_text()) if metrics.exists() else {}
            rows.setdefault(setting or "default", []).append(results)
        table = [_row(setting, results) for setting, results in rows.items()]
        with (folder / "sweep.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        (folder / "sweep.md").write_text(_markdown(name, rows, table))


def _row(setting: str, results: list[dict[str, Any]]) -> dict[str, str]:
    finished = [result for result in results if result]
    row = {"setting": setting, "n": str(len(finished))}
    for key, heading in COLUMNS.items():
        values = [result[key] for result in finished if result.get(key) is not None]
        row[heading] = f"{mean(values):.4f}" if values else ""
        row[f"{heading} std"] = f"{stdev(values):.4f}" if len(values) > 1 else ""
    return row | {UNFINISHED: str(len(results) - len(finished))}


def _markdown(name: str, rows: dict[str, list[dict[str, Any]]], table: list[dict[str, str]]) -> str:
    finished = [result for results in rows.values() for result in results if result]
    headings = ["setting", "n", *COLUMNS.values(), UNFINISHED]
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    for row in table:
        cells = [
            f"{row[heading]} ± {row[f'{heading} std']}"
            if row.get(f"{heading} std")
            else row[heading]
            for heading in headings
        ]
        lines.append("| " + " | ".join(cells) + " |")
    conditions = {
        "Run": [name],
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
    notes = [f"{key}: {', '.join(map(str, values))}" for key, values in conditions.items()]
    shown = "Mean ± standard deviation over n seeds, on the test split (its images in brackets)."
    return "\n".join([*lines, "", shown, ". ".join(notes) + "."]) + "\n"
