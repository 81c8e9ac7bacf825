"""Measure a part of the project: `python -m src.benchmark part=loss`."""

from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from src.cli import check_device, command
from src.provenance import provenance
from src.tables import Table, write_table

PARTS = ("loss", "loaders", "retrieval")


def benchmark(config: DictConfig) -> None:
    """Measure; print and write the table with its conditions."""
    check_device(config.device)
    if config.part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, not {config.part!r}")
    what = import_module(f"src.benchmarks.{config.part}")  # each weighs on the memory of others
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    measured = what.measure(device=config.device, **config[config.part])
    rows = list(track(measured, "measuring", console=console, transient=True))

    conditions = f"{what.CONDITIONS} Device: {config.device}."
    settings = OmegaConf.to_container(config[config.part], resolve=True)
    found = Table(what.COLUMNS, rows, conditions)
    table = write_table(output_dir / config.part, found, settings, provenance())
    console.print(table, soft_wrap=True)
    console.print(f"written to {output_dir}", soft_wrap=True)


main = command("benchmark")(benchmark)

if __name__ == "__main__":
    main()
