"""The nuclear-norm loss against the authors' numbers, plain differentiation and two processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import in_processes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributed as dist

from src.losses.nuclear import (
    NonFiniteEmbeddingsError,
    NuclearNormLoss,
    gram_matrix,
    nuclear_norm_loss,
    nuclear_norm_terms,
    terms_from_gram,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/authors_reference.json").read_text())
GOLDEN_CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["loss_cases"]]
GOLDEN_GRADIENTS = [
    pytest.param(case, id=case["name"])
    for case in GOLDEN["loss_cases"]
    if case["float64_formula"]["gradient"] is not None
]
FLOATS = [torch.float32, torch.float64]
TERMS = ["joint_nuclear", "embedding_nuclear", "embedding_spectral_squared"]


def plain_terms(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three norms as one would write them down, for automatic differentiation."""
    joint = torch.linalg.svdvals(torch.cat([labels.double(), embeddings], dim=1))
    values = torch.linalg.svdvals(embeddings)
    return joint.sum(), values.sum(), values[0] ** 2


def plain_loss(embeddings: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    joint, nuclear, spectral_squared = plain_terms(embeddings, labels)
    return joint - alpha * nuclear + beta * spectral_squared


def gradient(function: Callable[[Tensor], Tensor], embeddings: Tensor) -> Tensor:
    leaf = embeddings.detach().clone().requires_grad_()
    return torch.autograd.grad(function(leaf), leaf)[0]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


def random_batch(num: int, num_labels: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num, dim, dtype=torch.float64, generator=generator)
    return embeddings, torch.randint(2, (num, num_labels), generator=generator)


def random_rotation(dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator)).Q


# The authors' numbers


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_loss_equals_the_authors(case: dict[str, Any], dtype: torch.dtype) -> None:
    embeddings = torch.tensor(case["embeddings"], dtype=dtype)
    loss = nuclear_norm_loss(embeddings, torch.tensor(case["labels"]), case["alpha"], case["beta"])
    assert loss.item() == pytest.approx(case["reference_float32"]["loss"], rel=1e-5)
    assert loss.item() == pytest.approx(case["float64_formula"]["loss"], rel=1e-6)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_nuclear_norms_equal_the_authors(case: dict[str, Any]) -> None:
    embeddings = torch.tensor(case["embeddings"], dtype=torch.float64)
    terms = nuclear_norm_terms(embeddings, torch.tensor(case["labels"]))
    reference = case["reference_float32"]
    assert terms.joint_nuclear.item() == pytest.approx(reference["z_nuclear_norm"], rel=1e-5)
    assert terms.embedding_nuclear.item() == pytest.approx(reference["x_nuclear_norm"], rel=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", GOLDEN_GRADIENTS)
def test_gradient_equals_the_golden_one(case: dict[str, Any], dtype: torch.dtype) -> None:
    labels = torch.tensor(case["labels"])
    actual = gradient(
        lambda embeddings: nuclear_norm_loss(embeddings, labels, case["alpha"], case["beta"]),
        torch.tensor(case["embeddings"], dtype=dtype),
    )
    expected = torch.tensor(case["float64_formula"]["gradient"], dtype=torch.float64)
    assert actual.dtype == dtype
    assert relative_error(actual, expected) <= 1e-6


# Plain float64 differentiation


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    num=st.integers(1, 14),
    num_labels=st.integers(1, 5),
    dim=st.integers(1, 9),
    alpha=st.floats(0.05, 0.999),
    beta=st.floats(0.01, 2),
    seed=st.integers(0, 2**32),
)
def test_loss_and_gradient_equal_plain_differentiation(
    num: int, num_labels: int, dim: int, alpha: float, beta: float, seed: int
) -> None:
    embeddings, labels = random_batch(num, num_labels, dim, seed)
    expected = plain_loss(embeddings, labels, alpha, beta)
    actual = nuclear_norm_loss(embeddings, labels, alpha, beta)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    assert (
        relative_error(
            gradient(lambda x: nuclear_norm_loss(x, labels, alpha, beta), embeddings),
            gradient(lambda x: plain_loss(x, labels, alpha, beta), embeddings),
        )
        <= 1e-6
    )


@pytest.mark.parametrize("term", range(3), ids=TERMS)
@pytest.mark.parametrize("shape", [(9, 2, 3), (4, 3, 6), (1, 2, 3)])
def test_gradient_of_each_term_passes_gradcheck(term: int, shape: tuple[int, int, int]) -> None:
    embeddings, labels = random_batch(*shape, seed=1)
    assert torch.autograd.gradcheck(
        lambda leaf: nuclear_norm_terms(leaf, labels)[term], embeddings.requires_grad_()
    )


