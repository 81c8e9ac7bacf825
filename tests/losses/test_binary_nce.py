import math

import pytest
import torch
from batches import random_embeddings, random_relation
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch import Tensor

from src.losses.binary_nce import BinaryNCELoss, binary_nce_loss


def log_one_plus_exp(value: float) -> float:
    return max(value, 0) + math.log1p(math.exp(-abs(value)))


def plain(
    embeddings: Tensor,
    relation: Tensor,
    offset: float,
    temperature: float | None,
    negatives: int | None,
) -> float:
    """The formula, one pair after the other."""
    rows = [row / (row.norm() or 1) for row in embeddings] if temperature else list(embeddings)

    def logit(i: int, j: int) -> float:
        return float(rows[i] @ rows[j]) / (temperature or 1) + offset

    total = float(relation.sum())
    related = [
        (i, j, float(relation[i, j]) / total)
        for i in range(len(rows))
        for j in range(len(rows))
        if relation[i, j]
    ]
    independent = [(i, j, p * q) for i, _, p in related for _, j, q in related]
    if negatives:
        generator = torch.Generator().manual_seed(0)
        orders = [torch.randperm(len(related), generator=generator) for _ in range(negatives)]
        dealt = [(m, int(order[m])) for order in orders for m in range(len(related))]
        independent = [
            (related[m][0], related[n][1], related[m][2] * related[n][2]) for m, n in dealt
        ]
    weight = sum(p for _, _, p in independent)
    value = sum(p * log_one_plus_exp(-logit(i, j)) for i, j, p in related)
    return value + sum(p * log_one_plus_exp(logit(i, j)) for i, j, p in independent) / weight


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    num=st.integers(2, 7),
    offset=st.floats(-3, 3),
    temperature=st.none() | st.floats(0.1, 2),
    negatives=st.none() | st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(
    num: int, offset: float, temperature: float | None, negatives: int | None, seed: int
) -> None:
    embeddings, relation = random_embeddings(num, 3, seed), random_relation(num, seed)
    weighted = relation.triu() * random_embeddings(num, num, seed).abs()
    for some in (relation, weighted):
        values = offset, temperature, negatives
        actual = float(binary_nce_loss(embeddings, some, *values))
        assert actual == pytest.approx(plain(embeddings, some, *values))


def test_is_the_log_loss_of_telling_pairs() -> None:
    embeddings, relation = random_embeddings(6, 3), random_relation(6)
    weights = relation / relation.sum()
    ends = weights.sum(dim=1)
    logits = (embeddings @ embeddings.T - 0.7).flatten().repeat(2)
    truths = torch.cat([torch.ones(36), torch.zeros(36)])
    pairs = torch.cat([weights.flatten(), ends.outer(ends).flatten()])
    expected = log_loss(
        truths.numpy(), logits.sigmoid().numpy(), sample_weight=pairs.numpy(), normalize=False
    )
    actual = float(binary_nce_loss(embeddings, relation, -0.7, None, None))
    assert actual == pytest.approx(expected)


def test_log_ratios_are_its_minimum() -> None:
    joint = random_embeddings(5, 5).abs()
    joint = joint / joint.sum()
    ratios = (joint / joint.sum(dim=1).outer(joint.sum(dim=0))).log()
    embeddings = torch.cat([ratios + 2, torch.eye(5)])  # first ends, second ends
    relation = torch.zeros(10, 10).double()
    relation[:5, 5:] = joint
    embeddings.requires_grad_()
    loss = binary_nce_loss(embeddings, relation, -2.0, None, None)
    loss.backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().max() < 1e-12
    for seed in range(20):
        other = embeddings.detach() + 0.1 * random_embeddings(10, 5, seed)
        assert float(binary_nce_loss(other, relation, -2.0, None, None)) > float(loss.detach())


@pytest.mark.parametrize("weighted", [False, True])
def test_many_negatives_are_all_pairs(weighted: bool) -> None:
    embeddings, relation = random_embeddings(6, 3), random_relation(6)
    if weighted:
        relation = relation.triu() * random_embeddings(6, 6).abs()
    whole = float(binary_nce_loss(embeddings, relation, 0.5, None, None))
    many = float(binary_nce_loss(embeddings, relation, 0.5, None, 5000))
    assert many == pytest.approx(whole, rel=0.01)
    assert abs(float(binary_nce_loss(embeddings, relation, 0.5, None, 1)) - whole) > 1e-3


def test_sparse_relations_have_the_value_of_dense_ones() -> None:
    embeddings, relation = random_embeddings(9, 3), random_relation(9).triu()
    for some in (relation, relation.bool()):
        torch.testing.assert_close(
            binary_nce_loss(embeddings, some.to_sparse(), 0.5, None, 2),
            binary_nce_loss(embeddings, some, 0.5, None, 2),
        )


def test_a_batch_without_room_for_all_pairs_is_no_matter() -> None:
    num = 200_000  # of whose pairs a matrix would take 320 GB
    embeddings = random_embeddings(num, 2).requires_grad_()
    views = torch.arange(num)
    pairs = torch.stack([views, views.roll(num // 2)])
    relation = torch.sparse_coo_tensor(pairs, torch.ones(num), (num, num), check_invariants=True)
    loss = binary_nce_loss(embeddings, relation, 0.0, None, 1)
    loss.backward()
    assert embeddings.grad is not None
    positive = (embeddings * embeddings.roll(num // 2, 0)).sum(dim=1).detach()
    first, second = embeddings.detach()[:1000], embeddings.detach()[-1000:]
    expected = positive.neg().exp().log1p().mean() + (first @ second.T).exp().log1p().mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=0.02)


def test_offset_is_learned() -> None:
    embeddings, relation = random_embeddings(9, 3), random_relation(9)
    loss = BinaryNCELoss(temperature=None, negatives=None)
    assert [name for name, _ in loss.named_parameters()] == ["offset"]
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = loss(embeddings, relation)
        value.backward()
        return value

    optimizer.step(evaluate)
    offsets = torch.linspace(-6, 6, 1201)
    values = [float(binary_nce_loss(embeddings, relation, b, None, None)) for b in offsets]
    best = float(offsets[int(torch.tensor(values).argmin())])
    assert float(loss.offset.detach()) == pytest.approx(best, abs=0.01)


@pytest.mark.parametrize("negatives", [0, -1, float("nan")])
def test_numbers_of_negatives_out_of_range_are_refused(negatives: int) -> None:
    with pytest.raises(ValueError, match="negatives must be a number above 0"):
        binary_nce_loss(random_embeddings(4, 2), random_relation(4), 0.0, None, negatives)
    with pytest.raises(ValueError, match="negatives must be a number above 0"):
        BinaryNCELoss(None, negatives)
