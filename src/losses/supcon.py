"""Supervised contrastive loss (SupCon)."""

from torch import Tensor, nn

from src.losses.batch import check_positive, of_whole_batch, partition
from src.losses.simclr import log_softmax_over_others


@of_whole_batch
def supcon_loss(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Contrast of each sample's class with all others, equation (2) of [0].

    With cos_ij the cosine of embeddings i and j, P(i) the other samples of i's class, and t the
    temperature,

        l = mean_i -1 / |P(i)| sum_{j in P(i)} log p_ij,
        p_ij = exp(cos_ij / t) / sum_{k != i} exp(cos_ik / t)

    over the samples that have others of their class in the batch.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}, one class per sample.
        temperature: t.

    Returns:
        A scalar.

    Raises:
        ValueError: If temperature is out of range, the shapes do not match, labels do not mark one
            class per sample, or no class has two samples.

    Example:
        >>> value = supcon_loss(embeddings, labels, temperature=0.1)

    References:
        [0] Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020,
        https://arxiv.org/abs/2004.11362
    """
    check_positive(temperature=temperature)
    indicators = partition(labels).to(embeddings)
    positives = (indicators @ indicators.T).fill_diagonal_(0)
    numbers = positives.sum(dim=1)
    if not numbers.any():
        raise ValueError("no class has two samples in the batch; use larger batches")
    log_probabilities = log_softmax_over_others(embeddings, temperature)
    means = (positives * log_probabilities).sum(dim=1) / numbers.clamp(min=1)
    return -means[numbers > 0].mean()


class SupConLoss(nn.Module):
    """`supcon_loss` with its temperature.

    Args:
        temperature: Divides the cosines.

    Raises:
        ValueError: If temperature is not above 0.

    Example:
        >>> loss = SupConLoss(temperature=0.1)
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def __init__(self, temperature: float) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return supcon_loss(embeddings, labels, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
