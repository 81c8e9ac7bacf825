"""Batch samplers: what an epoch holds, and how processes share it."""

from collections import Counter
from typing import Protocol

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from src.data.samplers import EpochSampler, MintermSampler, RandomSampler, SequentialSampler

COUNTS = [40, 25, 17, 9, 3, 1]  # images of each minterm, the last ones rare
MINTERM_INDEX = torch.repeat_interleave(torch.arange(6), torch.tensor(COUNTS))[
    torch.randperm(sum(COUNTS), generator=torch.Generator().manual_seed(0))
]


class MakeSampler(Protocol):
    def __call__(self, seed: int = 0, rank: int = 0, world_size: int = 1) -> EpochSampler: ...


def random_sampler(seed: int = 0, rank: int = 0, world_size: int = 1) -> RandomSampler:
    return RandomSampler(95, 12, seed, rank, world_size)


def minterm_sampler(seed: int = 0, rank: int = 0, world_size: int = 1) -> MintermSampler:
    return MintermSampler(MINTERM_INDEX, 12, 3, False, seed, rank, world_size)


def epoch(sampler: EpochSampler, number: int) -> list[list[int]]:
    sampler.set_epoch(number)
    return list(sampler)


SAMPLERS = pytest.mark.parametrize("make", [random_sampler, minterm_sampler])


# Both training samplers


@SAMPLERS
def test_epochs_depend_on_seed_and_number_and_on_nothing_else(make: MakeSampler) -> None:
    sampler = make(seed=3)
    first, second = epoch(sampler, 0), epoch(sampler, 1)
    assert epoch(sampler, 0) == first
    assert epoch(make(seed=3), 1) == second
    assert first != second
    assert epoch(make(seed=4), 0) != first


@SAMPLERS
def test_swapping_seed_and_epoch_gives_another_order(make: MakeSampler) -> None:
    assert epoch(make(seed=1), 2) != epoch(make(seed=2), 1)


