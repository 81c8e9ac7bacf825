import math
from pathlib import Path

import pytest
import torch
from conftest import in_processes
from torch import Tensor
from torch import distributed as dist

from src.losses.batch import NonFiniteEmbeddingsError
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
    images, texts = pairs(6, 4)
    value = loss(images, texts)
    torch.testing.assert_close(
        value.double(), contrastive_loss(images, texts, 100.0), check_dtype=False
    )
    assert float(loss.scale().detach()) == pytest.approx(100)
    value.backward()
    assert loss.log_scale.grad != 0  # so that it can come back


@pytest.mark.parametrize(
    ("dtype", "loss_dtype"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_every_floating_type_gives_the_value_of_its_embeddings(
    dtype: torch.dtype, loss_dtype: torch.dtype
) -> None:
    images, texts = (embeddings.to(dtype) for embeddings in pairs(7, 5))
    loss = contrastive_loss(images, texts, 1 / 0.07)
    assert loss.dtype == loss_dtype
    expected = plain(images.double(), texts.double(), 1 / 0.07)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_embeddings_that_are_not_finite_or_do_not_match_are_refused() -> None:
    images, texts = pairs(7, 5)
    bad = images.clone()
    bad[3, 1] = torch.nan
    for first, second in ((bad, texts), (texts, bad)):
        with pytest.raises(NonFiniteEmbeddingsError, match=r"in 1 of 7 rows: 3$"):
            contrastive_loss(first, second, 1.0)
    with pytest.raises(ValueError, match="with the same N"):
        contrastive_loss(images, texts[:6], 1.0)
    with pytest.raises(ValueError, match=r"images \(7, 5\) and texts \(7, 4\) must be"):
        contrastive_loss(images, texts[:, :4], 1.0)


def loss_and_gradients(images: Tensor, texts: Tensor) -> list[Tensor]:
    """The loss of linear encoders of images and texts, and the gradients of their weights."""
    weights = [torch.eye(5, dtype=torch.float64).requires_grad_() for _ in range(2)]
    loss = ContrastiveLoss().double()
    value = loss(images @ weights[0], texts @ weights[1])
    value.backward()
    return [value.detach(), *(weight.grad for weight in weights if weight.grad is not None)]


def worker(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    init = (directory / "init").as_uri()
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    images, texts = pairs(8, 5)
    torch.save(loss_and_gradients(images[rank::2], texts[rank::2]), directory / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    in_processes(worker, 2, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, other, expected in zip(first, second, loss_and_gradients(*pairs(8, 5)), strict=True):
        torch.testing.assert_close((one + other) / 2, expected)
    torch.testing.assert_close(first[0], second[0])
    images, texts = pairs(8, 5)
    alone = loss_and_gradients(images[::2], texts[::2])[0]
    assert abs(float(alone - first[0])) > 0.1
