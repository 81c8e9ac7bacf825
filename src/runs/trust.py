"""What the config of a checkpoint may ask for: classes that conf/ names, with plain values."""

from collections.abc import Mapping
from typing import Any

import hydra.utils
from torch import nn

from src.config.groups import PARTS, known_targets, targets
from src.data.images import ImageSet
from src.encoders.encoder import Encoder
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.readouts.readout import Readout

BASES: dict[str, type] = {
    "dataset": ImageSet,
    "loader": ImageDataModule,
    "encoder": Encoder,
    "loss": nn.Module,
    "readout": Readout,
    "module": SubspaceModule,
}
DIRECTIVES = ("_target_", "_partial_")  # of Hydra; all others change what is called, or with what
MAX_DEPTH = 20


def check_config(config: Mapping[str, Any]) -> None:
    """Check the config of a file that may come from anybody, before anything of it is called.

    Every part must name a class that a file of its group in conf/ names at the same key, and the
    class must be one of the group's kind. All else must be plain values without interpolations.

    Args:
        config: The resolved config of a run, with all of `PARTS`.

    Raises:
        ValueError: If it asks for anything else; the message says where.
    """
    _check_plain(config, "", 0)
    for part in PARTS:
        asked = dict(targets(config[part]))
        if "" not in asked:
            raise ValueError(f"its config names no class as {part}")
        for key, target in asked.items():
            if (key, target) not in known_targets(part):
                where = f"{part}.{key}" if key else part
                raise ValueError(
                    f"its config asks for {target!r} as {where}, which is refused: no file of "
                    f"conf/{part} names it"
                )
        if part in BASES:
            _check_kind(part, asked[""])


def _check_kind(part: str, target: str) -> None:
    kind = hydra.utils.get_object(target)
    if not isinstance(kind, type) or not issubclass(kind, BASES[part]):
        raise ValueError(f"its config asks for {target!r}, which is no {BASES[part].__name__}")


def _check_plain(value: Any, key: str, depth: int) -> None:
    """Raise ValueError unless a value holds plain ones alone, nested at most `MAX_DEPTH` deep."""
    if depth > MAX_DEPTH:
        raise ValueError(f"its config is nested more than {MAX_DEPTH} deep at {key[:40]}...")
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or _interpolates(name):
                raise ValueError(f"its config has {name!r} as a key below {key or 'its root'}")
            if name.startswith("_") and name.endswith("_") and name not in DIRECTIVES:
                raise ValueError(f"its config sets {key}.{name}, which is refused")
            _check_plain(item, f"{key}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            _check_plain(item, f"{key}.{place}", depth + 1)
    elif isinstance(value, str):
        if _interpolates(value):
            raise ValueError(f"its config has an interpolation as {key}, which is refused")
    elif not isinstance(value, bool | int | float | None):
        raise ValueError(f"its config has a {type(value).__name__} as {key}, which is refused")


def _interpolates(text: str) -> bool:
    return "${" in text
