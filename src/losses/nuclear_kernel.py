"""The nuclear-norm loss in the feature space of a Gaussian kernel.

The encoder gives a position x_i and a norm n_i per image. Its features phi_i, of length |n_i| in
the space of the kernel, are known by their products alone,

    K_ij = phi_i . phi_j = n_i n_j exp(-||x_i - x_j||^2)

With Phi the matrix of features and Y (C x N) that of labels, ||Phi||_* is the sum of the roots of
the eigenvalues of K, and the norm of the stack [Y; Phi] that of Y^T Y + K. The gradient of such a
sum by K is K^(-1/2) / 2, as in `src.losses.spectra`.

References:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213
    [1] https://github.com/gabmoreira/subspaces
"""

import torch
from torch import Tensor, nn

from src.losses.batch import of_whole_batch
from src.losses.nuclear import NuclearNormTerms, check_alpha_beta
from src.losses.spectra import root_sum


@of_whole_batch
def nuclear_kernel_loss(embeddings: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Nuclear-norm loss of one batch with the features of a Gaussian kernel.

        l = tr (Y^T Y + K)^(1/2) - alpha tr K^(1/2) + beta lambda_max(K)

    Args:
        embeddings: (N, D + 1): positions, and in the last column the norms.
        labels: (N, C), usually in {0, 1}.
        alpha: Weight of the features' nuclear norm, in (0, 1).
        beta: Weight of their squared spectral norm, positive.

    Returns:
        A scalar.

    Raises:
        ValueError: If alpha or beta is out of range, the shapes do not match, or embeddings have
            less than two columns.
        NonFiniteEmbeddingsError: If embeddings hold NaN or infinity.

    Example:
        >>> value = nuclear_kernel_loss(embeddings, labels, alpha=0.99, beta=0.05)
    """
    check_alpha_beta(alpha, beta)
    label_vectors = labels.to(embeddings)
    kernel = gaussian_kernel(embeddings)
    joint_nuclear = root_sum(label_vectors @ label_vectors.T + kernel)[0]
    return NuclearNormTerms(joint_nuclear, *root_sum(kernel)).combine(alpha, beta)


def gaussian_kernel(embeddings: Tensor) -> Tensor:
    """K, (N, N), of positions and norms (N, D + 1).

    Raises:
        ValueError: If there are less than two columns.
    """
    if embeddings.shape[1] < 2:
        raise ValueError(
            "the kernel takes positions and, in the last column, norms: at least 2 columns, "
            f"not {embeddings.shape[1]}; set encoder.embedding_dim=2 or more"
        )
    positions, norms = embeddings[:, :-1], embeddings[:, -1]
    return norms.outer(norms) * squared_distances(positions, positions).neg().exp()


def squared_distances(positions: Tensor, others: Tensor) -> Tensor:
    """||x_i - y_j||^2, (N, M), of positions (N, D) and others (M, D), by differences: by squares
    and products it is rounding error where positions are large.
    """
    return torch.cdist(positions, others, compute_mode="donot_use_mm_for_euclid_dist").square()


class NuclearKernelLoss(nn.Module):
    """`nuclear_kernel_loss` with its two weights.

    Args:
        alpha: Weight of the features' nuclear norm, in (0, 1).
        beta: Weight of their squared spectral norm, positive.

    Raises:
        ValueError: If alpha or beta is out of range.

    Example:
        >>> loss = NuclearKernelLoss(alpha=0.99, beta=0.05)
        >>> value = loss(embeddings, labels)
    """

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        check_alpha_beta(alpha, beta)
        self.alpha = alpha
        self.beta = beta

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D + 1) and labels (N, C)."""
        return nuclear_kernel_loss(embeddings, labels, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}"
