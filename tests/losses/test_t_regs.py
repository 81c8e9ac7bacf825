from itertools import product

import numpy as np
import pytest
import torch
from batches import gradient, random_embeddings, random_relation, two_views
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from src.losses.t_regs import spanning_tree_length, t_regs_loss


def kruskal(points: np.ndarray, joinable: np.ndarray) -> float:
    """Length of a minimum spanning forest, one edge after the other."""
    num = len(points)
    edges = sorted(
        (float(np.linalg.norm(points[i] - points[j])), i, j)
        for i in range(num)
        for j in range(i)
        if joinable[i, j]
    )
    part, length = list(range(num)), 0.0
    for distance, i, j in edges:
        if part[i] != part[j]:
            length += distance
            part = [part[i] if other == part[j] else other for other in part]
    return length


def plain(
    embeddings: Tensor, relation: Tensor, invariance: float, length: float, sphere: float
) -> float:
    """The formula, one pair and one sample after the other."""
    points, weights = embeddings.numpy(), (relation / relation.sum()).numpy()
    num, value = len(points), 0.0
    for i, j in product(range(num), repeat=2):
        value += invariance * weights[i, j] * float(((points[i] - points[j]) ** 2).sum())
    for axis in (1, 0):
        ends = weights.sum(axis=axis)
        part = [i for i in range(num) if ends[i] > 0]
        for i in part:
            value += sphere * ends[i] * (float(np.linalg.norm(points[i])) - 1) ** 2
        unrelated = (weights[part][:, part] == 0) & (weights[part][:, part].T == 0)
        value -= length / len(part) * kruskal(points[part], unrelated)
    return value


def shortest_of_all_trees(points: np.ndarray) -> float:
    """The least length over every tree on the points, each from a sequence of Prüfer's."""
    num = len(points)
    best = np.inf
    for sequence in product(range(num), repeat=num - 2):
        degree = [1 + sequence.count(vertex) for vertex in range(num)]
        length = 0.0
        for vertex in sequence:
            leaf = degree.index(1)
            length += float(np.linalg.norm(points[leaf] - points[vertex]))
            degree[leaf], degree[vertex] = 0, degree[vertex] - 1
        first, second = (vertex for vertex in range(num) if degree[vertex] == 1)
        best = min(best, length + float(np.linalg.norm(points[first] - points[second])))
    return best


@settings(derandomize=True, deadline=None, max_examples=60)
@given(num=st.integers(3, 10), dim=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, dim: int, seed: int) -> None:
    embeddings, relation = random_embeddings(num, dim, seed), random_relation(num, seed)
    for some in (relation, relation.triu(), relation * random_embeddings(num, num, seed).abs()):
        expected = plain(embeddings, some, 3.0, 2.0, 0.7)
        assert float(t_regs_loss(embeddings, some, 3.0, 2.0, 0.7)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_tree_is_the_shortest_of_all_and_that_of_scipy(seed: int) -> None:
    points, all_pairs = random_embeddings(6, 2, seed), torch.ones(6, 6, dtype=torch.bool)
    length = float(spanning_tree_length(points, all_pairs))
    assert length == pytest.approx(shortest_of_all_trees(points.numpy()))
    expected = minimum_spanning_tree(squareform(pdist(points.numpy()))).sum()
    assert length == pytest.approx(expected)


@pytest.mark.parametrize("num", [2, 3, 6])
def test_tree_of_a_regular_simplex_is_the_longest_in_a_ball(num: int) -> None:
    corners = torch.eye(num, dtype=torch.float64) - 1 / num
    corners = corners / corners.norm(dim=1, keepdim=True)
    all_pairs = torch.ones(num, num, dtype=torch.bool)
    longest = float(spanning_tree_length(corners, all_pairs))
    assert longest == pytest.approx((num - 1) * (2 * num / (num - 1)) ** 0.5)  # Theorem 4.1 of [0]
    for seed in range(20):
        points = random_embeddings(num, num, seed)
        points = points / points.norm(dim=1, keepdim=True)
        assert float(spanning_tree_length(points, all_pairs)) <= longest


def test_edges_of_length_0_join_their_ends() -> None:
    points = torch.tensor([[0.0], [0.0], [0.0], [3.0], [3.0], [7.0]], dtype=torch.float64)
    length = spanning_tree_length(points, torch.ones(6, 6, dtype=torch.bool))
    assert float(length) == 7


def test_ends_of_an_edge_are_moved_apart() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]], dtype=torch.float64)
    all_pairs = torch.ones(3, 3, dtype=torch.bool)
    slope = gradient(lambda leaf: spanning_tree_length(leaf, all_pairs), points)
    expected = torch.tensor([[-0.6, -0.8], [0.6, -0.2], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(slope, expected)


def test_first_and_second_views_give_a_tree_each_as_the_authors_have_it() -> None:
    first, second = random_embeddings(7, 3), random_embeddings(7, 3, 1)
    expected = 10 * float((first - second).square().sum(dim=1).mean())
    for view in (first, second):
        length = minimum_spanning_tree(squareform(pdist(view.numpy()))).sum()
        expected -= 0.2 * length / 7
        expected += 0.5 * float((view.norm(dim=1) - 1).square().mean())
    relation = two_views(7, symmetric=False)
    actual = t_regs_loss(torch.cat([first, second]), relation, 10.0, 0.2, 0.5)
    assert float(actual) == pytest.approx(expected)


def test_no_edge_parts_views_of_one_image() -> None:
    first = random_embeddings(5, 3)
    views = torch.cat([first, first + 1e-3 * random_embeddings(5, 3, 1)])
    value = t_regs_loss(views, two_views(5), 1.0, 1.0, 1e-9)
    close = float((views[:5] - views[5:]).square().sum(dim=1).mean())
    # Both views of an image end at others: there are 9 edges, and none is short.
    shortest = float(pdist(first.numpy()).min())
    assert (close - float(value)) * 10 / 2 > 9 * (shortest - 1e-2)
    alone = t_regs_loss(views[[0, 5]], two_views(1), 1.0, 1.0, 1e-9)
    assert float(alone) == pytest.approx(float((views[0] - views[5]).square().sum()), abs=1e-7)
