import pytest
import torch
from batches import random_embeddings, random_literals
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from src.losses.discriminants import solve_discriminants

LITERALS, DIM = 3, 5


def solve(
    embeddings: Tensor, labels: Tensor, shrinkage: float, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    regressors = torch.cat([torch.ones(len(labels), 1), labels], dim=1).double()
    return solve_discriminants(
        scale * regressors.T @ regressors,
        scale * regressors.T @ embeddings,
        scale * embeddings.T @ embeddings,
        shrinkage,
    )


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), shrinkage=st.floats(0.001, 1), scale=st.floats(0.01, 100))
def test_discriminants_are_those_of_scikit_learn(seed: int, shrinkage: float, scale: float) -> None:
    embeddings, labels = random_embeddings(50, DIM, seed), random_literals(50, LITERALS, seed)
    labels[1] = 0
    weights, biases = solve(embeddings, labels, shrinkage, scale)
    for literal in range(LITERALS):
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        peer.fit(embeddings.numpy(), labels[:, literal].numpy())
        torch.testing.assert_close(weights[literal], torch.tensor(peer.coef_[0]))
        torch.testing.assert_close(biases[literal], torch.tensor(peer.intercept_[0]))


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_labels_that_all_images_have_or_none_are_certain(shrinkage: float) -> None:
    embeddings, labels = random_embeddings(20, DIM), random_literals(20, LITERALS)
    labels[:, 0], labels[:, 2] = 0, 1
    weights, biases = solve(embeddings, labels, shrinkage)
    assert not weights[[0, 2]].any()
    assert biases[0] == -torch.inf
    assert biases[2] == torch.inf
    assert weights[1].all()
