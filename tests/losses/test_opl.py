import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss
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


def test_module_adds_cross_entropy_of_its_head() -> None:
    torch.manual_seed(0)
    loss = OPLLoss(3, 4, gamma=0.5, weight=0.7)
    embeddings, labels = random_embeddings(9, 4), random_classes(9, 3)
    weight, bias = loss.linear.weight.detach().numpy(), loss.linear.bias.detach().numpy()
    entropy = log_loss(
        labels.argmax(dim=1), softmax(embeddings.numpy() @ weight.T + bias, axis=1), labels=range(3)
    )
    expected = entropy + 0.7 * plain(embeddings, labels, 0.5)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected)


def test_weights_must_be_positive() -> None:
    with pytest.raises(ValueError, match="weight must be a number above 0, not 0"):
        OPLLoss(3, 4, gamma=0.5, weight=0)


def test_repr_shows_the_weights() -> None:
    assert repr(OPLLoss(3, 4, 0.5, 1.0)).startswith("OPLLoss(\n  gamma=0.5, weight=1.0")
