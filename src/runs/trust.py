"""The limits of a config and a checkpoint, which may come from anybody: it may ask for classes that
conf/ names, with plain values, and for the deletion of checkpoints of its own run.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from reprlib import Repr
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
# Hydra's other directives change what is called, or with what.
DIRECTIVES = {*((part, "_target_") for part in PARTS), ("optimizer", "_partial_")}
DIRECTIVE = re.compile("_.*_")
NAME = re.compile(r"[\w-]+")  # without dots, a key says where it is
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # would reach the terminal in messages
MAX_DEPTH = 20
MAX_SIZE = 100_000  # values and characters; a config has some 5,000
SHOWN = 80  # characters of the file in a message
SHORT = Repr()
SHORT.maxstring = SHOWN

# What Lightning's ModelCheckpoint keeps, and deletes when there is something better
KEPT_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


def check_config(config: Mapping[str, Any]) -> None:
    """Check the config of a checkpoint or of a run's folder, before anything of it is called,
    imported or printed.

    Every part must name a class that a file of its group in conf/ names at the same key, and the
    class must be one of the group's kind. All else, in other sections, too, must be plain values
    of bounded size, without interpolations and control characters; the id of a W&B run a plain
    name.

    Args:
        config: The resolved config of a run.

    Raises:
        ValueError: If it asks for anything else; the message says where, in one line.
    """
    if type(config) is not dict:
        raise ValueError(f"the config is a {type(config).__name__}, which is refused")
    _check_plain(config)
    for part in PARTS:
        if type(config.get(part)) is not dict:
            raise ValueError(f"another version of this project wrote it: its config has no {part}")
        if "_target_" not in config[part]:
            raise ValueError(f"the config names no class as {part}")
        for key, target in targets(config[part]):
            if (key, target) not in known_targets(part):
                where = f"{part}.{key}" if key else part
                raise ValueError(
                    f"the config asks for {show(target)} as {where}, which is refused: no file "
                    f"of conf/{part} names it there"
                )
        if part in BASES:
            _check_kind(part, config[part]["_target_"])
    run_id = wandb_id(config)
    if run_id is not None and (type(run_id) is not str or not NAME.fullmatch(run_id)):
        raise ValueError(f"the config has {show(run_id)} as logger.id, which is refused")


def wandb_id(config: Mapping[str, Any]) -> Any:
    """The id of the W&B run that a config was trained in, None where it names none."""
    logger = config.get("logger")
    return logger.get("id") if isinstance(logger, Mapping) else None


def check_kept_paths(states: Any) -> None:
    """Check the paths that callbacks would delete when a run goes on from a checkpoint.

    Lightning deletes what is below the folder that a run saves in now. But it takes the path as it
    is written, with any `..`, and deletes whatever has a protocol, such as `local://`.

    Args:
        states: The states of the callbacks, by name.

    Raises:
        ValueError: If they are none, or hold a path that is not plain.
    """
    if type(states) is not dict:
        raise ValueError(f"the states of callbacks are a {type(states).__name__}")
    for name, state in states.items():
        best = state.get("best_k_models", {}) if type(state) is dict else None
        if type(best) is not dict:
            raise ValueError(f"the state of {show(name)} is none of a callback")
        for path in [*(state.get(kept, "") for kept in KEPT_PATHS), *best]:
            if type(path) is not str or re.search("://|::", path) or ".." in Path(path).parts:
                raise ValueError(f"a callback would delete {show(path)}, which is refused")


def _check_kind(part: str, target: str) -> None:
    kind = hydra.utils.get_object(target)
    if not isinstance(kind, type) or not issubclass(kind, BASES[part]):
        raise ValueError(f"the config asks for {target} as {part}, no {BASES[part].__name__}")


def _check_plain(config: Any) -> None:
    """Raise ValueError unless a config holds plain values alone.

    Types are compared exactly: a subclass may list other items than it holds. The size counts what
    is reached by several ways as often as it is reached, which is how often it would be copied.
    """
    size = 0
    waiting: list[tuple[tuple[str, ...], Any]] = [((), config)]
    while waiting:
        path, value = waiting.pop()
        key = ".".join(path)[:SHOWN] or "its root"
        size += 1 + (len(value) if type(value) in (dict, list, str) else 0)
        if size > MAX_SIZE:
            raise ValueError(f"the config is too large: more than {MAX_SIZE:,} values or letters")
        if len(path) > MAX_DEPTH:
            raise ValueError(f"the config is nested more than {MAX_DEPTH} deep at {key}...")
        if type(value) is dict:
            for name, item in value.items():
                waiting.append(((*path, _check_name(name, path, key)), item))
        elif type(value) is list:
            waiting += [((*path, str(place)), item) for place, item in enumerate(value)]
        elif type(value) is str:
            if "${" in value:
                raise ValueError(f"the config has an interpolation as {key}, which is refused")
            if CONTROL.search(value):
                raise ValueError(f"the config has a control character in {key}: {show(value)}")
        elif type(value) not in (bool, int, float, type(None)):
            raise ValueError(f"the config has a {type(value).__name__} as {key}, which is refused")


def _check_name(name: Any, path: tuple[str, ...], key: str) -> str:
    """Raise ValueError unless a key is a plain name, and no directive that a part may not have."""
    if type(name) is not str or not NAME.fullmatch(name):
        raise ValueError(f"the config has {show(name)} as a key of {key}, which is refused")
    called = path[:1] and path[0] in PARTS
    if called and DIRECTIVE.fullmatch(name) and (path[0], name) not in DIRECTIVES:
        raise ValueError(f"the config sets {show(f'{key}.{name}')}, which is refused")
    return name


def show(value: Any) -> str:
    """A value of the file for a message: short, and without what a terminal would act on."""
    return SHORT.repr(value)
