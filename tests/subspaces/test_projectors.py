"""Projectors onto spans of directions against NumPy's singular value decomposition."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from torch import Tensor
from torch.nn.functional import normalize

from src.metrics.spectral import effective_rank
from src.subspaces.projectors import (
    coherence,
    literal_projectors,
    max_coherence,
    max_commutator,
    semantic_coherence,
    span_projectors,
)


def random_directions(num: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(num, dim, dtype=torch.float64, generator=generator)
    return directions / directions.norm(dim=1, keepdim=True)


def orthonormal_directions(num: int, dim: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(random_directions(num, dim, seed).T).Q.T.contiguous()


def svd_projector(directions: np.ndarray) -> np.ndarray:
    """Projector onto the row space, from right singular vectors."""
    _, values, right = np.linalg.svd(directions, full_matrices=False)
    basis = right[values > 1e-5]
    return basis.T @ basis


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    num=st.integers(1, 8),
    dim=st.integers(1, 8),
    repeats=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_span_projectors_are_those_of_the_svd(num: int, dim: int, repeats: int, seed: int) -> None:
    directions = random_directions(num, dim, seed)
    directions = torch.cat([directions, -directions[:repeats]])
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(2, (5, len(directions)), generator=generator)
    projectors = span_projectors(directions, masks)
    assert projectors.shape == (5, dim, dim)
    for mask, projector in zip(masks.bool(), projectors, strict=True):
        chosen = directions[mask]
        torch.testing.assert_close(projector, projector.T)
        torch.testing.assert_close(projector @ projector, projector)
        torch.testing.assert_close(chosen @ projector, chosen)
        rank = np.linalg.matrix_rank(chosen.numpy(), tol=1e-5) if len(chosen) else 0
        assert projector.trace().item() == pytest.approx(rank, abs=1e-9)
        expected = torch.from_numpy(svd_projector(chosen.numpy()))
        torch.testing.assert_close(projector, expected, rtol=0, atol=1e-7)


def test_an_empty_set_spans_nothing() -> None:
    directions = random_directions(4, 6)
    assert not span_projectors(directions, torch.zeros(2, 4)).any()
    assert not span_projectors(torch.zeros(4, 6), torch.ones(2, 4)).any()


def test_a_repeated_direction_counts_once() -> None:
    direction = random_directions(1, 6)
    projector = span_projectors(direction.expand(5, -1), torch.ones(1, 5))[0]
    torch.testing.assert_close(projector, direction.T @ direction)


@pytest.mark.parametrize(("angle", "rank"), [(1e-7, 1), (1e-6, 1), (1e-4, 2), (1e-3, 2)])
def test_directions_closer_than_float32_tells_apart_are_one(angle: float, rank: int) -> None:
    directions = torch.tensor([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]]).double()
    projector = span_projectors(directions, torch.ones(1, 2))[0]
    assert projector.trace().item() == pytest.approx(rank)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_masks_of_any_type_choose_the_same(dtype: torch.dtype) -> None:
    directions = random_directions(4, 6)
    masks = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1]])
    expected = span_projectors(directions, masks.double())
    assert torch.equal(span_projectors(directions, masks.to(dtype)), expected)


def test_spans_of_orthonormal_directions_form_a_boolean_lattice() -> None:
    directions = orthonormal_directions(6, 9)
    first = torch.tensor([1, 1, 1, 0, 0, 0]).bool()
    second = torch.tensor([0, 1, 1, 1, 0, 0]).bool()
    masks = torch.stack([first, second, first & second, first | second, ~first, first | True])
    p, q, meet, join, complement, everything = span_projectors(directions, masks)
    torch.testing.assert_close(p @ q, meet)
    torch.testing.assert_close(p + q - p @ q, join)
    torch.testing.assert_close(everything - p, complement)


def test_literal_projectors_are_the_spans_of_literals_then_of_their_negations() -> None:
    directions = random_directions(4, 6)
    minterms = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    spans = [[2, 3], [1, 3], [0, 1], [0, 2]]
    for table in (minterms, minterms.bool()):
        projectors = literal_projectors(directions, table)
        assert projectors.shape == (4, 6, 6)
        for members, projector in zip(spans, projectors, strict=True):
            expected = torch.from_numpy(svd_projector(directions[members].numpy()))
            torch.testing.assert_close(projector, expected)


# Commutators


def test_projectors_of_orthonormal_directions_commute() -> None:
    minterms = torch.cartesian_prod(*[torch.tensor([0, 1])] * 3)
    projectors = literal_projectors(orthonormal_directions(8, 10), minterms)
    assert max_commutator(projectors) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_max_commutator_is_the_largest_of_all_pairs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(2, (6, 5), generator=generator)
    projectors = span_projectors(random_directions(5, 7, seed), masks)
    expected = max(
        np.linalg.norm(first @ second - second @ first)
        for first, second in combinations(projectors.numpy(), 2)
    )
    assert max_commutator(projectors) == pytest.approx(expected)


def test_max_commutator_of_two_lines() -> None:
    angle = np.pi / 6
    directions = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)]]).double()
    projectors = span_projectors(directions, torch.eye(2))
    # cos * sin * (e f^T - f e^T)
    expected = np.sqrt(2) * np.cos(angle) * np.sin(angle)
    assert max_commutator(projectors) == pytest.approx(expected)


# Coherence


def test_coherence_is_the_squared_cosines() -> None:
    directions = random_directions(5, 3)
    for i, j in np.ndindex(5, 5):
        cosine = np.dot(directions[i].numpy(), directions[j].numpy())
        assert coherence(directions)[i, j].item() == pytest.approx(cosine**2)


def test_max_coherence_leaves_out_the_diagonal() -> None:
    directions = random_directions(5, 3)
    products = np.abs(directions.numpy() @ directions.numpy().T)
    expected = max(products[i, j] ** 2 for i, j in combinations(range(5), 2))
    assert max_coherence(directions) == pytest.approx(expected)
    assert directions.norm(dim=1).tolist() == pytest.approx([1] * 5)  # nothing changed in place


def test_max_coherence_is_zero_for_orthonormal_and_one_for_opposite_directions() -> None:
    directions = orthonormal_directions(4, 6)
    assert max_coherence(directions) == pytest.approx(0, abs=1e-12)
    assert max_coherence(torch.cat([directions, -directions[:1]])) == pytest.approx(1)


# Effective rank


@pytest.mark.parametrize("seed", range(5))
def test_effective_rank_is_the_exponential_of_the_entropy(seed: int) -> None:
    values = np.random.default_rng(seed).exponential(size=7)
    shares = values / values.sum()
    expected = np.prod(shares**-shares)
    assert effective_rank(torch.from_numpy(values)) == pytest.approx(expected)
    padded = torch.from_numpy(np.append(values, [0, 0]))
    assert effective_rank(padded) == pytest.approx(expected)
    assert effective_rank(1e3 * padded) == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 2, 9])
def test_effective_rank_of_the_identity_is_its_size(size: int) -> None:
    assert effective_rank(torch.linalg.svdvals(torch.eye(size))) == pytest.approx(size)


def test_effective_rank_of_rank_one_is_one() -> None:
    assert effective_rank(torch.tensor([3.0, 0.0, 0.0])) == pytest.approx(1)


def test_effective_rank_of_a_zero_matrix_is_zero() -> None:
    assert effective_rank(torch.zeros(4)) == 0


def test_semantic_coherence_is_one_where_directions_are_labels() -> None:
    minterms = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    directions = normalize(minterms.double(), dim=1)
    assert semantic_coherence(directions, minterms) == pytest.approx(1)


def test_semantic_coherence_is_the_correlation_of_overlaps() -> None:
    minterms = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]])
    generator = torch.Generator().manual_seed(0)
    directions = normalize(torch.randn(4, 5, generator=generator), dim=1)
    labels, overlaps = [], []
    for i, j in combinations(range(4), 2):
        a, b = minterms[i].numpy(), minterms[j].numpy()
        labels.append((a @ b) ** 2 / (a.sum() * b.sum()))
        overlaps.append(float(directions[i] @ directions[j]) ** 2)
    expected = pearsonr(labels, overlaps).statistic
    assert semantic_coherence(directions, minterms) == pytest.approx(expected, rel=1e-5)


def test_semantic_coherence_of_classes_is_not_defined() -> None:
    assert math.isnan(semantic_coherence(torch.eye(4), torch.eye(4)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [1, 2])
def test_semantic_coherence_of_one_pair_or_none_is_not_defined(number: int) -> None:
    assert math.isnan(semantic_coherence(torch.eye(4)[:number], torch.eye(4)[:number]))
