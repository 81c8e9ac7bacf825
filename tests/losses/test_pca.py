import pytest
import torch
from batches import random_embeddings, random_relation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses.pca import PCALoss, pca_loss


def plain(embeddings: Tensor, relation: Tensor, components: Tensor, penalty: float) -> float:
    """The formula, one pair after the other."""
    weights = relation / relation.sum()
    means = [
        torch.stack([w * row for w, row in zip(marginal, embeddings, strict=True)]).sum(dim=0)
        for marginal in (weights.sum(dim=1), weights.sum(dim=0))
    ]
    value = 0.0
    for i, first in enumerate(embeddings):
        for j, second in enumerate(embeddings):
            projected = (components.T @ (first - means[0])) @ (components.T @ (second - means[1]))
            value -= float(weights[i, j] * projected)
    for k, one in enumerate(components.T):
        for m, other in enumerate(components.T):
            value += penalty * (float(one @ other) - (k == m)) ** 2
    return value


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(2, 7),
    dim=st.integers(1, 4),
    penalty=st.floats(0.1, 3),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, penalty: float, seed: int) -> None:
    embeddings, relation = random_embeddings(num, dim, seed), random_relation(num, seed)
    components = random_embeddings(dim, 2, seed + 1)
    for some in (relation, relation.triu(), torch.eye(num).double()):
        expected = plain(embeddings, some, components, penalty)
        assert float(pca_loss(embeddings, some, components, penalty)) == pytest.approx(expected)


def test_of_single_images_the_first_term_is_the_variance_along_components() -> None:
    embeddings = random_embeddings(9, 4) + 5
    components = torch.linalg.qr(random_embeddings(4, 2, 1)).Q
    value = pca_loss(embeddings, torch.eye(9), components, 1.0)
    torch.testing.assert_close(-value, (embeddings @ components).var(dim=0, correction=0).sum())


def test_embeddings_are_data() -> None:
    loss = PCALoss(embedding_dim=4, num_components=2, penalty=1.0).double()
    embeddings = random_embeddings(9, 4).requires_grad_()
    loss(embeddings, random_relation(9)).backward()
    assert embeddings.grad is None
    assert loss.components.grad is not None
    assert loss.components.grad.abs().max() > 0


@pytest.mark.parametrize("num_components", [0, 5])
def test_numbers_of_components_that_do_not_fit_are_refused(num_components: int) -> None:
    with pytest.raises(ValueError, match="between 1 and embedding_dim=4"):
        PCALoss(embedding_dim=4, num_components=num_components, penalty=1.0)


def test_components_of_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"components .* must be \(D, S\)"):
        pca_loss(random_embeddings(9, 4), random_relation(9), torch.ones(5, 2), 1.0)


def test_repr_shows_the_parameters() -> None:
    assert repr(PCALoss(4, 2, 1.0)) == "PCALoss(num_components=2, penalty=1.0)"
