"""Samplers that yield whole batches of indices, the same for every process count.

Each draws the global batch from (seed, epoch) alone and gives a process its share of it, so that an
epoch can be repeated or resumed, and more processes see the same batches. They go to
`DataLoader(dataset, sampler=..., batch_size=None)`.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

Batch = list[int]


class EpochSampler(Sampler[Batch]):
    """Base of the training samplers: a seeded generator per epoch and this process's share.

    Args:
        seed: Seed of all that is drawn.
        rank: Index of this process.
        world_size: Number of processes; it must divide the batch size.
        batch_size: Number of images in a global batch.
        num_images: Number of training images, N; N // batch_size batches are an epoch.

    Raises:
        ValueError: If the batch size cannot be shared evenly, or the set has fewer images.
    """

    def __init__(
        self, batch_size: int, num_images: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is not a multiple of {world_size} processes")
        if num_images < batch_size:
            smaller = max(world_size, num_images // 2 // world_size * world_size)
            raise ValueError(
                f"batch_size {batch_size} is larger than the training set of {num_images} images: "
                f"set loader.batch_size={smaller}"
            )
        self.batch_size = batch_size
        self.num_batches = num_images // batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; Lightning calls this before each one."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def resume(self, epoch: int, start: int) -> None:
        """Go on in an epoch whose first `start` batches were served before."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        batches = self.draw(np.random.default_rng([self.seed, self.epoch]))
        for batch in islice(batches, self.start, None):
            assert len(batch) == self.batch_size
            yield batch[self.rank :: self.world_size].tolist()

    def draw(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the global batches of an epoch, each (batch_size,)."""
        raise NotImplementedError


class RandomSampler(EpochSampler):
    """Random permutation of all images, cut into full batches; the remainder is left out."""

    def __init__(
        self, num_images: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(batch_size, num_images, seed, rank, world_size)
        self.num_images = num_images

    def draw(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        order = generator.permutation(self.num_images)
        yield from np.split(order[: self.num_batches * self.batch_size], self.num_batches)


class MintermSampler(EpochSampler):
    """Batches of a few minterms with equally many images of each.

    With as many minterms in a batch as there are literals, the labels of a batch can have a rank
    equal to its number of minterms, as the theorem of the paper asks. Every batch draws its
    minterms without replacement. Images of a minterm are drawn in a random order and anew when they
    run out, so that rare minterms repeat; or with replacement, so that a batch can hold an image
    twice while others are not seen.

    Args:
        minterm_index: (N,), the minterm of every image.
        batch_size: Number of images in a global batch, a multiple of `minterms_per_batch`.
        minterms_per_batch: Number of distinct minterms in a batch.
        repeat_images: Whether images are drawn with replacement.
        seed, rank, world_size: As in `EpochSampler`.

    Raises:
        ValueError: If a number is out of range or does not divide another as it should.
    """

    def __init__(
        self,
        minterm_index: Tensor,
        batch_size: int,
        minterms_per_batch: int,
        repeat_images: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(batch_size, len(minterm_index), seed, rank, world_size)
        index = minterm_index.numpy()
        order = np.argsort(index, kind="stable")
        self.members = np.split(order, np.flatnonzero(np.diff(index[order])) + 1)
        if not 1 <= minterms_per_batch <= len(self.members):
            raise ValueError(
                f"minterms_per_batch must be between 1 and {len(self.members)}, the minterms of "
                f"the training set, not {minterms_per_batch}"
            )
        if batch_size % minterms_per_batch:
            raise ValueError(
                f"batch_size {batch_size} is not a multiple of minterms_per_batch "
                f"{minterms_per_batch}: use {batch_size - batch_size % minterms_per_batch}"
            )
        self.minterms_per_batch = minterms_per_batch
        self.repeat_images = repeat_images

    def draw(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        stream = _with_replacement if self.repeat_images else _shuffled_anew
        streams = [stream(members, generator) for members in self.members]
        images_each = self.batch_size // self.minterms_per_batch
        for _ in range(self.num_batches):
            chosen = generator.choice(len(streams), self.minterms_per_batch, replace=False)
            yield np.array(
                [next(streams[minterm]) for minterm in chosen for _ in range(images_each)]
            )


class SequentialSampler(Sampler[Batch]):
    """All images in order, each exactly once over all processes; last batches may be smaller."""

    def __init__(
        self, num_images: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.indices = range(rank, num_images, world_size)
        self.batch_size = -(-batch_size // world_size)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.indices), self.batch_size):
            yield list(self.indices[start : start + self.batch_size])


def _shuffled_anew(members: np.ndarray, generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.permutation(members)


def _with_replacement(members: np.ndarray, generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.choice(members, len(members))
