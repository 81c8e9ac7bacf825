"""The contrastive loss of CLIP between images and texts."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from src.losses.batch import in_float64, of_whole_batch

INITIAL_TEMPERATURE, MAX_SCALE = 0.07, 100.0  # as in CLIP


@of_whole_batch
def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric cross-entropy of matching images and texts within a batch.

    With unit vectors x_i and t_i, and s_ij = scale x_i . t_j,

        l = -1/(2N) sum_i [ log softmax_j(s_ij)_i + log softmax_j(s_ji)_i ]

    Args:
        images: (N, D), embeddings of images; their length does not matter.
        texts: (N, D), embeddings of the texts of the same images.
        scale: Inverse temperature.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes differ.
        NonFiniteEmbeddingsError: If embeddings of images or of texts hold NaN or infinity.

    Example:
        >>> value = contrastive_loss(embeddings, texts, scale=100.0)

    References:
        [0] Radford et al., *Learning Transferable Visual Models From Natural Language
        Supervision*, ICML 2021, https://arxiv.org/abs/2103.00020
    """
    if images.shape != texts.shape:
        raise ValueError(
            f"images {tuple(images.shape)} and texts {tuple(texts.shape)} must be (N, D) alike"
        )
    similarities = scale * normalize(images, dim=1) @ normalize(in_float64(texts), dim=1).T
    matches = torch.arange(len(images), device=images.device)
    return (cross_entropy(similarities, matches) + cross_entropy(similarities.T, matches)) / 2


class ContrastiveLoss(nn.Module):
    """`contrastive_loss` with a learned temperature, starting at 0.07.

    As in CLIP, the parameter itself is clipped before a step. If the inverse temperature were
    clipped instead, it would have no gradient at the limit and could not come back.

    Example:
        >>> loss = ContrastiveLoss()
        >>> value = loss(embeddings, texts)
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(INITIAL_TEMPERATURE)))

    def forward(self, embeddings: Tensor, texts: Tensor) -> Tensor:
        """Return the scalar loss of embeddings of images and of their texts, both (N, D)."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        return contrastive_loss(embeddings, texts, self.scale())

    def scale(self) -> Tensor:
        """The inverse temperature, at most 100 in training."""
        return self.log_scale.exp()
