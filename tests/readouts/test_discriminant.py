from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import in_processes
from sklearn.covariance import oas
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch import distributed as dist

from src.losses.discriminants import oracle_shrinkage
from src.readouts.discriminant import DiscriminantReadout, Means
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.subspaces.minterms import all_minterms, distinct_minterms, find_minterms

LITERALS = ("a", "b", "c")


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
    fit(readout, embeddings, labels)
    return readout


def fit(readout: Readout, embeddings: Tensor, labels: Tensor) -> None:
    for part, of_part in zip(embeddings.split(77), labels.split(77), strict=True):
        readout.update(part, of_part)
    readout.fit()


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


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0, None])
def test_each_literal_is_a_discriminant_of_scikit_learn(shrinkage: float | None) -> None:
    embeddings, labels = data(1)
    readout = LiteralDiscriminants(LITERALS, 6, shrinkage)
    fit(readout, embeddings, labels)
    logits = readout.literal_logits(embeddings)
    for literal in range(3):
        has_it = labels[:, literal].numpy()
        estimate = shrinkage
        if estimate is None:
            centered = embeddings.numpy().copy()
            for value in (False, True):
                centered[has_it == value] -= centered[has_it == value].mean(axis=0)
            _, estimate = oas(centered, assume_centered=True)
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=estimate)
        oracle.fit(embeddings.numpy(), has_it)
        expected = oracle.predict_proba(embeddings.numpy())[:, 1]
        np.testing.assert_allclose(logits[:, literal].sigmoid().numpy(), expected, atol=1e-8)


def test_literals_that_all_images_have_or_none_are_certain() -> None:
    embeddings, labels = data(1)
    labels[:, 0], labels[:, 1] = True, False
    readout = LiteralDiscriminants(LITERALS, 6, None)
    fit(readout, embeddings, labels)
    always, never, _ = readout.literal_probabilities(embeddings).T
    assert (always == 1).all()
    assert (never == 0).all()


def test_images_of_a_literal_that_are_one_point_are_told_apart() -> None:
    labels = torch.tensor([[False], [True], [True]]).repeat(5, 1)
    embeddings = torch.where(labels, torch.tensor([0.6, 0.8]), torch.tensor([-0.8, 0.6])).double()
    readout = LiteralDiscriminants(("a",), 2, None)
    fit(readout, embeddings, labels)
    assert torch.equal(readout.predict(embeddings), labels)


def prior(labels: Tensor, minterms: Tensor) -> np.ndarray:
    """Images of each minterm, and its part of one more where literals are independent."""
    shares, rows = labels.double().mean(dim=0).tolist(), labels.tolist()
    return np.array(
        [
            rows.count(minterm)
            + np.prod([p if value else 1 - p for p, value in zip(shares, minterm, strict=True)])
            for minterm in minterms.tolist()
        ]
    )


def test_additive_means_are_least_squares() -> None:
    embeddings, labels = data(2)
    kept = ~(labels == torch.tensor([True, True, False])).all(dim=1)
    embeddings, labels = embeddings[kept], labels[kept]
    readout = fitted(embeddings, labels, "additive", 0.1)
    assert torch.equal(readout.minterms, all_minterms(3))
    design = np.column_stack([np.ones(len(labels)), labels.numpy()])
    coefficients = np.linalg.lstsq(design, embeddings.numpy(), rcond=None)[0]
    means = np.column_stack([np.ones(8), readout.minterms.numpy()]) @ coefficients
    residuals = embeddings.numpy() - design @ coefficients
    covariance = residuals.T @ residuals / len(labels)
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / 6 * np.eye(6)
    weights = np.linalg.solve(shrunk, means.T).T
    expected = embeddings.numpy() @ weights.T - (weights * means).sum(1) / 2
    expected += np.log(prior(labels, readout.minterms))
    found = readout.minterm_logits(embeddings).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_additive_means_of_one_literal_are_those_of_scikit_learn() -> None:
    embeddings, labels = data(4)
    labels = labels[:, :1]
    readout = fitted(embeddings, labels, "additive", 0.3)
    priors = prior(labels, readout.minterms)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=priors / priors.sum())

    oracle.fit(embeddings.numpy(), labels[:, 0].numpy())
    expected = oracle.predict_proba(embeddings.numpy())
    found = readout.minterm_probabilities(embeddings).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_an_unseen_minterm_is_found_where_its_literals_put_it() -> None:
    embeddings, labels = data(5)
    embeddings = embeddings + 20 * labels.double() @ torch.randn(3, 6).double()
    seen = ~labels.all(dim=1)
    readout = fitted(embeddings[seen], labels[seen], "additive", None)
    assert not (distinct_minterms(labels[seen])).all(dim=1).any()
    right = (readout.predict(embeddings[~seen]) == labels[~seen]).all(dim=1)
    assert right.double().mean() > 0.9


