"""From a config to data and a module."""

from inspect import signature

from hydra.utils import get_class
from omegaconf import DictConfig
from torch import Tensor

from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.instantiate import instantiate
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule, number_of_logits


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
    encoder_config = config.encoder.copy()
    if "embedding_dim" in encoder_config and encoder_config.embedding_dim is None:
        encoder_config.embedding_dim = number_of_logits(config.module.readout, minterms)
    if from_checkpoint and "weights" in encoder_config:
        encoder_config.weights = None
    encoder = instantiate(encoder_config, image_shape=image_set.image_shape)
    sizes = {"num_classes": len(minterms), "embedding_dim": encoder.embedding_dim}
    taken = signature(get_class(config.loss._target_)).parameters
    return instantiate(
        config.module,
        encoder=encoder,
        loss=instantiate(config.loss, **{name: sizes[name] for name in sizes if name in taken}),
        optimizer=instantiate(config.optimizer),
        normalize=Normalize(*(encoder.normalization or (image_set.mean, image_set.std))),
        augmentation=image_set.augmentation(),
        literals=image_set.literals,
        minterms=minterms,
        batch_size=config.loader.batch_size,
    )


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
