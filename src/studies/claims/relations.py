"""Relations between samples, of classes, of a random graph or of neighbours.

No sample is related to itself, unless evenly: losses contrast it with others. With every sample
related to itself as well, the rank of a relation of classes is the number of classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch import Tensor
from torch.nn.functional import one_hot

from src.studies.geometry import TIE
from src.subspaces.spectral_embedding import normalize_relation


class Setting(NamedTuple):
    """A relation between samples, of classes or not, and the dimensions of their embeddings."""

    relation: Tensor  # (N, N), symmetric, with a zero diagonal
    labels: Tensor | None  # (N, K), one-hot
    embedding_dim: int


def related_classes(sizes: Sequence[int], embedding_dim: int) -> Setting:
    """Samples of classes of these sizes, each related to all others of its class."""
    members = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(list(sizes)))
    labels = one_hot(members).double()
    return Setting((labels @ labels.T).fill_diagonal_(0), labels, embedding_dim)


def random_graph(num: int, density: float, seed: int, embedding_dim: int) -> Setting:
    """Samples related with weights between 0 and 1.

    Args:
        num: N.
        density: Share of the pairs that are related.
        seed: Seed of the weights and of the choice of pairs.
        embedding_dim: D.
    """
    generator = torch.Generator().manual_seed(seed)
    weights, draws = torch.rand(2, num, num, generator=generator, dtype=torch.float64)
    relation = (weights * (draws < density)).triu(1)
    return Setting(relation + relation.T, None, embedding_dim)


def related_evenly(labels: Tensor) -> Tensor:
    """Samples of one-hot classes (N, K), each related to all of its class, itself too, by one over
    its size: (N, N), whose rows sum to 1."""
    return labels @ (labels / labels.sum(dim=0)).T


def nearest_neighbours(num: int, neighbours: int, embedding_dim: int) -> Setting:
    """Images of digits, related to those nearest in pixels, as NNCLR relates them in embeddings.

    Args:
        num: N.
        neighbours: Number of neighbours; a pair that is near one way only counts half.
        embedding_dim: D.
    """
    pixels = load_digits().data[:num]
    graph = torch.from_numpy(kneighbors_graph(pixels, neighbours).toarray())
    return Setting((graph + graph.T) / 2, None, embedding_dim)


def is_unique(relation: Tensor, embedding_dim: int) -> bool:
    """Tell whether Z Z^T of the spectral contrastive optimum is unique.

    It is if the D-th eigenvalue is larger than the next, or the next is not positive.

    Args:
        relation: (N, N), symmetric.
        embedding_dim: D.
    """
    values = torch.linalg.eigvalsh(normalize_relation(relation)[0]).clamp(min=0).flip(0)
    return bool(
        values[embedding_dim] == 0 or values[embedding_dim - 1] > values[embedding_dim] + TIE
    )
