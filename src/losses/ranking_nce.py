"""Ranking noise-contrastive estimation: positive pairs ranked before independent ones."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import positive_pairs


def ranking_nce_loss(embeddings: Tensor, relation: Tensor, temperature: float | None) -> Tensor:
    """Log-softmax of scores of positive pairs, over independent partners, [0].

        l = -E_pos[ s(x, x') ] + E_x log E_indep[ exp(s(x, x')) ]
          = -sum_ij p_ij s_ij  + sum_i r_i log sum_k c_k exp(s_ik)

    with p, r and c as in `src.losses.relation`, and s_ij = f_i . f_j or, at a temperature t,
    cos(f_i, f_j) / t. All pairs of the batch count, so that its own relation is the population.
    The loss sees no function of x alone: s_ij + a_i has the same value.

    It is least at minus the mutual information of the ends of positive pairs, where s_ij is
    log p_ij / (r_i c_j) up to a function of i. That is the maximum likelihood of the energy-based
    model p(x' | x) = p(x') exp(s(x, x')) / Z(x).

    Args:
        embeddings: f, (N, D).
        relation: (N, N), nonnegative.
        temperature: t, or None for products of embeddings as they are.

    Returns:
        A scalar.

    Raises:
        ValueError: If temperature is out of range, the shapes do not match, or the relation has a
            negative entry or none.

    Example:
        >>> value = ranking_nce_loss(embeddings, relation, temperature=None)

    References:
        [0] Dai, *Representation Learning from Spectral Decomposition View*, lecture notes, (2.3)
        [1] van den Oord et al., *Representation Learning with Contrastive Predictive Coding*,
        https://arxiv.org/abs/1807.03748
        [2] Ma and Collins, *Noise Contrastive Estimation and Negative Sampling for Conditional
        Models*, EMNLP 2018, https://arxiv.org/abs/1809.01812
    """
    pairs = positive_pairs(embeddings, relation)
    vectors = scaled_vectors(embeddings, temperature)
    attraction = (vectors * (pairs.joint @ vectors)).sum()
    normalizers = torch.logsumexp(vectors @ vectors.T + pairs.second.log(), dim=1)
    return loss_value(torch.dot(pairs.first, normalizers) - attraction, embeddings)


def scaled_vectors(embeddings: Tensor, temperature: float | None) -> Tensor:
    """Embeddings (N, D) in float64, whose products are scores.

    Args:
        embeddings: (N, D).
        temperature: Divides cosines; None for the embeddings as they are.

    Raises:
        ValueError: If temperature is not above 0.
    """
    vectors = in_float64(embeddings)
    if temperature is None:
        return vectors
    check_positive(temperature=temperature)
    return normalize(vectors, dim=1) / temperature**0.5


class RankingNCELoss(nn.Module):
    """`ranking_nce_loss` with its temperature.

    Args:
        temperature: Divides cosines; None for products of embeddings as they are.

    Raises:
        ValueError: If temperature is not above 0.

    Example:
        >>> loss = RankingNCELoss(temperature=None)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, temperature: float | None) -> None:
        super().__init__()
        if temperature is not None:
            check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return ranking_nce_loss(embeddings, relation, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
