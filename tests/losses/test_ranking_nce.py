import math

import pytest
import torch
from batches import random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr
from torch import Tensor

from src.losses.ranking_nce import ranking_nce_loss


def plain(embeddings: Tensor, relation: Tensor, temperature: float | None) -> float:
    """The formula, one related pair after the other."""
    rows = [row / (row.norm() or 1) for row in embeddings] if temperature else list(embeddings)
    total, value = float(relation.sum()), 0.0
    second = [float(column.sum()) / total for column in relation.T]
    for i, anchor in enumerate(rows):
        scores = [float(anchor @ other) / (temperature or 1) for other in rows]
        most = max(scores)
        partners = sum(c * math.exp(s - most) for c, s in zip(second, scores, strict=True))
        for j, score in enumerate(scores):
            log_probability = score - most - math.log(partners)
            value -= float(relation[i, j]) / total * log_probability
    return value


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(2, 9),
    temperature=st.none() | st.floats(0.1, 2),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, temperature: float | None, seed: int) -> None:
    embeddings, relation = random_embeddings(num, 3, seed), random_relation(num, seed)
    for some in (relation, relation.triu(), relation + 2 * torch.eye(num)):
        expected = plain(embeddings, some, temperature)
        assert float(ranking_nce_loss(embeddings, some, temperature)) == pytest.approx(expected)


def test_two_views_give_cross_entropy_over_the_batch() -> None:
    embeddings, views = random_embeddings(12, 4), torch.arange(12)
    expected = torch.nn.functional.cross_entropy(embeddings @ embeddings.T, (views + 6) % 12)
    loss = ranking_nce_loss(embeddings, two_views(6), None)
    assert float(loss) == pytest.approx(float(expected) - math.log(12))


def test_log_ratios_have_minus_the_mutual_information() -> None:
    # Relations from first to second views alone take any scores, by embeddings in both halves
    joint = random_embeddings(5, 5).abs()
    joint = joint / joint.sum()
    first, second = joint.sum(dim=1), joint.sum(dim=0)
    ratios = (joint / first.outer(second)).log()
    embeddings = torch.cat([ratios + random_embeddings(5, 1, 1), torch.eye(5)])
    relation = torch.zeros(10, 10).double()
    relation[:5, 5:] = joint
    information = rel_entr(joint.numpy(), first.outer(second).numpy()).sum()
    loss = float(ranking_nce_loss(embeddings, relation, None))
    assert loss == pytest.approx(-information)
    for seed in range(20):
        other = embeddings + 0.1 * random_embeddings(10, 5, seed)
        assert float(ranking_nce_loss(other, relation, None)) > loss


def test_lengths_count_without_a_temperature_only() -> None:
    embeddings, relation = random_embeddings(6, 4), random_relation(6)
    longer = torch.arange(1, 7).unsqueeze(1) * embeddings
    torch.testing.assert_close(
        ranking_nce_loss(longer, relation, 0.3), ranking_nce_loss(embeddings, relation, 0.3)
    )
    raw = ranking_nce_loss(embeddings, relation, None)
    assert abs(float(ranking_nce_loss(longer, relation, None) - raw)) > 0.1


def test_a_dimension_that_is_constant_makes_no_difference() -> None:
    embeddings, relation = random_embeddings(6, 4), random_relation(6).triu()
    wider = torch.cat([embeddings, torch.full((6, 1), 3.0)], dim=1)
    torch.testing.assert_close(
        ranking_nce_loss(wider, relation, None), ranking_nce_loss(embeddings, relation, None)
    )
