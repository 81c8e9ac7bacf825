"""Random batches, relations and rotations for the tests of losses."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def random_embeddings(num: int, dim: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, dim, dtype=torch.float64, generator=generator)


def random_classes(num: int, num_classes: int, seed: int = 0) -> Tensor:
    """Indicators (N, K) of one class per sample, none of them empty."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(num_classes, (num,), generator=generator)
    classes[:num_classes] = torch.arange(num_classes)
    return one_hot(classes, num_classes)


def random_literals(num: int, num_literals: int, seed: int = 0) -> Tensor:
    """Labels (N, C) that overlap, each literal true somewhere."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (num, num_literals), generator=generator)
    labels[0] = 1
    return labels


def random_relation(num: int, seed: int = 0) -> Tensor:
    """A symmetric relation (N, N) in {0, 1}, zero on its diagonal, that leaves no sample alone."""
    generator = torch.Generator().manual_seed(seed)
    upper = torch.rand(num, num, generator=generator).triu(1) > 0.6
    upper |= torch.eye(num, dtype=torch.bool).roll(1, 1).triu(1)  # a chain
    return (upper | upper.T).double()


def two_views(num: int, symmetric: bool = True) -> Tensor:
    """The relation (2N, 2N) of first views, which come first, with second views of N images."""
    relation = torch.zeros(2 * num, 2 * num, dtype=torch.float64)
    relation[:num, num:] = torch.eye(num)
    return relation + relation.T if symmetric else relation


def random_rotation(dim: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(random_embeddings(dim, dim, seed)).Q


def random_order(num: int, seed: int = 0) -> Tensor:
    return torch.randperm(num, generator=torch.Generator().manual_seed(seed))


def gradient(function: Callable[[Tensor], Tensor], embeddings: Tensor) -> Tensor:
    leaf = embeddings.detach().clone().requires_grad_()
    return torch.autograd.grad(function(leaf), leaf)[0]