@pytest.mark.parametrize("shape", [(20, 3, 5), (4, 3, 6), (1, 1, 1)])
def test_terms_equal_matrix_norms(shape: tuple[int, int, int]) -> None:
    embeddings, labels = random_batch(*shape)
    stacked = torch.cat([labels, embeddings], dim=1)
    terms = nuclear_norm_terms(embeddings, labels)
    torch.testing.assert_close(terms.joint_nuclear, torch.linalg.matrix_norm(stacked, "nuc"))
    torch.testing.assert_close(terms.embedding_nuclear, torch.linalg.matrix_norm(embeddings, "nuc"))
    torch.testing.assert_close(
        terms.embedding_spectral_squared, torch.linalg.matrix_norm(embeddings, 2) ** 2
    )


def test_terms_from_a_sum_of_gram_matrices_are_those_of_the_whole_batch() -> None:
    embeddings, labels = random_batch(23, 3, 5)
    chunks = zip(embeddings.float().split(7), labels.split(7), strict=True)
    gram = torch.stack([gram_matrix(*chunk) for chunk in chunks]).sum(dim=0)
    assert gram.dtype == torch.float64
    for actual, expected in zip(
        terms_from_gram(gram, 3), plain_terms(embeddings.float().double(), labels), strict=True
    ):
        torch.testing.assert_close(actual, expected)


def test_module_is_the_function_with_its_weights() -> None:
    embeddings, labels = random_batch(8, 2, 3)
    loss = NuclearNormLoss(alpha=0.9, beta=0.2)
    assert loss(embeddings, labels) == nuclear_norm_loss(embeddings, labels, 0.9, 0.2)
    assert repr(loss) == "NuclearNormLoss(alpha=0.9, beta=0.2)"


# Degenerate batches, where differentiation through an eigendecomposition breaks


def degenerate_batches() -> dict[str, tuple[Tensor, Tensor]]:
    embeddings, labels = random_batch(10, 3, 4)
    wide, wide_labels = random_batch(3, 4, 7)
    orthonormal = torch.linalg.qr(embeddings).Q
    return {
        "zero embeddings": (torch.zeros_like(embeddings), labels),
        "some zero rows": (embeddings * (torch.arange(10) % 2).unsqueeze(1), labels),
        "duplicate columns": (embeddings[:, [0, 0, 1, 1]], labels),
        "one direction": (embeddings[:, :1].expand(-1, 4), labels),
        "fewer samples than dimensions": (wide, wide_labels),
        "one sample": (wide[:1], wide_labels[:1]),
        "one zero sample": (torch.zeros(1, 7, dtype=torch.float64), wide_labels[:1]),
        "repeated singular values": (orthonormal, labels),
        "embeddings equal to one-hot labels": (torch.eye(4).double()[:, :3], torch.eye(4)[:, :3]),
        "no labels": (embeddings, torch.zeros_like(labels)),
        "nothing at all": (torch.zeros_like(embeddings), torch.zeros_like(labels)),
        "rank-deficient labels": (embeddings, labels[:, [0, 0, 1]]),
        "tiny embeddings": (1e-4 * embeddings, labels),
        "huge embeddings": (1e6 * embeddings, labels),
    }


DEGENERATE = [pytest.param(*batch, id=name) for name, batch in degenerate_batches().items()]


@pytest.mark.parametrize(("embeddings", "labels"), DEGENERATE)
def test_degenerate_batches_have_the_right_value(embeddings: Tensor, labels: Tensor) -> None:
    for actual, expected in zip(
        nuclear_norm_terms(embeddings, labels), plain_terms(embeddings, labels), strict=True
    ):
        # Singular values are roots: rounding of 1e-15 in the Gram matrix shows as 1e-7.
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("term", range(3), ids=TERMS)
@pytest.mark.parametrize(("embeddings", "labels"), DEGENERATE)
def test_gradient_of_a_degenerate_batch_is_a_subgradient(
    embeddings: Tensor, labels: Tensor, term: int
) -> None:
    # All three terms are convex: f(X + H) >= f(X) + <gradient, H> for any H, also at kinks.
    slope = gradient(lambda leaf: nuclear_norm_terms(leaf, labels)[term], embeddings)
    assert slope.isfinite().all()
    value = plain_terms(embeddings, labels)[term]
    generator = torch.Generator().manual_seed(2)
    for scale in (1e-3, 1e-1, 1.0):
        step = torch.randn(embeddings.shape, dtype=torch.float64, generator=generator)
        step *= scale * (1 + embeddings.norm())
        for moved in (step, -step):
            bound = value + (slope * moved).sum()
            assert plain_terms(embeddings + moved, labels)[term] >= bound - 1e-6 * (1 + bound.abs())


def test_gradient_is_zero_at_zero_embeddings() -> None:
    labels = random_batch(6, 3, 4)[1]
    slope = gradient(lambda leaf: nuclear_norm_loss(leaf, labels, 0.9, 0.1), torch.zeros(6, 4))
    assert not slope.any()


