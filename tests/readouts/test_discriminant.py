import numpy as np
import pytest
import torch
from sklearn.covariance import oas
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from src.readouts.discriminant import DiscriminantReadout, Means, oracle_shrinkage
from src.subspaces.minterms import distinct_minterms, find_minterms


def data(seed: int, dim: int = 6) -> tuple[Tensor, Tensor]:
    """Embeddings around means that the literals shift, and labels of uneven minterms."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(300, 3, generator=generator) < torch.tensor([0.5, 0.3, 0.7])
    shifts = torch.randn(3, dim, generator=generator).double()
    mixing = torch.randn(dim, dim, generator=generator).double()
    noise = torch.randn(300, dim, generator=generator).double() @ mixing
    return labels.double() @ shifts + noise, labels


def fitted(
    embeddings: Tensor, labels: Tensor, means: Means, shrinkage: float | None
) -> DiscriminantReadout:
    readout = DiscriminantReadout(distinct_minterms(labels), embeddings.shape[1], means, shrinkage)
    for part, of_part in zip(embeddings.split(77), labels.split(77), strict=True):
        readout.update(part, of_part)
    readout.fit()
    return readout


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_free_means_are_those_of_scikit_learn(shrinkage: float) -> None:
    embeddings, labels = data(0)
    readout = fitted(embeddings, labels, "free", shrinkage)
    classes = find_minterms(labels, readout.minterms)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    oracle.fit(embeddings.numpy(), classes.numpy())
    expected = oracle.predict_proba(embeddings.numpy())
    found = readout.minterm_probabilities(embeddings).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_each_literal_is_a_discriminant_of_scikit_learn() -> None:
    embeddings, labels = data(1)
    readout = fitted(embeddings, labels, "literals", 0.2)
    logits = embeddings @ readout.weights.T + readout.biases
    for literal in range(3):
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2)
        oracle.fit(embeddings.numpy(), labels[:, literal].numpy())
        expected = oracle.predict_proba(embeddings.numpy())[:, 1]
        np.testing.assert_allclose(logits[:, literal].sigmoid().numpy(), expected, atol=1e-8)


def test_additive_means_are_least_squares() -> None:
    embeddings, labels = data(2)
    readout = fitted(embeddings, labels, "additive", 0.1)
    design = np.column_stack([np.ones(300), labels.numpy()])
    coefficients = np.linalg.lstsq(design, embeddings.numpy(), rcond=None)[0]
    table = np.column_stack([np.ones(len(readout.minterms)), readout.minterms.numpy()])
    means = table @ coefficients
    residuals = embeddings.numpy() - design @ coefficients
    covariance = residuals.T @ residuals / 300
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / 6 * np.eye(6)
    weights = np.linalg.solve(shrunk, means.T).T
    expected = embeddings.numpy() @ weights.T - (weights * means).sum(1) / 2
    expected += np.log(readout.counts.numpy())
    found = readout.minterm_logits(embeddings).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_additive_means_bear_literals_that_say_the_same() -> None:
    embeddings, labels = data(3)
    twice = torch.cat([labels, labels[:, :1], ~labels[:, 1:2]], dim=1)
    once, doubled = (fitted(embeddings, each, "additive", 0.1) for each in (labels, twice))
    expected = once.literal_probabilities(embeddings)
    found = doubled.literal_probabilities(embeddings)
    torch.testing.assert_close(found[:, :3], expected, atol=1e-8, rtol=0)


def test_shrinkage_is_the_estimate_of_scikit_learn() -> None:
    samples = np.random.default_rng(0).normal(size=(40, 9)) * np.arange(1, 10)
    _, expected = oas(samples, assume_centered=True)
    covariance = torch.from_numpy(samples.T @ samples / 40)
    assert oracle_shrinkage(covariance, 40) == pytest.approx(expected, abs=1e-12)


def test_minterms_that_are_points_are_told_by_the_nearest() -> None:
    labels = torch.tensor([[0, 1], [1, 0], [1, 1]]).bool()
    embeddings = torch.eye(3).double().repeat(4, 1)
    readout = fitted(embeddings, labels.repeat(4, 1), "free", None)
    assert torch.equal(readout.predict(embeddings), labels.repeat(4, 1))


def test_shrinkage_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, or null, not 2"):
        DiscriminantReadout(torch.eye(2).bool(), 3, "additive", 2.0)


def test_complements_count_the_literals_on_which_images_agree() -> None:
    labels = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0]]).bool()
    readout = DiscriminantReadout(labels, 4, "additive", None)
    codes = readout.encode_labels(labels, "complements").double()
    agreements = (labels[:, None] == labels).sum(dim=2)
    assert torch.equal(codes @ codes.T, agreements.double())
