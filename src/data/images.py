"""Labelled images in memory, cut into whole batches, and the data module that serves them."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import ClassVar, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from src.data.samplers import EpochSampler, MintermSampler, RandomSampler, SequentialSampler
from src.subspaces.minterms import distinct_minterms, find_minterms

EVAL_BATCH_SIZE = 512  # of passes without gradients; results do not depend on it


class ImageBatch(NamedTuple):
    """What a data loader yields."""

    images: Tensor  # (N, channels, height, width), uint8
    labels: Tensor  # (N, C), bool
    indices: Tensor  # (N,), int64, positions in the split


class LabelledImages(Dataset[ImageBatch]):
    """A split: images with their labels, or some of a larger collection, which is not copied.

    Args:
        images: (N, channels, height, width), uint8; may be memory-mapped.
        labels: (N, C), nonzero where a literal is true.
        positions: (n,), which of them make up the split; all by default.
    """

    def __init__(self, images: Tensor, labels: Tensor, positions: Tensor | None = None) -> None:
        assert len(images) == len(labels)
        self._images = images
        self._positions = torch.arange(len(images)) if positions is None else positions
        self.labels = labels[self._positions].bool()

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, indices: Sequence[int] | Tensor) -> ImageBatch:
        """Cut a whole batch at once."""
        chosen = torch.as_tensor(indices)
        return ImageBatch(self._images[self._positions[chosen]], self.labels[chosen], chosen)

    @property
    def images(self) -> Tensor:
        """All images of the split, in order and in memory."""
        return self._images[self._positions]

    def split(self, held_out: int, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """Part at random into all but `held_out` images, and those."""
        if not 0 < held_out < len(self):
            raise ValueError(f"validation must be between 1 and {len(self) - 1}, not {held_out}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        kept, held = order[held_out:].sort().values, order[:held_out].sort().values
        return self.select(kept), self.select(held)

    def select(self, indices: Tensor) -> "LabelledImages":
        """The split of these positions (n,) of this one."""
        selected = copy(self)
        selected._positions = self._positions[indices]
        selected.labels = self.labels[indices]
        return selected


class ImageDataModule(pl.LightningDataModule):
    """Base of all image sets: a subclass names its literals and loads its splits.

    Args:
        batch_size: Images in a batch, over all processes together.
        minterms_per_batch: None for random batches; otherwise every training batch holds this many
            distinct minterms in equal shares (`MintermSampler`).
        seed: Of the order of training batches.
        split_seed: Of splits that are drawn here, apart from the seed of the run, so that runs
            share them.

    Raises:
        ValueError: If the batch size does not fit the set, its minterms or the processes.
    """

    literals: ClassVar[tuple[str, ...]]
    example_queries: ClassVar[tuple[str, ...]]  # shown in the report
    image_shape: tuple[int, int, int]  # channels, height, width
    mean: ClassVar[tuple[float, ...]]  # per channel, of pixels in [0, 1]
    std: ClassVar[tuple[float, ...]]

    def __init__(
        self, batch_size: int, minterms_per_batch: int | None, seed: int, split_seed: int
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.batch_size = batch_size
        self.minterms_per_batch = minterms_per_batch
        self.seed = seed
        self.split_seed = split_seed
        self.splits: Mapping[str, LabelledImages] = {}

    def fetch(self) -> None:
        """Download or make the files, for sets where that can be done; never done unasked."""

    def load(self) -> Mapping[str, LabelledImages]:
        """Return the splits `train`, `val` and `test`."""
        raise NotImplementedError

    def augmentation(self) -> nn.Module:
        """What training images go through on the device, after normalisation; each by itself."""
        return nn.Identity()

    def setup(self, stage: str | None = None) -> None:
        if not self.splits:
            self.splits = self.load()

    @property
    def minterms(self) -> Tensor:
        """The minterms of the training split, (M, C), bool."""
        return distinct_minterms(self.splits["train"].labels)

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        return DataLoader(self.splits["train"], sampler=self._train_sampler(), batch_size=None)

    def val_dataloader(self) -> list[DataLoader[ImageBatch]]:
        """The training split once through, to fit the subspaces on, then the validation split."""
        return [self.split_dataloader("train"), self.split_dataloader("val")]

    def test_dataloader(self) -> DataLoader[ImageBatch]:
        return self.split_dataloader("test")

    def split_dataloader(self, split: str) -> DataLoader[ImageBatch]:
        """A split in order, every image once."""
        if split not in self.splits:
            raise ValueError(f"split must be one of {', '.join(self.splits)}, not {split!r}")
        images = self.splits[split]
        sampler = SequentialSampler(len(images), EVAL_BATCH_SIZE, *self._rank_and_world_size())
        return DataLoader(images, sampler=sampler, batch_size=None)

    def _train_sampler(self) -> EpochSampler:
        train, place = self.splits["train"], self._rank_and_world_size()
        if self.minterms_per_batch is None:
            return RandomSampler(len(train), self.batch_size, self.seed, *place)
        index = find_minterms(train.labels, self.minterms)
        return MintermSampler(index, self.batch_size, self.minterms_per_batch, self.seed, *place)

    def _rank_and_world_size(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


class OfficialSplits(ImageDataModule):
    """Base of sets with an official training and test split; validation is held out of training.

    Args:
        root: Folder of all data sets.
        validation: Number of training images held out.
        batch_size, minterms_per_batch, seed, split_seed: As in `ImageDataModule`.
    """

    def __init__(
        self,
        root: str,
        validation: int,
        batch_size: int,
        minterms_per_batch: int | None,
        seed: int,
        split_seed: int,
    ) -> None:
        super().__init__(batch_size, minterms_per_batch, seed, split_seed)
        self.root = root
        self.validation = validation

    def read_split(self, name: str) -> LabelledImages:
        """Return the official split `train` or `test`."""
        raise NotImplementedError

    def load(self) -> Mapping[str, LabelledImages]:
        train, test = self.read_split("train"), self.read_split("test")
        train, val = train.split(self.validation, self.split_seed)
        return {"train": train, "val": val, "test": test}