def test_of_many_literals_additive_means_know_the_minterms_of_training() -> None:
    labels = torch.rand(50, 13, generator=torch.Generator().manual_seed(0)) < 0.2
    embeddings = labels.double() + 0.1 * torch.randn(50, 13).double()
    readout = fitted(embeddings, labels, "additive", None)
    assert torch.equal(readout.minterms, distinct_minterms(labels))
    assert torch.equal(readout.predict(embeddings), labels)


def test_additive_means_bear_literals_that_say_the_same() -> None:
    embeddings, labels = data(3)
    twice = torch.cat([labels, labels[:, :1], ~labels[:, 1:2]], dim=1)
    once, doubled = (fitted(embeddings, each, "additive", 0.1) for each in (labels, twice))
    rows = torch.cat([once.minterms, once.minterms[:, :1], ~once.minterms[:, 1:2]], dim=1)
    index = find_minterms(rows, doubled.minterms)
    expected = once.minterm_logits(embeddings) - once.counts.log()
    found = doubled.minterm_logits(embeddings) - doubled.counts.log()
    torch.testing.assert_close(found[:, index], expected, atol=1e-8, rtol=0)


def test_shrinkage_is_the_estimate_of_scikit_learn() -> None:
    samples = np.random.default_rng(0).normal(size=(40, 9)) * np.arange(1, 10)
    _, expected = oas(samples, assume_centered=True)
    covariance = torch.from_numpy(samples.T @ samples / 40)
    mean, mean_square = covariance.diagonal().mean(), covariance.square().mean()
    assert float(oracle_shrinkage(mean, mean_square, 9, 40)) == pytest.approx(expected, abs=1e-12)


def test_minterms_that_are_points_are_told_by_the_nearest() -> None:
    labels = torch.tensor([[0, 1], [1, 0], [1, 1]]).bool()
    embeddings = torch.eye(3).double().repeat(4, 1)
    readout = fitted(embeddings, labels.repeat(4, 1), "free", None)
    assert torch.equal(readout.predict(embeddings), labels.repeat(4, 1))


def test_shrinkage_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, or null, not 2"):
        DiscriminantReadout(torch.eye(2).bool(), 3, "additive", 2.0)
    with pytest.raises(ValueError, match="between 0 and 1, or null, not 2"):
        LiteralDiscriminants(LITERALS, 3, 2.0)


def test_complements_count_the_literals_on_which_images_agree() -> None:
    labels = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0]]).bool()
    readout = DiscriminantReadout(labels, 4, "additive", None)
    codes = readout.encode_labels(labels, labels, "complements").double()
    agreements = (labels[:, None] == labels).sum(dim=2)
    assert torch.equal(codes @ codes.T, agreements.double())


def processes_fit(rank: int, folder: Path, world_size: int) -> None:
    """Fit on every `world_size`-th image, as processes of training share them out."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/{world_size}", rank=rank, world_size=world_size
    )
    embeddings, labels = data(6)
    for name, readout in every_kind(labels).items():
        fit(readout, embeddings[rank::world_size], labels[rank::world_size])
        torch.save(readout.state_dict(), folder / f"{name}_{world_size}_{rank}.pt")
    dist.destroy_process_group()


def every_kind(labels: Tensor) -> dict[str, Readout]:
    minterms = distinct_minterms(labels)
    return {
        "additive": DiscriminantReadout(minterms, 6, "additive", None),
        "free": DiscriminantReadout(minterms, 6, "free", None),
        "literals": LiteralDiscriminants(LITERALS, 6, None),
    }


@pytest.mark.parametrize("world_size", [2, 4])
def test_several_processes_fit_what_one_does(world_size: int, tmp_path: Path) -> None:
    in_processes(processes_fit, world_size, tmp_path, world_size)
    embeddings, labels = data(6)
    for name, readout in every_kind(labels).items():
        fit(readout, embeddings, labels)
        for rank in range(world_size):
            found = torch.load(tmp_path / f"{name}_{world_size}_{rank}.pt", weights_only=True)
            for key, expected in readout.state_dict().items():
                scale = float(expected.double().abs().max())
                torch.testing.assert_close(found[key], expected, rtol=1e-9, atol=1e-9 * scale)
