"""Properties that all losses of embeddings and a relation share."""

import re
from collections.abc import Callable
from typing import Any

import hydra.utils
import pytest
import torch
from batches import (
    random_embeddings,
    random_order,
    random_relation,
    random_rotation,
    two_views,
)
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from torch import Tensor, nn

from src.config.groups import CONF_DIR
from src.losses.barlow_twins import barlow_twins_loss
from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.binary_nce import binary_nce_loss
from src.losses.byol_spectral import byol_spectral_loss
from src.losses.ldreg import ldreg_loss
from src.losses.pca import pca_loss
from src.losses.ranking_nce import ranking_nce_loss
from src.losses.simclr import simclr_loss
from src.losses.spectral_contrastive import spectral_contrastive_loss
from src.losses.t_regs import t_regs_loss
from src.losses.vicreg import vicreg_loss

NUM, DIM = 9, 4
COMPONENTS = random_embeddings(DIM, 2, 1)
MOMENT = COMPONENTS @ COMPONENTS.T
TARGETS = random_embeddings(NUM, DIM, 2)

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "simclr": lambda z, g: simclr_loss(z, g, 0.5),
    "spectral_contrastive": spectral_contrastive_loss,
    "ranking_nce": lambda z, g: ranking_nce_loss(z, g, None),
    "binary_nce": lambda z, g: binary_nce_loss(z, g, 0.0, None, None),
    "byol_spectral": lambda z, g: byol_spectral_loss(
        z, g, TARGETS[: len(z), : z.shape[-1]], MOMENT
    ),
    "vicreg": lambda z, g: vicreg_loss(z, g, 25.0, 25.0, 1.0),
    "barlow_twins": lambda z, g: barlow_twins_loss(z, g, 0.0051),
    "pca": lambda z, g: pca_loss(z, g, COMPONENTS, 1.0),
    "t_regs": lambda z, g: t_regs_loss(z, g, 10.0, 2.0, 0.0008),
    "ldreg": lambda z, g: ldreg_loss(z, g, 0.5, 0.01, 64),
}
PARAMETERS: dict[str, tuple[Callable[..., Tensor], list[str]]] = {
    "simclr": (simclr_loss, ["temperature"]),
    "ranking_nce": (ranking_nce_loss, ["temperature"]),
    "binary_nce": (
        lambda z, g, temperature: binary_nce_loss(z, g, 0.0, temperature, None),
        ["temperature"],
    ),
    "vicreg": (vicreg_loss, ["invariance", "variance", "covariance"]),
    "barlow_twins": (barlow_twins_loss, ["redundancy"]),
    "pca": (pca_loss, ["penalty"]),
    "t_regs": (t_regs_loss, ["invariance", "length", "sphere"]),
    "ldreg": (
        lambda z, g, temperature, weight: ldreg_loss(z, g, temperature, weight, 64),
        ["temperature", "weight"],
    ),
}
SIZES = {"byol_spectral": {"embedding_dim": DIM}, "pca": {"embedding_dim": DIM}}
RELATIONS = {
    "symmetric": random_relation(NUM),
    "directed": random_relation(NUM).triu(),
    "weighted": random_relation(NUM) * random_embeddings(NUM, NUM).abs(),
}


def module_for(name: str, **values: Any) -> nn.Module:
    """The loss as configured."""
    config = OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml")
    if name == "pca":
        values = {"num_components": 2} | values
    if name == "binary_nce":
        values = {"negatives": None} | values
    module: nn.Module = hydra.utils.instantiate(config, **SIZES.get(name, {}), **values)
    return module


@pytest.mark.parametrize(
    "name",
    ["simclr", "spectral_contrastive", "ranking_nce", "binary_nce", "t_regs", "ldreg"],
)
def test_rotation_makes_no_difference(name: str) -> None:
    embeddings, relation = random_embeddings(NUM, DIM), random_relation(NUM)
    loss = LOSSES[name](embeddings, relation)
    torch.testing.assert_close(LOSSES[name](embeddings @ random_rotation(DIM), relation), loss)


@pytest.mark.parametrize("name", ["vicreg", "barlow_twins"])
def test_order_and_signs_of_dimensions_make_no_difference_and_rotations_do(name: str) -> None:
    embeddings, relation = random_embeddings(NUM, DIM), random_relation(NUM)
    loss = LOSSES[name](embeddings, relation)
    signs = torch.tensor([1, -1, -1, 1])
    shuffled = (embeddings * signs)[:, random_order(DIM)]
    torch.testing.assert_close(LOSSES[name](shuffled, relation), loss)
    torch.testing.assert_close(LOSSES[name](embeddings + 3, relation), loss)
    turned = LOSSES[name](embeddings @ random_rotation(DIM), relation)
    assert abs(float(turned - loss)) > 1e-3


