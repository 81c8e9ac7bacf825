import math

import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.harmonic import HarmonicLoss, harmonic_logits, harmonic_loss


def plain(embeddings: Tensor, labels: Tensor, centers: Tensor, exponent: float) -> float:
    """The formula, one sample after the other."""
    total = 0.0
    for row, label in zip(embeddings, labels, strict=True):
        distances = [math.sqrt(float((row - center).square().sum()) + 1e-4) for center in centers]
        weights = [distance**-exponent for distance in distances]
        total -= math.log(weights[int(label.argmax())] / sum(weights))
    return total / len(embeddings)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(3, 9),
    dim=st.integers(1, 5),
    exponent=st.floats(0.5, 12),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, exponent: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, dim, seed), random_classes(num, 3, seed)
    centers = random_embeddings(3, dim, seed + 1)
    expected = plain(embeddings, labels, centers, exponent)
    actual = float(harmonic_loss(embeddings, labels, centers, exponent))
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_common_scale_of_embeddings_and_centers_makes_no_difference() -> None:
    embeddings, centers = 100 * random_embeddings(6, 4), 100 * random_embeddings(3, 4, 1)
    first, second = (
        harmonic_logits(scale * embeddings, scale * centers, 4.0).softmax(dim=1)
        for scale in (1, 50)
    )
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_embeddings_on_their_centers_have_next_to_no_loss() -> None:
    labels = torch.eye(3)
    value = harmonic_loss(10 * labels, labels, 10 * labels, 4.0)
    assert 0 <= float(value) < 1e-9


def test_centers_that_do_not_fit_are_refused() -> None:
    embeddings, labels = random_embeddings(6, 5), random_classes(6, 3)
    for centers in (torch.ones(4, 5), torch.ones(3, 6)):
        with pytest.raises(ValueError, match=r"centers .* must be \(K, D\)"):
            harmonic_loss(embeddings, labels, centers, 4.0)


def test_module_answers_with_its_own_centers() -> None:
    loss = HarmonicLoss(num_classes=3, embedding_dim=4, exponent=2.0)
    assert loss.logits(loss.centers.detach()).argmax(dim=1).tolist() == [0, 1, 2]
    assert repr(loss) == "HarmonicLoss(exponent=2.0)"
