"""From a config to data and a module."""

from omegaconf import DictConfig
from torch import Tensor

from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.instantiate import instantiate
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule


def build_data(config: DictConfig, image_set: ImageSet) -> ImageDataModule:
    """Compose the batches of a config for an image set."""
    return instantiate(config.loader, image_set=image_set)


def build_module(config: DictConfig, image_set: ImageSet, minterms: Tensor) -> SubspaceModule:
    """Compose the module of a config for an image set with these minterms, (M, C)."""
    encoder = instantiate(config.encoder, image_shape=image_set.image_shape)
    return instantiate(
        config.module,
        encoder=encoder,
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer),
        normalize=Normalize(*(encoder.normalization or (image_set.mean, image_set.std))),
        augmentation=image_set.augmentation(),
        literals=image_set.literals,
        minterms=minterms,
        batch_size=config.loader.batch_size,
    )
