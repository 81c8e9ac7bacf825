import math

import pytest
import torch
from batches import random_embeddings, random_literals
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic
from torch import Tensor

from src.losses.boxes import BoxLoss, box_logits


def random_boxes(num: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    centers = random_embeddings(num, dim, seed)
    half_widths = random_embeddings(num, dim, seed + 1).abs() + 0.5
    return centers - half_widths, centers + half_widths


def plain(
    embeddings: Tensor, labels: Tensor, lower: Tensor, upper: Tensor, temperature: float
) -> float:
    """The formula, one literal of one sample after the other, by logarithms of distributions."""
    total = 0.0
    for row, label in zip(embeddings.numpy(), labels, strict=True):
        for least, most, present in zip(lower, upper, label, strict=True):
            below = logistic.logcdf(row, least.detach().double().numpy(), temperature)
            above = logistic.logsf(row, most.detach().double().numpy(), temperature)
            inside = below.sum() + above.sum()
            total -= inside if present else math.log(-math.expm1(inside))
    return total / labels.numel()


def probabilities(embeddings: Tensor, lower: Tensor, upper: Tensor, t: float) -> Tensor:
    return box_logits(embeddings, lower, upper, t).sigmoid()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num=st.integers(2, 6), temperature=st.floats(0.05, 2), seed=st.integers(0, 2**31))
def test_is_the_formula(num: int, temperature: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, 3, seed), random_literals(num, 4, seed).double()
    torch.manual_seed(seed)
    loss = BoxLoss(4, 3, temperature)
    expected = plain(embeddings, labels, loss.lower, loss.upper, temperature)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected, rel=1e-9)


def test_probabilities_are_those_of_sides_that_are_drawn() -> None:
    lower, upper = random_boxes(2, 2)
    points, number = random_embeddings(5, 2, 7), 200_000
    uniform = torch.rand(2, number, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    low, high = torch.stack([lower, upper]).unsqueeze(1) + 0.4 * uniform.logit()
    expected = []
    for point in points:
        inside = ((low < point) & (point < high)).all(dim=2)  # (number, 2)
        shares = [inside[:, 0], inside[:, 1], inside.all(dim=1), inside[:, 0] & ~inside[:, 1]]
        expected.append(torch.stack(shares).double().mean(dim=1))
    a, b = probabilities(points, lower, upper, 0.4).T
    # Of both boxes, and of the first without the second, as P(a) - P(a and b)
    actual = torch.stack([a, b, a * b, a - a * b], dim=1)
    torch.testing.assert_close(actual, torch.stack(expected), atol=0.005, rtol=0)


def test_sides_become_hard_as_the_temperature_falls() -> None:
    lower, upper = random_boxes(3, 2)
    points = random_embeddings(50, 2, 3)
    inside = ((points.unsqueeze(1) > lower) & (points.unsqueeze(1) < upper)).all(dim=2)
    soft = probabilities(points, lower, upper, 1e-4)
    torch.testing.assert_close(soft, inside.double(), atol=1e-6, rtol=0)


def test_units_make_no_difference_if_the_temperature_has_them_too() -> None:
    lower, upper = random_boxes(3, 2)
    points = random_embeddings(9, 2, 3)
    expected = box_logits(points, lower, upper, 0.3)
    torch.testing.assert_close(box_logits(7 * points, 7 * lower, 7 * upper, 2.1), expected)


@pytest.mark.parametrize("dim", [1, 3, 128])
@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_boxes_start_with_probability_one_half_at_their_center(
    dim: int, temperature: float
) -> None:
    loss = BoxLoss(5, dim, temperature).double()
    inside = loss.logits(loss.centers.detach()).diagonal().sigmoid()
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), atol=1e-6, rtol=0)


def test_points_deep_inside_and_far_outside_have_finite_logits_and_slopes() -> None:
    points = torch.tensor([[0.0], [1e6]]).double().requires_grad_()
    sides = torch.full((1, 1), 1e6).double()
    logits = box_logits(points, -sides, sides / 2, 1.0)
    assert torch.isfinite(logits).all()
    (slope,) = torch.autograd.grad(logits.sum(), points)
    torch.testing.assert_close(slope, torch.tensor([[0.0], [-1.0]]).double())


def test_boxes_learn_literals_that_are_boxes() -> None:
    torch.manual_seed(0)
    points = torch.rand(400, 2) * 4 - 2
    labels = torch.stack([points.abs().amax(dim=1) < 1, points[:, 0] > 0.5], dim=1).double()
    loss = BoxLoss(2, 2, 0.1)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss(points, labels).backward()
        optimizer.step()
    right = (loss.logits(points) > 0) == labels.bool()
    assert right.double().mean() > 0.97


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        BoxLoss(3, 4, temperature)


def test_repr_shows_the_temperature() -> None:
    assert repr(BoxLoss(3, 4, 0.1)) == "BoxLoss(temperature=0.1)"


@pytest.mark.parametrize("value", [1.001, 1.5, -0.1])
def test_labels_that_are_no_probabilities_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="labels must be from 0 to 1"):
        BoxLoss(3, 4, 0.1)(random_embeddings(5, 4), torch.full((5, 3), value))


def test_a_probability_costs_what_both_labels_do_on_average() -> None:
    loss, embeddings = BoxLoss(3, 4, 0.1).double(), random_embeddings(5, 4)
    labels = torch.tensor([1.0, 0.0, 1.0]).double().expand(5, -1)
    mixed = loss(embeddings, 0.3 * labels + 0.7 * (1 - labels))
    expected = 0.3 * loss(embeddings, labels) + 0.7 * loss(embeddings, 1 - labels)
    torch.testing.assert_close(mixed, expected)
