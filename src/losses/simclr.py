"""SimCLR: InfoNCE over related pairs."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import positive_pairs


def simclr_loss(embeddings: Tensor, relation: Tensor, temperature: float) -> Tensor:
    """InfoNCE averaged over related pairs, in terms of G as in [1].

    With cos_ij the cosine of embeddings i and j, and t the temperature,

        l = -1 / |G| sum_ij G_ij log [ exp(cos_ij / t) / sum_{k != i} exp(cos_ik / t) ]

    where |G| is the sum of G. For two views of each image it is the NT-Xent loss of [0].

    Args:
        embeddings: (N, D).
        relation: G, (N, N), nonnegative: row i holds the positives of sample i, itself excluded.
        temperature: t.

    Returns:
        A scalar.

    Raises:
        ValueError: If temperature is out of range, the shapes do not match, or the relation has a
            negative entry, one on its diagonal, or none.

    Example:
        >>> value = simclr_loss(embeddings, relation, temperature=0.5)

    References:
        [0] Chen et al., *A Simple Framework for Contrastive Learning of Visual Representations*,
        ICML 2020, https://arxiv.org/abs/2002.05709
        [1] Balestriero and LeCun, *Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods*, NeurIPS 2022,
        https://arxiv.org/abs/2205.11508
    """
    check_positive(temperature=temperature)
    pairs = positive_pairs(embeddings, relation)
    if relation.diagonal().any():
        raise ValueError("relation must have a zero diagonal: no sample is told from itself")
    log_probabilities = log_softmax_over_others(in_float64(embeddings), temperature)
    return loss_value(-(pairs.joint * log_probabilities).sum(), embeddings)


def log_softmax_over_others(embeddings: Tensor, temperature: float) -> Tensor:
    """Log-softmax of cosines over all samples but the sample itself.

    Args:
        embeddings: (N, D), in float64.
        temperature: Divides the cosines.

    Returns:
        (N, N); 0 on the diagonal.
    """
    vectors = normalize(embeddings, dim=1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    cosines = (vectors @ vectors.T).masked_fill(itself, -torch.inf)
    return (cosines / temperature).log_softmax(dim=1).masked_fill(itself, 0)


class SimCLRLoss(nn.Module):
    """`simclr_loss` with its temperature.

    Args:
        temperature: Divides the cosines.

    Raises:
        ValueError: If temperature is not above 0.

    Example:
        >>> loss = SimCLRLoss(temperature=0.5)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return simclr_loss(embeddings, relation, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
