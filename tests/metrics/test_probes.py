import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from src.metrics.probes import linear_probe, nearest_neighbors, whiten


def blobs(num: int, seed: int, dim: int = 6) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) of three overlapping classes, of very uneven scale, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (num,), generator=generator)
    centers = torch.randn(3, dim, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(num, dim, generator=generator)
    return (centers[classes] + noise) * torch.logspace(-3, 2, dim), classes


def test_linear_probe_is_logistic_regression_on_whitened_embeddings() -> None:
    (train, classes), (queries, _) = blobs(300, 1), blobs(100, 2)
    scaling = PCA(whiten=True).fit(train.double().numpy())
    model = LogisticRegression(max_iter=1000, tol=1e-8)
    model.fit(scaling.transform(train.double().numpy()), classes.numpy())
    expected = model.predict(scaling.transform(queries.double().numpy()))
    result = linear_probe(train, classes, queries, max_iterations=1000)
    assert result.converged
    assert (result.classes.numpy() == expected).mean() >= 0.99
    assert len(result.classes.unique()) == 3


def test_linear_probe_says_that_it_has_not_converged() -> None:
    (train, classes), (queries, _) = blobs(300, 1), blobs(100, 2)
    assert not linear_probe(train, classes, queries, max_iterations=2).converged


def test_whitened_embeddings_have_unit_covariance_and_no_rounding_errors() -> None:
    mixed = torch.randn(200, 6, generator=torch.Generator().manual_seed(3))
    wide = torch.cat([mixed, mixed.sum(dim=1, keepdim=True), torch.ones(200, 1)], dim=1)
    white, queries = whiten(wide, wide[:7])
    assert white.shape == (200, 6)
    np.testing.assert_allclose(np.cov(white.numpy().T, ddof=0), np.eye(6), atol=1e-6)
    torch.testing.assert_close(queries, white[:7])


def test_embeddings_of_few_digits_keep_their_components() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(500, 128, generator=generator).bfloat16()
    assert whiten(embeddings, embeddings[:3])[0].shape == (500, 128)


@pytest.mark.parametrize("neighbors", [1, 5, 20])
def test_nearest_neighbors_are_scikit_learns(neighbors: int) -> None:
    (train, classes), (queries, _) = blobs(300, 1), blobs(2500, 2)
    model = KNeighborsClassifier(neighbors, metric="cosine")
    model.fit(train.double().numpy(), classes.numpy())
    expected = model.predict(queries.double().numpy())
    found = nearest_neighbors(train.double(), classes, queries.double(), neighbors)
    assert (found.numpy() == expected).all()


@pytest.mark.parametrize("neighbors", [0, 301])
def test_number_of_neighbors_must_fit(neighbors: int) -> None:
    train, classes = blobs(300, 1)
    with pytest.raises(ValueError, match="between 1 and 300"):
        nearest_neighbors(train, classes, train, neighbors)
