"""Principal components by the penalty method."""

import torch
from torch import Tensor, nn

from src.losses.batch import check_positive, in_float64, loss_value
from src.losses.relation import deviations, positive_pairs


def pca_loss(embeddings: Tensor, relation: Tensor, components: Tensor, penalty: float) -> Tensor:
    """Variance along components, which a penalty keeps near orthonormal, [0].

    With p, r and c as in `src.losses.relation`, x the embeddings minus their mean under r, y under
    c, and W the components,

        l(W) = - sum_ij p_ij (W^T x_i) . (W^T y_j) + penalty ||W^T W - I||_F^2

    With every sample related to itself alone, the first term is minus the variance that W^T x has,
    and the minimum `src.subspaces.spectral_embedding.pca_optimum` spans the principal components;
    with views related, those of what the views have in common.

    Args:
        embeddings: (N, D), data: only components are meant to be learned.
        relation: (N, N), nonnegative.
        components: W, (D, S).
        penalty: Weight of the constraint that W be orthonormal.

    Returns:
        A scalar.

    Raises:
        ValueError: If penalty is out of range, the shapes do not match, or the relation has a
            negative entry or none.

    Example:
        >>> components = torch.linalg.qr(torch.randn(25, 5)).Q
        >>> value = pca_loss(embeddings, relation, components, penalty=1.0)

    References:
        [0] Dai, *Representation Learning from Spectral Decomposition View*, lecture notes,
        (3.4)-(3.5)
    """
    check_positive(penalty=penalty)
    pairs = positive_pairs(embeddings, relation)
    if components.ndim != 2 or len(components) != embeddings.shape[1]:
        raise ValueError(
            f"components {tuple(components.shape)} must be (D, S) for embeddings "
            f"{tuple(embeddings.shape)}; set embedding_dim of the loss to that of the encoder"
        )
    vectors = in_float64(embeddings)
    weights = components.to(vectors)
    first = deviations(vectors, pairs.first) @ weights
    second = deviations(vectors, pairs.second) @ weights
    excess = weights.T @ weights - torch.eye(weights.shape[1]).to(weights)
    loss = -(first * (pairs.joint @ second)).sum() + penalty * excess.square().sum()
    return loss_value(loss, embeddings)


class PCALoss(nn.Module):
    """`pca_loss` with learned components. The encoder gets no gradient: it is given, as are pixels.

    Args:
        embedding_dim: D.
        num_components: S.
        penalty: Weight of the constraint that components be orthonormal.

    Raises:
        ValueError: If penalty is not above 0, or num_components not between 1 and D.

    Example:
        >>> loss = PCALoss(embedding_dim=25, num_components=5, penalty=1.0)
        >>> value = loss(embeddings, relation)
    """

    def __init__(self, embedding_dim: int, num_components: int, penalty: float) -> None:
        super().__init__()
        check_positive(penalty=penalty)
        if not 1 <= num_components <= embedding_dim:
            raise ValueError(
                f"num_components must be between 1 and embedding_dim={embedding_dim}, "
                f"not {num_components}"
            )
        self.penalty = penalty
        self.components = nn.Parameter(
            torch.randn(embedding_dim, num_components) / embedding_dim**0.5
        )

    def forward(self, embeddings: Tensor, relation: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N)."""
        return pca_loss(embeddings.detach(), relation, self.components, self.penalty)

    def extra_repr(self) -> str:
        return f"num_components={self.components.shape[1]}, penalty={self.penalty}"
