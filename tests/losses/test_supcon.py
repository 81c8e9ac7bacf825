import math

import pytest
import torch
from batches import random_classes, random_embeddings, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.simclr import simclr_loss
from src.losses.supcon import SupConLoss, supcon_loss


def plain(embeddings: Tensor, labels: Tensor, temperature: float) -> float:
    """The formula, one anchor after the other."""
    units = [row / row.norm() for row in embeddings]
    losses = []
    for i, anchor in enumerate(units):
        weights = {
            k: math.exp(float(anchor @ other) / temperature)
            for k, other in enumerate(units)
            if k != i
        }
        positives = [k for k in weights if torch.equal(labels[k], labels[i])]
        if positives:
            logs = [math.log(weights[k] / sum(weights.values())) for k in positives]
            losses.append(-sum(logs) / len(positives))
    return sum(losses) / len(losses)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num=st.integers(4, 10), temperature=st.floats(0.1, 2), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, temperature: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, 3, seed), random_classes(num, 3, seed)
    expected = plain(embeddings, labels, temperature)
    assert float(supcon_loss(embeddings, labels, temperature)) == pytest.approx(expected)


def test_with_classes_of_two_it_is_simclr() -> None:
    embeddings = random_embeddings(10, 3)
    torch.testing.assert_close(
        supcon_loss(embeddings, torch.eye(5).repeat(2, 1), 0.3),
        simclr_loss(embeddings, two_views(5), 0.3),
    )


def test_a_batch_without_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="no class has two samples"):
        supcon_loss(torch.ones(3, 2), torch.eye(3), 0.1)


def test_repr_shows_the_temperature() -> None:
    assert repr(SupConLoss(0.1)) == "SupConLoss(temperature=0.1)"
