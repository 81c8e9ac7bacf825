"""Measure the project: `python -m src.benchmark`, or parts of it with `parts=[loss,step]`."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src.config.command import check_device, command
from src.reports.provenance import provenance
from src.reports.tables import Row, markdown_table

PARTS = ("loss", "step", "fit", "target", "retrieval", "loaders", "scaling", "memory")


class Section(NamedTuple):
    """What a part of the report says."""

    markdown: str
    rows: Sequence[Row]
    settings: Any


def benchmark(config: DictConfig) -> None:
    """Measure part after part; after each, write the report as far as it goes."""
    check_device(config.device)
    unknown = [part for part in config.parts if part not in PARTS]
    if unknown or not config.parts:
        raise ValueError(f"parts must be among {', '.join(PARTS)}, not {', '.join(unknown)!r}")
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    sections = {}
    for part in config.parts:
        console.print(f"measuring: {part}")
        sections[part] = measure_part(part, config, output_dir)
        console.print(sections[part].markdown, soft_wrap=True)
        write_report(output_dir, sections, config.device)
    console.print(f"written to {output_dir}", soft_wrap=True)


def measure_part(part: str, config: DictConfig, output_dir: Path) -> Section:
    """Measure a part, and draw it where it has a picture."""
    what = import_module(f"src.benchmarks.{part}")  # each weighs on the memory of others
    settings = OmegaConf.to_container(config[part], resolve=True)
    rows = list(what.measure(device=config.device, **config[part]))
    markdown = f"## {what.TITLE}\n\n{markdown_table(what.COLUMNS, rows)}\n{what.CONDITIONS}\n"
    if hasattr(what, "draw_rows"):
        what.draw_rows(rows).savefig(output_dir / f"{part}.png", dpi=130)
        markdown += f"\n![{what.TITLE}]({part}.png)\n"
    return Section(markdown, rows, settings)


def write_report(output_dir: Path, sections: dict[str, Section], device: str) -> None:
    """Write report.md, and report.json with all digits."""
    where = provenance()
    versions = ", ".join(
        f"{key.removeprefix('run/version/')} {value}"
        for key, value in where.items()
        if key.startswith("run/version/")
    )
    machine = (
        f"Device: {device}. {where['run/hardware']}. Python {where['run/python']}, {versions}. "
        f"Commit {where['run/commit']}."
    )
    texts = [section.markdown for section in sections.values()]
    (output_dir / "report.md").write_text("\n".join(["# Benchmark\n", f"{machine}\n", *texts]))
    parts = {
        part: {"rows": section.rows, "settings": section.settings}
        for part, section in sections.items()
    }
    record = {"parts": parts, "run/device": device} | where
    (output_dir / "report.json").write_text(json.dumps(record, indent=2) + "\n")


main = command("benchmark")(benchmark)

if __name__ == "__main__":
    main()
