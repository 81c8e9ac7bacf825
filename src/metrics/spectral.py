"""The spectrum of embeddings beside the one that minimises the loss."""

from typing import NamedTuple

import torch
from torch import Tensor

from src.losses.nuclear import singular_values_from_gram, terms_from_gram
from src.subspaces.closed_form import optimal_loss, optimal_singular_values


class Spectrum(NamedTuple):
    """Singular values of embeddings, measured and optimal, and their summary."""

    singular_values: Tensor  # (D,), descending
    optimal_values: Tensor  # (rank of the labels,), descending; none where it is out of reach
    summary: dict[str, float]


def compare_spectrum(
    gram: Tensor, num_labels: int, alpha: float, beta: float, free_lengths: bool = True
) -> Spectrum:
    """Hold embeddings against the closed-form optimum for the same labels.

    Args:
        gram: (C + D, C + D), as `src.losses.nuclear.gram_matrix` gives. To speak of a typical batch
            of B images, scale the Gram matrix of N images by B / N: that is its expectation over
            random batches.
        num_labels: C.
        alpha, beta: Weights of the loss.
        free_lengths: Whether embeddings may have any length. The closed form gives each direction
            of the labels a singular value of its own, which embeddings that are all scaled to one
            length cannot have.

    Returns:
        A spectrum whose summary holds the three terms, `loss`, `effective_rank` and `label_rank`;
        and, where the optimum is within reach, of free lengths and at least as many dimensions as
        labels have rank, `optimum`, `optimality_gap` (loss minus optimum, never negative) and
        `relative_gap` (the same as a share of the optimum; NaN without labels). A Gram matrix
        scaled by s^2 has s times the loss and the optimum that it would have with s beta. So what
        is stated for batches of B images with beta is true, as a share, of all N images with beta
        sqrt(B / N).
    """
    gram = gram.cpu()
    terms = terms_from_gram(gram, num_labels)
    singular_values = singular_values_from_gram(gram[num_labels:, num_labels:])
    # Any matrix with these singular values has the same optimum as the labels.
    labels = singular_values_from_gram(gram[:num_labels, :num_labels]).diag()
    loss = float(terms.combine(alpha, beta))
    label_rank = int(torch.linalg.matrix_rank(labels))
    summary = {name: float(value) for name, value in terms._asdict().items()} | {
        "loss": loss,
        "effective_rank": effective_rank(singular_values),
        "label_rank": float(label_rank),
    }
    if not free_lengths or len(singular_values) < label_rank:
        return Spectrum(singular_values, singular_values[:0], summary)
    optimum = optimal_loss(labels, alpha, beta)
    optimal_values = optimal_singular_values(labels, alpha, beta)
    summary |= {
        "optimum": optimum,
        "optimality_gap": loss - optimum,
        "relative_gap": (loss - optimum) / optimum if optimum else float("nan"),
    }
    return Spectrum(singular_values, optimal_values, summary)


def effective_rank(singular_values: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values (Roy and Vetterli, 2007).

    Args:
        singular_values: (n,), nonnegative. Zeros do not count.

    Returns:
        Between 1 and the rank; 0 for a zero matrix.
    """
    total = singular_values.sum()
    if total == 0:
        return 0.0
    return float(torch.special.entr(singular_values / total).sum().exp())
