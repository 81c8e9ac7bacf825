import math

import numpy as np
import pytest
import torch
from batches import random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.vicreg import vicreg_loss


def plain(
    embeddings: Tensor, relation: Tensor, invariance: float, variance: float, covariance: float
) -> float:
    """The formula, one entry after the other, with NumPy's weighted covariance."""
    num, dim = embeddings.shape
    weights = (relation / relation.sum()).numpy()
    value = 0.0
    for i in range(num):
        for j in range(num):
            distance = float((embeddings[i] - embeddings[j]).square().sum())
            value += invariance * weights[i, j] * distance / dim
    for axis in (0, 1):
        matrix = np.cov(embeddings.numpy().T, aweights=weights.sum(axis=axis)).reshape(dim, dim)
        for k in range(dim):
            value += variance / (2 * dim) * max(0.0, 1 - math.sqrt(matrix[k, k] + 1e-4))
            value += covariance / dim * sum(matrix[k, m] ** 2 for m in range(dim) if m != k)
    return value


def authors(
    first: Tensor, second: Tensor, invariance: float, variance: float, covariance: float
) -> float:
    """The loss of two views as the authors compute it."""
    num, dim = first.shape
    value = invariance * float((first - second).square().mean())
    for view in (first, second):
        centered = view - view.mean(dim=0)
        deviations = (view.var(dim=0) + 1e-4).sqrt()
        matrix = centered.T @ centered / (num - 1)
        value += variance * float((1 - deviations).clamp(min=0).mean()) / 2
        value += covariance * float((matrix - matrix.diag().diag()).square().sum()) / dim
    return value


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(4, 9),
    dim=st.integers(1, 4),
    scale=st.sampled_from([0.3, 2.0]),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, scale: float, seed: int) -> None:
    embeddings, relation = scale * random_embeddings(num, dim, seed), random_relation(num, seed)
    for some in (relation, relation.triu()):
        if (some.sum(dim=0) > 0).sum() > 1 and (some.sum(dim=1) > 0).sum() > 1:
            expected = plain(embeddings, some, 3.0, 2.0, 0.7)
            assert float(vicreg_loss(embeddings, some, 3.0, 2.0, 0.7)) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_first_and_second_views_give_the_authors_loss(scale: float) -> None:
    first, second = scale * random_embeddings(6, 4), scale * random_embeddings(6, 4, 1)
    views = torch.cat([first, second])
    expected = authors(first, second, 25.0, 20.0, 3.0)
    actual = vicreg_loss(views, two_views(6, symmetric=False), 25.0, 20.0, 3.0)
    assert float(actual) == pytest.approx(expected)


def test_invariance_is_the_dirichlet_energy_of_the_relation() -> None:
    embeddings, relation = random_embeddings(8, 3), random_relation(8)
    # Two weights, of which the difference leaves the invariance alone
    difference = vicreg_loss(embeddings, relation, 2.0, 1.0, 1.0) - vicreg_loss(
        embeddings, relation, 1.0, 1.0, 1.0
    )
    weights = relation / relation.sum()
    laplacian = weights.sum(dim=1).diag() - weights
    torch.testing.assert_close(difference, 2 * (embeddings.T @ laplacian @ embeddings).trace() / 3)


def test_a_single_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="two samples, of each view"):
        vicreg_loss(random_embeddings(2, 3), two_views(1, symmetric=False), 1.0, 1.0, 1.0)
