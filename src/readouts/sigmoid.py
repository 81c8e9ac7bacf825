"""Logits of independent literals as embeddings."""

import torch
from torch import Tensor, nn

from src.readouts.literals import LiteralReadout, literal_contrasts
from src.subspaces.propositions import Proposition


class SigmoidReadout(LiteralReadout):
    """Embeddings are logits of independent literals, as binary cross-entropy trains them: D = C.

    Args:
        literals: (C,), names.
    """

    name = "sigmoid"
    label_codings = ("literals",)
    trained_by = (nn.BCEWithLogitsLoss,)
    searched = "as they are"

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int:
        return minterms.shape[1]

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()

    def search_vectors(self, proposition: Proposition) -> Tensor:
        weights = torch.eye(len(self.literal_biases)).to(self.literal_biases)
        return literal_contrasts(proposition, weights)
