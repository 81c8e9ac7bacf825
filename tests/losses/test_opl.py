import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.opl import OPLLoss, opl_loss


def plain(embeddings: Tensor, labels: Tensor, gamma: float) -> float:
    """The formula, one pair after the other."""
    same, different = [], []
    for i, first in enumerate(embeddings):
        for j, second in enumerate(embeddings):
            cosine = float(first @ second / first.norm() / second.norm())
            if i != j and torch.equal(labels[i], labels[j]):
                same.append(cosine)
            elif i != j:
                different.append(cosine)
    loss = 1 - sum(same) / len(same) if same else 0.0
    return loss + gamma * abs(sum(different) / len(different)) if different else loss


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(2, 9),
    classes=st.integers(1, 3),
    gamma=st.floats(0.1, 3),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, classes: int, gamma: float, seed: int) -> None:
    embeddings = random_embeddings(num, 3, seed)
    labels = random_classes(num, min(num, classes), seed)
    expected = plain(embeddings, labels, gamma)
    assert float(opl_loss(embeddings, labels, gamma)) == pytest.approx(expected)


def test_orthogonal_directions_have_no_loss() -> None:
    labels = torch.eye(3).repeat_interleave(4, dim=0)
    assert float(opl_loss(2 * labels, labels, 0.5)) == pytest.approx(0)
    assert float(opl_loss(torch.ones(12, 3), labels, 0.5)) == pytest.approx(0.5)


def test_opposite_classes_cost_as_much_as_aligned_ones() -> None:
    labels = torch.eye(2).repeat_interleave(2, dim=0)
    signs = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert opl_loss(signs, labels, 2.0) == opl_loss(signs.abs(), labels, 2.0) == 2


def test_repr_shows_the_weight() -> None:
    assert repr(OPLLoss(0.5)) == "OPLLoss(gamma=0.5)"
