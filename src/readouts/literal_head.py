"""Log odds of literals from a head that the loss trains."""

from collections.abc import Sequence

from torch import Tensor

from src.losses.literal_head import LiteralHead
from src.readouts.literals import LiteralReadout


class LiteralHeadReadout(LiteralReadout):
    """The loss makes log odds of literals by the regions that it trains: boxes or soft subspaces.

    Args:
        literals: (C,), names.
        loss: The loss of the run.
    """

    name = "literal_head"
    label_codings = ("literals",)
    trained_by = (LiteralHead,)

    def __init__(self, literals: Sequence[str], loss: LiteralHead) -> None:
        super().__init__(literals)
        self.logits = loss.logits

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        return self.logits(embeddings).double()
