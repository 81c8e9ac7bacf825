"""Every loss on batches at the edge: the right value or a clear error, never NaN in silence."""

import math
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from inspect import signature
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from src.config.groups import CONF_DIR
from src.losses.batch import NonFiniteEmbeddingsError
from src.runs.compose import build_loss

NUM, CLASSES, DIM = 12, 3, 6
# PyTorch's own losses return NaN, which a training step refuses (tests/modules/test_subspace.py).
NAMES = sorted(
    path.stem
    for path in (CONF_DIR / "loss").glob("*.yaml")
    if not str(OmegaConf.load(path)._target_).startswith("torch.")
)
OVER_RELATIONS = (
    "barlow_twins",
    "binary_nce",
    "byol_spectral",
    "ldreg",
    "pca",
    "ranking_nce",
    "simclr",
    "spectral_contrastive",
    "t_regs",
    "vicreg",
)
WITH_HEAD = (
    "boxes",
    "grassmann",
    "harmonic",
    "linear_cross_entropy",
    "logit_adjusted",
    "opl",
    "soft_subspaces",
)

Arguments = tuple[Tensor, Tensor]


def loss_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    config = OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    # Without averaging the likelihood of discriminants sets in with the first batch
    for key, value in {
        "subspace_dim": 2,
        "num_components": 2,
        "num_vectors": 4,
        "averaging": 1e-20,
    }.items():
        if key in config:
            config[key] = value
    return build_loss(
        config,
        embedding_dim=DIM,
        num_classes=CLASSES,
        num_labels=CLASSES,
        class_counts=torch.tensor([6, 3, 1]),
    )


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
        (NonFiniteEmbeddingsError, ValueError), match=r"NaN or infinite|infinite or NaN|0 (or|to) 1"
    ):
        loss_of(name)(embeddings, others)


@pytest.mark.parametrize("name", NAMES)
def test_batches_that_do_not_match_are_refused(name: str) -> None:
    embeddings, others = batch(name)
    with pytest.raises(ValueError, match="with the same N"):
        loss_of(name)(embeddings[:-1], others)
    if name == "contrastive":
        with pytest.raises(ValueError, match="alike"):
            loss_of(name)(embeddings, others[:, :-1])
    if name in WITH_HEAD:
        more = torch.cat([others, 0 * others[:, :1]], dim=1)
        with pytest.raises(ValueError, match=r"do(es)? not fit|must be \(K, D\)"):
            loss_of(name)(embeddings, more)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e154, 1e200, 1e300])
def test_what_overflows_is_refused(name: str, size: float) -> None:
    embeddings, others = batch(name)
    with pytest.raises(NonFiniteEmbeddingsError, match=r"too large|so large"):
        loss_of(name)(size * embeddings, others)


@pytest.mark.parametrize("name", NAMES)
def test_what_overflows_within_the_loss_is_refused_or_has_a_value(name: str) -> None:
    embeddings, others = batch(name)
    with suppress(NonFiniteEmbeddingsError):
        assert torch.isfinite(loss_of(name)(1e120 * embeddings, others))


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


def plain_value(name: str, loss: Any, embeddings: Tensor, others: Tensor) -> float:
    """The loss by the formula of its own test, which goes one sample, pair or entry at a time."""
    if name == "nuclear_kernel":  # of features, columns whose products are the kernel
        kernel = import_module("test_nuclear_kernel").plain_kernel(embeddings)
        values, vectors = torch.linalg.eigh(kernel)
        embeddings = vectors * values.clamp(min=0).sqrt()
    if name in ("nuclear", "nuclear_kernel"):
        plain = import_module("test_nuclear").plain_loss
        return float(plain(embeddings, others, loss.alpha, loss.beta))
    if name == "linear_cross_entropy":
        return float(import_module("test_linear").plain(loss, embeddings, others))
    plain = import_module(f"test_{name}").plain
    known: dict[str, Any] = {}
    if name == "byol_spectral":
        moment = import_module("test_byol_spectral").moment_of(embeddings, others)
        kept = loss.momentum
        moment = kept * torch.eye(embeddings.shape[1]).double() + (1 - kept) * moment
        known = {"targets": embeddings, "moment": moment}
    if name == "contrastive":
        known = {"scale": float(loss.scale().detach())}
    if name == "binary_nce":
        known = {"offset": float(loss.offset.detach())}
    if name in ("mcr2", "mmcr", "ole"):
        others = others[:, others.any(dim=0)]
    if name in ("grassmann", "harmonic", "pca"):
        key = {"grassmann": "bases", "harmonic": "centers", "pca": "components"}[name]
        known = {key: getattr(loss, key).detach().double()}
    names = list(signature(plain).parameters)[2:]
    value = float(
        plain(embeddings, others, *(known.get(key, getattr(loss, key, None)) for key in names))
    )
    if name == "opl":
        value = loss.weight * value
        value += plain_value("linear_cross_entropy", loss, embeddings, others)
    return value


# The discriminants of nuclear_discriminant have oracles of their own.
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"nuclear_discriminant"}))
@pytest.mark.parametrize("case", sorted(CASES.keys() - {"zeros"}))
def test_edges_have_the_values_of_the_formula(name: str, case: str) -> None:
    loss = loss_of(name)
    embeddings, others = CASES[case](*batch(name))
    expected = plain_value(name, loss, embeddings, others)
    assert float(loss(embeddings, others)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


# Where every cosine is 0, classes are one and the same
EVEN = {
    "contrastive": math.log(NUM),
    "grassmann": math.log(CLASSES),
    "ldreg": math.log(NUM - 1),  # and no dimension
    "mcr2": 0.0,
    "mmcr": 0.0,
    "simclr": math.log(NUM - 1),
    "supcon": math.log(NUM - 1),
    "ole": float(CLASSES),
    "spectral_contrastive": 0.0,
    "byol_spectral": 0.0,
    "ranking_nce": 0.0,
    "binary_nce": 2 * math.log(2),
}


@pytest.mark.parametrize("name", EVEN)
def test_zeros_have_the_value_of_no_direction(name: str) -> None:
    value, _ = value_and_gradient(name, *CASES["zeros"](*batch(name)))
    assert float(value) == pytest.approx(EVEN[name], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_has_a_value_or_is_refused(name: str) -> None:
    embeddings, others = batch(name, 1)
    if name in (*OVER_RELATIONS, "supcon", "icon"):  # which compare samples
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
