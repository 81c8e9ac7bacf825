"""Logits of minterms as embeddings."""

from torch import Tensor, nn

from src.readouts.minterms import MintermReadout


class SoftmaxReadout(MintermReadout):
    """Embeddings are logits of minterms, as cross-entropy over minterms trains them: D = M.

    Args:
        minterms: (M, C).
    """

    name = "softmax"
    trained_by = (nn.CrossEntropyLoss,)

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int:
        return len(minterms)

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()
