"""Boxes: literals as learned boxes with soft sides, images as points."""

from math import expm1, log

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from src.losses.batch import check_positive, in_float64
from src.losses.literal_head import LiteralHead


def box_logits(embeddings: Tensor, lower: Tensor, upper: Tensor, temperature: float) -> Tensor:
    """Log odds of a point being inside of boxes with soft sides.

    The sides of a box are random, with a logistic distribution of scale t around l and u, so that

        p(x in box) = prod_d sigmoid((x_d - l_d) / t) sigmoid((u_d - x_d) / t)

    A box is the set of what a literal is true of. A point is in the intersection of two boxes, each
    with sides of its own, with probability p(a) p(b), and in one but not the other with
    p(a) - p(a & b): literals are independent given the image, and all propositions follow.

    Taken from [0] are boxes for attributes, and propositions by intersection and difference; from
    [1] and [2] that sides are smoothed, so that gradients reach boxes from outside. Ours is what
    remains of it for points: [0] has boxes for items, too, volumes in place of probabilities, and
    the sides of [2], which have a Gumbel distribution. A point outside of such a box is penalised
    exponentially, and here no more than linearly, in its distance.

    Args:
        embeddings: (N, D).
        lower: l of each box, (C, D).
        upper: u, (C, D).
        temperature: t, in the units of embeddings.

    Returns:
        (N, C), in float64.

    References:
        [0] Dasgupta et al., *Answering Compositional Queries with Set-Theoretic Embeddings*, 2023,
        https://arxiv.org/abs/2306.04133
        [1] Li et al., *Smoothing the Geometry of Probabilistic Box Embeddings*, ICLR 2019,
        https://openreview.net/forum?id=H1xSNiRcF7
        [2] Dasgupta et al., *Improving Local Identifiability in Probabilistic Box Embeddings*,
        NeurIPS 2020, https://arxiv.org/abs/2010.04831
    """
    points = in_float64(embeddings).unsqueeze(1)  # (N, 1, D)
    below = softplus((lower.to(points) - points) / temperature)
    above = softplus((points - upper.to(points)) / temperature)
    surprise = (below + above).sum(dim=2)  # -log p
    surprise = surprise.clamp(min=torch.finfo(surprise.dtype).tiny)
    return -surprise - (-torch.expm1(-surprise)).log()


class BoxLoss(LiteralHead):
    """Likelihood of literals by `box_logits`, with a learned box for each literal.

    Boxes start around 0, as wide as gives a point at their center probability 1/2.

    Args:
        num_labels: C.
        embedding_dim: D.
        temperature: t, in the units of embeddings.

    Raises:
        ValueError: If the temperature is not above 0.

    Example:
        >>> loss = BoxLoss(num_labels=10, embedding_dim=25, temperature=0.1)
        >>> value = loss(embeddings, labels)
    """

    def __init__(self, num_labels: int, embedding_dim: int, temperature: float) -> None:
        super().__init__(num_labels)
        check_positive(temperature=temperature)
        self.temperature = temperature
        # Of log 2, the surprise of 1/2, each of 2 D sides has its share
        half_width = -log(expm1(log(2) / (2 * embedding_dim)))  # in units of t
        self.centers = nn.Parameter(temperature * torch.randn(num_labels, embedding_dim))
        self.half_widths = nn.Parameter(
            torch.full((num_labels, embedding_dim), temperature * half_width)
        )

    @property
    def lower(self) -> Tensor:
        """The lower corners of boxes, l, (C, D)."""
        return self.centers - self.half_widths.abs()

    @property
    def upper(self) -> Tensor:
        """The upper corners of boxes, u, (C, D)."""
        return self.centers + self.half_widths.abs()

    def logits(self, embeddings: Tensor) -> Tensor:
        return box_logits(embeddings, self.lower, self.upper, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
