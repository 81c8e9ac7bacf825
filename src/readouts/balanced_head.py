"""Logits of minterms from a head that knows how often each minterm occurs in training."""

from collections.abc import Sequence

from torch import Tensor

from src.losses.logit_adjusted import LogitAdjustedLoss
from src.readouts.head import HeadReadout
from src.readouts.readout import PROBABILITIES
from src.subspaces.propositions import Proposition


class BalancedHeadReadout(HeadReadout):
    """The posterior under the shares of minterms in training and, as a further score, `balanced`.

    All probabilities, predictions and the calibration are of the posterior, as data to be asked are
    taken to be distributed as those of training. The score `balanced` is sum_{m in M(q)} of the
    softmax of f, the logits without tau log pi: the posterior divided by pi^tau, which is how the
    authors of the loss predict, and how logits are adjusted after training.

    Args:
        minterms: (M, C).
        loss: The loss of the run.
    """

    name = "balanced_head"
    trained_by = (LogitAdjustedLoss,)
    score_kinds = (*PROBABILITIES, "balanced")

    def __init__(self, minterms: Tensor, loss: LogitAdjustedLoss) -> None:
        super().__init__(minterms, loss)
        self.balanced_logits = loss.balanced_logits

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind != "balanced":
            return super().score(embeddings, propositions, kind)
        shares = self.balanced_logits(embeddings).double().softmax(dim=1)
        return shares @ self.masks(propositions).double().T
