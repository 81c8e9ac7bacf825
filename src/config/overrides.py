"""Arguments of commands, KEY=VALUE, taken as the type of the key asks for.

Hydra reads a value by a grammar in which commas, brackets, braces, quotes, spaces and `=` mean
something, and paths and queries hold them all. Where a key takes text, its value is text as it
stands, but for `null`, for what is in quotes already, and for interpolations, `${...}`.
"""

import inspect
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import hydra.utils
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.config.groups import known_targets

IN_QUOTES = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
ITEM = re.compile(rf"\s*({IN_QUOTES}|[^,]*?)\s*(?:,|$)", re.S)
MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
LIGHTNINGS = 'hydra.run.dir="'  # what it tells processes that it starts, whatever the path holds
TEXT, TEXTS = "text", "texts"  # the kinds of keys whose values need quotes


def quote_arguments(arguments: Sequence[str], keys: type) -> list[str]:
    """Put quotes around what Hydra's grammar would read as anything but the text that it is.

    In a sweep, choices such as `a,b` stay what they are.

    Args:
        arguments: Those of a command line.
        keys: A class whose annotations are those of the root keys of the command.
    """
    sweep = bool(MULTIRUN.intersection(arguments))
    return [_quote_argument(argument, keys, sweep) for argument in arguments]


def quote(key: str, value: str) -> str:
    """An override that sets a key to a text, whatever characters it has."""
    # Backslashes mean something before a quote alone, of which one ends the value.
    doubled = re.sub(r"(\\+)(?='|\Z)", r"\1\1", value)
    escaped = doubled.replace("'", "\\'")
    return f"{key}='{escaped}'"


def expand_home(config: DictConfig | ListConfig) -> None:
    """Replace a leading `~/` in all texts of a config by the home folder: a shell does so at the
    beginning of an argument alone, and not in a variable of the environment.
    """
    keys: Iterable[Any] = range(len(config)) if isinstance(config, ListConfig) else list(config)
    for key in keys:
        if OmegaConf.is_missing(config, key):
            continue
        value = config[key]
        if isinstance(value, DictConfig | ListConfig):
            expand_home(value)
        elif isinstance(value, str) and re.match(r"~(/|$)", value):
            config[key] = str(Path(value).expanduser())


def _quote_argument(argument: str, keys: type, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if argument.startswith(LIGHTNINGS) and "LOCAL_RANK" in os.environ:
        return quote(key, value[1:-1])
    name = key.lstrip("+")
    if not equals or name.startswith(("-", "~")) or value.lower() == "null":
        return argument
    override = _parse(argument)
    if override is not None:
        read: Any = None if override.is_sweep_override() else override.value()
        # Whether a number is text is known only after an import of all that its group has.
        number = isinstance(read, bool | int | float) and "." in name
        if read == value or number or (sweep and override.is_sweep_override()):
            return argument
    kind = _kind_of(name, keys)
    if kind == TEXT and not re.fullmatch(IN_QUOTES, value, re.S):
        return quote(key, value)
    if kind == TEXTS and value[:1] == "[" and value[-1:] == "]":
        items = [item for item in ITEM.findall(value[1:-1]) if item]
        return f"{key}=[{','.join(map(_quote_item, items))}]"
    return argument


def _quote_item(item: str) -> str:
    return item if re.fullmatch(IN_QUOTES, item, re.S) else quote("", item)[1:]


def _parse(argument: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None


def _kind_of(name: str, keys: type) -> str | None:
    """The kind of a key: TEXT, TEXTS, or None for any other."""
    group, _, rest = name.partition(".")
    if not rest:
        hints = [get_type_hints(keys).get(name)]
    elif group == "hydra":
        hints = [_hint_in_hydra(rest)]
    else:
        place, _, parameter = rest.rpartition(".")
        hints = [
            _hint_of(target, parameter) for key, target in known_targets(group) if key == place
        ]
    kinds = {_kind_of_hint(hint) for hint in hints if hint is not None}
    return kinds.pop() if len(kinds) == 1 else None


def _hint_in_hydra(key: str) -> Any:
    hint: Any = HydraConf
    for name in key.split("."):
        hint = get_type_hints(hint).get(name) if isinstance(hint, type) else None
    return hint


def _hint_of(target: str, parameter: str) -> Any:
    parameters = inspect.signature(hydra.utils.get_object(target)).parameters
    return parameters[parameter].annotation if parameter in parameters else None


def _kind_of_hint(hint: Any) -> str | None:
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [choice for choice in choices if choice is not NoneType]
    if all(kind in (str, Path) for kind in kinds):
        return TEXT
    return TEXTS if kinds == [list[str]] else None
