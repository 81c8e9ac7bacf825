import math

import numpy as np
import pytest
import torch
from batches import gradient, random_embeddings, random_relation
from hypothesis import given, settings
from hypothesis import strategies as st
from test_simclr import plain as plain_simclr
from torch import Tensor

from src.losses.ldreg import LDRegLoss, ldreg_loss, log_local_dimensions
from src.losses.simclr import simclr_loss


def plain_dimension(points: np.ndarray, number: int, at: np.ndarray, neighbors: int) -> float:
    """Log of the dimension at a place among the points other than that of this number."""
    others = [point for i, point in enumerate(points) if i != number]
    distances = sorted(math.dist(at, other) for other in others)[:neighbors]
    *inner, largest = distances
    if largest == 0:
        return 0.0
    share = min(max(sum(inner) / len(inner) / largest, 1e-6), 1 - 1e-6)
    return math.log(share) - math.log(1 - share)


def plain(
    embeddings: Tensor, relation: Tensor, temperature: float, weight: float, neighbors: int
) -> float:
    """The formula, one sample after the other."""
    points = embeddings.numpy()
    logs = [plain_dimension(points, i, point, neighbors) for i, point in enumerate(points)]
    units = embeddings / embeddings.norm(dim=1, keepdim=True)
    return plain_simclr(units, relation, temperature) - weight * sum(logs) / len(logs)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(3, 9),
    dim=st.integers(1, 4),
    neighbors=st.integers(2, 12),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, neighbors: int, seed: int) -> None:
    embeddings, relation = random_embeddings(num, dim, seed), random_relation(num, seed)
    expected = plain(embeddings, relation, 0.5, 0.7, neighbors)
    actual = float(ldreg_loss(embeddings, relation, 0.5, 0.7, neighbors))
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 5, 8])
def test_dimension_of_a_flat_sheet_in_more_dimensions_is_found(dim: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sheet = torch.rand(6000, dim, generator=generator, dtype=torch.float64)
    frame = torch.linalg.qr(random_embeddings(12, dim)).Q
    middle = (sheet - 0.5).abs().max(dim=1).values < 0.25
    logs = log_local_dimensions(sheet @ frame.T, 40)[middle]
    assert float(logs.mean().exp()) == pytest.approx(dim, rel=0.1)


def test_dimension_of_distances_that_are_known() -> None:
    # Distances 1, 2 and 3 from the first point: a mean of 1.5 in 3
    points = torch.tensor([[0.0], [1.0], [-2.0], [3.0], [9.0]], dtype=torch.float64)
    assert float(log_local_dimensions(points, 3)[0].exp()) == pytest.approx(1)
    assert float(log_local_dimensions(points, 2)[0].exp()) == pytest.approx(1)
    assert float(log_local_dimensions(points, 4)[0].exp()) == pytest.approx(2 / 7)


def test_dimension_has_no_unit_of_length_and_no_place() -> None:
    points = random_embeddings(9, 3)
    expected = log_local_dimensions(points, 4)
    torch.testing.assert_close(log_local_dimensions(7 * points + 2, 4), expected)


def test_gradient_is_that_of_finite_differences_with_neighbours_held_fixed() -> None:
    embeddings, relation = random_embeddings(8, 3), random_relation(8)
    slope = gradient(lambda leaf: ldreg_loss(leaf, relation, 0.5, 0.7, 4), embeddings)
    slope = slope - gradient(lambda leaf: simclr_loss(leaf, relation, 0.5), embeddings)
    points, expected, step = embeddings.numpy(), np.zeros((8, 3)), 1e-6
    for i, k in np.ndindex(8, 3):
        ahead, behind = points[i].copy(), points[i].copy()
        ahead[k] += step
        behind[k] -= step
        rise = plain_dimension(points, i, ahead, 4) - plain_dimension(points, i, behind, 4)
        expected[i, k] = -0.7 / 8 * rise / (2 * step)
    np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-6, atol=1e-9)


def test_where_neighbours_coincide_dimensions_end_and_gradients_are_finite() -> None:
    points = torch.zeros(5, 2, dtype=torch.float64)
    points[4] = 1  # all others are in one place
    logs = log_local_dimensions(points, 3)
    assert logs[:4].tolist() == [0.0] * 4
    assert float(logs[4]) == pytest.approx(math.log((1 - 1e-6) / 1e-6))
    assert float(log_local_dimensions(points, 4)[0]) == pytest.approx(math.log(1e-6), abs=1e-5)
    slope = gradient(lambda leaf: log_local_dimensions(leaf, 3).sum(), points)
    assert slope.tolist() == [[0.0, 0.0]] * 5


def test_too_few_neighbours_or_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbors must be at least 2, not 1"):
        log_local_dimensions(random_embeddings(9, 3), 1)
    with pytest.raises(ValueError, match="neighbors must be at least 2, not 0"):
        LDRegLoss(temperature=0.5, weight=0.01, neighbors=0)
    with pytest.raises(ValueError, match="three samples, not 2; use larger batches"):
        ldreg_loss(random_embeddings(2, 3), random_relation(2), 0.5, 0.01, 2)
