"""The closed-form optimum against check values, plain evaluation and gradient descent."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import Optimizer

from src.losses.nuclear import NuclearNormLoss
from src.subspaces.closed_form import optimal_embeddings, optimal_loss, optimal_singular_values

SEEDS = st.integers(0, 2**32)
ALPHAS = st.floats(0.3, 0.995)
BETAS = st.floats(0.01, 1)


def labels_of_ranges(*ranges: list[int]) -> Tensor:
    """Labels (N, C) from the samples that each of C literals holds for."""
    labels = torch.zeros(1 + max(map(max, ranges)), len(ranges), dtype=torch.float64)
    for column, samples in enumerate(ranges):
        labels[samples, column] = 1
    return labels


def disjoint_classes(*sizes: int) -> Tensor:
    return torch.eye(len(sizes), dtype=torch.float64).repeat_interleave(torch.tensor(sizes), dim=0)


# The label matrices of the synthetic experiment
OVERLAPPING = labels_of_ranges(
    [7, 8, 12], [*range(9)], [6, 7, 8], [*range(7, 12)], [12, 13, 14], [13, 14]
)
BALANCED = disjoint_classes(4, 4, 4, 4, 4, 4)
UNBALANCED = disjoint_classes(3, 1, 7, 1, 3, 1)

CHECK_VALUES = [
    pytest.param(OVERLAPPING, 0.99, 0.7, 7.170243, [1.415] * 6, id="overlapping-capped"),
    pytest.param(
        OVERLAPPING, 0.9, 0.05, 5.574551, [3.345] * 3 + [2.877, 2.097, 0.745], id="overlapping"
    ),
    pytest.param(BALANCED, 0.99, 0.7, 7.655089, [1.583] * 6, id="balanced"),
    pytest.param(UNBALANCED, 0.9, 0.05, 4.576697, [2.780] * 3 + [2.065] * 3, id="unbalanced"),
]


def plain_loss(embeddings: Tensor, labels: Tensor, alpha: float, beta: float) -> float:
    joint = torch.linalg.svdvals(torch.cat([labels.double(), embeddings], dim=1))
    values = torch.linalg.svdvals(embeddings)
    return float(joint.sum() - alpha * values.sum() + beta * values[0] ** 2)


def random_labels(num: int, num_labels: int, seed: int) -> Tensor:
    return torch.randint(2, (num, num_labels), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("labels", "alpha", "beta", "least", "values"), CHECK_VALUES)
def test_check_values(
    labels: Tensor, alpha: float, beta: float, least: float, values: list[float]
) -> None:
    assert optimal_loss(labels, alpha, beta) == pytest.approx(least, abs=1e-5)
    actual = optimal_singular_values(labels, alpha, beta)
    torch.testing.assert_close(actual, torch.tensor(values, dtype=torch.float64), rtol=0, atol=5e-4)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    num=st.integers(1, 15),
    num_labels=st.integers(1, 6),
    extra=st.integers(0, 4),
    alpha=st.floats(0.05, 0.999),
    beta=st.floats(0.001, 2),
    seed=SEEDS,
    rotated=st.booleans(),
)
def test_optimal_embeddings_attain_the_least_loss(
    num: int, num_labels: int, extra: int, alpha: float, beta: float, seed: int, rotated: bool
) -> None:
    labels = random_labels(num, num_labels, seed)
    dim = max(1, int(torch.linalg.matrix_rank(labels.double()))) + extra
    generator = torch.Generator().manual_seed(seed) if rotated else None
    embeddings = optimal_embeddings(labels, alpha, beta, dim, generator)
    least = optimal_loss(labels, alpha, beta)
    assert embeddings.shape == (num, dim)
    assert plain_loss(embeddings, labels, alpha, beta) == pytest.approx(least, rel=1e-9, abs=1e-9)
    values = optimal_singular_values(labels, alpha, beta)
    torch.testing.assert_close(torch.linalg.svdvals(embeddings)[: len(values)], values)

    noise_generator = torch.Generator().manual_seed(seed)
    for scale in (1e-3, 1e-2, 1e-1, 1.0):
        noise = torch.randn(num, dim, dtype=torch.float64, generator=noise_generator)
        for moved in (embeddings + scale * noise, embeddings * (1 + scale), scale * noise):
            assert plain_loss(moved, labels, alpha, beta) >= least - 1e-9


@settings(derandomize=True, deadline=None, max_examples=50)
@given(num=st.integers(2, 12), alpha=ALPHAS, beta=BETAS, seed=SEEDS)
def test_gram_matrix_of_the_optimum_commutes_with_that_of_the_labels(
    num: int, alpha: float, beta: float, seed: int
) -> None:
    labels = random_labels(num, 4, seed).double()
    embeddings = optimal_embeddings(labels, alpha, beta, 6, torch.Generator().manual_seed(seed))
    gram, label_gram = embeddings @ embeddings.T, labels @ labels.T
    torch.testing.assert_close(gram @ label_gram, label_gram @ gram)


def test_gram_matrix_of_the_optimum_is_that_of_disjoint_classes_of_one_size() -> None:
    value = optimal_singular_values(BALANCED, 0.99, 0.7)[0]
    embeddings = optimal_embeddings(BALANCED, 0.99, 0.7, 6, torch.Generator().manual_seed(0))
    torch.testing.assert_close(embeddings @ embeddings.T, value**2 / 4 * BALANCED @ BALANCED.T)


def test_generator_changes_the_orientation_only() -> None:
    plain = optimal_embeddings(OVERLAPPING, 0.9, 0.05, 8)
    first, again, other = (
        optimal_embeddings(OVERLAPPING, 0.9, 0.05, 8, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(first @ first.T, plain @ plain.T)
    torch.testing.assert_close(other @ other.T, plain @ plain.T)


def test_zero_labels_leave_nothing_to_embed() -> None:
    labels = torch.zeros(5, 3)
    assert optimal_loss(labels, 0.9, 0.1) == 0
    assert optimal_singular_values(labels, 0.9, 0.1).shape == (0,)
    assert torch.equal(optimal_embeddings(labels, 0.9, 0.1, 4), torch.zeros(5, 4).double())


def test_embedding_dim_below_the_rank_is_refused() -> None:
    optimal_embeddings(OVERLAPPING, 0.9, 0.05, 6)
    with pytest.raises(ValueError, match=r"rank\(labels\) = 6, got 5"):
        optimal_embeddings(OVERLAPPING, 0.9, 0.05, 5)
    # Rank counts, not columns
    assert optimal_embeddings(OVERLAPPING[:, [0, 0, 1, 1]], 0.9, 0.05, 2).shape == (15, 2)


def descend(
    labels: Tensor,
    alpha: float,
    beta: float,
    dim: int,
    seed: int,
    optimizer: Callable[..., Optimizer],
) -> list[float]:
    """Loss at each of 1500 steps of gradient descent on free embeddings."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = 0.01 * torch.randn(len(labels), dim, dtype=torch.float64, generator=generator)
    embeddings.requires_grad_()
    criterion = NuclearNormLoss(alpha, beta)
    descent = optimizer([embeddings], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(descent, 0.995)
    losses = []
    for _ in range(1500):
        descent.zero_grad()
        loss = criterion(embeddings, labels)
        loss.backward()
        descent.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("labels", "alpha", "beta", "least", "values"), CHECK_VALUES)
