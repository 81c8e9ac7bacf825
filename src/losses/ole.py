"""Orthogonal low-rank embedding (OLE)."""

from torch import Tensor, nn

from src.losses.batch import class_members, of_whole_batch
from src.losses.spectra import nuclear_norm

LEAST_NORM = 1.0  # a class below it is pulled together no further, so that none collapses


@of_whole_batch
def ole_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Nuclear norms of the classes minus that of the batch, [0].

    With X (D x N) the embeddings and X_k those of class k,

        l = sum_k max(1, ||X_k||_*) - ||X||_*

    summed over the classes that the batch has. For disjoint classes it is at least 0, with equality
    where classes are orthogonal and their norms at least 1. Classes may overlap.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes do not match, or labels are not in {0, 1} or mark no class.

    Example:
        >>> value = ole_loss(embeddings, labels)

    References:
        [0] Lezama et al., *OLE: Orthogonal Low-rank Embedding, A Plug and Play Geometric Loss for
        Deep Learning*, CVPR 2018, https://arxiv.org/abs/1712.01727
    """
    loss = -nuclear_norm(embeddings)
    for member in class_members(labels).T:
        loss = loss + nuclear_norm(embeddings[member]).clamp(min=LEAST_NORM)
    return loss


class OLELoss(nn.Module):
    """`ole_loss` as a module.

    Example:
        >>> loss = OLELoss()
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return ole_loss(embeddings, labels)
