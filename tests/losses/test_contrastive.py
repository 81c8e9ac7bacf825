import math

import pytest
import torch
from torch import Tensor

from src.losses.contrastive import ContrastiveLoss, contrastive_loss


def pairs(num: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, num, dim, generator=generator, dtype=torch.float64)
    return images, texts


def plain(images: Tensor, texts: Tensor, scale: float) -> float:
    """The formula, one pair after the other."""
    total = 0.0
    for first, second in ((images, texts), (texts, images)):
        for i, query in enumerate(first):
            cosines = [float(query @ key / query.norm() / key.norm()) for key in second]
            weights = [math.exp(scale * cosine) for cosine in cosines]
            total -= math.log(weights[i] / sum(weights))
    return total / (2 * len(images))


@pytest.mark.parametrize("scale", [0.5, 1 / 0.07])
def test_is_the_formula(scale: float) -> None:
    images, texts = pairs(7, 5)
    assert float(contrastive_loss(images, texts, scale)) == pytest.approx(
        plain(images, texts, scale)
    )


def test_is_symmetric_and_blind_to_length_rotation_and_order() -> None:
    images, texts = pairs(7, 5)
    loss = contrastive_loss(images, texts, 3.0)
    rotation = torch.linalg.qr(pairs(5, 5, seed=1)[0])[0]
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    for first, second in (
        (texts, images),
        (2 * images, 0.1 * texts),
        (images @ rotation, texts @ rotation),
        (images[order], texts[order]),
    ):
        torch.testing.assert_close(contrastive_loss(first, second, 3.0), loss)
    assert float(contrastive_loss(images, texts.roll(1, 0), 3.0)) != pytest.approx(float(loss))


def test_gradients_are_those_of_finite_differences() -> None:
    images, texts = pairs(4, 3)
    images.requires_grad_()
    texts.requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contrastive_loss, (images, texts, scale))


def test_temperature_starts_as_clips_and_is_clipped() -> None:
    loss = ContrastiveLoss()
    assert float(loss.scale().detach()) == pytest.approx(1 / 0.07)
    with torch.no_grad():
        loss.log_scale.fill_(20)
    assert float(loss.scale().detach()) == 100
    images, texts = pairs(6, 4)
    torch.testing.assert_close(
        loss(images, texts).double(), contrastive_loss(images, texts, 100.0), check_dtype=False
    )
