"""Logit adjustment and balanced softmax: cross-entropy that knows how often each class occurs."""

from torch import Tensor

from src.losses.batch import check_positive
from src.losses.linear import LinearCrossEntropyLoss


class LogitAdjustedLoss(LinearCrossEntropyLoss):
    """Cross-entropy of a linear head whose logits are raised by the logarithm of class shares, [0].

    With n_k the training samples of class k, pi_k = n_k / sum_l n_l, and y_i the class of sample i,

        l = -mean_i log p_i,y_i,    p_i = softmax(f_i + tau log pi),    f_i = W x_i + b

    With tau = 1 it is the balanced softmax of [1], p_ik = n_k exp(f_ik) / sum_l n_l exp(f_il): one
    equation, found twice. Rare classes must have the larger f for it, so that their margin grows.

    The loss is the likelihood of p, whatever tau: p is the posterior under the shares of training,
    and what `logits` gives. The softmax of f, which [0] and [1] predict by, is for tau = 1 the
    posterior if all classes were equally frequent. As b is learned, the loss is plain cross-entropy
    with a bias that starts at tau log pi: of the posterior, no more than its start is new.

    Args:
        num_classes: K.
        embedding_dim: D.
        class_counts: n, (K,), above 0.
        tau: The power of shares, above 0.

    Raises:
        ValueError: If tau or a count is not above 0, or there are other than K counts.

    Example:
        >>> counts = labels.sum(dim=0)
        >>> loss = LogitAdjustedLoss(10, 25, class_counts=counts, tau=1.0)
        >>> value = loss(embeddings, labels)

    References:
        [0] Menon et al., *Long-Tail Learning via Logit Adjustment*, ICLR 2021,
        https://arxiv.org/abs/2007.07314
        [1] Ren et al., *Balanced Meta-Softmax for Long-Tailed Visual Recognition*, NeurIPS 2020,
        https://arxiv.org/abs/2007.10740
    """

    log_shares: Tensor  # log pi, (K,), float64

    def __init__(
        self, num_classes: int, embedding_dim: int, class_counts: Tensor, tau: float
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        check_positive(tau=tau)
        counts = class_counts.double()
        if counts.shape != (num_classes,) or not (counts > 0).all() or counts.isinf().any():
            raise ValueError(
                f"class_counts must be {num_classes} numbers above 0, not {class_counts.tolist()}"
            )
        self.tau = tau
        self.register_buffer("log_shares", (counts / counts.sum()).log())

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits of the posterior p for embeddings (N, D): f + tau log pi, (N, K), in float64."""
        evidence = self.balanced_logits(embeddings)
        return evidence + self.tau * self.log_shares.to(evidence)

    def balanced_logits(self, embeddings: Tensor) -> Tensor:
        """Logits f, (N, K), in float64, of embeddings (N, D)."""
        return super().logits(embeddings)

    def extra_repr(self) -> str:
        return f"tau={self.tau}"