# Number types


@pytest.mark.parametrize(
    ("dtype", "loss_dtype"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_every_floating_type_gives_the_value_of_its_embeddings(
    dtype: torch.dtype, loss_dtype: torch.dtype
) -> None:
    embeddings, labels = random_batch(12, 3, 4)
    rounded = embeddings.to(dtype).requires_grad_()
    loss = nuclear_norm_loss(rounded, labels, 0.99, 0.05)
    loss.backward()
    expected = plain_loss(rounded.detach().double(), labels, 0.99, 0.05)
    assert loss.dtype == loss_dtype
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert rounded.grad is not None
    assert rounded.grad.dtype == dtype
    slope = gradient(lambda x: plain_loss(x, labels, 0.99, 0.05), rounded.detach().double())
    assert relative_error(rounded.grad, slope) <= max(1e-12, torch.finfo(dtype).eps)


def test_a_loss_scale_keeps_small_gradients_in_half_precision() -> None:
    # About X / 1e4, of which a half that is not scaled keeps one digit.
    embeddings, labels = 1e-2 * random_batch(4, 1, 4)[0].half(), 1e4 * torch.eye(4).double()
    scaled = gradient(lambda x: 2**16 * nuclear_norm_terms(x, labels)[0], embeddings)
    exact = gradient(lambda x: plain_terms(x, labels)[0], embeddings.double())
    assert relative_error(scaled, 2**16 * exact) <= 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_autocast_changes_neither_value_nor_gradient(dtype: torch.dtype) -> None:
    embeddings, labels = random_batch(12, 3, 4)
    leaf = embeddings.to(dtype).requires_grad_()
    outside = nuclear_norm_loss(leaf, labels, 0.99, 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        inside = nuclear_norm_loss(leaf, labels, 0.99, 0.05)
        (inside_gradient,) = torch.autograd.grad(inside, leaf)
    assert inside.dtype == outside.dtype
    assert inside == outside
    assert torch.equal(inside_gradient, torch.autograd.grad(outside, leaf)[0])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_labels_of_any_type_count_as_zero_and_one(dtype: torch.dtype) -> None:
    embeddings, labels = random_batch(9, 3, 4)
    expected = nuclear_norm_loss(embeddings, labels.double(), 0.9, 0.1)
    assert nuclear_norm_loss(embeddings, labels.to(dtype), 0.9, 0.1) == expected


# Invariances


@pytest.mark.parametrize("shape", [(20, 3, 5), (4, 3, 6)])
def test_rotating_the_embedding_space_rotates_the_gradient(shape: tuple[int, int, int]) -> None:
    embeddings, labels = random_batch(*shape)
    rotation = random_rotation(shape[2])
    torch.testing.assert_close(
        nuclear_norm_loss(embeddings @ rotation, labels, 0.99, 0.05),
        nuclear_norm_loss(embeddings, labels, 0.99, 0.05),
    )
    torch.testing.assert_close(
        gradient(lambda x: nuclear_norm_loss(x, labels, 0.99, 0.05), embeddings @ rotation),
        gradient(lambda x: nuclear_norm_loss(x, labels, 0.99, 0.05), embeddings) @ rotation,
    )


def test_permuting_samples_permutes_the_gradient() -> None:
    embeddings, labels = random_batch(15, 3, 5)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        nuclear_norm_loss(embeddings[order], labels[order], 0.99, 0.05),
        nuclear_norm_loss(embeddings, labels, 0.99, 0.05),
    )
    torch.testing.assert_close(
        gradient(lambda x: nuclear_norm_loss(x, labels[order], 0.99, 0.05), embeddings[order]),
        gradient(lambda x: nuclear_norm_loss(x, labels, 0.99, 0.05), embeddings)[order],
    )


def test_order_of_label_columns_makes_no_difference() -> None:
    embeddings, labels = random_batch(15, 4, 5)
    torch.testing.assert_close(
        nuclear_norm_loss(embeddings, labels[:, [2, 0, 3, 1]], 0.99, 0.05),
        nuclear_norm_loss(embeddings, labels, 0.99, 0.05),
    )


# Refusals


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_embeddings_are_refused_by_row(value: float) -> None:
    embeddings, labels = random_batch(9, 2, 3)
    embeddings[2, 1] = embeddings[7, 0] = value
    with pytest.raises(NonFiniteEmbeddingsError, match=r"in 2 of 9 rows: 2, 7$"):
        nuclear_norm_loss(embeddings, labels, 0.9, 0.1)


def test_non_finite_labels_are_refused_by_row() -> None:
    embeddings, labels = random_batch(9, 2, 3)
    labels = labels.double()
    labels[4, 0] = float("nan")
    with pytest.raises(NonFiniteEmbeddingsError, match=r"in 1 of 9 rows: 4$"):
        nuclear_norm_loss(embeddings, labels, 0.9, 0.1)


def test_long_lists_of_non_finite_rows_are_cut() -> None:
    embeddings = torch.full((9, 3), float("nan"))
    with pytest.raises(NonFiniteEmbeddingsError, match=r"in 9 of 9 rows: 0, 1, 2, 3, 4, \.\.\.$"):
        nuclear_norm_loss(embeddings, torch.ones(9, 2), 0.9, 0.1)


@pytest.mark.parametrize(
    ("embeddings_shape", "labels_shape"),
    [((4, 3), (5, 2)), ((4,), (4, 2)), ((4, 3), (4,)), ((4, 3, 1), (4, 2)), ((4, 3), (1, 2))],
)
def test_shapes_that_do_not_match_are_refused(
    embeddings_shape: tuple[int, ...], labels_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="with the same N"):
        nuclear_norm_loss(torch.ones(embeddings_shape), torch.ones(labels_shape), 0.9, 0.1)


@pytest.mark.parametrize("alpha", [0, 1, -1, 1.5, float("nan"), "0.9", None])
def test_alpha_outside_its_range_is_refused(alpha: Any) -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        NuclearNormLoss(alpha, 0.05)
    with pytest.raises(ValueError, match="alpha must be"):
        nuclear_norm_loss(*random_batch(4, 2, 3), alpha, 0.05)


@pytest.mark.parametrize("beta", [0, -1, float("inf"), float("nan"), "0.05", None])
def test_beta_outside_its_range_is_refused(beta: Any) -> None:
    with pytest.raises(ValueError, match="beta must be"):
        NuclearNormLoss(0.9, beta)
    with pytest.raises(ValueError, match="beta must be"):
        nuclear_norm_loss(*random_batch(4, 2, 3), 0.9, beta)


# Two processes

SPLIT = 5  # rank 0 holds so many of the 16 images, rank 1 the rest


def inputs_labels_and_weight() -> tuple[Tensor, Tensor, Tensor]:
    inputs, labels = random_batch(16, 3, 6)
    return inputs, labels, random_batch(4, 1, 6, seed=1)[0]


def loss_and_weight_gradient(
    inputs: Tensor, labels: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss of inputs sent through a linear layer, and its gradient by the layer's weight."""
    layer = torch.nn.Linear(6, 4, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    loss = nuclear_norm_loss(layer(inputs), labels, 0.99, 0.05)
    return loss.detach(), torch.autograd.grad(loss, layer.weight)[0]


def two_process_worker(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    init = (directory / "init").as_uri()
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    inputs, labels, weight = inputs_labels_and_weight()
    share = slice(SPLIT) if rank == 0 else slice(SPLIT, None)
    loss, weight_gradient = loss_and_weight_gradient(inputs[share], labels[share], weight)
    dist.all_reduce(weight_gradient)
    if rank == 1:
        inputs[-1] = float("nan")
    try:
        loss_and_weight_gradient(inputs[share], labels[share], weight)
        complaint = ""
    except NonFiniteEmbeddingsError as error:
        complaint = str(error)
    results = {"loss": loss, "average": weight_gradient / 2, "complaint": complaint}
    torch.save(results, directory / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of each of two processes on its share of one batch."""
    directory = tmp_path_factory.mktemp("processes")
    in_processes(two_process_worker, 2, directory)
    return [torch.load(directory / f"{rank}.pt") for rank in range(2)]


def test_two_processes_agree_with_one(two_processes: list[dict[str, Any]]) -> None:
    loss, weight_gradient = loss_and_weight_gradient(*inputs_labels_and_weight())
    for found in two_processes:
        torch.testing.assert_close(found["loss"], loss, rtol=1e-10, atol=1e-10)
        assert relative_error(found["average"], weight_gradient) <= 1e-10


def test_averaging_a_loss_per_process_would_not_pass() -> None:
    inputs, labels, weight = inputs_labels_and_weight()
    loss, weight_gradient = loss_and_weight_gradient(inputs, labels, weight)
    losses, gradients = zip(
        loss_and_weight_gradient(inputs[:SPLIT], labels[:SPLIT], weight),
        loss_and_weight_gradient(inputs[SPLIT:], labels[SPLIT:], weight),
        strict=True,
    )
    assert abs(sum(losses) / 2 - loss) > 0.1 * loss
    assert relative_error(torch.stack(gradients).mean(dim=0), weight_gradient) > 0.1


def test_every_process_stops_at_nan_and_the_one_that_holds_it_names_the_row(
    two_processes: list[dict[str, Any]],
) -> None:
    assert "of another process" in two_processes[0]["complaint"]
    assert two_processes[1]["complaint"].endswith("in 1 of 11 rows: 10")
