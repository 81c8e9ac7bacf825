import math

import numpy as np
import pytest
import torch
from batches import gradient, random_classes, random_embeddings, random_literals, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr
from torch import Tensor

from src.losses.icon import IConLoss, icon_loss
from src.losses.simclr import simclr_loss
from src.losses.supcon import supcon_loss


def plain(embeddings: Tensor, labels: Tensor, temperature: float, uniform_share: float) -> float:
    """The formula, one sample after the other, by scipy's relative entropy."""
    units = [row.numpy() / np.sqrt((row.numpy() ** 2).sum()) for row in embeddings]
    divergences = []
    for i, unit in enumerate(units):
        others = [k for k in range(len(units)) if k != i]
        shared = np.array([float((labels[i] * labels[k]).sum()) for k in others])
        if not shared.any():
            continue
        said = np.exp(np.array([unit @ units[k] for k in others]) / temperature)
        wanted = (1 - uniform_share) * shared / shared.sum() + uniform_share / len(others)
        divergences.append(rel_entr(wanted, said / said.sum()).sum())
    return float(np.mean(divergences))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(4, 10),
    temperature=st.floats(0.1, 2),
    uniform_share=st.floats(0, 0.9),
    overlap=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_is_the_formula(
    num: int, temperature: float, uniform_share: float, overlap: bool, seed: int
) -> None:
    embeddings = random_embeddings(num, 3, seed)
    labels = (random_literals if overlap else random_classes)(num, 3, seed)
    expected = plain(embeddings, labels, temperature, uniform_share)
    actual = float(icon_loss(embeddings, labels, temperature, uniform_share))
    assert actual == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert actual >= -1e-12


def test_with_classes_of_two_it_is_simclr() -> None:
    embeddings, labels = random_embeddings(10, 3), torch.eye(5).repeat(2, 1)
    expected = simclr_loss(embeddings, two_views(5), 0.3)
    actual = icon_loss(embeddings, labels, 0.3, 0.0)
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=0)
    slope = gradient(lambda leaf: icon_loss(leaf, labels, 0.3, 0.0), embeddings)
    expected = gradient(lambda leaf: simclr_loss(leaf, two_views(5), 0.3), embeddings)
    torch.testing.assert_close(slope, expected, atol=1e-9, rtol=0)


def test_with_classes_it_is_supcon_less_what_no_embedding_changes() -> None:
    embeddings, labels = random_embeddings(12, 3), random_classes(12, 3)
    labels[0] = 0
    labels = torch.cat([labels, torch.zeros(12, 1)], dim=1)
    labels[0, 3] = 1  # a class of one sample, which has no neighbour
    numbers = labels.sum(dim=0)[labels.argmax(dim=1)] - 1
    entropy = float(numbers[numbers > 0].double().log().mean())
    expected = supcon_loss(embeddings, labels, 0.1) - entropy
    actual = icon_loss(embeddings, labels, 0.1, 0.0)
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=0)
    slope = gradient(lambda leaf: icon_loss(leaf, labels, 0.1, 0.0), embeddings)
    expected = gradient(lambda leaf: supcon_loss(leaf, labels, 0.1), embeddings)
    torch.testing.assert_close(slope, expected, atol=1e-9, rtol=0)


def test_a_uniform_share_is_met_by_cosines_that_leave_it() -> None:
    """Two classes at right angles: what is left of q for the other class is the uniform share."""
    temperature, labels = 0.5, torch.eye(2).repeat_interleave(3, dim=0)
    embeddings = labels.double()
    near, far = math.exp(1 / temperature), 1.0  # each of 2 and of 3 others
    outside = far / (2 * near + 3 * far)  # q of each sample of the other class
    share = 5 * outside
    assert float(icon_loss(embeddings, labels, temperature, share)) == pytest.approx(0, abs=1e-12)
    assert float(icon_loss(embeddings, labels, temperature, 0.0)) > 0.1


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_a_uniform_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="uniform_share must be at least 0 and below 1"):
        IConLoss(0.1, share)


def test_a_batch_without_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="no label is that of two samples"):
        icon_loss(torch.ones(3, 2), torch.eye(3), 0.1, 0.1)


def test_repr_shows_the_parameters() -> None:
    assert repr(IConLoss(0.1, 0.2)) == "IConLoss(temperature=0.1, uniform_share=0.2)"
