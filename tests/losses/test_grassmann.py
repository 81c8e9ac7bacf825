import math

import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.grassmann import GrassmannLoss, grassmann_logits, grassmann_loss


def random_bases(num_classes: int, dim: int, subspace_dim: int, seed: int = 0) -> Tensor:
    gaussian = random_embeddings(num_classes * dim, subspace_dim, seed)
    return torch.linalg.qr(gaussian.view(num_classes, dim, subspace_dim)).Q


def plain(embeddings: Tensor, labels: Tensor, bases: Tensor, scale: float) -> float:
    """The formula, one sample after the other, with projection matrices."""
    total = 0.0
    for row, label in zip(embeddings, labels, strict=True):
        lengths = [float((basis @ basis.T @ row).norm() / row.norm()) for basis in bases]
        weights = [math.exp(scale * length) for length in lengths]
        total -= math.log(weights[int(label.argmax())] / sum(weights))
    return total / len(embeddings)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(3, 9),
    subspace_dim=st.integers(1, 5),
    scale=st.floats(0.5, 30),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, subspace_dim: int, scale: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, 5, seed), random_classes(num, 3, seed)
    bases = random_bases(3, 5, subspace_dim, seed + 1)
    expected = plain(embeddings, labels, bases, scale)
    assert float(grassmann_loss(embeddings, labels, bases, scale)) == pytest.approx(expected)


def test_subspaces_matter_and_not_their_bases() -> None:
    embeddings, bases = random_embeddings(6, 5), random_bases(3, 5, 2)
    turned = bases @ torch.linalg.qr(random_embeddings(2, 2, 1)).Q
    torch.testing.assert_close(
        grassmann_logits(embeddings, turned, 2.0), grassmann_logits(embeddings, bases, 2.0)
    )
    inside = torch.stack([basis @ torch.ones(2).double() for basis in bases])
    torch.testing.assert_close(
        grassmann_logits(inside, bases, 7.0).diagonal(), torch.full((3,), 7.0).double()
    )


def test_bases_are_orthonormal_before_and_after_steps_that_learn_the_classes() -> None:
    torch.manual_seed(0)
    loss = GrassmannLoss(num_classes=3, embedding_dim=6, subspace_dim=2, scale=10.0)
    labels = torch.eye(3).repeat_interleave(20, dim=0)
    planes = random_bases(3, 6, 2)
    embeddings = torch.cat([random_embeddings(20, 2, k) @ planes[k].T for k in range(3)]).float()
    # Weight decay too: it shrinks what spans a subspace, and must not change it.
    optimizer = torch.optim.AdamW(loss.parameters(), lr=0.05, weight_decay=0.1)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(embeddings, labels)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
        identity = torch.eye(2, dtype=torch.float64).expand(3, 2, 2)
        torch.testing.assert_close(loss.bases.mT @ loss.bases, identity, atol=1e-12, rtol=0)
    assert values[-1] < 0.5 * values[0]
    correct = loss.logits(embeddings).argmax(dim=1) == labels.argmax(dim=1)
    assert correct.double().mean() > 0.95


def test_a_state_dict_keeps_the_subspaces() -> None:
    first, second = (GrassmannLoss(3, 6, 2, 10.0) for _ in range(2))
    embeddings = random_embeddings(4, 6)
    assert not torch.allclose(first.logits(embeddings), second.logits(embeddings))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.logits(embeddings), second.logits(embeddings))


@pytest.mark.parametrize("subspace_dim", [0, 7])
def test_subspaces_that_do_not_fit_are_refused(subspace_dim: int) -> None:
    with pytest.raises(ValueError, match="between 1 and embedding_dim=6"):
        GrassmannLoss(3, 6, subspace_dim, 10.0)


def test_other_numbers_of_classes_or_dimensions_are_refused() -> None:
    embeddings, labels = random_embeddings(6, 5), random_classes(6, 3)
    for bases in (random_bases(4, 5, 2), random_bases(3, 6, 2)):
        with pytest.raises(ValueError, match=f"{len(bases)} classes in {bases.shape[1]} dim"):
            grassmann_loss(embeddings, labels, bases, 10.0)


def test_repr_shows_the_parameters() -> None:
    assert "subspace_dim=2, scale=10.0" in repr(GrassmannLoss(3, 6, 2, 10.0))
