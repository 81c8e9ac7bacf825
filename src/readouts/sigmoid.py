"""Logits of independent literals as embeddings."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from src.readouts.readout import PROBABILITIES, Readout
from src.subspaces.propositions import Proposition, evaluate_independent


class SigmoidReadout(Readout):
    """Embeddings are logits of independent literals, as binary cross-entropy trains them: D = C.

    Its minterms are all 2^C assignments, so that the probability of a conjunction is the product
    of those of its literals. The score `inclusion_exclusion` is that of `evaluate_independent`: the
    same where no literal occurs twice in a proposition.

    Args:
        minterms: (M, C) of the training split, with C at most 12.

    Raises:
        ValueError: If there are more.
    """

    name = "sigmoid"
    label_codings = ("literals",)
    trained_by = (nn.BCEWithLogitsLoss,)
    score_kinds = (*PROBABILITIES, "inclusion_exclusion")

    def __init__(self, minterms: Tensor) -> None:
        num_literals = minterms.shape[1]
        if num_literals > 12:
            raise ValueError(f"a sigmoid readout takes at most 12 literals, not {num_literals}")
        super().__init__(torch.tensor(list(product((False, True), repeat=num_literals))))

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int:
        return minterms.shape[1]

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        logits = embeddings.double()
        present = self.minterms.double()
        return logsigmoid(logits) @ present.T + logsigmoid(-logits) @ (1 - present).T

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind != "inclusion_exclusion":
            return super().score(embeddings, propositions, kind)
        return evaluate_independent(propositions, embeddings.double().sigmoid())
