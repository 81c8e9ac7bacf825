"""Properties that all losses of embeddings and labels share."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hydra.utils
import pytest
import torch
from batches import (
    gradient,
    random_classes,
    random_embeddings,
    random_order,
    random_rotation,
)
from conftest import in_processes
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch import distributed as dist

from src.config.groups import CONF_DIR
from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.grassmann import grassmann_loss
from src.losses.harmonic import harmonic_loss
from src.losses.icon import icon_loss
from src.losses.mcr2 import mcr2_loss
from src.losses.mmcr import mmcr_loss
from src.losses.nuclear_kernel import nuclear_kernel_loss
from src.losses.ole import ole_loss
from src.losses.opl import opl_loss
from src.losses.supcon import supcon_loss

NUM, CLASSES, DIM = 11, 3, 4

# Called with embeddings, labels and, where classes have parameters, those: (K, D, ...).
LOSSES: dict[str, Callable[..., Tensor]] = {
    "ole": lambda x, y, _: ole_loss(x, y),
    "mmcr": lambda x, y, _: mmcr_loss(x, y),
    "opl": lambda x, y, _: opl_loss(x, y, 0.5),
    "mcr2": lambda x, y, _: mcr2_loss(x, y, 0.5),
    "supcon": lambda x, y, _: supcon_loss(x, y, 0.1),
    "icon": lambda x, y, _: icon_loss(x, y, 0.1, 0.1),
    "nuclear_kernel": lambda x, y, _: nuclear_kernel_loss(x, y, 0.9, 0.05),
    "grassmann": lambda x, y, bases: grassmann_loss(x, y, bases, 25.0),
    "harmonic": lambda x, y, centers: harmonic_loss(x, y, centers, 8.0, "euclidean"),
}
HEADS = ["grassmann", "harmonic"]
ONE_CLASS = ["opl", "mcr2", "supcon", "grassmann", "harmonic"]
OF_WHOLE_BATCH = ["ole", "mmcr", "opl", "mcr2", "supcon", "icon", "nuclear_kernel"]
SCALE_FREE = ["mmcr", "opl", "mcr2", "supcon", "icon", "grassmann"]


class Batch(NamedTuple):
    embeddings: Tensor
    labels: Tensor
    heads: Tensor | None


def batch_for(name: str) -> Batch:
    heads = {
        "grassmann": torch.linalg.qr(
            random_embeddings(CLASSES * DIM, 2, 1).view(CLASSES, DIM, 2)
        ).Q,
        "harmonic": random_embeddings(CLASSES, DIM, 1),
    }
    return Batch(
        random_embeddings(NUM, DIM), random_classes(NUM, CLASSES).double(), heads.get(name)
    )


def module_for(name: str, **values: Any) -> nn.Module:
    """The loss as configured, with heads drawn for the batch."""
    torch.manual_seed(0)
    config = OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml")
    if name in ("grassmann", "harmonic", "opl"):
        values |= {"num_classes": CLASSES, "embedding_dim": DIM}
    if name == "grassmann":
        values["subspace_dim"] = 2
    module: nn.Module = hydra.utils.instantiate(config, **values)
    return module


@pytest.mark.parametrize("name", LOSSES)
def test_rotation_makes_no_difference(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    loss = LOSSES[name](embeddings, labels, heads)
    rotation = random_rotation(DIM)
    if name == "nuclear_kernel":  # the last column is no direction
        rotation = torch.block_diag(random_rotation(DIM - 1), torch.ones(1, 1))
    if heads is not None:
        heads = torch.einsum("kd...,de->ke...", heads, rotation)
    torch.testing.assert_close(LOSSES[name](embeddings @ rotation, labels, heads), loss)
    assert not torch.allclose(LOSSES[name](embeddings.roll(1, 0), labels, heads), loss)


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_samples_and_of_classes_makes_no_difference(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    loss = LOSSES[name](embeddings, labels, heads)
    order = random_order(NUM)
    torch.testing.assert_close(LOSSES[name](embeddings[order], labels[order], heads), loss)
    heads = None if heads is None else heads[[2, 0, 1]]
    torch.testing.assert_close(LOSSES[name](embeddings, labels[:, [2, 0, 1]], heads), loss)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_length_makes_no_difference(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    lengths = random_embeddings(NUM, 1, 1).abs() + 0.1
    torch.testing.assert_close(
        LOSSES[name](lengths * embeddings, labels, heads), LOSSES[name](embeddings, labels, heads)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    assert torch.autograd.gradcheck(
        lambda leaf: LOSSES[name](leaf, labels, heads), embeddings.requires_grad_()
    )
    if heads is not None:
        assert torch.autograd.gradcheck(
            lambda leaf: LOSSES[name](embeddings.detach(), labels, leaf), heads.requires_grad_()
        )


@pytest.mark.parametrize("name", ["ole", "mmcr", "opl", "mcr2", "supcon", "icon"])
def test_classes_that_the_batch_lacks_count_for_nothing(name: str) -> None:
    embeddings, labels, _ = batch_for(name)
    more = torch.cat([labels, torch.zeros(NUM, 2)], dim=1)[:, [3, 0, 1, 4, 2]]
    assert LOSSES[name](embeddings, more, None) == LOSSES[name](embeddings, labels, None)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("dtype", "loss_dtype"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_every_floating_type_gives_the_value_of_its_embeddings(
    name: str, dtype: torch.dtype, loss_dtype: torch.dtype
) -> None:
    embeddings, labels, heads = batch_for(name)
    rounded = embeddings.to(dtype).requires_grad_()
    for codes in (labels.to(dtype), labels.long()):
        loss = LOSSES[name](rounded, codes, heads)
        assert loss.dtype == loss_dtype
        expected = LOSSES[name](rounded.detach().double(), labels, heads)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    assert rounded.grad is not None
    assert rounded.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"opl"}))  # which has a head besides
def test_module_is_the_configured_function_also_under_autocast(name: str) -> None:
    embeddings, labels, _ = batch_for(name)
    module = module_for(name)
    heads = getattr(module, {"grassmann": "bases", "harmonic": "centers"}.get(name, ""), None)
    expected = LOSSES[name](embeddings, labels, heads)
    torch.testing.assert_close(module(embeddings, labels), expected)
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(module(embeddings, labels), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_stay_finite_where_embeddings_coincide(name: str, value: float) -> None:
    _, labels, heads = batch_for(name)
    embeddings = torch.full((NUM, DIM), value, dtype=torch.float64)
    slope = gradient(lambda leaf: LOSSES[name](leaf, labels, heads), embeddings)
    assert slope.isfinite().all()


# Refusals


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("embeddings_shape", "labels_shape"), [((4, 4), (5, 3)), ((4,), (4, 3)), ((4, 4), (4,))]
)
def test_shapes_that_do_not_match_are_refused(
    name: str, embeddings_shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="with the same N"):
        LOSSES[name](torch.ones(embeddings_shape), torch.ones(labels_shape), batch_for(name).heads)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"nuclear_kernel", *HEADS}))
def test_labels_other_than_0_and_1_or_without_a_class_are_refused(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        LOSSES[name](embeddings, 0.5 * labels, heads)
    with pytest.raises(ValueError, match="no class for any sample"):
        LOSSES[name](embeddings, torch.zeros_like(labels), heads)


@pytest.mark.parametrize("name", HEADS)
def test_probabilities_of_classes_cost_what_classes_do_on_average(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    others = labels.roll(1, dims=1)
    mixed = LOSSES[name](embeddings, 0.25 * labels + 0.75 * others, heads)
    costs = [LOSSES[name](embeddings, classes, heads) for classes in (labels, others)]
    torch.testing.assert_close(mixed, 0.25 * costs[0] + 0.75 * costs[1])
    for wrong in (0.5 * labels, 2 * labels, 2 * labels - others):
        with pytest.raises(ValueError, match=r"must mark one class per sample|from 0 to 1"):
            LOSSES[name](embeddings, wrong, heads)


@pytest.mark.parametrize("name", ONE_CLASS)
@pytest.mark.parametrize("value", [0, 1])
def test_samples_of_several_classes_or_none_are_refused(name: str, value: int) -> None:
    embeddings, labels, heads = batch_for(name)
    labels[[4, 6]] = value
    with pytest.raises(ValueError, match=r"as in 2 of 11 rows: 4, 6; set module.label_coding"):
        LOSSES[name](embeddings, labels, heads)


@pytest.mark.parametrize("name", LOSSES)
def test_non_finite_embeddings_are_refused_by_row(name: str) -> None:
    embeddings, labels, heads = batch_for(name)
    embeddings[2, 1] = torch.nan
    embeddings[7, 0] = torch.inf
    with pytest.raises(NonFiniteEmbeddingsError, match=r"in 2 of 11 rows: 2, 7$"):
        LOSSES[name](embeddings, labels, heads)


PARAMETERS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "opl": (opl_loss, "gamma"),
    "mcr2": (mcr2_loss, "squared_distortion"),
    "supcon": (supcon_loss, "temperature"),
    "grassmann": (grassmann_loss, "scale"),
    "harmonic": (harmonic_loss, "exponent"),
    "nuclear_kernel": (nuclear_kernel_loss, "beta"),
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1"])
def test_parameters_out_of_range_are_refused(name: str, value: Any) -> None:
    function, parameter = PARAMETERS[name]
    embeddings, labels, heads = batch_for(name)
    values: dict[str, Any] = {parameter: value}
    if name == "nuclear_kernel":
        values["alpha"] = 0.9
    if name == "harmonic":
        values["distance"] = "cosine"
    message = f"{parameter} must be a number above 0"
    with pytest.raises(ValueError, match=message):
        function(embeddings, labels, *([] if heads is None else [heads]), **values)
    with pytest.raises(InstantiationException, match=message):
        module_for(name, **values)


# Two processes


def loss_and_gradient(name: str, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of embeddings sent through a linear encoder, and its gradient by the encoder."""
    module = module_for(name).double()
    weight = torch.eye(DIM, dtype=torch.float64).requires_grad_()
    loss = module(embeddings @ weight, labels)
    return loss.detach(), torch.autograd.grad(loss, weight)[0]


def worker(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    init = (directory / "init").as_uri()
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    results = {}
    for name in LOSSES:
        embeddings, labels, _ = batch_for(name)
        share = slice(rank, 10, 2)
        results[name] = loss_and_gradient(name, embeddings[share], labels[share])
    for name in OF_WHOLE_BATCH:
        embeddings, labels, heads = batch_for(name)
        embeddings[2] = torch.nan  # which the first process holds
        with pytest.raises(NonFiniteEmbeddingsError, match=r"in 1 of 10 rows: 1$"):
            LOSSES[name](embeddings[share], labels[share], heads)
    torch.save(results, directory / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_take_the_step_of_one_and_stop_at_nan_together(tmp_path: Path) -> None:
    in_processes(worker, 2, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name in LOSSES:
        embeddings, labels, _ = batch_for(name)
        loss, slope = loss_and_gradient(name, embeddings[:10], labels[:10])
        torch.testing.assert_close((first[name][0] + second[name][0]) / 2, loss)
        torch.testing.assert_close((first[name][1] + second[name][1]) / 2, slope)
