"""The name of a run in W&B."""

import re

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

# Overrides that a name has anyway, or that do not change what a run finds.
UNNAMED = re.compile(
    r"[+~]*(name|group|seed|experiment|data_dir|output_dir|ckpt_path|logger|callbacks|hydra)\b"
)
MAX_NAME = 128  # characters that W&B takes


OmegaConf.register_new_resolver("run_name", lambda name, seed: name_run(name, seed))


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


def _is_in_name(override: str, name: str) -> bool:
    """Whether a name says which data set or method was chosen: the default is its `subspace`."""
    group, _, choice = override.partition("=")
    if group not in ("dataset", "method"):
        return False
    return {"nuclear_discriminant": "subspace"}.get(choice, choice) in name
