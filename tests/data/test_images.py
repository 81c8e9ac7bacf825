import pytest
import torch
from torchvision.transforms import functional as reference

from src.data.digits import Digits
from src.data.normalize import Normalize


def test_loaders_cut_whole_batches() -> None:
    data = Digits(batch_size=128, minterms_per_batch=None, seed=0, split_seed=0)
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == 1257 // 128
    for batch in batches:
        assert batch.images.shape == (128, 1, 8, 8)
        assert torch.equal(batch.labels, data.splits["train"].labels[batch.indices])
        assert torch.equal(batch.images, data.splits["train"].images[batch.indices])


def test_fit_and_validation_loaders_see_every_image_once_in_order() -> None:
    data = Digits(batch_size=100, minterms_per_batch=None, seed=0, split_seed=0)
    data.setup()
    for loader, split in zip(data.val_dataloader(), ("train", "val"), strict=True):
        indices = torch.cat([batch.indices for batch in loader])
        assert indices.tolist() == list(range(len(data.splits[split])))


def test_minterm_batches_reach_the_loader() -> None:
    data = Digits(batch_size=125, minterms_per_batch=5, seed=0, split_seed=0)
    data.setup()
    for batch in data.train_dataloader():
        assert sorted(batch.labels.unique(dim=0, return_counts=True)[1].tolist()) == [25] * 5


def test_unknown_split_is_answered_with_the_known_ones() -> None:
    data = Digits(batch_size=100, minterms_per_batch=None, seed=0, split_seed=0)
    data.setup()
    with pytest.raises(ValueError, match="train, val, test"):
        data.split_dataloader("dev")


def test_normalize_does_what_torchvision_does() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    expected = reference.normalize(images.float() / 255, list(mean), list(std))
    torch.testing.assert_close(Normalize(mean, std)(images), expected)
