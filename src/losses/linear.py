"""Cross-entropy of a linear head over embeddings."""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from src.losses.batch import check_classes, check_shapes, in_float64, loss_value


class LinearCrossEntropyLoss(nn.Module):
    """Softmax cross-entropy of logits that a learned linear layer makes of embeddings.

        l = -mean over i of log p_i of its class,    p_i = softmax(W x_i + b)

    Labels between 0 and 1 are probabilities of classes, for which the loss is the expected one.

    Args:
        num_classes: K.
        embedding_dim: D.

    Example:
        >>> loss = LinearCrossEntropyLoss(num_classes=10, embedding_dim=25)
        >>> value = loss(embeddings, labels)
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, num_classes)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, K).

        Raises:
            ValueError: If the shapes do not match, there are other than K columns of labels, or
                labels do not mark one class per sample, nor sum to 1.
            NonFiniteEmbeddingsError: If embeddings hold NaN or infinity.
        """
        check_shapes(embeddings, labels)
        check_classes(labels)
        if labels.shape[1] != self.linear.out_features:
            raise ValueError(
                f"a head of {self.linear.out_features} classes does not fit labels "
                f"{tuple(labels.shape)}"
            )
        logits = self.logits(embeddings)
        return loss_value(cross_entropy(logits, labels.to(logits)), embeddings)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K), in float64, of embeddings (N, D)."""
        vectors = in_float64(embeddings)
        return vectors @ self.linear.weight.to(vectors).T + self.linear.bias.to(vectors)
