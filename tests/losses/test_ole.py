import pytest
import torch
from batches import gradient, random_classes, random_embeddings, random_literals
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.ole import ole_loss


def plain(embeddings: Tensor, labels: Tensor) -> float:
    """The formula, one class after the other, columns as the paper has them."""
    columns = embeddings.T
    total = -float(torch.linalg.svdvals(columns).sum())
    for k in range(labels.shape[1]):
        chosen = [columns[:, i] for i in range(len(labels)) if labels[i, k] == 1]
        total += max(1.0, float(torch.linalg.svdvals(torch.stack(chosen, dim=1)).sum()))
    return total


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(3, 12),
    dim=st.integers(1, 6),
    scale=st.sampled_from([0.05, 1.0]),
    overlapping=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, scale: float, overlapping: bool, seed: int) -> None:
    embeddings = scale * random_embeddings(num, dim, seed)
    labels = (random_literals if overlapping else random_classes)(num, 3, seed)
    expected = plain(embeddings, labels)
    assert float(ole_loss(embeddings, labels)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_orthogonal_classes_of_norm_1_or_more_have_no_loss_and_others_have() -> None:
    labels = torch.eye(3).repeat_interleave(4, dim=0)
    assert float(ole_loss(3 * labels, labels)) == pytest.approx(0, abs=1e-6)
    assert float(ole_loss(labels.roll(1, 0), labels)) > 0.1
    assert float(ole_loss(labels / 100, labels)) == pytest.approx(3 - 3 * 2 / 100)


def test_small_classes_are_pushed_apart_only() -> None:
    labels = torch.eye(3).repeat_interleave(4, dim=0)
    embeddings = 0.01 * random_embeddings(12, 5)
    left, _, right = torch.linalg.svd(embeddings, full_matrices=False)
    torch.testing.assert_close(gradient(lambda x: ole_loss(x, labels), embeddings), -left @ right)
