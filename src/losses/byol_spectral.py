"""The spectral contrastive loss in the manner of BYOL: targets and a moving second moment."""

import torch
from torch import Tensor, nn

from src.losses.batch import in_float64, loss_value
from src.losses.relation import positive_pairs, second_moment


def byol_spectral_loss(
    embeddings: Tensor, relation: Tensor, targets: Tensor, target_moment: Tensor
) -> Tensor:
    """Products with targets of related samples, and a quadratic form in place of negatives, [0].

    The second term of the spectral contrastive loss is E[ f^T M f ], with M the second moment of
    embeddings. With M and the targets t held fixed no sample is compared with unrelated ones:

        l = -2 sum_ij p_ij f_i . t_j + sum_i r_i f_i^T M f_i

    with p and r as in `src.losses.relation`. With t = f, and M their second moment, it has the
    value of the spectral contrastive loss and, for a symmetric relation, half its gradient.

    Args:
        embeddings: f, (N, D).
        relation: (N, N), nonnegative.
        targets: t, (N, D), which get no gradient: the embeddings themselves, or those of an encoder
            whose weights are a moving average.
        target_moment: M, (D, D), positive semidefinite.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes do not match, or the relation has a negative entry or none.

    Example:
        >>> targets = embeddings.detach()
        >>> target_moment = torch.eye(25)
        >>> value = byol_spectral_loss(embeddings, relation, targets, target_moment)

    References:
        [0] Dai, *Representation Learning from Spectral Decomposition View*, lecture notes,
        (2.18)-(2.21)
        [1] Grill et al., *Bootstrap Your Own Latent*, NeurIPS 2020,
        https://arxiv.org/abs/2006.07733, whose predictor takes the part of M
    """
    if targets.shape != embeddings.shape:
        raise ValueError(
            f"targets {tuple(targets.shape)} must have the shape of embeddings "
            f"{tuple(embeddings.shape)}"
        )
    pairs = positive_pairs(embeddings, relation)
    if target_moment.shape != (embeddings.shape[1], embeddings.shape[1]):
        raise ValueError(
            f"target_moment {tuple(target_moment.shape)} must be (D, D) for embeddings "
            f"{tuple(embeddings.shape)}; set embedding_dim of the loss to that of the encoder"
        )
    vectors = in_float64(embeddings)
    attraction = (vectors * (pairs.joint @ in_float64(targets.detach()))).sum()
    moment = second_moment(vectors, pairs.first)
    loss = -2 * attraction + (moment * target_moment.to(moment)).sum()
    return loss_value(loss, embeddings)


class BYOLSpectralLoss(nn.Module):
    """`byol_spectral_loss` with a moving average of the targets' second moment.

    The average starts at the identity. In training each batch moves it before it is used.

    Args:
        embedding_dim: D.
        momentum: Share of the average that a batch leaves as it was; at 0, the second moment is
            that of the batch.

    Raises:
        ValueError: If momentum is not in [0, 1).

    Example:
        >>> loss = BYOLSpectralLoss(embedding_dim=25, momentum=0.9)
        >>> value = loss(embeddings, relation)
    """

    target_moment: Tensor  # M, (D, D)

    def __init__(self, embedding_dim: int, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {momentum!r}")
        self.momentum = momentum
        self.register_buffer("target_moment", torch.eye(embedding_dim))

    def forward(
        self, embeddings: Tensor, relation: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and a relation (N, N).

        Targets (N, D) are the embeddings, unless a moving average of the encoder gives others.
        """
        targets = (embeddings if targets is None else targets).detach()
        if self.training:
            self._move(targets, relation)
        return byol_spectral_loss(embeddings, relation, targets, self.target_moment)

    def _move(self, targets: Tensor, relation: Tensor) -> None:
        vectors = in_float64(targets)
        moment = second_moment(vectors, positive_pairs(targets, relation).second)
        self.target_moment.lerp_(moment.to(self.target_moment), 1 - self.momentum)

    def extra_repr(self) -> str:
        return f"momentum={self.momentum}"
