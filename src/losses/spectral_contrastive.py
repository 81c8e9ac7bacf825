"""The spectral contrastive loss."""

from torch import Tensor, nn

from src.losses.batch import in_float64, loss_value
from src.losses.relation import positive_pairs, second_moment


def spectral_contrastive_loss(embeddings: Tensor, relation: Tensor) -> Tensor:
    """Products of positive pairs against squared products of independent ones, [0].

        l = -2 E_pos[ f(x)^T f(x') ] + E_indep[ (f(x)^T f(x'))^2 ]
          = -2 sum_ij p_ij f_i . f_j  + sum_ij r_i c_j (f_i . f_j)^2

    with p, r and c as in `src.losses.relation`: independent pairs have the ends that positive pairs
    have. All pairs of the batch count, so that its own relation is the population, whose optimum is
    `src.subspaces.spectral_embedding.spectral_contrastive_optimum`.

    Args:
        embeddings: f, (N, D).
        relation: (N, N), nonnegative.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes do not match, or the relation has a negative entry or none.

    Example:
        >>> value = spectral_contrastive_loss(embeddings, relation)

    References:
        [0] HaoChen et al., *Provable Guarantees for Self-Supervised Deep Learning with Spectral
        Contrastive Loss*, NeurIPS 2021, https://arxiv.org/abs/2106.04156
        [1] Dai, *Representation Learning from Spectral Decomposition View*, lecture notes, (2.15)
    """
    pairs = positive_pairs(embeddings, relation)
    vectors = in_float64(embeddings)
    attraction = (vectors * (pairs.joint @ vectors)).sum()
    # E[(f^T f')^2] = tr(E[f f^T] E[f' f'^T]), which takes D x D matrices only
    first, second = second_moment(vectors, pairs.first), second_moment(vectors, pairs.second)
    return loss_value(-2 * attraction + (first * second).sum(), embeddings)


class SpectralContrastiveLoss(nn.Module):
    """`spectral_contrastive_loss` as a module.

    Example:
        >>> loss = SpectralContrastiveLoss()
        >>> value = loss(embeddings, relation)
    """

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return spectral_contrastive_loss(embeddings, relation)
