import math
from functools import partial

import pytest
import torch
from batches import gradient, random_embeddings, random_literals
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.nuclear_kernel import NuclearKernelLoss, gaussian_kernel, nuclear_kernel_loss


def plain_kernel(embeddings: Tensor) -> Tensor:
    """K, one entry after the other, differentiable."""
    rows = []
    for first in embeddings:
        for second in embeddings:
            squared_distance = sum((first[d] - second[d]) ** 2 for d in range(len(first) - 1))
            rows.append(first[-1] * second[-1] * torch.exp(-torch.as_tensor(squared_distance)))
    return torch.stack(rows).view(len(embeddings), -1)


def plain(embeddings: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """The formula, with the features themselves: K = Phi^T Phi, by Cholesky."""
    features = torch.linalg.cholesky(plain_kernel(embeddings))
    values = torch.linalg.svdvals(features)
    joint = torch.linalg.svdvals(torch.cat([labels.double(), features], dim=1))
    return joint.sum() - alpha * values.sum() + beta * values[0] ** 2


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    num=st.integers(1, 7),
    dim=st.integers(1, 4),
    alpha=st.floats(0.05, 0.999),
    beta=st.floats(0.01, 2),
    seed=st.integers(0, 2**32),
)
def test_value_and_gradient_are_those_of_features(
    num: int, dim: int, alpha: float, beta: float, seed: int
) -> None:
    # Apart, so that the features are independent and Cholesky is exact
    embeddings = 2 * random_embeddings(num, dim + 1, seed)
    embeddings[:, 0] += 2 * torch.arange(num)
    labels = random_literals(num, 2, seed)
    torch.testing.assert_close(
        nuclear_kernel_loss(embeddings, labels, alpha, beta),
        plain(embeddings, labels, alpha, beta),
        rtol=1e-6,
        atol=1e-6,
    )
    torch.testing.assert_close(
        gradient(lambda x: nuclear_kernel_loss(x, labels, alpha, beta), embeddings),
        gradient(lambda x: plain(x, labels, alpha, beta), embeddings),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("scale", [1.0, 2.0**-10])
def test_where_positions_lie_makes_no_difference(scale: float) -> None:
    embeddings = (scale * random_embeddings(9, 5)).mul(2**20).round().div(2**20)
    labels = random_literals(9, 2)
    moved = embeddings + torch.tensor([*[2.0**27] * 4, 0])  # exact: both are multiples of 2^-20
    slope = partial(gradient, lambda x: nuclear_kernel_loss(x, labels, 0.99, 0.05))
    for function in (gaussian_kernel, slope):
        torch.testing.assert_close(function(moved), function(embeddings), rtol=1e-12, atol=1e-12)


def test_kernel_has_squared_norms_on_its_diagonal_and_falls_with_distance() -> None:
    embeddings = torch.tensor([[0.0, 0.0, 2.0], [1.0, 2.0, -3.0]]).double()
    expected = torch.tensor([[4.0, -6 * math.exp(-5)], [-6 * math.exp(-5), 9.0]]).double()
    torch.testing.assert_close(gaussian_kernel(embeddings), expected)


def test_duplicates_have_the_right_value_and_a_gradient_that_leads_down() -> None:
    embeddings = random_embeddings(4, 3)[[0, 1, 1, 2, 2, 2]]
    labels = random_literals(6, 2)
    kernel = plain_kernel(embeddings)
    label_gram = (labels @ labels.T).double()
    joint, values = (
        torch.linalg.eigvalsh(gram).clamp(min=0) for gram in (kernel + label_gram, kernel)
    )
    expected = joint.sqrt().sum() - 0.9 * values.sqrt().sum() + 0.1 * values[-1]
    loss = nuclear_kernel_loss(embeddings, labels, 0.9, 0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    slope = gradient(lambda x: nuclear_kernel_loss(x, labels, 0.9, 0.1), embeddings)
    assert slope.isfinite().all()
    assert nuclear_kernel_loss(embeddings - 1e-3 * slope, labels, 0.9, 0.1) < loss


def test_far_images_of_norm_one_have_an_identity_for_a_kernel() -> None:
    embeddings = torch.cat([100 * torch.eye(4), torch.ones(4, 1)], dim=1)
    # ||[I; I]||_* = 4 sqrt(2), ||I||_* = 4
    expected = 4 * math.sqrt(2) - 0.5 * 4 + 0.25
    assert float(nuclear_kernel_loss(embeddings, torch.eye(4), 0.5, 0.25)) == pytest.approx(
        expected
    )


def test_norms_without_positions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"set encoder.embedding_dim=2 or more"):
        nuclear_kernel_loss(torch.ones(4, 1), torch.eye(4), 0.9, 0.1)


@pytest.mark.parametrize("alpha", [0, 1, float("nan")])
def test_alpha_outside_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be"):
        NuclearKernelLoss(alpha, 0.05)
    with pytest.raises(ValueError, match="alpha must be"):
        nuclear_kernel_loss(torch.ones(4, 3), torch.eye(4), alpha, 0.05)


def test_repr_shows_the_weights() -> None:
    assert repr(NuclearKernelLoss(0.9, 0.1)) == "NuclearKernelLoss(alpha=0.9, beta=0.1)"
