import torch
from torchvision.transforms import functional as reference

from src.data.images import LabelledImages
from src.data.normalize import Normalize


def test_split_parts_and_selections_keep_images_with_their_labels() -> None:
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1)
    labels = torch.arange(20).view(20, 1) % 2
    kept, held = LabelledImages(images, labels).split(5, seed=0)
    assert (len(kept), len(held)) == (15, 5)
    assert sorted(torch.cat([kept.images, held.images]).flatten().tolist()) == list(range(20))
    for part in (kept, held, kept.select(torch.tensor([4, 2])), held.to(torch.device("cpu"))):
        assert torch.equal(part.images.flatten() % 2 == 1, part.labels.flatten())


def test_normalize_does_what_torchvision_does() -> None:
    images = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    expected = reference.normalize(images.float() / 255, list(mean), list(std))
    torch.testing.assert_close(Normalize(mean, std)(images), expected)
