"""Matrix-based entropy against known values, SciPy, and what holds for all Gram matrices."""

import math

import numpy as np
import pytest
import torch
from batches import random_classes, random_embeddings, random_order
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import logm
from scipy.stats import entropy
from torch import Tensor

from src.losses.nuclear import nuclear_norm_loss
from src.metrics.entropy import mutual_information, renyi_entropy

SEEDS = st.integers(0, 2**32)
ORDERS = st.floats(0.2, 5)


def random_gram(num: int, dim: int, seed: int = 0) -> Tensor:
    features = random_embeddings(num, dim, seed)
    return features @ features.T


@pytest.mark.parametrize("order", [0.5, 1, 1.01, 2, 7])
def test_known_values(order: float) -> None:
    assert renyi_entropy(torch.eye(8), order) == pytest.approx(3)  # nothing shared
    assert renyi_entropy(5 * torch.ones(8, 8), order) == pytest.approx(0, abs=1e-9)  # all alike
    signs = torch.tensor([1.0, -1, 1, -1])
    assert renyi_entropy(signs.outer(signs), order) == pytest.approx(0, abs=1e-9)
    # Classes of one, one and two samples: the entropy of their shares
    labels = torch.eye(3)[[0, 1, 2, 2]]
    shares = np.array([0.25, 0.25, 0.5])
    expected = (
        entropy(shares, base=2)
        if order == 1
        else math.log2(sum(share**order for share in shares)) / (1 - order)
    )
    assert renyi_entropy(labels @ labels.T, order) == pytest.approx(expected)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(num=st.integers(1, 8), seed=SEEDS)
def test_order_one_is_the_entropy_of_von_neumann_and_a_limit(num: int, seed: int) -> None:
    gram = random_gram(num, num + 2, seed)
    scales = gram.diagonal().sqrt()
    density = (gram / scales.outer(scales) / num).numpy()
    expected = -np.trace(density @ logm(density)).real / math.log(2)
    assert renyi_entropy(gram, 1) == pytest.approx(expected, abs=1e-6)
    for order in (1 - 1e-6, 1 + 1e-6):
        assert renyi_entropy(gram, order) == pytest.approx(expected, abs=1e-4)


def test_order_one_half_is_the_logarithm_of_a_nuclear_norm() -> None:
    features = torch.nn.functional.normalize(random_embeddings(9, 4), dim=1)
    nuclear = np.linalg.norm(features.numpy(), "nuc") / 3  # of features over sqrt(N)
    assert renyi_entropy(features @ features.T, 0.5) == pytest.approx(2 * math.log2(nuclear))
    # So is the norm of embeddings beside labels, whose Gram matrices add up
    nothing = torch.zeros(9, 2).double()
    loss = float(nuclear_norm_loss(nothing, features, 0.5, 1.0))
    assert 2 ** (renyi_entropy(features @ features.T, 0.5) / 2) * 3 == pytest.approx(loss)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(num=st.integers(2, 8), dim=st.integers(1, 8), order=ORDERS, seed=SEEDS)
def test_entropy_falls_with_the_order_and_sees_neither_lengths_nor_the_order_of_samples(
    num: int, dim: int, order: float, seed: int
) -> None:
    gram = random_gram(num, dim, seed)
    value = renyi_entropy(gram, order)
    assert -1e-9 <= renyi_entropy(gram, order + 0.5) <= value + 1e-9 <= math.log2(num) + 2e-9
    lengths = torch.rand(num).double() + 0.5
    shuffled = random_order(num, seed)
    scaled = lengths.outer(lengths) * gram
    assert renyi_entropy(scaled, order) == pytest.approx(value, abs=1e-9)
    assert renyi_entropy(gram[shuffled][:, shuffled], order) == pytest.approx(value, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(num=st.integers(2, 8), dims=st.tuples(*[st.integers(1, 8)] * 2), order=ORDERS, seed=SEEDS)
def test_joint_is_the_entrywise_product_and_has_the_larger_entropy(
    num: int, dims: tuple[int, int], order: float, seed: int
) -> None:
    first, second = random_gram(num, dims[0], seed), random_gram(num, dims[1], seed + 1)
    alone = [renyi_entropy(gram, order) for gram in (first, second)]
    information = mutual_information(first, second, order)
    products = torch.zeros(num, num).double()
    for i in range(num):
        for j in range(num):
            products[i, j] = first[i, j] * second[i, j]
    assert information == pytest.approx(sum(alone) - renyi_entropy(products, order), abs=1e-6)
    assert information <= min(alone) + 1e-7
    assert information == pytest.approx(mutual_information(second, first, order), abs=1e-9)


@pytest.mark.parametrize("order", [0.5, 1, 2])
def test_information_of_classes_is_theirs_and_that_of_independent_ones_is_none(
    order: float,
) -> None:
    labels = random_classes(20, 4).double()
    gram = labels @ labels.T
    shares = (labels.sum(dim=0) / 20).numpy()
    itself = renyi_entropy(gram, order)
    if order == 1:
        assert itself == pytest.approx(entropy(shares, base=2))
    assert mutual_information(gram, gram, order) == pytest.approx(itself)
    assert mutual_information(gram, torch.ones(20, 20), order) == pytest.approx(0, abs=1e-9)
    rows, columns = torch.eye(4).repeat_interleave(5, dim=0), torch.eye(5).repeat(4, 1)
    independent = mutual_information(rows @ rows.T, columns @ columns.T, order)
    assert independent == pytest.approx(0, abs=1e-9)


def test_what_is_no_gram_matrix_is_refused() -> None:
    gram = random_gram(4, 6)
    for order in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="order must be a number above 0"):
            renyi_entropy(gram, order)
    for wrong in (gram[:3], gram[0], torch.zeros(0, 0)):
        with pytest.raises(ValueError, match=r"gram must be \(N, N\)"):
            renyi_entropy(wrong, 2)
    for wrong in (gram * torch.nan, -gram, torch.zeros(4, 4)):
        with pytest.raises(ValueError, match="finite with a positive diagonal"):
            renyi_entropy(wrong, 2)
    with pytest.raises(ValueError, match="gram must be symmetric"):
        renyi_entropy(gram + torch.ones(4, 4).triu(1), 2)
    with pytest.raises(ValueError, match="positive semidefinite"):
        renyi_entropy(1 - 2 * (1 - torch.eye(4)), 2)
    with pytest.raises(ValueError, match="of the same samples"):
        mutual_information(gram, gram[:3, :3], 2)
