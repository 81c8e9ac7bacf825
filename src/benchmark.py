"""Measure the project: `python -m src.benchmark`, or parts of it with `parts=[loss,step]`."""

from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from omegaconf import DictConfig, OmegaConf

from src.benchmarks.report import section, write_page, write_report
from src.config.command import check_device, command
from src.reports.console import make_console
from src.reports.provenance import check_clean, provenance

PARTS = (
    *("loss", "step", "fit", "target", "retrieval", "galleries"),
    *("loaders", "scaling", "memory", "minterms", "nce"),
)


class Keys(TypedDict):
    """The root keys of conf/benchmark.yaml that have plain values."""

    parts: list[str]
    device: str
    output_dir: str
    rewrite: str | None
    dirty: bool


def benchmark(config: DictConfig) -> None:
    """Measure part after part; after each, write the report as far as it goes."""
    if config.rewrite:
        write_page(Path(config.rewrite))
        return
    check_device(config.device)
    unknown = [part for part in config.parts if part not in PARTS]
    if unknown or not config.parts:
        raise ValueError(f"parts must be among {', '.join(PARTS)}, not {', '.join(unknown)!r}")
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    where = provenance()
    check_clean((output_dir / "report.json").absolute(), where["run/commit"], config.dirty)
    console = make_console()
    parts: dict[str, Any] = {}
    record = {"parts": parts, "run/device": config.device} | where
    for part in config.parts:
        console.print(f"measuring: {part}")
        parts[part] = measure_part(part, config)
        text = section(part, parts[part]["rows"], record["run/hardware"])
        console.print(text, soft_wrap=True)
        write_report(output_dir, record)
    console.print(f"written to {output_dir}", soft_wrap=True)


def measure_part(part: str, config: DictConfig) -> dict[str, Any]:
    """The rows of a part, and the settings that they were measured with."""
    settings = OmegaConf.to_container(config[part], resolve=True)
    module = import_module(f"src.benchmarks.{part}")  # each weighs on the memory of others
    return {
        "rows": list(module.measure(device=config.device, **config[part])),
        "settings": settings,
    }


main = command("benchmark", Keys)(benchmark)

if __name__ == "__main__":
    main()
