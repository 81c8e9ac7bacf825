"""Every loss on batches at the edge: the right value or a clear error, never NaN in silence."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from src.config.groups import CONF_DIR
from src.losses.batch import NonFiniteEmbeddingsError
from src.runs.compose import build_loss

NUM, CLASSES, DIM = 12, 3, 6
# PyTorch's own losses return NaN, which the training loop stops at (src/callbacks/diverged.py).
NAMES = sorted(
    path.stem
    for path in (CONF_DIR / "loss").glob("*.yaml")
    if not str(OmegaConf.load(path)._target_).startswith("torch.")
)
OVER_RELATIONS = (
    "barlow_twins",
    "byol_spectral",
    "pca",
    "simclr",
    "spectral_contrastive",
    "vicreg",
)
TOO_LARGE = 1e200  # squares overflow in float64

Arguments = tuple[Tensor, Tensor]


def loss_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    config = OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    for key, value in {"subspace_dim": 2, "num_components": 2}.items():
        if key in config:
            config[key] = value
    return build_loss(config, embedding_dim=DIM, num_classes=CLASSES, num_labels=CLASSES)


def batch(name: str, number: int = NUM, dtype: torch.dtype = torch.float64) -> Arguments:
    """Embeddings, (N, D), and what a loss takes beside them: labels, texts, or a relation."""
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(number, DIM, dtype=torch.float64, generator=generator).to(dtype)
    if name == "contrastive":
        return embeddings, torch.randn(number, DIM, dtype=torch.float64, generator=generator)
    classes = torch.arange(number) % CLASSES
    if name in OVER_RELATIONS:
        related = classes.unsqueeze(1) == classes
        return embeddings, related.fill_diagonal_(False).double()
    return embeddings, nn.functional.one_hot(classes, CLASSES).double()


def value_and_gradient(name: str, embeddings: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    embeddings = embeddings.detach().requires_grad_()
    value = loss_of(name)(embeddings, others)
    gradient = torch.zeros_like(embeddings)
    if value.requires_grad and name != "pca":  # whose encoder is given
        (gradient,) = torch.autograd.grad(value, embeddings)
    return value.detach(), gradient


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("number", "dim"), [(0, DIM), (NUM, 0)])
def test_nothing_is_refused(name: str, number: int, dim: int) -> None:
    embeddings, others = batch(name, number)
    with pytest.raises(ValueError, match=r"at least|must be"):
        loss_of(name)(embeddings[:, :dim], others)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("part", ["embeddings", "others"])
def test_what_is_no_number_is_refused(name: str, wrong: float, part: str) -> None:
    embeddings, others = batch(name)
    (embeddings if part == "embeddings" else others)[4, 2] = wrong
    with pytest.raises(
        (NonFiniteEmbeddingsError, ValueError), match=r"NaN or infinite|infinite or NaN|0 or 1"
    ):
        loss_of(name)(embeddings, others)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_too_large_is_refused_or_has_a_value(name: str) -> None:
    embeddings, others = batch(name)
    with suppress(NonFiniteEmbeddingsError):
        assert torch.isfinite(loss_of(name)(TOO_LARGE * embeddings, others))


CASES: dict[str, Callable[[Tensor, Tensor], Arguments]] = {
    "zeros": lambda x, y: (torch.zeros_like(x), y),
    "duplicates": lambda x, y: (x[:1].expand_as(x).clone(), y),
    "less than D": lambda x, y: (x[:4], y[:4, :4] if y.shape == (NUM, NUM) else y[:4]),
    "tiny": lambda x, y: (1e-8 * x, y),
    "huge": lambda x, y: (1e8 * x, y),
    "far from 0": lambda x, y: (x + 1e8, y),
    "not contiguous": lambda x, y: (x.T.contiguous().T, y.T.contiguous().T),
    "one class": lambda x, y: (x, y if y.shape == (NUM, NUM) else y[:1].expand_as(y)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_edges_have_values_and_gradients(name: str, case: str) -> None:
    value, gradient = value_and_gradient(name, *CASES[case](*batch(name)))
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    if case == "not contiguous":
        expected = value_and_gradient(name, *batch(name))
        torch.testing.assert_close((value, gradient), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_has_a_value_or_is_refused(name: str) -> None:
    embeddings, others = batch(name, 1)
    if name in (*OVER_RELATIONS, "supcon"):  # which compare samples
        with pytest.raises(ValueError, match=r"relates no samples|two samples"):
            loss_of(name)(embeddings, others)
        return
    value, gradient = value_and_gradient(name, embeddings, others)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_costs_no_more_than_rounding_the_embeddings(
    name: str, dtype: torch.dtype
) -> None:
    embeddings, others = batch(name, dtype=dtype)
    value, gradient = value_and_gradient(name, embeddings, others)
    expected, slope = value_and_gradient(name, embeddings.double(), others)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)
    rounding: Any = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.double(), slope, rtol=rounding, atol=rounding)
