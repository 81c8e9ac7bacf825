import math

import pytest
import torch
from batches import random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.simclr import simclr_loss


def plain(embeddings: Tensor, relation: Tensor, temperature: float) -> float:
    """The formula, one related pair after the other."""
    units = [row / row.norm() for row in embeddings]
    total = 0.0
    for i, anchor in enumerate(units):
        weights = [math.exp(float(anchor @ other) / temperature) for other in units]
        others = sum(weights) - weights[i]
        for j in range(len(units)):
            total -= float(relation[i, j]) * (math.log(weights[j] / others) if j != i else 0)
    return total / float(relation.sum())


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    """The loss of two views as its paper has it: 2k - 1 and 2k are views of image k."""
    views = torch.stack([first, second], dim=1).flatten(0, 1)
    units = views / views.norm(dim=1, keepdim=True)
    total = 0.0
    for k in range(len(first)):
        for i, j in ((2 * k, 2 * k + 1), (2 * k + 1, 2 * k)):
            similarities = units @ units[i] / temperature
            others = torch.cat([similarities[:i], similarities[i + 1 :]])
            total += float(torch.logsumexp(others, dim=0) - similarities[j])
    return total / (2 * len(first))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num=st.integers(2, 9), temperature=st.floats(0.1, 2), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, temperature: float, seed: int) -> None:
    embeddings, relation = random_embeddings(num, 3, seed), random_relation(num, seed)
    for some in (relation, relation.triu()):
        expected = plain(embeddings, some, temperature)
        assert float(simclr_loss(embeddings, some, temperature)) == pytest.approx(expected)


def test_two_views_give_nt_xent() -> None:
    first, second = random_embeddings(6, 4), random_embeddings(6, 4, 1)
    loss = simclr_loss(torch.cat([first, second]), two_views(6), 0.3)
    assert float(loss) == pytest.approx(nt_xent(first, second, 0.3))


def test_length_makes_no_difference() -> None:
    embeddings, relation = random_embeddings(6, 4), random_relation(6)
    lengths = torch.arange(1, 7).unsqueeze(1)
    torch.testing.assert_close(
        simclr_loss(lengths * embeddings, relation, 0.3), simclr_loss(embeddings, relation, 0.3)
    )


def test_a_sample_as_its_own_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="zero diagonal"):
        simclr_loss(torch.ones(3, 2), torch.ones(3, 3), 0.5)
