"""Models trained as `python -m src.train` does, for studies of what their embeddings hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from hydra import compose
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from src.config.instantiate import instantiate
from src.data.images import ImageSet
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.compose import build_data, build_module, build_trainer, check_labels


class Embedded(NamedTuple):
    """A split, by two layers of an encoder."""

    features: Tensor  # (N, F), what its last linear layer sees
    embeddings: Tensor  # (N, D)


class Trained(NamedTuple):
    """A trained model in evaluation mode, with its data."""

    module: SubspaceModule
    data: ImageDataModule

    @torch.no_grad()
    def embed(self, split: str) -> Embedded:
        """Embed a split, in its order, on the device of the module; the results are on the CPU."""
        last = [part for part in self.module.encoder.modules() if isinstance(part, nn.Linear)][-1]
        seen: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].cpu()))
        given = [
            self.module(batch.images.to(self.module.device)).cpu()
            for batch in self.data.split_dataloader(split)
        ]
        hook.remove()
        return Embedded(torch.cat(seen), torch.cat(given))


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """The config that `python -m src.train` makes of overrides, composed within another command."""
    return compose("train", list(overrides))


def train(config: DictConfig, image_set: ImageSet, folder: Path) -> Trained:
    """Train as a run with this config does, on an image set in place of that of the config.

    No checkpoint, report or log is kept. With `trainer.max_epochs=0` the encoder stays as it was
    initialised.

    Args:
        config: Of `compose_run`.
        image_set: The images and literals.
        folder: A folder for what Lightning may write.
    """
    config.output_dir = str(folder)
    with open_dict(config):
        config.trainer.update({"enable_checkpointing": False, "enable_progress_bar": False})
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config, image_set)
    module = build_module(
        config, image_set, data.minterms, data.minterm_counts, from_checkpoint=False
    )
    check_labels(module, data)
    reseed = instantiate(config.callbacks.reseed)
    trainer = build_trainer(config.trainer, data, callbacks=[reseed], logger=False)
    if trainer.max_epochs:
        trainer.fit(module, data)
    return Trained(module.to(trainer.strategy.root_device).eval(), data)
