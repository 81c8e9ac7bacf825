"""Logits of independent literals as embeddings."""

from torch import Tensor, nn

from src.readouts.literals import LiteralReadout


class SigmoidReadout(LiteralReadout):
    """Embeddings are logits of independent literals, as binary cross-entropy trains them: D = C.

    Args:
        literals: (C,), names.
    """

    name = "sigmoid"
    label_codings = ("literals",)
    trained_by = (nn.BCEWithLogitsLoss,)

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int:
        return minterms.shape[1]

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()
