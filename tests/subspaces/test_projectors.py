import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from src.subspaces.projectors import (
    coherence,
    effective_rank,
    literal_projectors,
    max_coherence,
    max_commutator,
    span_projectors,
)


def random_directions(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def test_span_projectors_project_onto_the_span() -> None:
    directions = random_directions(6, 5)
    masks = torch.rand(20, 6, generator=torch.Generator().manual_seed(1)) < 0.4
    for mask, projector in zip(masks, span_projectors(directions, masks), strict=True):
        chosen = directions[mask]
        torch.testing.assert_close(projector, projector.T)
        torch.testing.assert_close(projector @ projector, projector)
        torch.testing.assert_close(chosen @ projector, chosen)
        rank = np.linalg.matrix_rank(chosen.numpy()) if len(chosen) else 0
        assert projector.trace().item() == pytest.approx(rank)


def test_repeated_and_zero_directions_add_nothing() -> None:
    direction = random_directions(1, 4)
    directions = torch.cat([direction, direction, -direction, torch.zeros(1, 4)])
    projector = span_projectors(directions, torch.ones(1, 4))[0]
    torch.testing.assert_close(projector, direction.T @ direction)


def test_literals_and_their_negations_have_projectors() -> None:
    minterms = torch.tensor([[True, False], [False, True], [True, True]])
    projectors = literal_projectors(torch.eye(3, dtype=torch.float64), minterms)
    diagonals = torch.diagonal(projectors, dim1=1, dim2=2)
    assert diagonals.tolist() == [[1, 0, 1], [0, 1, 1], [0, 1, 0], [1, 0, 0]]


def test_coherence_is_the_squared_cosine() -> None:
    directions = random_directions(5, 7)
    cosines = np.corrcoef(directions.numpy()) * 0 + directions.numpy() @ directions.numpy().T
    np.testing.assert_allclose(coherence(directions).numpy(), cosines**2, atol=1e-12)
    off_diagonal = (cosines**2)[~np.eye(5, dtype=bool)]
    assert max_coherence(directions) == pytest.approx(off_diagonal.max())


def test_commutator_is_zero_on_orthogonal_directions_and_exact_on_others() -> None:
    masks = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1]])
    assert max_commutator(span_projectors(torch.eye(4, 6).double(), masks)) < 1e-12
    projectors = span_projectors(random_directions(4, 6), masks)
    arrays = projectors.numpy()
    expected = max(np.linalg.norm(p @ q - q @ p) for p in arrays for q in arrays)
    assert expected > 0.1
    assert max_commutator(projectors) == pytest.approx(expected)


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    assert effective_rank(torch.ones(7)) == pytest.approx(7)
    assert effective_rank(torch.tensor([3.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_rank(torch.zeros(4)) == 0
    values = np.array([4.0, 2.0, 1.0])
    shares = values / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(torch.from_numpy(values)) == pytest.approx(expected)
