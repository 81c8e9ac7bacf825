"""From a config to a module."""

from omegaconf import DictConfig
from torch import Tensor

from src.data.images import ImageDataModule
from src.data.normalize import Normalize
from src.instantiate import instantiate
from src.modules.subspace import SubspaceModule


def build_module(config: DictConfig, data: ImageDataModule, minterms: Tensor) -> SubspaceModule:
    """Compose the module of a config for a data set with these minterms, (M, C)."""
    return instantiate(
        config.module,
        encoder=instantiate(config.encoder, image_shape=data.image_shape),
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer),
        normalize=Normalize(data.mean, data.std),
        augmentation=data.augmentation(),
        literals=data.literals,
        minterms=minterms,
        batch_size=data.batch_size,
    )
