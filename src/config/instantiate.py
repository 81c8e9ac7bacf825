"""Hydra's instantiate, after a check of every value against the annotation it goes to."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import hydra.utils
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

PLAIN_TYPES = (int, float, str, bool, NoneType, Path)
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class ConfigError(ValueError):
    """A configured value does not fit where it goes."""


def instantiate(config: DictConfig, **arguments: Any) -> Any:
    """Call the `_target_` of a config, with further arguments.

    Raises:
        ConfigError: If there is no such target, it does not take a key or not a value of that type,
            or it asks for more. The message names the full key.
    """
    check_values(config)
    if not config.get("_partial_", False):
        _check_complete(config, arguments)
    return hydra.utils.instantiate(config, **arguments)


def instantiate_with(config: DictConfig, **offered: Any) -> Any:
    """Call the `_target_` of a config with those of the offered arguments that it takes and its
    config leaves open.

    Raises:
        ConfigError: As `instantiate`.
    """
    takes = inspect.signature(find_target(config)).parameters
    return instantiate(
        config, **{name: offered[name] for name in offered if name in takes and name not in config}
    )


def find_target(config: DictConfig) -> Callable[..., Any]:
    """Find what the `_target_` of a config names.

    Raises:
        ConfigError: If it names nothing that can be called.
    """
    if not isinstance(config, DictConfig) or not isinstance(config.get("_target_"), str):
        raise ConfigError(f"{_key_of(config)} must hold the _target_ to call, not {config!r}")
    try:
        target = hydra.utils.get_object(config["_target_"])
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"{_key_of(config)}._target_: {error}") from error
    if not callable(target):
        raise ConfigError(f"{_key_of(config)}._target_ {config['_target_']} cannot be called")
    return target


def check_value(full_key: str, value: Any, hint: Any) -> None:
    """Raise ConfigError unless a value fits an annotation of plain types."""
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        raise ConfigError(f"{full_key} must be {_describe(hint)}, not {value!r}") from None


def check_values(config: DictConfig) -> None:
    """Raise ConfigError where a value does not fit the annotation of its target's argument."""
    target = find_target(config)
    parameters = inspect.signature(target).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    for key, value in config.items():
        name = str(key)
        full_key = config._get_full_key(name)
        if name in ("_partial_", "_recursive_"):
            check_value(full_key, value, bool)
        if name.startswith("_") and name.endswith("_"):
            continue
        if name not in parameters and not takes_any:
            raise ConfigError(f"{full_key}: {target.__name__} takes only {', '.join(parameters)}")
        if isinstance(value, Mapping) and "_target_" in value:
            check_values(config[name])
            continue
        hint = parameters[name].annotation if name in parameters else Any
        if isinstance(value, ListConfig | DictConfig):
            value = OmegaConf.to_container(value)
        if _is_plain(hint):
            check_value(full_key, value, hint)


def _check_complete(config: DictConfig, arguments: Mapping[str, Any]) -> None:
    target = find_target(config)
    for name, parameter in inspect.signature(target).parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in VARIADIC
        if required and name not in config and name not in arguments and "_args_" not in config:
            raise ConfigError(
                f"{config._get_full_key(name)} is missing: {target.__name__} needs it"
            )


def _key_of(config: Any) -> str:
    return (config._get_full_key(None) if isinstance(config, Container) else "") or "a group"


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType, list):
        return all(map(_is_plain, get_args(hint)))
    return hint in PLAIN_TYPES or get_origin(hint) is Literal


def _describe(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        (field,) = hint.__metadata__
        return field.description
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_describe, get_args(hint)))
    if get_origin(hint) is list:
        return f"a list, each item {_describe(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        Path: "a path",
    }
    return names.get(hint, "null")
