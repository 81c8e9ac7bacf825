"""Maximal coding rate reduction (MCR2)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.batch import check_positive, of_whole_batch, partition


@of_whole_batch
def mcr2_loss(embeddings: Tensor, labels: Tensor, squared_distortion: float) -> Tensor:
    """Coding rate within classes minus that of the batch: minus the Delta R of [0].

    With Z (D x N) the embeddings scaled to unit length, Z_k the N_k of class k, and e^2 the squared
    distortion,

        l = sum_k N_k / N R(Z_k) - R(Z),    R(Z) = 1/2 logdet(I + D / (N e^2) Z Z^T)

    in nats. It is at most 0; classes in orthogonal subspaces, each filled evenly, make it least.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}, one class per sample.
        squared_distortion: e^2, up to which samples are coded.

    Returns:
        A scalar.

    Raises:
        ValueError: If the distortion is out of range, the shapes do not match, or labels do not
            mark one class per sample.

    Example:
        >>> value = mcr2_loss(embeddings, labels, squared_distortion=0.5)

    References:
        [0] Yu et al., *Learning Diverse and Discriminative Representations via the Principle of
        Maximal Coding Rate Reduction*, NeurIPS 2020, https://arxiv.org/abs/2006.08558
        [1] https://github.com/ryanchankh/mcr2, whose `eps` is the squared distortion
    """
    check_positive(squared_distortion=squared_distortion)
    members = partition(labels)
    vectors = normalize(embeddings, dim=1)
    loss = -_coding_rate(vectors, squared_distortion)
    for member in members.T:
        own = vectors[member]
        loss = loss + len(own) / len(vectors) * _coding_rate(own, squared_distortion)
    return loss


def _coding_rate(vectors: Tensor, squared_distortion: float) -> Tensor:
    """Nats that each of the vectors (N, D) takes to be coded up to the distortion."""
    number, dim = vectors.shape
    scaled = vectors * (dim / (number * squared_distortion)) ** 0.5
    gram = scaled @ scaled.T if number < dim else scaled.T @ scaled  # with equal determinants
    return torch.linalg.slogdet(torch.eye(len(gram)).to(gram) + gram).logabsdet / 2


class MCR2Loss(nn.Module):
    """`mcr2_loss` with its squared distortion.

    Args:
        squared_distortion: e^2, up to which samples are coded.

    Raises:
        ValueError: If the distortion is not above 0.

    Example:
        >>> loss = MCR2Loss(squared_distortion=0.5)
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def __init__(self, squared_distortion: float) -> None:
        super().__init__()
        check_positive(squared_distortion=squared_distortion)
        self.squared_distortion = squared_distortion

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return mcr2_loss(embeddings, labels, self.squared_distortion)

    def extra_repr(self) -> str:
        return f"squared_distortion={self.squared_distortion}"
