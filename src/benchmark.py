"""Measure a part of the project: `python -m src.benchmark part=loss`."""

import json
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from src.benchmarks import loaders, loss, retrieval
from src.benchmarks.table import markdown_table
from src.cli import check_device, command
from src.provenance import provenance


def benchmark(config: DictConfig) -> None:
    """Measure; print and write the table with its conditions."""
    check_device(config.device)
    parts = {
        "loss": (loss, partial(loss.measure_loss, **config.loss)),
        "loaders": (
            loaders,
            partial(loaders.measure_loaders, root=config.data_dir, **config.loaders),
        ),
        "retrieval": (retrieval, partial(retrieval.measure_retrieval, **config.retrieval)),
    }
    if config.part not in parts:
        raise ValueError(f"part must be one of {', '.join(parts)}, not {config.part!r}")
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    what, measure = parts[config.part]
    rows = list(track(measure(device=config.device), "measuring", console=console, transient=True))

    settings = OmegaConf.to_container(config[config.part])
    record = provenance() | {"device": config.device}
    stem = output_dir / config.part
    stem.with_suffix(".json").write_text(
        json.dumps({"rows": rows, "settings": settings} | record, indent=2) + "\n"
    )
    machine = f"{record['device']}: {record['run/hardware']}, PyTorch {record['run/version/torch']}"
    table = f"{markdown_table(what.COLUMNS, rows)}\n{what.CONDITIONS} {machine}.\n"
    stem.with_suffix(".md").write_text(table)
    console.print(table, soft_wrap=True)
    console.print(f"written to {output_dir}", soft_wrap=True)


main = command("benchmark")(benchmark)

if __name__ == "__main__":
    main()
