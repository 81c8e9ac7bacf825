import math

import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.mcr2 import MCR2Loss, mcr2_loss


def plain_rate(units: list[Tensor], squared_distortion: float) -> float:
    """Coding rate of unit vectors, one singular value after the other."""
    dim = len(units[0])
    values = torch.linalg.svdvals(torch.stack(units, dim=1))
    factor = dim / (len(units) * squared_distortion)
    return sum(math.log1p(factor * float(value) ** 2) for value in values) / 2


def plain(embeddings: Tensor, labels: Tensor, squared_distortion: float) -> float:
    units = [row / row.norm() for row in embeddings]
    total = -plain_rate(units, squared_distortion)
    for k in range(labels.shape[1]):
        own = [unit for i, unit in enumerate(units) if labels[i, k] == 1]
        total += len(own) / len(units) * plain_rate(own, squared_distortion)
    return total


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(3, 12),
    dim=st.integers(1, 6),
    squared_distortion=st.floats(0.01, 3),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, squared_distortion: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, dim, seed), random_classes(num, 3, seed)
    expected = plain(embeddings, labels, squared_distortion)
    actual = float(mcr2_loss(embeddings, labels, squared_distortion))
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert actual <= 1e-12


def test_known_value_of_orthogonal_classes() -> None:
    # D = 2, 4 samples of 2 classes on one axis each: R = log(1 + 1 / e^2), of a class
    # log(1 + 2 / e^2) / 2
    labels = torch.eye(2).repeat_interleave(2, dim=0)
    expected = math.log1p(2 / 0.5) / 2 - math.log1p(1 / 0.5)
    assert float(mcr2_loss(3 * labels, labels, 0.5)) == pytest.approx(expected)


def test_classes_that_share_a_subspace_gain_nothing() -> None:
    labels = torch.eye(2).repeat(4, 1)
    same = random_embeddings(4, 3).repeat_interleave(2, dim=0)
    assert float(mcr2_loss(same, labels, 0.5)) == pytest.approx(0, abs=1e-12)


def test_repr_shows_the_distortion() -> None:
    assert repr(MCR2Loss(0.5)) == "MCR2Loss(squared_distortion=0.5)"
