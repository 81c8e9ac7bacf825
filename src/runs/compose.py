"""From a config to data and a module."""

import inspect

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from src.config.instantiate import ConfigError, check_values, find_target, instantiate
from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule, number_of_logits
from src.optimizers import OptimizerFactory


def build_data(config: DictConfig, image_set: ImageSet) -> ImageDataModule:
    """Compose the batches of a config for an image set."""
    return instantiate(config.loader, image_set=image_set)


def build_module(
    config: DictConfig, image_set: ImageSet, minterms: Tensor, from_checkpoint: bool
) -> SubspaceModule:
    """Compose the module of a config for an image set with these minterms, (M, C).

    Pretrained weights are not looked for where a checkpoint will be loaded, but models of
    transformers are read again: their configuration and tokenizer are nowhere else.
    """
    check_values(config.module)
    encoder_config = config.encoder.copy()
    if "embedding_dim" in encoder_config and encoder_config.embedding_dim is None:
        readout = config.module.get("readout", "subspaces")
        encoder_config.embedding_dim = number_of_logits(readout, minterms)
    if from_checkpoint and "weights" in encoder_config:
        encoder_config.weights = None
    encoder = instantiate(encoder_config, image_shape=image_set.image_shape)
    encoder = encoder.to(memory_format=torch.channels_last)  # as `Encoder` gives images
    projection = config.module.get("projection")
    embedding_dim = projection[-1] if projection else encoder.embedding_dim
    changes = {} if "augmentation" in config.module else {"augmentation": image_set.augmentation()}
    return instantiate(
        config.module,
        encoder=encoder,
        loss=build_loss(config.loss, embedding_dim=embedding_dim, num_classes=len(minterms)),
        optimizer=build_optimizer(config.optimizer),
        normalize=Normalize(*(encoder.normalization or (image_set.mean, image_set.std))),
        **changes,
        literals=image_set.literals,
        minterms=minterms,
        batch_size=config.loader.batch_size,
    )


def build_loss(config: DictConfig, **sizes: int) -> nn.Module:
    """Compose a loss; it is given those of the sizes that it takes and that its config leaves open.

    Args:
        config: Of the loss.
        sizes: Of the data and the model, by the name of the argument.
    """
    takes = inspect.signature(find_target(config)).parameters
    open_sizes = {name: sizes[name] for name in sizes if name in takes and name not in config}
    return instantiate(config, **open_sizes)


def build_optimizer(config: DictConfig) -> OptimizerFactory:
    """Compose what makes an optimizer for parameters and a number of steps."""
    factory = instantiate(config)
    try:
        inspect.signature(factory).bind([], 1)
    except TypeError as error:
        raise ConfigError(f"optimizer: {error}") from error
    return factory


def describe_run(
    config: DictConfig, data: ImageDataModule, module: SubspaceModule
) -> dict[str, int | str]:
    """What its metrics are metrics of: keys under `run/`."""
    return {
        "run/seed": config.seed,
        "run/data": type(data.image_set).__name__,
        "run/test_images": len(data.image_set.splits["test"]),
        "run/score": module.score_kind,
        "run/protocol": config.protocol.name,
    }
