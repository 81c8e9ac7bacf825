"""Maximum manifold capacity representations (MMCR), over classes."""

from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.batch import class_members, of_whole_batch
from src.losses.spectra import nuclear_norm


@of_whole_batch
def mmcr_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Minus the nuclear norm of the class means: [0] with classes as manifolds.

    With embeddings x_i scaled to unit length, without which the loss has no minimum,

        l = -||C||_*,    column k of C = mean of x_i over the samples i of class k

    over the classes that the batch has. Means are longest where a class is one vector, and their
    nuclear norm largest where they are orthogonal. Classes may overlap.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}.

    Returns:
        A scalar.

    Raises:
        ValueError: If the shapes do not match, or labels are not in {0, 1} or mark no class.

    Example:
        >>> value = mmcr_loss(embeddings, labels)

    References:
        [0] Yerxa et al., *Learning Efficient Coding of Natural Images with Maximum Manifold
        Capacity Representations*, NeurIPS 2023, https://arxiv.org/abs/2303.03307
    """
    vectors = normalize(embeddings, dim=1)
    weights = normalize(class_members(labels).to(vectors), p=1, dim=0)  # (N, P), columns sum to 1
    return -nuclear_norm(weights.T @ vectors)


class MMCRLoss(nn.Module):
    """`mmcr_loss` as a module.

    Example:
        >>> loss = MMCRLoss()
        >>> value = loss(embeddings, labels)
    """

    needs_known_labels = True  # by which it groups images

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K)."""
        return mmcr_loss(embeddings, labels)
