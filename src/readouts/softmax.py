"""Logits of minterms as embeddings."""

import torch
from torch import Tensor, nn

from src.readouts.contrasts import contrasts
from src.readouts.minterms import MintermReadout
from src.subspaces.propositions import Proposition


class SoftmaxReadout(MintermReadout):
    """Embeddings are logits of minterms, as cross-entropy over minterms trains them: D = M.

    Args:
        minterms: (M, C).
    """

    name = "softmax"
    trained_by = (nn.CrossEntropyLoss,)
    searched = "as they are"

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int:
        return len(minterms)

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()

    def search_vectors(self, proposition: Proposition) -> Tensor:
        weights = torch.eye(len(self.minterms)).to(self.literal_biases)
        return contrasts(weights, self.minterms, self.masks([proposition])[0])