@SAMPLERS
def test_global_random_state_is_neither_read_nor_changed(make: MakeSampler) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = epoch(make(seed=3), 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert epoch(make(seed=3), 0) == first


@SAMPLERS
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_shares_of_all_processes_are_the_batch_of_one(make: MakeSampler, world_size: int) -> None:
    alone = epoch(make(seed=3), 5)
    shares = [
        epoch(make(seed=3, rank=rank, world_size=world_size), 5) for rank in range(world_size)
    ]
    for batch, *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [12 // world_size] * world_size
        assert Counter(index for part in parts for index in part) == Counter(batch)


@SAMPLERS
def test_length_is_the_number_of_batches(make: MakeSampler) -> None:
    for world_size in (1, 2):
        sampler = make(seed=0, world_size=world_size)
        assert len(sampler) == len(list(sampler)) == 95 // 12


@SAMPLERS
def test_batches_are_plain_integers(make: MakeSampler) -> None:
    assert {type(index) for batch in make(seed=0) for index in batch} == {int}


@SAMPLERS
def test_batch_size_that_processes_cannot_share_is_refused(make: MakeSampler) -> None:
    with pytest.raises(ValueError, match="batch_size 12 is not a multiple of 5 processes"):
        make(seed=0, world_size=5)


def test_batch_size_above_the_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training set of 11 images: set loader.batch_size=5"):
        RandomSampler(11, 12, 0)
    with pytest.raises(ValueError, match="batch_size 96 is larger than the training set of 95"):
        MintermSampler(MINTERM_INDEX, 96, 3, False, 0)


# Random sampler


@pytest.mark.parametrize(("num_images", "batch_size"), [(95, 12), (96, 12), (12, 12), (7, 1)])
def test_random_epochs_hold_no_image_twice(num_images: int, batch_size: int) -> None:
    batches = list(RandomSampler(num_images, batch_size, 0))
    drawn = [index for batch in batches for index in batch]
    assert {len(batch) for batch in batches} == {batch_size}
    assert len(drawn) == num_images // batch_size * batch_size
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(num_images))
    assert drawn != sorted(drawn)


def test_random_epochs_leave_out_different_images() -> None:
    sampler = random_sampler()
    left_out = [set(range(95)).difference(*map(set, epoch(sampler, number))) for number in range(4)]
    assert all(len(images) == 95 - 84 for images in left_out)
    assert len(set(map(frozenset, left_out))) == 4


# Minterm sampler


@pytest.mark.parametrize("minterms_per_batch", [1, 2, 3, 4, 6])
def test_batches_hold_so_many_minterms_in_equal_shares(minterms_per_batch: int) -> None:
    sampler = MintermSampler(MINTERM_INDEX, 12, minterms_per_batch, False, 0)
    for number in range(5):
        for batch in epoch(sampler, number):
            counts = Counter(MINTERM_INDEX[batch].tolist())
            assert set(counts.values()) == {12 // minterms_per_batch}
            assert len(counts) == minterms_per_batch


def test_rare_minterms_repeat_and_are_drawn_as_often_as_any() -> None:
    sampler = minterm_sampler()
    batches = [batch for number in range(200) for batch in epoch(sampler, number)]
    drawn = Counter(minterm for batch in batches for minterm in set(MINTERM_INDEX[batch].tolist()))
    # 1400 batches of 3 of the 6 minterms: 700 +- 19 each
    assert all(abs(drawn[minterm] - 700) < 100 for minterm in range(6))
    lonely = MINTERM_INDEX.tolist().index(5)
    assert all(batch.count(lonely) in (0, 4) for batch in batches)


@pytest.mark.parametrize("minterm", range(6))
def test_images_of_a_minterm_run_out_before_they_repeat(minterm: int) -> None:
    members = {image for image, own in enumerate(MINTERM_INDEX.tolist()) if own == minterm}
    # All minterms in every batch: 2 images of each in 7 batches
    batches = list(MintermSampler(MINTERM_INDEX, 12, 6, False, 0))
    drawn = [index for batch in batches for index in batch if index in members]
    assert len(drawn) == 14
    for start in range(0, 14, len(members)):
        circle = drawn[start : start + len(members)]
        assert len(set(circle)) == len(circle)


def test_minterms_with_enough_images_repeat_none_within_a_batch() -> None:
    index = torch.arange(96) % 4
    for batch in MintermSampler(index, 24, 4, False, 0):
        assert len(set(batch)) == 24


def test_images_can_be_drawn_with_replacement_as_the_authors_do() -> None:
    index = torch.arange(96) % 4
    batches = list(MintermSampler(index, 24, 4, True, 0))
    drawn = [image for batch in batches for image in batch]
    for batch in batches:
        assert sorted(Counter(index[batch].tolist()).values()) == [6] * 4
    # 96 draws with replacement from four times 24 see 1 - 1/e of them, give or take.
    assert 45 < len(set(drawn)) < 75


def test_minterm_numbers_may_have_gaps() -> None:
    index = torch.tensor([-1, 7, 100]).repeat(8)
    for batch in MintermSampler(index, 4, 2, False, 0):
        assert sorted(Counter(index[batch].tolist()).values()) == [2, 2]


@pytest.mark.parametrize("minterms_per_batch", [-1, 0, 7])
def test_number_of_minterms_that_the_set_does_not_have_is_refused(minterms_per_batch: int) -> None:
    with pytest.raises(ValueError, match="must be between 1 and 6"):
        MintermSampler(MINTERM_INDEX, 12, minterms_per_batch, False, 0)


def test_batch_size_that_minterms_cannot_share_is_refused_with_one_that_they_can() -> None:
    with pytest.raises(ValueError, match=r"multiple of minterms_per_batch 5: use 10$"):
        MintermSampler(MINTERM_INDEX, 12, 5, False, 0)


# Sequential sampler


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(
    ("num_images", "batch_size"), [(95, 12), (96, 12), (5, 12), (1, 1), (3, 2)]
)
def test_sequential_shares_cover_every_image_once(
    num_images: int, batch_size: int, world_size: int
) -> None:
    drawn: list[int] = []
    for rank in range(world_size):
        sampler = SequentialSampler(num_images, batch_size, rank, world_size)
        batches = list(sampler)
        share = [index for batch in batches for index in batch]
        assert len(batches) == len(sampler)
        assert share == sorted(share)
        assert all(1 <= len(batch) <= -(-batch_size // world_size) for batch in batches)
        drawn += share
    assert sorted(drawn) == list(range(num_images))


def test_sequential_sampler_of_one_process_cuts_the_set_in_order() -> None:
    assert list(SequentialSampler(7, 3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_samplers_hand_whole_batches_to_a_loader() -> None:
    class Images(torch.utils.data.Dataset[Tensor]):
        def __getitem__(self, indices: list[int]) -> Tensor:
            return torch.tensor(indices)

    loader = DataLoader(Images(), sampler=SequentialSampler(7, 3), batch_size=None)
    assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6]]
