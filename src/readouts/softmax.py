"""Logits of minterms as embeddings."""

from torch import Tensor

from src.readouts.readout import Readout


class SoftmaxReadout(Readout):
    """Embeddings are logits of minterms, as cross-entropy over minterms trains them: D = M."""

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()
