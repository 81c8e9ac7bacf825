"""From a checkpoint to a model that answers."""

from textwrap import shorten

import torch
from omegaconf import DictConfig, OmegaConf

from src.config.instantiate import ConfigError, instantiate
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.checkpoints import CONFIG_KEY, MINTERMS, CheckpointError, read_checkpoint
from src.runs.compose import build_data, build_module

LONGEST = 1000  # characters of misfits; every weight can be one


def load_checkpoint(
    path: str, data_dir: str | None
) -> tuple[DictConfig, ImageDataModule, SubspaceModule]:
    """Rebuild config, data module (images not yet loaded) and module, with weights and subspaces.

    No code of the file is run: it is read as tensors and plain values, and of what its config names
    only classes that conf/ names are called, with plain values (`src.runs.trust`). These values
    choose what is read: a folder of data sets, of which some draw or decode their images into it;
    a model of transformers, from a folder or the hub; and sizes, which may exceed the memory.

    Args:
        path: The checkpoint that training left.
        data_dir: The folder of the data sets now; None where they were in training.

    Raises:
        CheckpointError: If the file is missing, unreadable or not a checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.get("validated", True):
        raise CheckpointError(
            f"{path} is of a run stopped between validations, and its subspaces belong to other "
            "weights: resume it, or take last.ckpt"
        )
    config = OmegaConf.create(checkpoint[CONFIG_KEY])
    if data_dir is not None and "root" in config.dataset:
        config.dataset.root = data_dir
    state = checkpoint["state_dict"]
    try:
        image_set = instantiate(config.dataset)
        minterms = state[MINTERMS]
        module = build_module(
            config,
            image_set,
            minterms,
            torch.ones(len(minterms)),  # a loss that counts has its counts among the weights
            from_checkpoint=True,
            for_training=False,
        )
    except ConfigError as error:
        raise CheckpointError(
            f"{path} was written by another version of this project: {error}"
        ) from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        misfits = shorten(str(error), LONGEST, placeholder="...")
        raise CheckpointError(f"{path}: its weights do not fit its config: {misfits}") from error
    return config, build_data(config, image_set), module.eval()
