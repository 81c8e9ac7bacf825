"""T-REGS: closeness of positive pairs, and a long minimum spanning tree near the sphere."""

import numpy as np
import torch
from scipy.sparse.csgraph import csgraph_from_dense, minimum_spanning_tree
from torch import Tensor, nn

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import positive_pairs, squared_distance_of_pairs


def t_regs_loss(
    embeddings: Tensor, relation: Tensor, invariance: float, length: float, sphere: float
) -> Tensor:
    """Minimum spanning tree regularisation with a term of invariance, [0] for a relation.

    With p, r and c as in `src.losses.relation`, V_w the n_w samples that have a weight under w, and
    T_w their minimum spanning tree,

        l = invariance sum_ij p_ij ||z_i - z_j||^2
          + sum_{w = r, c} [ sphere sum_i w_i (||z_i|| - 1)^2 - length / n_w |T_w| ]

    where |T_w| sums the distances along the edges. The tree moves its ends apart, so no edge joins
    related samples. With a relation from first to second views it is the loss of [0]: a tree over
    each view. A symmetric one, which does not tell the views apart, has one tree over both, twice.
    Where related samples are all that there is to join, as in a batch of one image, trees fall
    apart into shorter ones.

    Trees are found on the CPU.

    Args:
        embeddings: Z, (N, D).
        relation: (N, N), nonnegative.
        invariance: Weight of the distances of positive pairs, beta.
        length: Weight of the length of trees, gamma.
        sphere: Weight of distances to the unit sphere, lambda.

    Returns:
        A scalar.

    Raises:
        ValueError: If a weight is out of range, the shapes do not match, or the relation has a
            negative entry or none.

    Example:
        >>> value = t_regs_loss(embeddings, relation, invariance=10.0, length=0.2, sphere=0.0008)

    References:
        [0] Mordacq et al., *T-REGS: Minimum Spanning Tree Regularization for Self-Supervised
        Learning*, NeurIPS 2025, https://arxiv.org/abs/2510.23484
    """
    check_positive(invariance=invariance, length=length, sphere=sphere)
    pairs = positive_pairs(embeddings, relation)
    vectors = in_float64(embeddings)
    unrelated = (pairs.joint + pairs.joint.T) == 0
    off_sphere = (torch.linalg.vector_norm(vectors, dim=1) - 1).square()
    loss = invariance * squared_distance_of_pairs(vectors, pairs)
    for weights in (pairs.first, pairs.second):
        part = weights > 0
        tree = spanning_tree_length(vectors[part], unrelated[part][:, part])
        loss = loss + sphere * weights @ off_sphere - length / part.sum() * tree
    return loss_value(loss, embeddings)


def spanning_tree_length(vectors: Tensor, joinable: Tensor) -> Tensor:
    """Sum of the edges of a minimum spanning tree, or of one in each part that can be connected.

    Args:
        vectors: (N, D), in float64.
        joinable: (N, N), symmetric, boolean: which pairs may have an edge.

    Returns:
        A scalar, differentiable where all distances differ. Edges of length 0 have gradient 0.
    """
    with torch.no_grad():
        distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
        possible = distances.masked_fill(~joinable.triu(1), torch.inf).cpu().numpy()
    # Infinity says that there is no edge: a length of 0 is one, and joins its ends.
    tree = minimum_spanning_tree(csgraph_from_dense(possible, null_value=np.inf))
    first, second = torch.from_numpy(np.stack(tree.nonzero())).to(vectors.device).long()
    return torch.linalg.vector_norm(vectors[first] - vectors[second], dim=1).sum()


class TREGSLoss(nn.Module):
    """`t_regs_loss` with its three weights.

    Args:
        invariance: Weight of the distances of positive pairs.
        length: Weight of the length of trees.
        sphere: Weight of distances to the unit sphere.

    Raises:
        ValueError: If a weight is not above 0.

    Example:
        >>> loss = TREGSLoss(invariance=10.0, length=0.2, sphere=0.0008)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, invariance: float, length: float, sphere: float) -> None:
        super().__init__()
        check_positive(invariance=invariance, length=length, sphere=sphere)
        self.invariance = invariance
        self.length = length
        self.sphere = sphere

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return t_regs_loss(embeddings, relation, self.invariance, self.length, self.sphere)

    def extra_repr(self) -> str:
        weights = ("invariance", "length", "sphere")
        return ", ".join(f"{name}={getattr(self, name)}" for name in weights)
