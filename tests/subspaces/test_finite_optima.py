"""Optima at finite weights against descent, SciPy, scikit-learn and a worked example."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from batches import random_classes, random_embeddings, random_relation, two_views
from scipy.linalg import eigh, subspace_angles
from scipy.optimize import minimize
from sklearn.cross_decomposition import CCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from src.losses.barlow_twins import barlow_twins_loss
from src.losses.vicreg import vicreg_loss
from src.subspaces.finite_optima import (
    FiniteOptimum,
    barlow_twins_optimum,
    simclr_products_optimum,
    vicreg_finite_optimum,
    vicreg_squares_optimum,
)

WORKED = torch.tensor([[0, 3, 1, 0], [3, 0, 0, 1], [1, 0, 0, 2], [0, 1, 2, 0]]).double()

# Squared singular values and losses of WORKED in two dimensions, whose degrees are 4, 4, 3, 3 and
# whose eigenvalues by degree are 1, 5/12, -5/12 and -1
VICREG = ([0.594879, 0], 18.002372)
VICREG_1 = ([1.155087, 0.844713], 1.441481)
SQUARES = ([0.782738, 0.472364], 1.164193)
BARLOW_TWINS = ([2, 0], 0.682326)
BARLOW_TWINS_1 = ([2, 0], 37 / 36)
ABOUT_ZERO = ([1.958775, 0.041225], 0.009902)
PRODUCTS = ([(5 + 5**0.5) / 2, (5 - 5**0.5) / 2], 15)


def plain_vicreg_squares(z: Tensor, relation: Tensor, invariance: float, weight: float) -> Tensor:
    """By all pairs, and by the covariance of explicit deviations."""
    joint = relation / relation.sum()
    degrees = joint.sum(dim=1)
    distances = (joint[:, :, None] * (z[:, None] - z).square()).sum()
    mean = (degrees[:, None] * z).sum(dim=0)
    moments = [w * torch.outer(row - mean, row - mean) for w, row in zip(degrees, z, strict=True)]
    covariance = torch.stack(moments).sum(dim=0) / (1 - degrees.square().sum())
    error = covariance - torch.eye(z.shape[1]).double()
    return invariance * distances + weight * error.square().sum()


def plain_barlow_twins_about_zero(z: Tensor, relation: Tensor, redundancy: float) -> Tensor:
    joint = relation / relation.sum()
    scaled = z / (joint.sum(dim=1) @ z.square()).sqrt()
    correlation = scaled.T @ joint @ scaled
    weights = redundancy + (1 - redundancy) * torch.eye(z.shape[1]).double()
    return (weights * (correlation - torch.eye(z.shape[1]).double()).square()).sum()


def plain_products(z: Tensor, relation: Tensor) -> Tensor:
    return sum((relation[i] - z @ z[i]).square().sum() for i in range(len(z)))  # type: ignore[return-value]


class Form(NamedTuple):
    loss: Callable[[Tensor, Tensor], Tensor]
    optimum: Callable[..., FiniteOptimum]
    tolerance: float = 1e-6  # of the optimum's own loss: the offset of variances is left out


def vicreg_form(invariance: float, variance: float, covariance: float) -> Form:
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return Form(partial(vicreg_loss, **weights), partial(vicreg_finite_optimum, **weights))  # type: ignore[arg-type]


def squares_form(invariance: float, weight: float) -> Form:
    return Form(
        partial(plain_vicreg_squares, invariance=invariance, weight=weight),
        partial(vicreg_squares_optimum, invariance=invariance, regularization=weight),
    )


def barlow_twins_form(redundancy: float, centered: bool) -> Form:
    loss = barlow_twins_loss if centered else plain_barlow_twins_about_zero
    return Form(
        partial(loss, redundancy=redundancy),
        partial(barlow_twins_optimum, redundancy=redundancy, centered=centered),
        1e-4,
    )


FORMS = {
    "vicreg": vicreg_form(25.0, 25.0, 1.0),
    "vicreg, uneven squares": vicreg_form(10.0, 25.0, 1.5),
    "squares": squares_form(0.7, 1.0),
    "squares, some zero": squares_form(1.5, 1.0),
    "barlow twins": barlow_twins_form(0.0051, True),
    "barlow twins, 0.3": barlow_twins_form(0.3, True),
    "barlow twins, 1": barlow_twins_form(1.0, True),
    "barlow twins about zero": barlow_twins_form(0.3, False),
    "products": Form(plain_products, simclr_products_optimum),
}


def descend(function: Callable[[Tensor], Tensor], start: Tensor) -> float:
    """The loss at which SciPy's BFGS ends."""

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(flat).reshape(start.shape).requires_grad_()
        loss = function(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient.flatten().numpy()

    options = {"maxiter": 200, "gtol": 1e-9}
    found = minimize(value_and_gradient, start.flatten().numpy(), jac=True, options=options)
    return float(found.fun)


@pytest.mark.parametrize("inputs", [None, random_embeddings(9, 5, 7)], ids=["free", "linear"])
@pytest.mark.parametrize("name", FORMS)
def test_descents_reach_the_optimum_and_go_no_lower(name: str, inputs: Tensor | None) -> None:
    loss, optimum, tolerance = FORMS[name]
    relation = random_relation(9, 4) * (1 + random_embeddings(9, 9).triu(1).abs())
    relation = relation.triu(1) + relation.triu(1).T
    best = optimum(relation, 4, inputs=inputs)
    size = len(best.weights), 4
    embed = (lambda free: free) if inputs is None else (lambda free: inputs @ free)
    at_best = float(loss(embed(best.weights), relation))
    assert -1e-9 <= at_best - best.loss < tolerance
    ends = [
        descend(lambda free: loss(embed(free), relation), random_embeddings(*size, s))
        for s in range(2)
    ]
    assert best.loss - 1e-7 < min(ends) < best.loss + 1e-4
    for scale in (1e-3, 1e-1):
        moved = best.weights + scale * random_embeddings(*size)
        assert float(loss(embed(moved), relation)) >= best.loss - 1e-9


@pytest.mark.parametrize(("dim", "invariance"), [(3, 1.0), (5, 1.0), (8, 3.0)])
def test_vicreg_at_its_kink_is_least(dim: int, invariance: float) -> None:
    # No descent ends there: embeddings are scaled to the kink, and moved off it
    relation = random_relation(12, 1)
    best = vicreg_finite_optimum(relation, dim, invariance, 25.0, 1.0)
    weights = relation.sum(dim=1) / relation.sum()
    unbiased = 1 - weights.square().sum()

    def scaled(free: Tensor) -> Tensor:
        centered = free - weights @ free
        return centered * ((1 - 1e-4) * unbiased / (weights @ centered.square())).sqrt()

    def loss(free: Tensor) -> Tensor:
        return vicreg_loss(free, relation, invariance, 25.0, 1.0)

    assert float(loss(best.weights)) == pytest.approx(best.loss)
    centered = best.weights - weights @ best.weights
    assert (weights @ centered.square() / unbiased).numpy() == pytest.approx(1 - 1e-4)
    end = descend(lambda free: loss(scaled(free)), random_embeddings(12, dim))
    assert best.loss - 1e-9 < end < best.loss + 1e-4
    for scale in (1e-4, 1e-2):
        for seed in range(5):
            moved = best.weights + scale * random_embeddings(12, dim, seed)
            assert float(loss(moved)) >= best.loss


@pytest.mark.parametrize("name", FORMS)
def test_singular_values_and_vectors_are_those_of_the_embeddings(name: str) -> None:
    relation = random_relation(9, 2)
    best = FORMS[name].optimum(relation, 4)
    weights = (relation.sum(dim=1) / relation.sum())[:, None].numpy()
    embeddings = best.weights.numpy()
    if name != "products":
        if "zero" not in name or "some" in name:
            embeddings = embeddings - (weights * embeddings).sum(0)
        embeddings = np.sqrt(weights) * embeddings
    if "twins" in name:
        embeddings = embeddings / np.sqrt((embeddings**2).sum(0) + 1e-5)
    elif name != "products":
        embeddings = embeddings / np.sqrt(1 - (weights**2).sum())
    values = np.linalg.svd(embeddings, compute_uv=False) ** 2
    np.testing.assert_allclose(values, best.squares.sort(descending=True).values, atol=1e-4)
    kept = best.left[:, best.squares > 1e-3].numpy()
    outside = embeddings - kept @ (kept.T @ embeddings)
    np.testing.assert_allclose(outside, 0, atol=0.05)
    np.testing.assert_allclose(best.left.T @ best.left, np.eye(4), atol=1e-9)


def test_vicreg_exceeds_the_rank_of_classes_at_low_invariance_only() -> None:
    labels = random_classes(15, 3).double()
    relation = (labels @ labels.T).fill_diagonal_(0)
    ranks = [
        int((vicreg_finite_optimum(relation, 6, invariance, 25.0, 1.0).squares > 0).sum())
        for invariance in (25.0, 1.0)
    ]
    assert ranks == [2, 6]


def test_worked_example() -> None:
    cases = [
        (vicreg_finite_optimum(WORKED, 2, 25.0, 25.0, 1.0), VICREG),
        (vicreg_finite_optimum(WORKED, 2, 1.0, 25.0, 1.0), VICREG_1),
        (vicreg_squares_optimum(WORKED, 2, 0.5, 1.0), SQUARES),
        (barlow_twins_optimum(WORKED, 2, 0.0051), BARLOW_TWINS),
        (barlow_twins_optimum(WORKED, 2, 1.0), BARLOW_TWINS_1),
        (barlow_twins_optimum(WORKED, 2, 0.0051, centered=False), ABOUT_ZERO),
        (simclr_products_optimum(WORKED, 2), PRODUCTS),
    ]
    for best, (squares, loss) in cases:
        assert best.squares.tolist() == pytest.approx(squares, abs=1e-6)
        assert best.loss == pytest.approx(loss, abs=1e-6)


def test_barlow_twins_spares_variance_where_dimensions_outnumber_classes() -> None:
    labels = torch.eye(3)[[0] * 3 + [1] * 5 + [2] * 8].double()
    relation = (labels @ labels.T).fill_diagonal_(0)
    # Both eigenvalues are 1: 4 (1 - m)^2 + q (2 s^2 - 4 m^2) is least, with m = s / 2, at
    # s = 2 / (1 + q), where it is 4 q / (1 + q)
    for redundancy in (0.1, 0.5, 1.0):
        best = barlow_twins_optimum(relation, 4, redundancy)
        square = 2 / (1 + redundancy)
        assert best.squares.tolist() == pytest.approx([square, square, 0, 0])
        assert best.loss == pytest.approx(4 * redundancy / (1 + redundancy))
        reached = float(barlow_twins_loss(best.weights, relation, redundancy))
        assert reached == pytest.approx(best.loss, abs=1e-4)


# Linear maps of SciPy and scikit-learn


def largest_angle(first: Tensor | np.ndarray, second: Tensor | np.ndarray) -> float:
    arrays = [np.asarray(x) - np.asarray(x).mean(0) for x in (first, second)]
    return float(np.degrees(subspace_angles(*arrays).max()))


def test_vicreg_on_inputs_is_locality_preserving_and_discriminant() -> None:
    inputs, labels = random_embeddings(30, 6), random_classes(30, 4)
    inputs = inputs + 2 * random_embeddings(4, 6, 1)[labels.argmax(dim=1)]
    relation = random_relation(30, 3)
    best = vicreg_squares_optimum(relation, 3, 0.1, 1.0, inputs)
    degrees = relation.sum(dim=1).numpy()
    centered = inputs.numpy() - np.average(inputs, axis=0, weights=degrees)
    laplacian = np.diag(degrees) - relation.numpy()
    maps = eigh(centered.T @ laplacian @ centered, (centered.T * degrees) @ centered)[1][:, :3]
    assert np.degrees(subspace_angles(best.weights.numpy(), maps).max()) < 1e-5

    evenly = (labels / labels.sum(dim=0)).double() @ labels.T.double()
    best = vicreg_squares_optimum((evenly + evenly.T) / 2, 3, 0.1, 1.0, inputs)
    model = LinearDiscriminantAnalysis(solver="eigen").fit(inputs, labels.argmax(dim=1))
    assert largest_angle(inputs @ best.weights, model.transform(inputs)[:, :3]) < 1e-5


def test_barlow_twins_on_inputs_is_canonical_correlation() -> None:
    points = random_embeddings(40, 5) * torch.tensor([2.0, 1.7, 1.4, 1.1, 0.8])
    first, second = points + random_embeddings(40, 5, 1), points + random_embeddings(40, 5, 2)
    inputs = torch.cat([first, second])
    best = barlow_twins_optimum(two_views(40), 2, 1.0, inputs=inputs)
    model = CCA(2, scale=False, max_iter=5000, tol=1e-12)
    model.fit(inputs, torch.cat([second, first]))
    assert largest_angle(inputs @ best.weights, model.transform(inputs)) < 1e-3


# Refusals


def test_weights_and_dimensions_without_a_known_optimum_are_refused() -> None:
    relation = random_relation(7)
    with pytest.raises(ValueError, match="variance >= 16 covariance, not at 25 and 25"):
        vicreg_finite_optimum(relation, 2, 25.0, 25.0, 25.0)
    with pytest.raises(ValueError, match=r"power of two, or at redundancy 1, not for 3 at 0\.1"):
        barlow_twins_optimum(relation, 3, 0.1)
    with pytest.raises(ValueError, match="redundancy of at most 1, not 2"):
        barlow_twins_optimum(relation, 2, 2.0)
    barlow_twins_optimum(relation, 3, 1.0)
    for call in (
        partial(vicreg_finite_optimum, invariance=1.0, variance=25.0, covariance=1.0),
        partial(vicreg_squares_optimum, invariance=1.0, regularization=1.0),
        partial(barlow_twins_optimum, redundancy=1.0),
        simclr_products_optimum,
    ):
        with pytest.raises(ValueError, match="rank N, N = 3, not 4"):
            call(relation, 4, inputs=random_embeddings(7, 3))
        with pytest.raises(ValueError, match="above 0"):
            vicreg_squares_optimum(relation, 2, 0.0, 1.0)
