"""From embeddings to probabilities of minterms, and from those to literals and propositions."""

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class MintermReadout(nn.Module):
    """Base of all that assign probabilities to minterms; a subclass says how.

    Args:
        minterms: (M, C).
    """

    minterms: Tensor  # (M, C), bool

    def __init__(self, minterms: Tensor) -> None:
        super().__init__()
        self.register_buffer("minterms", minterms.bool())

    def minterm_probabilities(self, embeddings: Tensor) -> Tensor:
        """p(m | x) for embeddings (N, D): (N, M), float64, rows summing to 1."""
        raise NotImplementedError

    def literal_probabilities(self, embeddings: Tensor) -> Tensor:
        """Probability of every literal for embeddings (N, D): (N, C)."""
        return self.proposition_probabilities(embeddings, self.minterms.T)

    def proposition_probabilities(self, embeddings: Tensor, masks: Tensor) -> Tensor:
        """Probability of propositions: the sum over the minterms that satisfy them.

        Args:
            embeddings: (N, D).
            masks: (Q, M), the minterms that satisfy each proposition.

        Returns:
            (N, Q).
        """
        return self.minterm_probabilities(embeddings) @ masks.double().T

    def predict(self, embeddings: Tensor) -> Tensor:
        """Labels of the most probable minterm of embeddings (N, D): (N, C), bool."""
        return self.minterms[self.minterm_probabilities(embeddings).argmax(dim=1)]


class SoftmaxReadout(MintermReadout):
    """Embeddings are logits of minterms, as cross-entropy over minterms trains them: D = M."""

    def minterm_probabilities(self, embeddings: Tensor) -> Tensor:
        return embeddings.double().softmax(dim=1)


class SigmoidReadout(MintermReadout):
    """Embeddings are logits of independent literals, as binary cross-entropy trains them: D = C.

    Its minterms are all 2^C assignments, so that the probability of a conjunction is the product
    of those of its literals.

    Args:
        num_literals: C, at most 12.

    Raises:
        ValueError: If there are more.
    """

    def __init__(self, num_literals: int) -> None:
        if num_literals > 12:
            raise ValueError(f"a sigmoid readout takes at most 12 literals, not {num_literals}")
        super().__init__(torch.tensor(list(product((False, True), repeat=num_literals))))

    def minterm_probabilities(self, embeddings: Tensor) -> Tensor:
        logits = embeddings.double()
        present = self.minterms.double()
        log_joint = logsigmoid(logits) @ present.T + logsigmoid(-logits) @ (1 - present).T
        return log_joint.exp()
