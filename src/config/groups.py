"""The groups of conf/ that a model and its training are made of."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"
PARTS = ("dataset", "loader", "encoder", "loss", "readout", "optimizer", "module")


@cache
def known_targets(group: str) -> frozenset[tuple[str, str]]:
    """List what the files of a group call: the key of each `_target_`, empty for the group's own,
    and the name.
    """
    found: set[tuple[str, str]] = set()
    for path in (CONF_DIR / group).glob("*.yaml"):
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        found.update(targets(content.get(group, content)))
    return frozenset(found)


def targets(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every `_target_` of plain mappings and lists with its key, dotted; the key of an item of a
    list is its place.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name == "_target_":
                yield key, str(value)
            yield from targets(value, f"{key}.{name}".lstrip("."))
    elif isinstance(config, list):
        for place, value in enumerate(config):
            yield from targets(value, f"{key}.{place}".lstrip("."))
