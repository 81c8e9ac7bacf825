"""Closed-form optima of self-supervised losses against descent over free embeddings."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from batches import random_classes, random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import iv
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from src.losses.pca import pca_loss
from src.losses.spectral_contrastive import spectral_contrastive_loss
from src.losses.vicreg import vicreg_loss
from src.subspaces.spectral_embedding import (
    nystroem_embeddings,
    pca_optimum,
    penalty_optimum,
    spectral_contrastive_optimum,
    vicreg_optimum,
)

SEEDS = st.integers(0, 2**32)


def descend(function: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The end of a quasi-Newton descent from a start."""
    free = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free],
        max_iter=500,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = function(free)
        loss.backward()
        return loss

    optimizer.step(closure)
    return free.detach()


def largest_angle(first: Tensor, second: Tensor) -> float:
    """Sine of the largest principal angle between the column spaces of two matrices."""
    left, right = torch.linalg.qr(first).Q, torch.linalg.qr(second).Q
    return float(torch.linalg.matrix_norm(right - left @ (left.T @ right), 2))


def plain_spectrum(relation: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenpairs of the degree-normalised relation, descending, entry after entry."""
    num = len(relation)
    degrees = [float(row.sum()) for row in relation]
    entries = [
        [float(relation[i, j]) / (degrees[i] * degrees[j]) ** 0.5 for j in range(num)]
        for i in range(num)
    ]
    values, vectors = torch.linalg.eigh(torch.tensor(entries, dtype=torch.float64))
    return values.flip(0), vectors.flip(1)


# Spectral contrastive


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num=st.integers(2, 10), dim=st.integers(1, 10), loops=st.booleans(), seed=SEEDS)
def test_spectral_contrastive_optimum_has_the_value_of_its_eigenvalues(
    num: int, dim: int, loops: bool, seed: int
) -> None:
    relation, dim = random_relation(num, seed) + loops * torch.eye(num), min(num, dim)
    optimum = spectral_contrastive_optimum(relation, dim)
    least = -float(plain_spectrum(relation)[0][:dim].clamp(min=0).square().sum())
    assert optimum.shape == (num, dim)
    assert float(spectral_contrastive_loss(optimum, relation)) == pytest.approx(least)
    for scale in (1e-3, 1e-1, 1.0):
        moved = optimum + scale * random_embeddings(num, dim, seed)
        assert float(spectral_contrastive_loss(moved, relation)) >= least - 1e-12


@settings(derandomize=True, deadline=None, max_examples=10)
@given(num=st.integers(4, 10), dim=st.integers(1, 3), seed=SEEDS)
def test_descent_reaches_the_spectral_contrastive_optimum(num: int, dim: int, seed: int) -> None:
    relation = random_relation(num, seed)
    found = descend(
        lambda free: spectral_contrastive_loss(free, relation), random_embeddings(num, dim, seed)
    )
    optimum = spectral_contrastive_optimum(relation, dim)
    assert float(spectral_contrastive_loss(found, relation)) == pytest.approx(
        float(spectral_contrastive_loss(optimum, relation)), abs=1e-8
    )
    values = plain_spectrum(relation)[0]
    if values[dim - 1] - values[dim].clamp(min=0) > 0.05:  # one subspace is best
        torch.testing.assert_close(found @ found.T, optimum @ optimum.T, atol=1e-4, rtol=1e-4)


def test_classes_as_a_relation_give_orthogonal_classes() -> None:
    labels = random_classes(12, 3).double()
    embeddings = spectral_contrastive_optimum(labels @ labels.T, 3)
    # f_i . f_j is the density of a class against the population, N^2 / sum of squared sizes: with
    # weights r ~ sizes, 1 / r(class), and zero between classes
    sizes = labels.sum(dim=0)
    shares = sizes.square() / sizes.square().sum()
    expected = labels @ (1 / shares).diag() @ labels.T
    torch.testing.assert_close(embeddings @ embeddings.T, expected)


# VICReg


def whiten(free: Tensor, relation: Tensor) -> Tensor:
    """Embeddings of zero mean and identity covariance under the degrees, in the same span."""
    weights = relation.sum(dim=1) / relation.sum()
    centered = free - weights @ free
    covariance = centered.T @ (weights[:, None] * centered) / (1 - weights.square().sum())
    return torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), centered.T, upper=False
    ).T


def distance(embeddings: Tensor, relation: Tensor) -> Tensor:
    """Mean squared distance of related pairs."""
    weights = relation / relation.sum()
    return (weights * torch.cdist(embeddings, embeddings).square()).sum()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num=st.integers(3, 10), dim=st.integers(1, 9), seed=SEEDS)
def test_vicreg_optimum_pays_for_its_eigenvalues_alone(num: int, dim: int, seed: int) -> None:
    relation, dim = random_relation(num, seed), min(dim, num - 1)
    optimum = vicreg_optimum(relation, dim)
    weights = relation.sum(dim=1) / relation.sum()
    values = 1 - plain_spectrum(relation)[0]  # of the Laplacian, ascending from 0
    unbiased = float(1 - weights.square().sum())
    expected = 2 * unbiased * float(values[1 : dim + 1].sum())
    torch.testing.assert_close(weights @ optimum, torch.zeros(dim).double())
    torch.testing.assert_close(whiten(optimum, relation), optimum)
    assert float(distance(optimum, relation)) == pytest.approx(expected)
    loss = float(vicreg_loss(optimum, relation, 3.0, 100.0, 100.0))
    assert loss == pytest.approx(3 * expected / dim)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(num=st.integers(5, 10), dim=st.integers(1, 3), seed=SEEDS)
def test_descent_over_whitened_embeddings_reaches_the_vicreg_optimum(
    num: int, dim: int, seed: int
) -> None:
    relation = random_relation(num, seed)
    weights = relation / relation.sum()
    laplacian = weights.sum(dim=1).diag() - weights

    def energy(free: Tensor) -> Tensor:
        embeddings = whiten(free, relation)
        return 2 * (embeddings.T @ laplacian @ embeddings).trace()

    optimum = vicreg_optimum(relation, dim)
    found = descend(energy, random_embeddings(num, dim, seed))
    least = float(distance(optimum, relation))
    assert float(energy(found)) == pytest.approx(least, rel=1e-6)
    values = plain_spectrum(relation)[0]
    if values[dim] - values[dim + 1] > 0.05:
        assert largest_angle(whiten(found, relation), optimum) < 1e-3


def test_descent_of_vicreg_itself_comes_close_to_the_optimum_under_constraints() -> None:
    # Its hinge has a kink there, at which a quasi-Newton descent stops early
    relation = random_relation(9, 3)
    optimum = vicreg_optimum(relation, 2)
    free = random_embeddings(9, 2).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.05)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    for _ in range(1500):
        optimizer.zero_grad()
        loss = vicreg_loss(free, relation, 1.0, 3.0, 3.0)
        loss.backward()
        optimizer.step()
        scheduler.step()
    assert float(loss.detach()) == pytest.approx(
        float(vicreg_loss(optimum, relation, 1.0, 3.0, 3.0)), rel=0.01
    )
    found = free.detach()
    assert largest_angle(found - found.mean(dim=0), optimum - optimum.mean(dim=0)) < 0.1


def test_vicreg_of_two_views_has_no_distance_between_them() -> None:
    optimum = vicreg_optimum(two_views(5), 4)
    torch.testing.assert_close(optimum[:5], optimum[5:])
    # A fifth dimension has to tell views from each other
    assert float(distance(vicreg_optimum(two_views(5), 5), two_views(5))) > 1


# Principal components


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(2, 12),
    dim=st.integers(1, 6),
    components=st.integers(1, 6),
    penalty=st.floats(0.05, 20),
    seed=SEEDS,
)
def test_pca_optimum_is_least(
    num: int, dim: int, components: int, penalty: float, seed: int
) -> None:
    embeddings, components = random_embeddings(num, dim, seed) + 3, min(dim, components)
    itself = torch.eye(num)
    optimum = pca_optimum(embeddings, components, penalty)
    least = float(pca_loss(embeddings, itself, optimum, penalty))
    variances = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0)).square() / num
    expected = -sum(float(v + v**2 / (4 * penalty)) for v in variances[:components])
    assert least == pytest.approx(expected, abs=1e-9)
    for scale in (1e-3, 1e-1, 1.0):
        moved = optimum + scale * random_embeddings(dim, components, seed)
        assert float(pca_loss(embeddings, itself, moved, penalty)) >= least - 1e-9


@settings(derandomize=True, deadline=None, max_examples=10)
@given(penalty=st.floats(0.1, 10), seed=SEEDS)
def test_descent_reaches_the_principal_components(penalty: float, seed: int) -> None:
    embeddings = random_embeddings(20, 5, seed) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2]) + 1
    found = descend(
        lambda free: pca_loss(embeddings, torch.eye(20), free, penalty),
        random_embeddings(5, 2, seed + 1),
    )
    optimum = pca_optimum(embeddings, 2, penalty)
    torch.testing.assert_close(found @ found.T, optimum @ optimum.T, atol=1e-5, rtol=1e-5)
    directions = torch.linalg.svd(embeddings - embeddings.mean(dim=0)).Vh[:2].T
    assert largest_angle(directions, found) < 1e-4


def test_principal_components_become_orthonormal_as_the_penalty_grows() -> None:
    components = pca_optimum(random_embeddings(20, 5), 3, 1e9)
    torch.testing.assert_close(components.T @ components, torch.eye(3).double())


@settings(derandomize=True, deadline=None, max_examples=15)
@given(num=st.integers(2, 8), dim=st.integers(1, 4), penalty=st.floats(0.1, 10), seed=SEEDS)
def test_descent_reaches_the_optimum_under_a_penalty_whatever_the_signs(
    num: int, dim: int, penalty: float, seed: int
) -> None:
    half, dim = random_embeddings(num, num, seed), min(num, dim)
    matrix = half + half.T  # with eigenvalues below -2 penalty, which leave a dimension empty

    def loss(free: Tensor) -> Tensor:
        excess = free.T @ free - torch.eye(dim).double()
        return penalty * excess.square().sum() - (free.T @ matrix @ free).trace()

    starts = [random_embeddings(num, dim, seed + start) for start in range(3)]
    least = min(float(loss(descend(loss, start))) for start in starts)
    assert float(loss(penalty_optimum(matrix, dim, penalty))) == pytest.approx(least, abs=1e-6)


# New samples


def test_nystroem_is_the_optimum_at_the_samples_themselves() -> None:
    points = random_embeddings(12, 2)
    relation = torch.exp(-torch.cdist(points, points))
    expected = spectral_contrastive_optimum(relation, 4)
    torch.testing.assert_close(nystroem_embeddings(relation, relation, 4), expected)


def test_nystroem_is_that_of_scikit_learn() -> None:
    points, others = random_embeddings(12, 3).numpy(), random_embeddings(7, 3, 1).numpy()
    kernel, cross = rbf_kernel(points, gamma=2), rbf_kernel(others, points, gamma=2)
    kernel = (kernel + kernel.T) / 2  # to the last digit
    found = nystroem_embeddings(torch.from_numpy(kernel), torch.from_numpy(cross), 12)
    degrees, new = kernel.sum(axis=1), cross.sum(axis=1)
    normalized = kernel / np.sqrt(np.outer(degrees, degrees))
    model = Nystroem(kernel="precomputed", n_components=12).fit(normalized)
    features = model.transform(cross / np.sqrt(np.outer(new, degrees)))
    weighted = features * np.sqrt(degrees.sum() / new)[:, None]
    np.testing.assert_allclose(found @ found.T, weighted @ weighted.T, rtol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(concentration=st.floats(0.5, 4), frequencies=st.integers(1, 3), seed=SEEDS)
def test_nystroem_continues_sines_and_cosines_on_a_circle(
    concentration: float, frequencies: int, seed: int
) -> None:
    related = np.arange(40) * 2 * np.pi / 40
    new = np.random.default_rng(seed).uniform(0, 2 * np.pi, 5)

    def kernel(points: np.ndarray) -> Tensor:
        return torch.tensor(
            [[np.exp(concentration * np.cos(x - y)) for y in related] for x in points]
        )

    relation = kernel(related)
    found = nystroem_embeddings((relation + relation.T) / 2, kernel(new), 1 + 2 * frequencies)
    orders = range(1, frequencies + 1)
    values = [iv(order, concentration) / iv(0, concentration) for order in orders]
    for i, x in enumerate(new):
        for j, y in enumerate(new):
            waves = [2 * v * np.cos(k * (x - y)) for k, v in zip(orders, values, strict=True)]
            assert float(found[i] @ found[j]) == pytest.approx(1 + sum(waves), abs=1e-9)


def test_new_samples_that_have_no_embedding_are_refused() -> None:
    relation = two_views(3)  # with eigenvalues 1 and -1, three of each
    assert nystroem_embeddings(relation, relation[:2], 3).shape == (2, 3)
    with pytest.raises(ValueError, match="fewer than 4 eigenvalues are positive"):
        nystroem_embeddings(relation, relation[:2], 4)
    with pytest.raises(ValueError, match="related to none"):
        nystroem_embeddings(relation, torch.zeros(2, 6), 3)
    for cross in (torch.ones(2, 5), -relation, torch.ones(6)):
        with pytest.raises(ValueError, match=r"cross must be \(M, 6\) and nonnegative"):
            nystroem_embeddings(relation, cross, 3)


# Refusals


@pytest.mark.parametrize("optimum", [spectral_contrastive_optimum, vicreg_optimum])
def test_relations_without_an_optimum_are_refused(
    optimum: Callable[[Tensor, int], Tensor],
) -> None:
    with pytest.raises(ValueError, match="add its transpose"):
        optimum(two_views(3, symmetric=False), 2)
    with pytest.raises(ValueError, match="symmetric and nonnegative"):
        optimum(-two_views(3), 2)
    with pytest.raises(ValueError, match="symmetric and nonnegative"):
        optimum(torch.ones(3), 2)
    alone = two_views(3)
    alone[[0, 3]] = 0
    alone[:, [0, 3]] = 0
    with pytest.raises(ValueError, match="related to one at least"):
        optimum(alone, 2)


def test_dimensions_out_of_range_are_refused() -> None:
    relation = two_views(3)
    spectral_contrastive_optimum(relation, 6)
    vicreg_optimum(relation, 5)
    for dim in (0, 7):
        with pytest.raises(ValueError, match=f"N = 6, not {dim}"):
            spectral_contrastive_optimum(relation, dim)
    for dim in (0, 6):
        with pytest.raises(ValueError, match=f"N = 5, not {dim}"):
            vicreg_optimum(relation, dim)
    for dim in (0, 5):
        with pytest.raises(ValueError, match=f"N = 4, not {dim}"):
            pca_optimum(random_embeddings(9, 4), dim, 1.0)
    with pytest.raises(ValueError, match="penalty must be a number above 0"):
        pca_optimum(random_embeddings(9, 4), 2, 0.0)
