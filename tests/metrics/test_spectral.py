import math

import pytest
import torch

from src.losses.nuclear import gram_matrix, nuclear_norm_loss
from src.metrics.spectral import compare_spectrum
from src.subspaces.closed_form import optimal_embeddings, optimal_loss

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


def test_batches_are_to_their_beta_what_all_images_are_to_a_smaller_one() -> None:
    labels = random_labels(3)
    embeddings = torch.randn(50, 6, generator=torch.Generator().manual_seed(3)).double()
    gram, share = gram_matrix(embeddings, labels), 8 / 50
    batch = compare_spectrum(gram * share, 4, ALPHA, BETA).summary
    whole = compare_spectrum(gram, 4, ALPHA, BETA * share**0.5).summary
    assert batch["relative_gap"] == pytest.approx(whole["relative_gap"], rel=1e-9)
    optimum = optimal_loss(labels, ALPHA, BETA * share**0.5)
    assert whole["relative_gap"] == pytest.approx(whole["loss"] / optimum - 1, rel=1e-9)
    assert batch["relative_gap"] > 0.1
    assert batch["loss"] == pytest.approx(whole["loss"] * share**0.5, rel=1e-9)


def test_without_labels_there_is_no_share() -> None:
    gram = gram_matrix(torch.ones(5, 2), torch.zeros(5, 3))
    assert math.isnan(compare_spectrum(gram, 3, ALPHA, BETA).summary["relative_gap"])


OF_THE_OPTIMUM = {"optimum", "optimality_gap", "relative_gap"}


def test_an_optimum_out_of_reach_is_left_out() -> None:
    labels = random_labels(4)
    narrow = torch.randn(50, 3, generator=torch.Generator().manual_seed(4)).double()
    wide = torch.cat([narrow, narrow.square()], dim=1)
    known = compare_spectrum(gram_matrix(wide, labels), 4, ALPHA, BETA)
    assert known.summary.keys() >= OF_THE_OPTIMUM
    fixed = compare_spectrum(gram_matrix(wide, labels), 4, ALPHA, BETA, free_lengths=False)
    assert fixed.summary.keys() == known.summary.keys() - OF_THE_OPTIMUM
    too_narrow = compare_spectrum(gram_matrix(narrow, labels), 4, ALPHA, BETA)
    assert too_narrow.summary.keys() == fixed.summary.keys()
    assert not len(fixed.optimal_values)
    assert not len(too_narrow.optimal_values)
    # Of three dimensions, the loss cannot come near what it would have of four.
    leaf = torch.randn(50, 3, generator=torch.Generator().manual_seed(5)).double().requires_grad_()
    optimizer = torch.optim.LBFGS([leaf], max_iter=500, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nuclear_norm_loss(leaf, labels, ALPHA, BETA)
        loss.backward()
        return loss

    optimizer.step(step)
    assert float(step().detach()) > optimal_loss(labels, ALPHA, BETA) + 0.1


def test_one_length_for_all_is_above_the_optimum() -> None:
    labels = torch.eye(2).double()[[0] * 30 + [1] * 5]  # two minterms, uneven
    optimum = optimal_loss(labels, ALPHA, BETA)
    losses = [
        float(nuclear_norm_loss(radius * labels, labels, ALPHA, BETA))
        for radius in torch.linspace(0.05, 20, 400).tolist()
    ]
    assert min(losses) > 1.01 * optimum
