import pytest
import torch
from batches import gradient, random_embeddings, random_order, random_relation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.byol_spectral import BYOLSpectralLoss, byol_spectral_loss
from src.losses.spectral_contrastive import spectral_contrastive_loss


def plain(embeddings: Tensor, relation: Tensor, targets: Tensor, moment: Tensor) -> float:
    """The formula, one sample after the other."""
    total, value = float(relation.sum()), 0.0
    for i, row in enumerate(embeddings):
        value += float(relation[i].sum()) / total * float(row @ moment @ row)
        for j, target in enumerate(targets):
            value -= 2 * float(relation[i, j]) / total * float(row @ target)
    return value


def moment_of(embeddings: Tensor, relation: Tensor) -> Tensor:
    weights = relation.sum(dim=0) / relation.sum()
    outer = [w * row.outer(row) for w, row in zip(weights, embeddings, strict=True)]
    return torch.stack(outer).sum(dim=0)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num=st.integers(2, 9), dim=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, dim: int, seed: int) -> None:
    embeddings, targets = random_embeddings(2 * num, dim, seed).chunk(2)
    relation = random_relation(num, seed)
    moment = moment_of(random_embeddings(num, dim, seed + 1), relation)
    for some in (relation, relation.triu()):
        expected = plain(embeddings, some, targets, moment)
        actual = float(byol_spectral_loss(embeddings, some, targets, moment))
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_order_of_samples_makes_no_difference() -> None:
    embeddings, targets = random_embeddings(14, 3).chunk(2)
    relation, order, moment = random_relation(7).triu(), random_order(7), torch.ones(3, 3)
    torch.testing.assert_close(
        byol_spectral_loss(embeddings[order], relation[order][:, order], targets[order], moment),
        byol_spectral_loss(embeddings, relation, targets, moment),
    )


def test_at_momentum_0_it_has_the_value_and_half_the_gradient_of_spectral_contrastive() -> None:
    embeddings, relation = random_embeddings(7, 3), random_relation(7)
    loss = BYOLSpectralLoss(embedding_dim=3, momentum=0.0).double()
    torch.testing.assert_close(
        loss(embeddings, relation), spectral_contrastive_loss(embeddings, relation)
    )
    expected = gradient(lambda x: spectral_contrastive_loss(x, relation), embeddings)
    torch.testing.assert_close(2 * gradient(lambda x: loss(x, relation), embeddings), expected)
    moment = moment_of(embeddings, relation)
    slope = gradient(lambda x: byol_spectral_loss(x, relation, x, moment), embeddings)
    torch.testing.assert_close(2 * slope, expected)


def test_second_moment_moves_with_batches_of_training_only() -> None:
    relation = random_relation(7)
    loss = BYOLSpectralLoss(embedding_dim=3, momentum=0.9).double()
    expected = torch.eye(3).double()
    for seed in range(3):
        embeddings = random_embeddings(7, 3, seed)
        expected = 0.9 * expected + 0.1 * moment_of(embeddings, relation)
        value = loss(embeddings, relation)
        torch.testing.assert_close(loss.target_moment, expected)
        torch.testing.assert_close(
            value, byol_spectral_loss(embeddings, relation, embeddings, expected)
        )
    loss.eval()(random_embeddings(7, 3, 9), relation)
    torch.testing.assert_close(loss.target_moment, expected)
    assert "target_moment" in loss.state_dict()
    assert not list(loss.parameters())


def test_targets_of_another_encoder_take_the_place_of_embeddings_without_gradient() -> None:
    embeddings, relation = random_embeddings(7, 3), random_relation(7)
    targets = random_embeddings(7, 3, 1).requires_grad_()
    loss = BYOLSpectralLoss(embedding_dim=3, momentum=0.5).double()
    value = loss(embeddings.requires_grad_(), relation, targets)
    value.backward()
    assert targets.grad is None
    moment = 0.5 * torch.eye(3) + 0.5 * moment_of(targets.detach(), relation)
    torch.testing.assert_close(value, byol_spectral_loss(embeddings, relation, targets, moment))


def test_descent_with_a_slow_average_reaches_the_optimum_of_spectral_contrastive() -> None:
    relation = random_relation(8)
    embeddings = random_embeddings(8, 2).requires_grad_()
    loss = BYOLSpectralLoss(embedding_dim=2, momentum=0.9).double()
    optimizer = torch.optim.SGD([embeddings], lr=0.5)
    for _ in range(3000):
        optimizer.zero_grad()
        loss(embeddings, relation).backward()
        optimizer.step()
    slope = gradient(lambda x: spectral_contrastive_loss(x, relation), embeddings)
    assert slope.abs().max() < 1e-6
    assert spectral_contrastive_loss(embeddings, relation) < -1


def test_shapes_that_do_not_match_are_refused() -> None:
    embeddings, relation, moment = random_embeddings(7, 3), random_relation(7), torch.eye(3)
    with pytest.raises(ValueError, match="must have the shape of embeddings"):
        byol_spectral_loss(embeddings, relation, embeddings[:6], moment)
    with pytest.raises(ValueError, match=r"must be \(D, D\)"):
        byol_spectral_loss(embeddings, relation, embeddings, torch.eye(4))


@pytest.mark.parametrize("momentum", [-0.1, 1, float("nan")])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        BYOLSpectralLoss(embedding_dim=3, momentum=momentum)


def test_repr_shows_the_momentum() -> None:
    assert repr(BYOLSpectralLoss(3, 0.9)) == "BYOLSpectralLoss(momentum=0.9)"
