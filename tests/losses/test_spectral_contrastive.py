import pytest
import torch
from batches import random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.spectral_contrastive import spectral_contrastive_loss


def plain(embeddings: Tensor, relation: Tensor) -> float:
    """The formula, one pair after the other: drawn from the relation, then its ends apart."""
    total = float(relation.sum())
    value = 0.0
    for i, first in enumerate(embeddings):
        for j, second in enumerate(embeddings):
            product = float(first @ second)
            independent = float(relation[i].sum()) / total * float(relation[:, j].sum()) / total
            value += -2 * float(relation[i, j]) / total * product + independent * product**2
    return value


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num=st.integers(2, 9), dim=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, dim: int, seed: int) -> None:
    embeddings, relation = random_embeddings(num, dim, seed), random_relation(num, seed)
    for some in (relation, relation.triu(), relation + torch.eye(num)):
        expected = plain(embeddings, some)
        actual = float(spectral_contrastive_loss(embeddings, some))
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_two_views_give_the_loss_of_pairs() -> None:
    first, second = random_embeddings(6, 4), random_embeddings(6, 4, 1)
    views = torch.cat([first, second])
    attraction = (first * second).sum(dim=1).mean()
    torch.testing.assert_close(
        spectral_contrastive_loss(views, two_views(6, symmetric=False)),
        -2 * attraction + (first @ second.T).square().mean(),
    )
    torch.testing.assert_close(
        spectral_contrastive_loss(views, two_views(6)),
        -2 * attraction + (views @ views.T).square().mean(),
    )
