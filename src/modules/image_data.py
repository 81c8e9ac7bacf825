"""Whole batches of an image set, the same for every number of processes."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.data.corruption import draw_unknown, draw_unseen, flip_labels
from src.data.images import ImageBatch, ImageSet, LabelledImages, check_filled
from src.data.samplers import EpochSampler, MintermSampler, RandomSampler, SequentialSampler
from src.subspaces.minterms import distinct_minterms, find_minterms

EVAL_BATCH_SIZE = 512  # of passes without gradients; results do not depend on it


class TrainingLoader(DataLoader[ImageBatch]):
    """Counts the batches of an epoch that were served, whatever workers hold in advance, so that
    an epoch can go on with the next.
    """

    sampler: EpochSampler
    served = 0

    def __iter__(self) -> Iterator[ImageBatch]:  # type: ignore[override]
        self.served = self.sampler.start
        for batch in super().__iter__():
            self.served += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "served": self.served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.resume(state["epoch"], state["served"])


class ImageDataModule(pl.LightningDataModule):
    """Serves an image set in whole batches.

    Args:
        image_set: Loaded on first use.
        batch_size: Images in a training batch, over all processes together.
        minterms_per_batch: None for random batches; otherwise every training batch holds this many
            distinct minterms in equal shares (`MintermSampler`).
        repeat_images: Whether such batches draw their images with replacement, as the authors do.
        fit_images: None to fit subspaces on all training images; otherwise at most on this many of
            each minterm, the last of the split, as the authors do.
        flipped: Share of training images that get the labels of another (`flip_labels`).
        masked: Share of the labels of training images that are unknown (`draw_unknown`).
        unseen: Share of the minterms that training and validation leave out, with all their images
            (`draw_unseen`); the test keeps them.
        workers: Processes that cut batches; worth it where images are not decoded in advance.
        on_device: Whether to keep the splits in the memory of the device.
        seed: The seed of the order of training batches, and of wrong labels.

    Raises:
        ValueError: If arguments do not fit each other, the set, its minterms or the processes.
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int,
        minterms_per_batch: int | None,
        repeat_images: bool,
        fit_images: int | None,
        flipped: float,
        masked: float,
        unseen: float,
        workers: int,
        on_device: bool,
        seed: int,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if fit_images is not None and fit_images < 1:
            raise ValueError(f"fit_images must be at least 1, or null for all, not {fit_images}")
        if on_device and workers:
            raise ValueError("workers cannot reach images on the device: set loader.workers=0")
        self.image_set = image_set
        self.batch_size = batch_size
        self.minterms_per_batch = minterms_per_batch
        self.repeat_images = repeat_images
        self.fit_images = fit_images
        self.flipped = flipped
        self.masked = masked
        self.unseen = unseen
        self.workers = workers
        self.on_device = on_device
        self.seed = seed
        self._moved: dict[str, LabelledImages] = {}
        self._training: TrainingLoader | None = None
        self._progress: dict[str, int] = {}

    @cached_property
    def splits(self) -> Mapping[str, LabelledImages]:
        """The splits of the image set; on purpose, labels of training images may be wrong or
        unknown, and images of some minterms be left out of training and validation.
        """
        splits = dict(self.image_set.splits)
        unseen = draw_unseen(splits["train"].labels, self.unseen)
        if len(unseen):
            for name in ("train", "val"):
                left = find_minterms(splits[name].labels, unseen) < 0
                splits[name] = splits[name].select(left.nonzero().flatten())
            check_filled(splits, f"loader.unseen={self.unseen}")
        train = splits["train"]
        labels = flip_labels(train.labels, self.flipped, self.seed)
        unknown = draw_unknown(labels, self.masked, self.seed)
        return {**splits, "train": train.relabelled(labels).without(unknown)}

    @property
    def minterms(self) -> Tensor:
        """The minterms of the training split, (M, C), bool; labels that are unknown are false, so
        that there is one that agrees with what is known of any image.
        """
        return distinct_minterms(self.splits["train"].labels)

    @property
    def minterm_counts(self) -> Tensor:
        """The number of training images of each of the `minterms`, (M,), int64."""
        minterms = self.minterms
        index = find_minterms(self.splits["train"].labels, minterms)
        return torch.bincount(index, minlength=len(minterms))

    def train_dataloader(self) -> TrainingLoader:
        loader = TrainingLoader(self._split("train"), **self._batches(self._train_sampler()))
        if self._progress:
            loader.load_state_dict(self._progress)
        self._training = loader
        return loader

    # Lightning would ask loaders themselves, if it did not build them before it reads a checkpoint.
    def state_dict(self) -> dict[str, int]:
        return self._training.state_dict() if self._training else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._progress = state_dict

    def val_dataloader(self) -> list[DataLoader[ImageBatch]]:
        """The images that the readout is fitted on, once through, then the validation split."""
        return [self._pass_over(self._fit_split()), self.split_dataloader("val")]

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        return self.split_dataloader("test")

    def split_dataloader(self, split: str) -> DataLoader[ImageBatch]:
        """A split in order, every image once."""
        return self._pass_over(self._split(split))

    def _split(self, name: str) -> LabelledImages:
        splits = self.splits
        if name not in splits:
            raise ValueError(f"split must be one of {', '.join(splits)}, not {name!r}")
        if not self.on_device or self.trainer is None:
            return splits[name]
        if name not in self._moved:
            self._moved[name] = splits[name].to(self.trainer.strategy.root_device)
        return self._moved[name]

    def _fit_split(self) -> LabelledImages:
        train = self._split("train")
        if self.fit_images is None:
            return train
        index = find_minterms(train.labels.cpu(), self.minterms)
        order = index.argsort(stable=True)
        ends = index.bincount().cumsum(dim=0)[index[order]]  # of the images of each minterm
        last = order[torch.arange(len(order)) >= ends - self.fit_images]
        return train.select(last.sort().values)

    def _train_sampler(self) -> EpochSampler:
        train, place = self.splits["train"], self._rank_and_world_size()
        if self.minterms_per_batch is None:
            return RandomSampler(len(train), self.batch_size, self.seed, *place)
        index = find_minterms(train.labels, self.minterms)
        return MintermSampler(
            index, self.batch_size, self.minterms_per_batch, self.repeat_images, self.seed, *place
        )

    def _pass_over(self, images: LabelledImages) -> DataLoader[ImageBatch]:
        place = self._rank_and_world_size()
        sampler = SequentialSampler(len(images), EVAL_BATCH_SIZE, *place)
        return DataLoader(images, **self._batches(sampler))

    def _batches(self, sampler: EpochSampler | SequentialSampler) -> dict[str, Any]:
        """Arguments of a loader that cuts the batches of a sampler, which are whole."""
        return {
            "sampler": sampler,
            "batch_size": None,
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
        }

    def _rank_and_world_size(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
