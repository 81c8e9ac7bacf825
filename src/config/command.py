"""Command lines: Hydra's, with errors that a person can act on.

An error is one or two lines on standard error and a nonzero exit status. HYDRA_FULL_ERROR=1 in the
environment shows the traceback instead.
"""

import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.config.errors import describe_error
from src.config.groups import CONF_DIR
from src.config.instantiate import check_value
from src.config.occupied import occupied
from src.config.options import check_options, choose_groups
from src.config.output import unfailing_output, write_whole_lines
from src.config.overrides import expand_home, quote_arguments
from src.config.refused import removing_if_refused

OmegaConf.register_new_resolver("project_dir", lambda: str(CONF_DIR.parent))


def command(
    config_name: str, keys: type, flags: Iterable[str] = (), groups: Collection[str] = ()
) -> Callable[[Any], Callable[[], None]]:
    """Make a task that takes a config into a command line.

    Args:
        config_name: The root config in `conf/`.
        keys: A TypedDict of the root keys that have plain values. They are checked against it; and
            what is text there needs no second pair of quotes for Hydra's grammar, such as
            `query=even & ~prime` and paths with spaces or `=`.
        flags: Keys that may be set as `--key`, too.
        groups: Groups that the root config chooses none of, but a command line may.
    """

    def decorate(task: Callable[[DictConfig], float | None]) -> Callable[[], None]:
        def main() -> None:
            show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
            composed = False

            @wraps(task)
            def guarded(config: DictConfig) -> float | None:
                nonlocal composed
                composed = True
                if not show_traceback:
                    del os.environ["HYDRA_FULL_ERROR"]  # processes started from here ask anew
                try:
                    expand_home(config)
                    # Output here, too: a launcher calls this in a new process
                    with unfailing_output(), _occupy_output(config):
                        _check_keys(config, keys)
                        return task(config)
                except Exception as error:
                    # A sweep goes on with its other jobs, and Hydra raises at the end.
                    if show_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                        raise
                    sys.exit(f"error: {describe_error(error)}")
                finally:
                    os.environ["HYDRA_FULL_ERROR"] = "1"

            write_whole_lines()
            # Lightning 2.6 calls a name that torch 2.12 renames.
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            options = {f"--{key.replace('_', '-')}": f"{key}=true" for key in flags}
            arguments = [options.get(argument, argument) for argument in sys.argv[1:]]
            try:
                check_options(arguments, config_name)
            except ValueError as error:
                sys.exit(f"error: {error}")
            arguments = choose_groups(arguments, config_name, groups)
            sys.argv[1:] = quote_arguments(arguments, keys)
            run = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=config_name)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets errors through to here
            try:
                with unfailing_output(), removing_if_refused():
                    run(guarded)()
            except KeyboardInterrupt:
                sys.exit("interrupted")
            except Exception as error:
                if show_traceback:
                    raise
                if not composed and isinstance(error, TypeError):  # Hydra's, of lists as options
                    sys.exit(f"error: no config can be composed of these arguments: {error}")
                sys.exit(f"error: {describe_error(error)}")

        return main

    return decorate


def call(name: str, arguments: Sequence[str]) -> str | None:
    """Run `python -m src.NAME ARGUMENTS` in this process, from within another command.

    Returns:
        The error that it ended with; None if it ended well.
    """
    argv, full_error = sys.argv, os.environ.pop("HYDRA_FULL_ERROR", None)
    outer, outer_hydra = HydraConfig.instance().cfg, GlobalHydra.instance().hydra
    sys.argv = [f"src/{name}.py", *arguments]
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None  # errors before it has its own would say the outer's folder
    try:
        import_module(f"src.{name}").main()
    except SystemExit as stop:
        return str(stop.code) if stop.code else None
    finally:
        sys.argv, HydraConfig.instance().cfg = argv, outer
        GlobalHydra.instance().hydra = outer_hydra  # so that the outer command can compose
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    return None


def check_device(name: str) -> None:
    """Raise ValueError unless a device is `cpu`, or `cuda` on a machine that has it."""
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU")


def _occupy_output(config: DictConfig) -> AbstractContextManager[None]:
    """Occupy the folder that a command writes into, if it has one."""
    folder = config.get("output_dir")
    return occupied(Path(folder)) if isinstance(folder, str) else nullcontext()


def _check_keys(config: DictConfig, keys: type) -> None:
    """Raise ConfigError where a root key does not fit its annotation."""
    for key, hint in get_type_hints(keys, include_extras=True).items():
        value = config[key]
        if isinstance(value, ListConfig | DictConfig):
            value = OmegaConf.to_container(value)
        check_value(key, value, hint)
