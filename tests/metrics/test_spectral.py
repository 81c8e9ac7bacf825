import pytest
import torch

from src.losses.nuclear import gram_matrix
from src.metrics.spectral import compare_spectrum
from src.subspaces.closed_form import optimal_embeddings

ALPHA, BETA = 0.99, 0.05


def random_labels(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(50, 4, generator=generator) < 0.5).double()


def test_gap_is_zero_at_the_optimum_and_positive_elsewhere() -> None:
    labels = random_labels(0)
    optimal = optimal_embeddings(labels, ALPHA, BETA, embedding_dim=7)
    spectrum = compare_spectrum(gram_matrix(optimal, labels), 4, ALPHA, BETA)
    assert spectrum.summary["optimality_gap"] == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(spectrum.singular_values[:4], spectrum.optimal_values)
    moved = compare_spectrum(gram_matrix(1.1 * optimal, labels), 4, ALPHA, BETA)
    assert moved.summary["optimality_gap"] > 1e-3


def test_numbers_are_those_of_the_matrices_themselves() -> None:
    labels = random_labels(1)
    embeddings = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)).double()
    summary = compare_spectrum(gram_matrix(embeddings, labels), 4, ALPHA, BETA).summary
    joint = torch.linalg.matrix_norm(torch.cat([labels, embeddings], 1), "nuc").item()
    nuclear = torch.linalg.matrix_norm(embeddings, "nuc").item()
    top = torch.linalg.matrix_norm(embeddings, 2).item()
    assert summary["loss"] == pytest.approx(joint - ALPHA * nuclear + BETA * top**2, rel=1e-9)
    assert summary["label_rank"] == torch.linalg.matrix_rank(labels).item()


def test_scaled_gram_speaks_of_a_batch() -> None:
    labels = random_labels(2)
    embeddings = torch.randn(50, 6, generator=torch.Generator().manual_seed(2)).double()
    repeated = gram_matrix(embeddings.repeat(8, 1), labels.repeat(8, 1)) / 8
    once = compare_spectrum(gram_matrix(embeddings, labels), 4, ALPHA, BETA).summary
    assert compare_spectrum(repeated, 4, ALPHA, BETA).summary == pytest.approx(once, rel=1e-9)
