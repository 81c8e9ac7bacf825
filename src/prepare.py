"""Fetch or make a data set and check it: `python -m src.prepare dataset=NAME`."""

from pathlib import Path
from typing import TypedDict

from omegaconf import DictConfig
from rich.table import Table

from src.config.command import command
from src.config.groups import CONF_DIR
from src.config.instantiate import instantiate
from src.reports.console import make_console
from src.subspaces.minterms import distinct_minterms


class Keys(TypedDict):
    """The root keys of conf/prepare.yaml that have plain values."""

    data_dir: str
    output_dir: str


def prepare(config: DictConfig) -> None:
    """Have every split in reading order, and count what is in it."""
    if "dataset" not in config:
        names = sorted(path.stem for path in (CONF_DIR / "dataset").glob("*.yaml"))
        raise ValueError(f"dataset is missing: add dataset=NAME, one of {', '.join(names)}")
    image_set = instantiate(config.dataset)
    image_set.fetch()
    splits = image_set.splits
    image_set.verify()
    minterms = distinct_minterms(splits["train"].labels)
    table = Table(
        title=f"{type(image_set).__name__}: {len(minterms)} minterms", title_justify="left"
    )
    for heading in ("", *splits):
        table.add_column(heading, justify="right")
    table.add_row(f"{image_set.item}s", *(f"{len(split):,}" for split in splits.values()))
    shares = [split.labels.double().mean(dim=0).tolist() for split in splits.values()]
    for literal, *parts in zip(image_set.literals, *shares, strict=True):
        table.add_row(literal, *(f"{part:.1%}" for part in parts))
    console = make_console()
    console.print(table)
    for note in image_set.notes:
        console.print(note, soft_wrap=True, markup=False, highlight=False)
    folder = Path(config.data_dir)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    size = sum(path.stat().st_size for path in files) / 1e6
    console.print(
        f"{folder.resolve()} holds {len(files):,} files of all sets, {size:,.0f} MB", soft_wrap=True
    )


main = command("prepare", Keys)(prepare)

if __name__ == "__main__":
    main()
