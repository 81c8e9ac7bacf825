"""Hydra's instantiate, after a check of every value against the annotation it goes to."""

import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import hydra.utils
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

PLAIN_TYPES = (int, float, str, bool, NoneType)


class ConfigError(ValueError):
    """A configured value does not fit where it goes."""


def instantiate(config: DictConfig, **arguments: Any) -> Any:
    """Call the `_target_` of a config, with further arguments.

    Raises:
        ConfigError: If the target does not take a key, or not a value of that type. The message
            names the full key.
    """
    check_values(config)
    return hydra.utils.instantiate(config, **arguments)


def check_values(config: DictConfig) -> None:
    """Raise ConfigError where a value does not fit the annotation of its target's argument."""
    target = hydra.utils.get_object(config["_target_"])
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    for key, value in config.items():
        name = str(key)
        full_key = config._get_full_key(name)
        if name.startswith("_") and name.endswith("_"):
            continue
        if name not in parameters and not takes_any:
            raise ConfigError(f"{full_key}: {target.__name__} takes only {', '.join(parameters)}")
        if isinstance(value, Mapping):
            if "_target_" in value:
                check_values(config[name])
            continue
        hint = parameters[name].annotation if name in parameters else Any
        if isinstance(value, ListConfig):
            value = OmegaConf.to_container(value)
        if _is_plain(hint):
            try:
                TypeAdapter(hint).validate_python(value, strict=True)
            except ValidationError:
                raise ConfigError(f"{full_key} must be {_describe(hint)}, not {value!r}") from None


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType, list):
        return all(map(_is_plain, get_args(hint)))
    return hint in PLAIN_TYPES or get_origin(hint) is Literal


def _describe(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_describe, get_args(hint)))
    if get_origin(hint) is list:
        return f"a list, each item {_describe(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(hint, "null")
