"""The nuclear-norm loss and a small share of the likelihood of discriminants, which are solved at
each step instead of learned.

Every column c of the labels divides images into two classes, which are taken for Gaussian with one
covariance. With x_i an embedding and y_ic its label,

    l(X) = ||Z||_* - alpha ||X||_* + beta ||X||_2^2 - gamma sum_i sum_c log p(y_ic | x_i)
    p(y_ic = 1 | x_i) = sigmoid(w_c . x_i + b_c)

where w_c and b_c follow in closed form, by `solve_discriminants`, from moments of the batches so
far, each of which counts less by a factor d with every batch that follows:

    M <- d M + (1 - d) / N sum_i z_i z_i^T,    z_i = [1; y_i; x_i]

They are constants of the step: gradients reach embeddings alone, and there is nothing to learn
beside the encoder. Moments are of the batch that all processes hold together, and so is the loss.

References:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from src.losses.batch import check_positive, in_float64, whole_batch
from src.losses.discriminants import solve_discriminants
from src.losses.nuclear import NuclearNormLoss

CERTAIN = 30.0  # the logit of a label that all images so far had


class NuclearDiscriminantLoss(NuclearNormLoss):
    """The nuclear norm with the likelihood of one discriminant for each column of the labels.

    The moments are buffers, so that training goes on from a checkpoint as it would have. The
    likelihood sets in once they span 1 / (1 - d) batches.

    Args:
        num_labels: C, columns of the labels.
        embedding_dim: D.
        alpha: Weight of the embeddings' nuclear norm, in (0, 1).
        beta: Weight of the squared spectral norm, positive.
        gamma: Weight of the negative log-likelihood, positive.
        averaging: d, in (0, 1): moments remember about 1 / (1 - d) batches.
        shrinkage: Share of the spherical part in covariances, in (0, 1].

    Raises:
        ValueError: If a parameter is out of range.

    Example:
        >>> loss = NuclearDiscriminantLoss(
        ...     10, 25, alpha=0.99, beta=0.02, gamma=0.01, averaging=0.95, shrinkage=0.01
        ... )
        >>> value = loss(embeddings, labels)
    """

    moment: Tensor  # (1 + C + D, 1 + C + D), float64
    batches: Tensor  # scalar, how many the moment has seen

    def __init__(
        self,
        num_labels: int,
        embedding_dim: int,
        alpha: float,
        beta: float,
        gamma: float,
        averaging: float,
        shrinkage: float,
    ) -> None:
        super().__init__(alpha, beta)
        check_positive(gamma=gamma, averaging=averaging, shrinkage=shrinkage)
        if averaging >= 1:
            raise ValueError(f"averaging must be below 1, such as 0.95, not {averaging}")
        if shrinkage > 1:
            raise ValueError(f"shrinkage must be at most 1, not {shrinkage}")
        self.gamma = gamma
        self.averaging = averaging
        self.shrinkage = shrinkage
        size = 1 + num_labels + embedding_dim
        self.register_buffer("moment", torch.zeros(size, size, dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, C), in [0, 1]."""
        norms = super().forward(embeddings, labels)
        vectors, labels = whole_batch(in_float64(embeddings), labels)
        labels = labels.to(vectors)
        if self.training:
            self._update(vectors.detach(), labels)
        if self.batches < 1 / (1 - self.averaging):
            return norms
        logits = self._logits(vectors, labels.shape[1])
        misfit = binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        self.other_terms = self.gamma * misfit.detach()
        return norms + (self.gamma * misfit).to(norms.dtype)

    def _update(self, vectors: Tensor, labels: Tensor) -> None:
        stacked = torch.cat([torch.ones_like(labels[:, :1]), labels, vectors], dim=1)
        self.moment.lerp_(stacked.T @ stacked / len(stacked), 1 - self.averaging)
        self.batches += 1

    def _logits(self, vectors: Tensor, num_labels: int) -> Tensor:
        upper, lower = self.moment.tensor_split([1 + num_labels])
        squares, products = upper.tensor_split([1 + num_labels], dim=1)
        scatter = lower[:, 1 + num_labels :]
        weights, biases = solve_discriminants(squares, products, scatter, self.shrinkage)
        return vectors @ weights.T + biases.clamp(-CERTAIN, CERTAIN)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gamma={self.gamma}"
