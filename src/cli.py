"""Command lines: Hydra's, with errors that a person can act on.

An error is one or two lines on standard error and a nonzero exit status. HYDRA_FULL_ERROR=1 in the
environment shows the traceback instead.
"""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"


def command(config_name: str, text_keys: Iterable[str] = ()) -> Callable[[Any], Callable[[], None]]:
    """Make a task that takes a config into a command line.

    Args:
        config_name: The root config in `conf/`.
        text_keys: Keys whose values are taken as they are, so that `query=even & ~prime` and paths
            with spaces or `=` need no second pair of quotes for Hydra's grammar.
    """

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def main() -> None:
            show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"

            @wraps(task)
            def guarded(config: DictConfig) -> None:
                try:
                    task(config)
                except Exception as error:
                    # A sweep goes on with its other jobs, and Hydra raises at the end.
                    if show_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                        raise
                    sys.exit(f"error: {describe_error(error)}")

            # Lightning 2.6 calls a name that torch 2.12 renames.
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            sys.argv[1:] = [_quote(argument, text_keys) for argument in sys.argv[1:]]
            run = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets errors through to here
            try:
                run(guarded)()
            except KeyboardInterrupt:
                sys.exit("interrupted")
            except Exception as error:
                if show_traceback:
                    raise
                sys.exit(f"error: {describe_error(error)}")

        return main

    return decorate


def describe_error(error: BaseException) -> str:
    """Say what is wrong in one line."""
    if isinstance(error, InstantiationException):
        return _describe_instantiation(error)
    if isinstance(error, ConfigCompositionException):
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ConfigKeyError):
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, ConfigKeyError):
            return _describe_unknown_key(cause)
        options = re.search(
            r"Could not find '(.+)'\s+Available options in '.+':\s+(.+)", str(error), re.S
        )
        if options:
            return f"there is no {options[1]!r}; choose from {', '.join(options[2].split())}"
        return _one_line(str(error).split("See https")[0])
    if isinstance(error, MissingMandatoryValue):
        key = error.full_key
        return f"{key} is missing: add {key}=... to the command (--help explains it)"
    if isinstance(error, ConfigKeyError):
        return _describe_unknown_key(error)
    if isinstance(error, OmegaConfBaseException):
        return _one_line(str(error))
    if isinstance(error, ValueError | OSError | ArithmeticError):
        return _one_line(str(error))
    message = _one_line(str(error))
    return f"{type(error).__name__}: {message}\n(HYDRA_FULL_ERROR=1 shows where it comes from)"


def _describe_instantiation(error: InstantiationException) -> str:
    """What the called class said, with the group whose YAML called it."""
    cause: BaseException = error
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    group = re.search(r"full_key: (\S+)", str(error))
    where = f"{group[1]}: " if group else ""
    if isinstance(cause, InstantiationException):
        return where + _one_line(str(cause))
    return where + describe_error(cause)


def _describe_unknown_key(error: ConfigKeyError) -> str:
    key = str(error.full_key)
    prefix, _, name = key.rpartition(".")
    known = [str(other) for other in error.parent_node or ()]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {prefix + '.' if prefix else ''}{close[0]}?" if close else ""
    hint = hint or f"known keys: {', '.join(known)}; +{key}=... adds a new one"
    return f"there is no key {key!r}; {hint}"


def _quote(argument: str, text_keys: Iterable[str]) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key not in text_keys or value[:1] in ("'", '"'):
        return argument
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _one_line(message: str) -> str:
    return " ".join(message.split())
