import math

import pytest
import torch
from batches import random_embeddings, random_literals, random_rotation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from torch import Tensor
from torch.nn.functional import normalize

from src.losses.soft_subspaces import SoftSubspaceLoss, soft_projectors
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.projectors import span_projectors


def by_singular_vectors(frame: Tensor, ridge: float) -> Tensor:
    """The sum of s^2 / (s^2 + r) v v^T over singular values and right singular vectors."""
    _, values, vectors = torch.linalg.svd(frame, full_matrices=False)
    return vectors.T @ torch.diag(values**2 / (values**2 + ridge)) @ vectors


def plain(
    embeddings: Tensor, labels: Tensor, frames: Tensor, exponents: Tensor, ridge: float
) -> float:
    """The formula, one literal of one sample after the other, by matrices and scipy's Betas."""
    a_1, b_1, a_0, b_0 = (1 + 19 / (1 + math.exp(-float(value))) for value in exponents.detach())
    projectors = [by_singular_vectors(frame.detach().double(), ridge) for frame in frames]
    total = 0.0
    for row, label in zip(embeddings, labels, strict=True):
        image = by_singular_vectors(row.unsqueeze(0), ridge)
        for projector, present in zip(projectors, label, strict=True):
            score = float((image @ projector).trace() / image.trace())
            square = min(max(score**2, 1e-6), 1 - 1e-6)
            odds = beta.logpdf(square, a_1, b_1) - beta.logpdf(square, a_0, b_0)
            total += math.log1p(math.exp(-odds if present else odds))
    return total / labels.numel()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num_vectors=st.integers(1, 6), ridge=st.floats(0.01, 2), seed=st.integers(0, 2**31))
def test_is_the_formula(num_vectors: int, ridge: float, seed: int) -> None:
    embeddings, labels = random_embeddings(5, 4, seed), random_literals(5, 3, seed).double()
    torch.manual_seed(seed)
    loss = SoftSubspaceLoss(3, 4, num_vectors, ridge)
    expected = plain(embeddings, labels, loss.frames, loss.exponents, ridge)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected, rel=1e-6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num_vectors=st.integers(1, 7), ridge=st.floats(1e-3, 10), seed=st.integers(0, 2**31))
def test_soft_projectors_have_eigenvalues_of_the_ridge(
    num_vectors: int, ridge: float, seed: int
) -> None:
    frame = random_embeddings(num_vectors, 4, seed)
    projector = soft_projectors(frame, ridge)
    torch.testing.assert_close(projector, by_singular_vectors(frame, ridge), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(projector, projector.T)
    squares = torch.zeros(4).double()
    squares[: min(num_vectors, 4)] = torch.linalg.svdvals(frame).square()
    expected = squares / (squares + ridge)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(projector), expected.sort().values, atol=1e-9, rtol=1e-9
    )


def test_without_a_ridge_they_are_the_projectors_of_subspaces() -> None:
    directions = normalize(random_embeddings(3, 6), dim=1)
    masks = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
    hard = span_projectors(directions, masks)
    soft = torch.stack([soft_projectors(directions[mask], 1e-10) for mask in masks])
    torch.testing.assert_close(soft, hard, atol=1e-8, rtol=0)


def test_without_a_ridge_scores_are_those_of_minterm_subspaces() -> None:
    """The rows of a literal are the directions of its minterms: the score `projector`."""
    minterms = torch.tensor([[0, 1], [1, 0], [1, 1]]).bool()
    directions = normalize(random_embeddings(3, 5), dim=1)
    subspaces = MintermSubspaces(minterms, 5)
    subspaces.update(directions, minterms)
    subspaces.fit()
    embeddings = random_embeddings(7, 5, 1)
    expected = subspaces.scores(embeddings, minterms.T, "projector")
    units = normalize(embeddings, dim=1)
    scores = [
        (units @ soft_projectors(directions[mask], 1e-10) * units).sum(dim=1) for mask in minterms.T
    ]
    torch.testing.assert_close(torch.stack(scores, dim=1), expected, atol=1e-8, rtol=0)


def test_length_and_a_common_rotation_make_no_difference() -> None:
    torch.manual_seed(0)
    loss = SoftSubspaceLoss(3, 4, 2, 0.1).double()
    embeddings = random_embeddings(6, 4)
    expected = loss.logits(embeddings)
    lengths = random_embeddings(6, 1, 1).abs() + 0.1
    torch.testing.assert_close(loss.logits(lengths * embeddings), expected)
    rotation = random_rotation(4)
    with torch.no_grad():
        loss.frames.copy_(loss.frames @ rotation)
    torch.testing.assert_close(loss.logits(embeddings @ rotation), expected)


def test_log_odds_rise_with_the_share_inside() -> None:
    torch.manual_seed(0)
    loss = SoftSubspaceLoss(1, 2, 1, 0.01).double()
    with torch.no_grad():
        loss.frames.copy_(torch.tensor([[[3.0, 0.0]]]))
    angles = torch.linspace(0, math.pi / 2, 9).double()
    logits = loss.logits(torch.stack([angles.cos(), angles.sin()], dim=1)).detach()[:, 0]
    assert (logits.diff() <= 0).all()
    assert logits[0] > 0 > logits[-1]


def test_dimensions_are_learned() -> None:
    """A literal of a line and one of a plane, in three dimensions."""
    torch.manual_seed(0)
    points = torch.randn(400, 3)
    points[:150, 1:] *= 0.05
    points[150:300, 2] *= 0.05
    points = normalize(points, dim=1)
    labels = torch.stack([points[:, 1:].norm(dim=1) < 0.3, points[:, 2].abs() < 0.2], 1).double()
    loss = SoftSubspaceLoss(2, 3, 3, 0.05)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.03)
    for _ in range(400):
        optimizer.zero_grad()
        loss(points, labels).backward()
        optimizer.step()
    right = (loss.logits(points) > 0) == labels.bool()
    assert right.double().mean() > 0.9
    line, plane = torch.linalg.eigvalsh(loss.projectors).detach()
    assert line[1] < 0.7 < line[2]
    assert plane[0] < 0.7 < plane[1]


@pytest.mark.parametrize("ridge", [0, -1, math.nan, math.inf])
def test_a_ridge_out_of_range_is_refused(ridge: float) -> None:
    with pytest.raises(ValueError, match="ridge must be a number above 0"):
        SoftSubspaceLoss(3, 4, 2, ridge)
    with pytest.raises(ValueError, match="ridge must be a number above 0"):
        soft_projectors(torch.ones(2, 3), ridge)


def test_a_literal_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="num_vectors must be at least 1, not 0"):
        SoftSubspaceLoss(3, 4, 0, 0.1)


def test_repr_shows_the_parameters() -> None:
    assert repr(SoftSubspaceLoss(3, 4, 2, 0.1)) == "SoftSubspaceLoss(num_vectors=2, ridge=0.1)"
