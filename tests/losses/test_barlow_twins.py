import math

import pytest
import torch
from batches import random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.barlow_twins import BarlowTwinsLoss, barlow_twins_loss


def plain(embeddings: Tensor, relation: Tensor, redundancy: float) -> float:
    """The formula, one pair of dimensions after the other."""
    weights = relation / relation.sum()
    num, dim = embeddings.shape
    sides = []
    for marginal in (weights.sum(dim=1), weights.sum(dim=0)):
        columns = []
        for k in range(dim):
            column = embeddings[:, k]
            mean = sum(float(marginal[i] * column[i]) for i in range(num))
            variance = sum(float(marginal[i]) * (float(column[i]) - mean) ** 2 for i in range(num))
            columns.append([(float(x) - mean) / math.sqrt(variance + 1e-5) for x in column])
        sides.append(columns)
    value = 0.0
    for k in range(dim):
        for m in range(dim):
            correlation = sum(
                float(weights[i, j]) * sides[0][k][i] * sides[1][m][j]
                for i in range(num)
                for j in range(num)
            )
            value += (1 - correlation) ** 2 if k == m else redundancy * correlation**2
    return value


def authors(first: Tensor, second: Tensor, redundancy: float) -> Tensor:
    """The loss of two views as the authors compute it, with batch normalization."""
    normalization = torch.nn.BatchNorm1d(first.shape[1], affine=False).double()
    matrix = normalization(first).T @ normalization(second) / len(first)
    off_diagonal = matrix - matrix.diag().diag()
    return (matrix.diag() - 1).square().sum() + redundancy * off_diagonal.square().sum()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(3, 7),
    dim=st.integers(1, 4),
    redundancy=st.floats(0.001, 2),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, redundancy: float, seed: int) -> None:
    embeddings, relation = random_embeddings(num, dim, seed), random_relation(num, seed)
    for some in (relation, relation.triu()):
        expected = plain(embeddings, some, redundancy)
        assert float(barlow_twins_loss(embeddings, some, redundancy)) == pytest.approx(expected)


def test_first_and_second_views_give_the_authors_loss() -> None:
    first, second = random_embeddings(6, 4), random_embeddings(6, 4, 1)
    actual = barlow_twins_loss(torch.cat([first, second]), two_views(6, symmetric=False), 0.3)
    torch.testing.assert_close(actual, authors(first, second, 0.3))


def test_equal_views_of_uncorrelated_dimensions_have_next_to_no_loss() -> None:
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    value = barlow_twins_loss(7 * torch.cat([signs, signs]), two_views(4), 0.3)
    assert float(value) == pytest.approx(0, abs=1e-9)


def test_repr_shows_the_weight() -> None:
    assert repr(BarlowTwinsLoss(0.3)) == "BarlowTwinsLoss(redundancy=0.3)"
