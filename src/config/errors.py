"""Errors in one line that a person can act on."""

import errno
import re
import traceback
from difflib import get_close_matches
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
)
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from src.config.options import dotted_keys, nearest_keys
from src.data.printable import printable

# What these say is meant for users; anything else is a fault of the program.
USER_ERRORS = (
    ValueError,
    OSError,
    ArithmeticError,
    HydraException,
    OmegaConfBaseException,
)
HINT = "\n(HYDRA_FULL_ERROR=1 shows where it comes from)"
# What PyTorch puts before the message of an error in a worker of a DataLoader
IN_WORKER = re.compile(r"Caught \w+ in .*\nOriginal Traceback.*\n[\w.]+: ", re.DOTALL)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LIGHTNINGS = "MisconfigurationException"  # by name: Lightning takes seconds to import


def describe_error(error: BaseException) -> str:
    """Say what is wrong in one line; in a second one how to find a fault of the program itself.

    Messages may hold names of files, which may hold anything.
    """
    return "\n".join(map(printable, _describe(error).split("\n")))


def _describe(error: BaseException) -> str:
    if isinstance(error, InstantiationException):
        return _describe_instantiation(error)
    if isinstance(error, MissingConfigException) and error.options:
        missing = str(error.missing_cfg_file).removesuffix(".yaml")
        return f"there is no {missing}; choose from {', '.join(error.options)}"
    if isinstance(error, MissingMandatoryValue):
        key = error.full_key
        return f"{key} is missing: add {key}=... to the command (--help explains it)"
    reference = _find_cause(error, InterpolationResolutionError, GrammarParseError)
    if reference is not None:
        return _describe_reference(reference, error)
    unknown_key = _find_cause(error, ConfigKeyError, ConfigAttributeError)
    if unknown_key is not None:
        return _describe_unknown_key(unknown_key)
    message = " ".join(
        IN_WORKER.sub("", str(error)).split("See https")[0].split("Config search path")[0].split()
    )
    if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
        message += f", {_likely_place()}"
    if isinstance(error, ConfigCompositionException) and error.__cause__ is not None:
        message += f": {str(error.__cause__).splitlines()[0]}"
    if not message and error.__traceback__ is not None:  # of an assertion, in most cases
        *_, place = traceback.extract_tb(error.__traceback__)
        message = f"{place.line} ({place.filename}:{place.lineno})"
    if isinstance(error, USER_ERRORS) or type(error).__name__ == LIGHTNINGS:
        return message
    return f"{type(error).__name__}: {message}{HINT}"


def _likely_place() -> str:
    """Where it was that a library wrote, of whose error no more is known than a full disk."""
    if not HydraConfig.initialized():
        return f"below {Path.cwd()} or where hydra.run.dir leads"
    return f"in {HydraConfig.get().runtime.output_dir} or where data and caches are kept"


def _describe_instantiation(error: InstantiationException) -> str:
    """Give what the called class said, with the group whose YAML called it."""
    cause: BaseException = error
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, InstantiationException):
        return " ".join(str(cause).split())
    group = re.search(r"full_key: (\S+)", str(error))
    # A value that a class does not take is the user's, whatever the class raises.
    return (f"{group[1]}: " if group else "") + _describe(cause).split(HINT)[0]


def _find_cause(
    error: BaseException, *kinds: type[OmegaConfBaseException]
) -> OmegaConfBaseException | None:
    """The error, or the first of its causes, that is of some kinds."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kinds):
        cause = cause.__cause__
    return cause


def _describe_reference(cause: OmegaConfBaseException, error: BaseException) -> str:
    """Say which `${...}` has no value: often it is meant as a part of the name of a file."""
    place = cause.full_key or ("" if cause is error else str(error))
    return (
        f"{place}{': ' if place else ''}{str(cause).splitlines()[0]}; ${{...}} stands for another "
        "value of the config: rename a file or folder that has it in its name"
    )


def _keys_elsewhere(name: str, error: OmegaConfBaseException) -> list[str]:
    """The keys of the whole config, but Hydra's, that end with the name of an unknown one."""
    if error.parent_node is None:
        return []
    content = OmegaConf.to_container(error.parent_node._get_root(), resolve=False)
    known = [key for key in dotted_keys(content) if not key.startswith("hydra.")]
    return nearest_keys(name, [key for key in known if key.rpartition(".")[2] == name])


def _describe_unknown_key(error: OmegaConfBaseException) -> str:
    key = str(error.full_key)
    prefix, _, name = key.rpartition(".")
    known = [str(other) for other in error.parent_node or ()]
    close = [f"{prefix}.{other}".lstrip(".") for other in get_close_matches(name, known, n=1)]
    meant = close or _keys_elsewhere(name, error)
    if meant:
        return f"there is no key {key}; did you mean {' or '.join(meant)}?"
    return f"there is no key {key}; known: {', '.join(known)} (+{key}=... adds a new one)"
