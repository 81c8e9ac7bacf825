"""Related inputs of linear maps, and their projections by SciPy and scikit-learn."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.cross_decomposition import CCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn.functional import one_hot

from src.studies.claims.relations import related_evenly
from src.studies.descent import random_start


class Case(NamedTuple):
    """A relation, the number of dimensions, and the inputs of linear embeddings."""

    relation: Tensor  # (N, N)
    embedding_dim: int
    inputs: Tensor | None  # (N, F)


def two_view_inputs(
    num: int, features: int, num_classes: int, embedding_dim: int, noise: float, seed: int
) -> Case:
    """Inputs that come as two noisy views of one point each.

    Args:
        num: N.
        features: F.
        num_classes: For `class_inputs`.
        embedding_dim: D.
        noise: Deviation of a view from its point.
        seed: Seed of the points and the noise.
    """
    points = random_start(num // 2, features, seed, 1.0)
    inputs = torch.cat([points, points]) + random_start(2 * len(points), features, seed + 1, noise)
    relation = torch.zeros(len(inputs), len(inputs)).double()
    relation[: len(points), len(points) :] = torch.eye(len(points))
    return Case(relation + relation.T, embedding_dim, inputs)


def class_inputs(
    num: int, features: int, num_classes: int, embedding_dim: int, noise: float, seed: int
) -> Case:
    """Inputs around the mean of their class, related by one over the size of the class.

    Args:
        num: N.
        features: F.
        num_classes: Number of classes.
        embedding_dim: D.
        noise: Deviation of an input from the mean of its class.
        seed: Seed of the classes, the means and the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    members = torch.randint(num_classes, (num,), generator=generator)
    inputs = random_start(num_classes, features, seed, 1.0)[members]
    inputs = inputs + random_start(num, features, seed + 1, noise)
    return Case(related_evenly(one_hot(members).double()), embedding_dim, inputs)


def locality_preserving(case: Case) -> Tensor:
    """Locality preserving projections of inputs, by SciPy: (N, D)."""
    relation, inputs = case.relation.numpy(), _arrays(case)
    degrees = np.diag(relation.sum(1))
    centered = inputs - np.average(inputs, axis=0, weights=relation.sum(1))
    top = (0, case.embedding_dim - 1)
    problem = centered.T @ (degrees - relation) @ centered, centered.T @ degrees @ centered
    return torch.from_numpy(inputs @ eigh(*problem, subset_by_index=top)[1])


def discriminants(case: Case) -> Tensor:
    """Linear discriminants of inputs, by scikit-learn: (N, D)."""
    labels = np.unique(case.relation.numpy() > 0, axis=0, return_inverse=True)[1]
    model = LinearDiscriminantAnalysis(solver="eigen", n_components=case.embedding_dim)
    return torch.from_numpy(model.fit(_arrays(case), labels).transform(_arrays(case)))


def canonical(case: Case) -> Tensor:
    """Canonical correlations of each view with the other, by scikit-learn: (N, D)."""
    first, second = np.split(_arrays(case), 2)
    pair = np.concatenate([first, second]), np.concatenate([second, first])
    model = CCA(case.embedding_dim, scale=False, max_iter=10000, tol=1e-14)
    return torch.from_numpy(model.fit(*pair).transform(pair[0]))


def generalised(case: Case) -> Tensor:
    """Inputs along the top eigenvectors of X^T G X against X^T X, by SciPy: (N, D)."""
    inputs, num = _arrays(case), _arrays(case).shape[1]
    top = (num - case.embedding_dim, num - 1)
    problem = inputs.T @ case.relation.numpy() @ inputs, inputs.T @ inputs
    return torch.from_numpy(inputs @ eigh(*problem, subset_by_index=top)[1])


def _arrays(case: Case) -> np.ndarray:
    assert case.inputs is not None
    inputs: np.ndarray = case.inputs.numpy()
    return inputs
