"""From a config to data and a module."""

import inspect
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from src.config.instantiate import (
    ConfigError,
    check_value,
    check_values,
    find_target,
    instantiate,
    instantiate_with,
)
from src.data.images import ImageSet
from src.data.normalize import Normalize
from src.encoders.encoder import DualEncoder, Encoder
from src.metrics import names
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.optimizers import OptimizerFactory
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout, check_pairing
from src.readouts.subspaces import MintermSubspaces
from src.readouts.text import TextReadout
from src.runs.memory import keep_freed_memory
from src.runs.processes import check_processes
from src.runs.threads import ChooseThreads, check_threads
from src.subspaces.minterms import MAX_MINTERMS, encode_labels


def build_data(config: DictConfig, image_set: ImageSet) -> ImageDataModule:
    """Compose the batches of a config for an image set."""
    return instantiate(config.loader, image_set=image_set)


def build_module(
    config: DictConfig,
    image_set: ImageSet,
    minterms: Tensor,
    minterm_counts: Tensor,
    from_checkpoint: bool,
    for_training: bool = True,
) -> SubspaceModule:
    """Compose the module of a config for an image set with these minterms, (M, C), of so many
    training images each, (M,).

    Pretrained weights are not looked for where a checkpoint will be loaded, but models of
    transformers are read again: their configuration and tokenizer are nowhere else. A module that
    is not trained has no optimizer.
    """
    check_values(config.module)
    if image_set.item != "image" and "augmentation" in config.module:
        raise ConfigError(f"module=two_views draws views of images, and of {image_set.item}s none")
    kind: type[Readout] = find_target(config.readout)  # type: ignore[assignment]
    encoder = _build_encoder(
        config.encoder, image_set, kind.number_of_logits(minterms), from_checkpoint
    )
    projection = config.module.get("projection")
    coding = config.module.get("label_coding") or kind.label_codings[0]
    loss = build_loss(
        config.loss,
        embedding_dim=projection[-1] if projection else encoder.embedding_dim,
        num_classes=len(minterms),
        num_labels=encode_labels(minterms[:1], minterms, coding).shape[1],
        class_counts=minterm_counts,
    )
    check_pairing(loss, kind)
    readout: Readout = instantiate_with(
        config.readout,
        minterms=minterms,
        literals=image_set.literals,
        embedding_dim=encoder.embedding_dim,
        encoder=encoder,
        loss=loss,
    )
    if isinstance(encoder, DualEncoder) and not isinstance(readout, TextReadout):
        encoder.freeze_texts()  # processes wait for the gradients of all that is trained
    subspaces = readout if isinstance(readout, MintermSubspaces) else None
    discriminants: Readout
    if len(minterms) <= MAX_MINTERMS:
        subspaces = subspaces or MintermSubspaces(minterms, encoder.embedding_dim)
        discriminants = DiscriminantReadout(minterms, encoder.embedding_dim, "additive", None)
    else:
        discriminants = LiteralDiscriminants(image_set.literals, encoder.embedding_dim, None)
    others = [other for other in (subspaces, discriminants) if other is not None]
    changes = {} if "augmentation" in config.module else {"augmentation": image_set.augmentation()}
    return instantiate(
        config.module,
        encoder=encoder,
        loss=loss,
        readout=readout,
        beside=[other for other in others if other.name != readout.name],
        subspaces=subspaces,
        minterms=minterms,
        optimizer=build_optimizer(config.optimizer) if for_training else None,
        normalize=Normalize(*(encoder.normalization or (image_set.mean, image_set.std))),
        **changes,
        literals=image_set.literals,
        examples=image_set.example_queries,
    )


def check_labels(module: SubspaceModule, data: ImageDataModule) -> None:
    """Raise ConfigError if some labels of training images are unknown, and the loss, by an
    attribute `needs_known_labels`, takes no probabilities in their place.
    """
    completed = data.splits["train"].unknown is not None and module.completion_kind != "absent"
    if completed and getattr(module.loss, "needs_known_labels", False):
        raise ConfigError(
            f"some labels are unknown, and {type(module.loss).__name__} needs labels that are "
            "known: set module.completion=absent to read them as false"
        )


def build_trainer(
    config: DictConfig, data: ImageDataModule, callbacks: list[pl.Callback], logger: Any
) -> pl.Trainer:
    """Compose a trainer, which computes with the threads that its config or the size of a step asks
    for.

    Args:
        config: The group `trainer`.
        data: The images, and the size of a batch.
        callbacks: Further callbacks.
        logger: A logger, or False.

    Raises:
        ValueError: If it would wait for processes that nothing starts, or compute with more threads
            than there are cores.
    """
    check_value("trainer.threads", config.threads, int | None)
    check_threads(config.threads)
    if config.accelerator == "cpu":
        keep_freed_memory()
        image = torch.zeros(1, *data.image_set.stored_shape, dtype=torch.uint8)
        callbacks = [ChooseThreads(config.threads, image, data.batch_size), *callbacks]
    config = config.copy()
    with open_dict(config):
        del config.threads  # which is no argument of Lightning's
    trainer = instantiate(config, callbacks=callbacks, logger=logger)
    check_processes(trainer)
    return trainer


def build_loss(
    config: DictConfig,
    embedding_dim: int,
    num_classes: int,
    num_labels: int,
    class_counts: Tensor,
) -> nn.Module:
    """Compose a loss for D dimensions, K classes, of (K,) training samples each, and so many
    columns of labels, which its config may leave open.
    """
    return instantiate_with(
        config,
        embedding_dim=embedding_dim,
        num_classes=num_classes,
        num_labels=num_labels,
        class_counts=class_counts,
    )


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
    """The conditions of a run's metrics: keys under `run/`."""
    splits = data.image_set.splits
    return {
        "run/seed": config.seed,
        "run/data": type(data.image_set).__name__,
        "run/test_images": len(splits["test"]),
        names.CALIBRATED_ON: "test" if splits["val"] is splits["test"] else "validation",
        "run/score": module.score_kind,
        "run/protocol": config.protocol.name,
        "run/conjunctions": "sampled" if module.queries.sampled else "all",
    }


def _build_encoder(
    config: DictConfig, image_set: ImageSet, number_of_logits: int | None, from_checkpoint: bool
) -> Encoder:
    kind = find_target(config)
    if not (isinstance(kind, type) and issubclass(kind, Encoder)):
        raise ConfigError(f"encoder._target_ must name an Encoder, not {config['_target_']}")
    if kind.reads != image_set.item:
        raise ConfigError(
            f"{kind.__name__} reads {kind.reads}s, and {type(image_set).__name__} has "
            f"{image_set.item}s: encoder=convnet is for images, encoder=byte_ngrams for texts"
        )
    config = config.copy()
    if "embedding_dim" in config and config.embedding_dim is None:
        config.embedding_dim = number_of_logits
    if from_checkpoint and "weights" in config:
        config.weights = None
    encoder: Encoder = instantiate_with(config, image_shape=image_set.image_shape)
    # As `Encoder` gives images
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