def test_gradient_descent_reaches_the_check_values(
    labels: Tensor, alpha: float, beta: float, least: float, values: list[float]
) -> None:
    losses = descend(labels, alpha, beta, dim=10, seed=0, optimizer=torch.optim.SGD)
    assert losses[-1] == pytest.approx(least, rel=1e-3)
    assert min(losses) >= least - 1e-5  # as many digits as the check value has


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    num=st.integers(2, 16),
    num_labels=st.integers(1, 6),
    extra=st.integers(0, 4),
    alpha=ALPHAS,
    beta=BETAS,
    seed=SEEDS,
)
@example(num=15, num_labels=4, extra=0, alpha=0.995, beta=0.01, seed=0)  # slowest: alpha near 1
def test_gradient_descent_reaches_the_least_loss_and_never_goes_below(
    num: int, num_labels: int, extra: int, alpha: float, beta: float, seed: int
) -> None:
    labels = random_labels(num, num_labels, seed)
    labels[0, 0] = 1  # all-zero labels have nothing to reach
    # Adam: with alpha near 1 and a small beta, as many plain steps leave up to 3 % of the way.
    losses = descend(labels, alpha, beta, num_labels + extra, seed, torch.optim.Adam)
    least = optimal_loss(labels, alpha, beta)
    assert min(losses) >= least - 1e-9
    assert losses[-1] == pytest.approx(least, rel=1e-3)


