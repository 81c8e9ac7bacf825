"""Likelihood of literals by a head that makes their log odds of embeddings."""

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from src.losses.batch import check_probabilities, check_shapes, loss_value


class LiteralHead(nn.Module):
    """Base of losses with a learned region for every literal; a subclass says how they make logits.

    Literals are independent given the embedding:

        l = -mean over i and c of log p(y_ic | x_i),    p(y_ic = 1 | x_i) = sigmoid(logit_ic)

    A label between 0 and 1 is the probability of a literal, for which the loss is the expected one.

    Args:
        num_labels: C.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels

    def logits(self, embeddings: Tensor) -> Tensor:
        """Log odds of literals, (N, C), in float64, of embeddings (N, D)."""
        raise NotImplementedError

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of embeddings (N, D) and labels (N, C), in [0, 1].

        Raises:
            ValueError: If the shapes do not match, there are other than C columns of labels, or a
                label is not in [0, 1].
            NonFiniteEmbeddingsError: If embeddings hold NaN or infinity.
        """
        check_shapes(embeddings, labels)
        check_probabilities(labels)
        if labels.shape[1] != self.num_labels:
            raise ValueError(
                f"a head of {self.num_labels} literals does not fit labels {tuple(labels.shape)}"
            )
        logits = self.logits(embeddings)
        return loss_value(binary_cross_entropy_with_logits(logits, labels.to(logits)), embeddings)
