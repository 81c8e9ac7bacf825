"""Logits of minterms from a head that the loss trains."""

from collections.abc import Callable

from torch import Tensor

from src.readouts.readout import Readout


class HeadReadout(Readout):
    """Logits of minterms come from what was trained along with the embeddings.

    Args:
        minterms: (M, C).
        logits: Maps embeddings (N, D) to logits (N, M).
    """

    def __init__(self, minterms: Tensor, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__(minterms)
        self.logits = logits

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return self.logits(embeddings).double()
