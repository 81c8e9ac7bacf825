"""Binary noise-contrastive estimation: positive pairs told from independent ones."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from src.losses.batch import check_positive, loss_value
from src.losses.ranking_nce import scaled_vectors
from src.losses.relation import RelatedPairs, positive_pairs, related_pairs


def binary_nce_loss(
    embeddings: Tensor,
    relation: Tensor,
    offset: Tensor | float,
    temperature: float | None,
    negatives: int | None,
) -> Tensor:
    """Logistic regression of positive against independent pairs, [0].

        l = -E_pos[ log sigmoid(s(x, x') + b) ] - E_indep[ log sigmoid(-s(x, x') - b) ]

    with positive and independent pairs as in `src.losses.relation`, and s_ij = f_i . f_j or, at a
    temperature t, cos(f_i, f_j) / t. It is least where s_ij + b = log p_ij / (r_i c_j): at the
    energy-based model p(x' | x) = p(x') exp(s(x, x') + b), whose normalizer is the offset. Without
    one, products over a symmetric relation cannot get there: over independent pairs their mean is
    at least 0, and that of log ratios at most 0.

    Over all pairs it costs as much as ranking does. With K negatives for each positive pair the
    cost grows linearly with the batch: second ends are dealt out anew K times, in an order that is
    fixed, as batches are drawn in an order that is not. Which pairs that makes depends on the order
    of samples, and so on the number of processes.

    Args:
        embeddings: f, (N, D).
        relation: (N, N), nonnegative; a sparse one with `negatives` costs no N x N numbers.
        offset: b, a scalar.
        temperature: t, or None for products of embeddings as they are.
        negatives: K, or None for all pairs.

    Returns:
        A scalar.

    Raises:
        ValueError: If temperature or negatives are out of range, the shapes do not match, or the
            relation has a negative entry or none.

    Example:
        >>> value = binary_nce_loss(embeddings, relation, 0.0, temperature=None, negatives=1)

    References:
        [0] Dai, *Representation Learning from Spectral Decomposition View*, lecture notes, (2.7)
        [1] Gutmann and Hyvarinen, *Noise-Contrastive Estimation*, AISTATS 2010, where the
        normalizer is learned
    """
    if negatives is None:
        pairs = positive_pairs(embeddings, relation)
        vectors = scaled_vectors(embeddings, temperature)
        logits = vectors @ vectors.T + offset
        positive = (pairs.joint * softplus(-logits)).sum()
        independent = pairs.first @ softplus(logits) @ pairs.second
    else:
        related = related_pairs(embeddings, relation)
        unrelated = independent_pairs(related, negatives)
        vectors = scaled_vectors(embeddings, temperature)
        positive = torch.dot(related.weights, softplus(-_scores(vectors, related) - offset))
        independent = torch.dot(unrelated.weights, softplus(_scores(vectors, unrelated) + offset))
    return loss_value(positive + independent, embeddings)


def independent_pairs(related: RelatedPairs, negatives: int) -> RelatedPairs:
    """Pairs of the first end of a related pair with the second end of another.

    Args:
        related: M pairs.
        negatives: K, the number of second ends for every first end.

    Returns:
        K M pairs, the same each time; on average over orders, as independent ends are.

    Raises:
        ValueError: If the number of negatives is out of range.
    """
    check_positive(negatives=negatives)
    generator, number = torch.Generator().manual_seed(0), len(related.weights)
    orders = [torch.randperm(number, generator=generator) for _ in range(negatives)]
    order = torch.cat(orders).to(related.weights.device)
    weights = related.weights.repeat(negatives) * related.weights[order]
    return RelatedPairs(
        related.first.repeat(negatives), related.second[order], weights / weights.sum()
    )


def _scores(vectors: Tensor, pairs: RelatedPairs) -> Tensor:
    return (vectors[pairs.first] * vectors[pairs.second]).sum(dim=1)


class BinaryNCELoss(nn.Module):
    """`binary_nce_loss` with an offset that is learned, at first 0.

    Args:
        temperature: Divides cosines; None for products of embeddings as they are.
        negatives: Independent pairs for each positive pair; None for all pairs.

    Raises:
        ValueError: If temperature or the number of negatives is not above 0.

    Example:
        >>> loss = BinaryNCELoss(temperature=None, negatives=1)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, temperature: float | None, negatives: int | None) -> None:
        super().__init__()
        given = {"temperature": temperature, "negatives": negatives}
        check_positive(**{name: value for name, value in given.items() if value is not None})
        self.temperature = temperature
        self.negatives = negatives
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return binary_nce_loss(embeddings, relation, self.offset, self.temperature, self.negatives)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, negatives={self.negatives}"
