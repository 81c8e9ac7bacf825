import pytest
import torch
from batches import random_classes, random_embeddings, random_literals
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.mmcr import mmcr_loss


def plain(embeddings: Tensor, labels: Tensor) -> float:
    """The formula, one class after the other."""
    means = []
    for k in range(labels.shape[1]):
        units = [row / row.norm() for i, row in enumerate(embeddings) if labels[i, k] == 1]
        means.append(torch.stack(units).sum(dim=0) / len(units))
    return -float(torch.linalg.svdvals(torch.stack(means, dim=1)).sum())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(3, 12),
    dim=st.integers(1, 6),
    overlapping=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, overlapping: bool, seed: int) -> None:
    embeddings = random_embeddings(num, dim, seed)
    labels = (random_literals if overlapping else random_classes)(num, 3, seed)
    expected = plain(embeddings, labels)
    assert float(mmcr_loss(embeddings, labels)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_least_where_each_class_is_one_direction_orthogonal_to_the_others() -> None:
    labels = torch.eye(3).repeat_interleave(4, dim=0)
    assert float(mmcr_loss(7 * labels, labels)) == pytest.approx(-3)
    for seed in range(20):
        assert float(mmcr_loss(random_embeddings(12, 5, seed), labels)) > -3
