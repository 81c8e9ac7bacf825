"""Resolvers that conf/logger uses: the name and the tags of a run in W&B, and flags."""

import os
import re
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

# Overrides that a name has anyway, or that do not change what a run finds.
UNNAMED = re.compile(
    r"[+~]*(name|group|seed|experiment|data_dir|output_dir|ckpt_path|logger|callbacks|hydra)\b"
)
MAX_NAME = 128  # characters that W&B takes


OmegaConf.register_new_resolver("run_name", lambda name, seed: name_run(name, seed))
OmegaConf.register_new_resolver("wandb_tags", lambda tags: choose_tags(tags))
OmegaConf.register_new_resolver("flag", lambda variable, otherwise: read_flag(variable, otherwise))


def name_run(name: str, seed: int) -> str:
    """A name that tells runs of an experiment apart: what was set on the command line, the seed."""
    overrides = HydraConfig.get().overrides.task
    settings = " ".join(
        override
        for override in overrides
        if not (UNNAMED.match(override) or _is_in_name(override, name))
    )
    ending = f" seed={seed}"
    start = f"{name} {settings}".rstrip()
    space = MAX_NAME - len(ending)
    return (start if len(start) <= space else f"{start[: space - 1]}…") + ending


def choose_tags(tags: Sequence[str]) -> list[str]:
    """The tags that WANDB_TAGS lists, with commas between them, or these."""
    listed = os.environ.get("WANDB_TAGS")
    return list(tags) if listed is None else [tag for tag in listed.split(",") if tag]


def read_flag(variable: str, otherwise: bool) -> bool:
    """Read whether a variable of the environment is true.

    Raises:
        ValueError: If it is set and neither true nor false.
    """
    value = os.environ.get(variable, otherwise)
    try:
        return TypeAdapter(bool).validate_python(value)
    except ValidationError:
        raise ValueError(f"{variable} must be true or false, not {value!r}") from None


def _is_in_name(override: str, name: str) -> bool:
    """Whether a name says which data set or method was chosen: the default is its `subspace`."""
    group, _, choice = override.partition("=")
    if group not in ("dataset", "method"):
        return False
    return {"nuclear_discriminant": "subspace"}.get(choice, choice) in name