def largest_cosine(labels: Tensor, alpha: float, beta: float) -> float:
    """The largest squared cosine of optimal embeddings of different minterms."""
    embeddings = optimal_embeddings(labels, alpha, beta, labels.shape[1])
    unit = embeddings[labels.any(dim=1)]
    unit = unit / unit.norm(dim=1, keepdim=True)
    rows = labels[labels.any(dim=1)]
    different = (rows.unsqueeze(1) != rows).any(dim=2)
    return float((unit @ unit.T).square()[different].max())


FULL_RANK = OVERLAPPING  # six literals, six minterms
TOO_LOW_RANK = labels_of_ranges([0, 1], [1, 2], [0, 2, 3])  # and a minterm of the last alone


@pytest.mark.parametrize(
    ("labels", "alpha", "beta", "flat", "orthogonal"),
    [
        pytest.param(FULL_RANK, 0.99, 0.7, True, True, id="rank and cap"),
        pytest.param(FULL_RANK, 0.5, 0.001, False, False, id="rank alone"),
        pytest.param(FULL_RANK, 0.9, 0.05, False, False, id="rank, some at the cap"),
        pytest.param(TOO_LOW_RANK, 0.99, 0.7, True, False, id="cap alone"),
        pytest.param(UNBALANCED, 0.9, 0.05, False, True, id="indicators, some at the cap"),
        pytest.param(UNBALANCED, 0.5, 0.001, False, True, id="indicators"),
    ],
)
def test_minterms_are_orthogonal_where_labels_have_their_rank_and_values_their_cap(
    labels: Tensor, alpha: float, beta: float, flat: bool, orthogonal: bool
) -> None:
    values = optimal_singular_values(labels, alpha, beta)
    assert bool(values.max() - values.min() < 1e-9) == flat
    cosine = largest_cosine(labels, alpha, beta)
    assert cosine < 1e-12 if orthogonal else cosine > 0.03


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=SEEDS, alpha=ALPHAS, beta=BETAS)
def test_a_flat_spectrum_of_full_rank_and_nothing_else_makes_random_minterms_orthogonal(
    seed: int, alpha: float, beta: float
) -> None:
    labels = random_labels(4, 4, seed).double()
    labels = labels[labels.any(dim=1)].unique(dim=0)
    if len(labels) < 2:
        return
    labels = labels.repeat(3, 1)
    values = optimal_singular_values(labels, alpha, beta)
    flat = bool(values.max() - values.min() < 1e-9)
    has_rank = len(values) == len(labels) // 3
    if flat and has_rank:
        assert largest_cosine(labels, alpha, beta) < 1e-12
    elif largest_cosine(labels, alpha, beta) < 1e-12:  # of labels that share nothing
        products = labels[: len(labels) // 3] @ labels[: len(labels) // 3].T
        assert not products.fill_diagonal_(0).any()
