"""Classifiers of frozen embeddings, which probe what a representation holds."""

import warnings
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize, one_hot

CHUNK = 1000  # queries whose similarities are held at once


class LinearProbe(NamedTuple):
    """Classes that logistic regression predicts, and whether it has come to its optimum."""

    classes: Tensor  # (N,), int64
    converged: bool


def linear_probe(
    train: Tensor, train_classes: Tensor, queries: Tensor, max_iterations: int
) -> LinearProbe:
    """Logistic regression on embeddings, standardised along their principal components.

    Otherwise dimensions are so correlated that thousands of iterations would not do. Weights
    are penalised by half their squared length (C = 1 of scikit-learn), which hardly matters for
    thousands of images and makes the optimum unique.

    Args:
        train: (n, D).
        train_classes: (n,), int64.
        queries: (N, D), embeddings to classify.
        max_iterations: Iterations of L-BFGS, after which it ends, converged or not.
    """
    known, asked = whiten(train.cpu(), queries.cpu())
    regression = LogisticRegression(max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result says so
        regression.fit(known.numpy(), train_classes.cpu().numpy())
    predicted = torch.from_numpy(regression.predict(asked.numpy())).to(queries.device)
    return LinearProbe(predicted, bool((regression.n_iter_ < max_iterations).all()))


def whiten(train: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components of training embeddings, scaled to variance 1, in float64.

    Directions in which embeddings differ by rounding only are left out.

    Args:
        train: (n, D).
        queries: (N, D), embeddings to be mapped in the same way.

    Returns:
        (n, d) and (N, d), with d at most D.
    """
    exact = train.double()
    mean = exact.mean(dim=0)
    variances, directions = torch.linalg.eigh((exact - mean).T.cov(correction=0))
    rounding = torch.finfo(train.dtype).eps ** 2 * exact.square().sum(dim=1).mean()
    kept = variances > rounding
    scaled = directions[:, kept] * variances[kept].rsqrt()
    return (exact - mean) @ scaled, (queries.double() - mean) @ scaled


def nearest_neighbors(
    train: Tensor, train_classes: Tensor, queries: Tensor, neighbors: int
) -> Tensor:
    """The most frequent class among the nearest embeddings by cosine, the first of equals.

    Args:
        train: (n, D).
        train_classes: (n,), int64, from 0.
        queries: (N, D), embeddings to classify.
        neighbors: k.

    Returns:
        (N,), int64.

    Raises:
        ValueError: If k is not between 1 and n.
    """
    if not 1 <= neighbors <= len(train):
        raise ValueError(
            f"neighbors must be between 1 and {len(train)}, the training images, not {neighbors}"
        )
    known = normalize(train, dim=1).T
    num_classes = int(train_classes.max()) + 1
    predicted = []
    for chunk in normalize(queries, dim=1).split(CHUNK):
        nearest = (chunk @ known).topk(neighbors, dim=1, sorted=False).indices
        votes = one_hot(train_classes[nearest], num_classes).sum(dim=1)  # (chunk, classes)
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)
