"""I-Con: divergence of the neighbours that embeddings say from those that labels say."""

import torch
from torch import Tensor, nn

from src.losses.batch import check_positive, class_members, of_whole_batch
from src.losses.simclr import log_softmax_over_others


@of_whole_batch
def icon_loss(
    embeddings: Tensor, labels: Tensor, temperature: float, uniform_share: float
) -> Tensor:
    """Mean Kullback-Leibler divergence of distributions over the other samples of a batch, [0].

    With y_i the labels of sample i, cos_ij the cosine of embeddings, t the temperature, a the
    uniform share and N the number of samples,

        l = mean_i sum_{j != i} p_ij log (p_ij / q_ij)
        p_ij = (1 - a) y_i . y_j / sum_{k != i} y_i . y_k + a / (N - 1)
        q_ij = exp(cos_ij / t) / sum_{k != i} exp(cos_ik / t)

    over the samples that share a label with another of the batch. Labels may overlap: a sample is
    the nearer the more labels it shares. The uniform part is what [0] calls debiasing, as not all
    samples of other classes are equally far.

    For a = 0 and one class per sample it is `supcon_loss` less the entropy of p, the mean of
    log |P(i)|, which no embedding changes; with two samples of each class that is 0, and it is
    `simclr_loss` of two views. From [0], whose full text could not be read, are the divergence, its
    special cases and the mixture; ours is that p alone is mixed, over other samples, and the form
    for overlapping labels.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}.
        temperature: t.
        uniform_share: a, in [0, 1).

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: If a parameter is out of range, the shapes do not match, a label is neither 0
            nor 1, or no two samples have one in common.

    Example:
        >>> value = icon_loss(embeddings, labels, temperature=0.1, uniform_share=0.1)

    References:
        [0] Alshammari et al., *I-Con: A Unifying Framework for Representation Learning*, ICLR 2025,
        https://arxiv.org/abs/2504.16929
    """
    _check_parameters(temperature, uniform_share)
    present = class_members(labels).to(embeddings)
    shared = (present @ present.T).fill_diagonal_(0)
    totals = shared.sum(dim=1, keepdim=True)
    related = totals.squeeze(1) > 0
    if not related.any():
        raise ValueError("no label is that of two samples in the batch; use larger batches")
    uniform = uniform_share / (len(shared) - 1)
    supervised = (1 - uniform_share) * shared / totals.clamp(min=1) + uniform
    supervised = supervised.fill_diagonal_(0)
    learned = log_softmax_over_others(embeddings, temperature)
    divergence = torch.xlogy(supervised, supervised) - supervised * learned
    return divergence.sum(dim=1)[related].mean()


class IConLoss(nn.Module):
    """`icon_loss` with its parameters.

    Args:
        temperature: Divides the cosines.
        uniform_share: Of the distribution that labels say, in [0, 1).

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> loss = IConLoss(temperature=0.1, uniform_share=0.1)
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def __init__(self, temperature: float, uniform_share: float) -> None:
        super().__init__()
        _check_parameters(temperature, uniform_share)
        self.temperature = temperature
        self.uniform_share = uniform_share

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return icon_loss(embeddings, labels, self.temperature, self.uniform_share)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, uniform_share={self.uniform_share}"


def _check_parameters(temperature: float, uniform_share: float) -> None:
    check_positive(temperature=temperature)
    if not 0 <= uniform_share < 1:
        raise ValueError(f"uniform_share must be at least 0 and below 1, not {uniform_share}")