def test_rotation_of_everything_makes_no_difference_to_losses_with_a_state() -> None:
    embeddings, relation, turn = (
        random_embeddings(NUM, DIM),
        random_relation(NUM),
        random_rotation(DIM),
    )
    torch.testing.assert_close(
        byol_spectral_loss(embeddings @ turn, relation, TARGETS @ turn, turn.T @ MOMENT @ turn),
        byol_spectral_loss(embeddings, relation, TARGETS, MOMENT),
    )
    torch.testing.assert_close(
        pca_loss(embeddings @ turn + 3, relation, turn.T @ COMPONENTS, 1.0),
        pca_loss(embeddings, relation, COMPONENTS @ random_rotation(2), 1.0),
    )


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"byol_spectral"}))
@pytest.mark.parametrize("relation", RELATIONS.values(), ids=RELATIONS.keys())
def test_order_of_samples_makes_no_difference(name: str, relation: Tensor) -> None:
    embeddings, order = random_embeddings(NUM, DIM), random_order(NUM)
    loss = LOSSES[name](embeddings, relation)
    assert not torch.allclose(LOSSES[name](embeddings.roll(1, 0), relation), loss)
    shuffled = LOSSES[name](embeddings[order], relation[order][:, order])
    torch.testing.assert_close(shuffled, loss)


@pytest.mark.parametrize("name", LOSSES)
def test_only_proportions_of_the_relation_matter(name: str) -> None:
    embeddings, relation = random_embeddings(NUM, DIM), random_relation(NUM)
    torch.testing.assert_close(
        LOSSES[name](embeddings, 7 * relation), LOSSES[name](embeddings, relation)
    )


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"ldreg"}))  # which holds neighbours fixed
@pytest.mark.parametrize("relation", RELATIONS.values(), ids=RELATIONS.keys())
def test_gradients_are_those_of_finite_differences(name: str, relation: Tensor) -> None:
    # Smaller, so that the hinge of VICReg is open
    embeddings = (0.5 * random_embeddings(NUM, DIM)).requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: LOSSES[name](leaf, relation), embeddings)


def test_gradient_of_components_is_that_of_finite_differences() -> None:
    embeddings, relation = random_embeddings(NUM, DIM), random_relation(NUM)
    components = COMPONENTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: pca_loss(embeddings, relation, w, 0.7), components)


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
    embeddings = random_embeddings(NUM, DIM).to(dtype).requires_grad_()
    relation = random_relation(NUM)
    for given in (relation, relation.bool(), relation.long()):
        loss = LOSSES[name](embeddings, given)
        assert loss.dtype == loss_dtype
        expected = LOSSES[name](embeddings.detach().double(), relation)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_module_is_the_configured_function_also_under_autocast(name: str) -> None:
    embeddings, relation = random_embeddings(NUM, DIM), random_relation(NUM)
    module = module_for(name).eval()
    if name == "byol_spectral":
        expected = byol_spectral_loss(embeddings, relation, embeddings, torch.eye(DIM))
    elif name == "pca":
        expected = pca_loss(embeddings, relation, module.get_parameter("components"), 1.0)
    else:
        expected = LOSSES[name](embeddings, relation)
    torch.testing.assert_close(module(embeddings, relation), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(embeddings, relation), expected)


# Refusals


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("embeddings_shape", "relation_shape"), [((6, 4), (5, 5)), ((6, 4), (6, 5)), ((6, 4), (6,))]
)
def test_shapes_that_do_not_match_are_refused(
    name: str, embeddings_shape: tuple[int, ...], relation_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="with the same N"):
        LOSSES[name](torch.ones(embeddings_shape), torch.ones(relation_shape))


@pytest.mark.parametrize("name", LOSSES)
def test_relations_without_a_pair_or_with_impossible_ones_are_refused(name: str) -> None:
    embeddings = random_embeddings(NUM, DIM)
    with pytest.raises(ValueError, match="relates no samples"):
        LOSSES[name](embeddings, torch.zeros(NUM, NUM))
    for value in (-1, torch.nan, torch.inf):
        relation = random_relation(NUM)
        relation[0, 1] = value
        with pytest.raises(ValueError, match="no negative, infinite or NaN"):
            LOSSES[name](embeddings, relation)


@pytest.mark.parametrize("name", LOSSES)
def test_non_finite_embeddings_are_refused_by_row(name: str) -> None:
    embeddings = random_embeddings(NUM, DIM)
    embeddings[2, 1] = torch.nan
    with pytest.raises(NonFiniteEmbeddingsError, match=r"in 1 of 9 rows: 2$"):
        LOSSES[name](embeddings, random_relation(NUM))


@pytest.mark.parametrize(
    ("name", "parameter"), [(name, key) for name in PARAMETERS for key in PARAMETERS[name][1]]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1"])
def test_parameters_out_of_range_are_refused(name: str, parameter: str, value: Any) -> None:
    function, parameters = PARAMETERS[name]
    values: dict[str, Any] = dict.fromkeys(parameters, 1.0) | {parameter: value}
    if name == "pca":
        values["components"] = COMPONENTS
    message = f"{parameter} must be a number above 0"
    with pytest.raises(ValueError, match=message):
        function(random_embeddings(NUM, DIM), random_relation(NUM), **values)
    with pytest.raises(InstantiationException, match=message):
        module_for(name, **{parameter: value})


@pytest.mark.parametrize("name", ["vicreg", "simclr", "t_regs", "ldreg"])
def test_repr_shows_the_configured_values(name: str) -> None:
    config = OmegaConf.load(CONF_DIR / "loss" / f"{name}.yaml")
    values = ", ".join(f"{key!s}={value}" for key, value in config.items() if key != "_target_")
    assert re.fullmatch(rf"\w+\({values}\)", repr(module_for(name)))


def test_two_views_can_be_related_both_ways_or_one() -> None:
    assert two_views(2).tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]
