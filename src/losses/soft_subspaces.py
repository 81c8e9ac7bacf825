"""Subspace embeddings: literals as learned subspaces of soft dimension, by soft projectors."""

import torch
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn.functional import normalize

from src.losses.batch import check_positive, in_float64, on_float64_device
from src.losses.literal_head import LiteralHead

SMALLEST = 1e-6  # distance of a score from 0 and 1, as in the authors' code
EXPONENTS = (1.0, 20.0)  # bounds of those of the Beta distributions, as there


def soft_projectors(frames: Tensor, ridge: float) -> Tensor:
    """Ridge-regularised projectors onto the spans of rows, [0]:

        P = X^T (X X^T + r I)^(-1) X

    Where X has a singular value s, P has the eigenvalue s^2 / (s^2 + r) in [0, 1): a direction
    counts as much as X is long along it, and the trace of P is a dimension that gradients can
    change. For r to 0 it is the orthogonal projector, as `src.subspaces.projectors` has it.

    Args:
        frames: X, (..., S, D).
        ridge: r, above 0.

    Returns:
        (..., D, D), in the type of the frames.

    References:
        [0] Moreira et al., *Native Hierarchical and Compositional Representations with Subspace
        Embeddings*, 2025, https://arxiv.org/abs/2508.16687
        [1] https://github.com/gabmoreira/subembed
    """
    check_positive(ridge=ridge)
    gram = frames @ frames.mT
    ridges = ridge * torch.eye(gram.shape[-1]).to(gram)
    return frames.mT @ torch.linalg.solve(gram + ridges, frames)


class SoftSubspaceLoss(LiteralHead):
    """Likelihood of literals by the share of an embedding that lies in the literal's soft subspace.

    With P_c the soft projector of literal c, and that of an image the one of its embedding alone,

        s_ic = tr(P_i P_c) / tr(P_i) = x_i^T P_c x_i / ||x_i||^2
        logit_ic = log Beta(s_ic^2; a_1, b_1) - log Beta(s_ic^2; a_0, b_0)

    with a, b of literals that hold and of those that do not, learned, and the same for all
    literals. A negation has the projector I - P_c, and so the score 1 - s_ic.

    Taken from [0], as [1] runs it for entailment, are soft projectors, the score as the normalised
    inclusion of one subspace in another, and the likelihood with its bounds and first values. Ours
    is what is asked: whether an image, which has one row where [1] has as many for all, is in
    literals, whose rows are learned in place of encoded. [1] smooths labels by 0.1, which is left
    out, and asks conjunctions by thresholded products of projectors, where here literals are
    independent given the image.

    Args:
        num_labels: C.
        embedding_dim: D.
        num_vectors: S, rows of each literal, and so the most dimensions of its subspace.
        ridge: r.

    Raises:
        ValueError: If num_vectors is below 1 or ridge not above 0.

    Example:
        >>> loss = SoftSubspaceLoss(num_labels=10, embedding_dim=25, num_vectors=25, ridge=0.05)
        >>> value = loss(embeddings, labels)
    """

    def __init__(self, num_labels: int, embedding_dim: int, num_vectors: int, ridge: float) -> None:
        super().__init__(num_labels)
        check_positive(ridge=ridge)
        if num_vectors < 1:
            raise ValueError(f"num_vectors must be at least 1, not {num_vectors}")
        self.ridge = ridge
        self.frames = nn.Parameter(
            torch.randn(num_labels, num_vectors, embedding_dim) / embedding_dim**0.5
        )
        # Of a_1, b_1, a_0 and b_0, before they are bounded
        self.exponents = nn.Parameter(torch.tensor([-1.0, -10.0, -10.0, -1.0]))

    @property
    def projectors(self) -> Tensor:
        """P of every literal, (C, D, D), float64."""
        return soft_projectors(on_float64_device(self.frames).double(), self.ridge)

    def logits(self, embeddings: Tensor) -> Tensor:
        units = normalize(in_float64(embeddings), dim=1)
        inside = torch.einsum("nd,cde,ne->nc", units, self.projectors.to(units), units)
        scores = inside.square().clamp(SMALLEST, 1 - SMALLEST)
        least, most = EXPONENTS
        a_1, b_1, a_0, b_0 = least + (most - least) * self.exponents.to(units).sigmoid()
        return Beta(a_1, b_1).log_prob(scores) - Beta(a_0, b_0).log_prob(scores)

    def extra_repr(self) -> str:
        return f"num_vectors={self.frames.shape[1]}, ridge={self.ridge}"
