"""The relation G between samples, as a distribution of positive pairs.

Self-supervised losses see which samples are views of one thing: G, (N, N), where row i marks the
positives of sample i. Drawing a related pair (i, j) at random has the probability

    p_ij = G_ij / |G|,    r_i = sum_j p_ij,    c_j = sum_i p_ij

with |G| the sum of G. A symmetric G treats both ends alike, and r = c are the degrees of its
graph; with G nonzero from first to second views only, expectations under p, r and c are the means
over pairs, first views and second views.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from src.losses.batch import check_samples, on_float64_device


class PositivePairs(NamedTuple):
    """The distribution of positive pairs and of each of their ends, in float64."""

    joint: Tensor  # p, (N, N)
    first: Tensor  # r, (N,)
    second: Tensor  # c, (N,)


class RelatedPairs(NamedTuple):
    """The pairs that a relation has, M of them, and their probabilities in float64."""

    first: Tensor  # i, (M,)
    second: Tensor  # j, (M,)
    weights: Tensor  # p_ij, (M,)


def positive_pairs(embeddings: Tensor, relation: Tensor) -> PositivePairs:
    """Positive pairs of a relation between embeddings.

    Args:
        embeddings: (N, D).
        relation: (N, N), nonnegative.

    Raises:
        ValueError: If the shapes do not match, there are no samples or dimensions, or the relation
            has a negative entry or none.
    """
    _check_shapes(embeddings, relation)
    joint = _probabilities(on_float64_device(relation).double())
    return PositivePairs(joint, joint.sum(dim=1), joint.sum(dim=0))


def related_pairs(embeddings: Tensor, relation: Tensor) -> RelatedPairs:
    """`positive_pairs` as a list, for losses that look at no other pairs.

    A sparse relation costs no more than its entries.

    Args:
        embeddings: (N, D).
        relation: (N, N), nonnegative, dense or sparse.

    Raises:
        ValueError: As `positive_pairs` does.
    """
    _check_shapes(embeddings, relation)
    entries = on_float64_device(relation).to_sparse().coalesce()
    first, second = entries.indices()
    return RelatedPairs(first, second, _probabilities(entries.values().double()))


def _check_shapes(embeddings: Tensor, relation: Tensor) -> None:
    if embeddings.ndim != 2 or relation.shape != (len(embeddings), len(embeddings)):
        raise ValueError(
            "embeddings must be (N, D) and relation (N, N) with the same N, "
            f"got {tuple(embeddings.shape)} and {tuple(relation.shape)}"
        )
    check_samples(embeddings)


def _probabilities(weights: Tensor) -> Tensor:
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("relation must hold no negative, infinite or NaN entries")
    if not weights.any():
        raise ValueError("relation relates no samples; a batch needs two views of some image")
    return weights / weights.sum()


def same_group(groups: Tensor) -> Tensor:
    """The relation between samples of one group, each sample to itself excluded.

    Args:
        groups: (N,), the group of every sample, such as the image that it is a view of.

    Returns:
        (N, N), boolean.
    """
    related = groups.unsqueeze(1) == groups
    return related.fill_diagonal_(False)


def squared_distance_of_pairs(vectors: Tensor, pairs: PositivePairs) -> Tensor:
    """Mean squared distance of positive pairs of vectors (N, D): sum_ij p_ij ||z_i - z_j||^2."""
    # From the mean: the same distances without the rounding errors of large squares.
    vectors = deviations(vectors, pairs.first)
    ends = (pairs.first + pairs.second) @ vectors.square().sum(dim=1)
    return ends - 2 * (vectors * (pairs.joint @ vectors)).sum()


def deviations(vectors: Tensor, weights: Tensor) -> Tensor:
    """Vectors (N, D) minus their mean under weights (N,) that sum to 1."""
    return vectors - weights @ vectors


def second_moment(vectors: Tensor, weights: Tensor) -> Tensor:
    """Mean of x x^T, (D, D), over vectors (N, D) under weights (N,) that sum to 1."""
    return vectors.T @ (weights.unsqueeze(1) * vectors)
