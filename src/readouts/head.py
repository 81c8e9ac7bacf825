"""Logits of minterms from a head that the loss trains."""

from torch import Tensor, nn

from src.losses.batch import LossWithHead
from src.readouts.minterms import MintermReadout


class HeadReadout(MintermReadout):
    """The loss makes logits of minterms by what it trains along with the embeddings.

    Args:
        minterms: (M, C).
        loss: The loss of the run.

    Raises:
        ValueError: If the loss has no `logits`.
    """

    name = "head"

    def __init__(self, minterms: Tensor, loss: nn.Module) -> None:
        if not isinstance(loss, LossWithHead):
            raise ValueError(f"{type(loss).__name__} has no head: set readout=subspaces")
        super().__init__(minterms)
        self.logits = loss.logits

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return self.logits(embeddings).double()
