"""From embeddings to probabilities of the minterms of a table, and from those to propositions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.readouts.readout import Readout
from src.subspaces.minterms import MAX_MINTERMS, find_minterms
from src.subspaces.propositions import Proposition, truth_table


class MintermReadout(Readout):
    """Base of readouts with a probability for each minterm of a table; a subclass says how.

    The probability of a proposition is the sum over the minterms that satisfy it.

    Args:
        minterms: (M, C), at most 4,096.

    Raises:
        ValueError: If there are more.
    """

    minterms: Tensor  # (M, C), bool

    def __init__(self, minterms: Tensor) -> None:
        super().__init__(minterms.shape[1])
        if len(minterms) > MAX_MINTERMS:
            raise ValueError(
                f"{len(minterms):,} minterms are more than the {MAX_MINTERMS:,} of a table: set "
                "method=bce, or method=nuclear_discriminant readout=literal_discriminants"
            )
        self.register_buffer("minterms", minterms.bool())

    def find(self, labels: Tensor) -> Tensor:
        """The row of the table that each of the labels (N, C) is: (N,), int64.

        Raises:
            ValueError: If one is none of the minterms.
        """
        index = find_minterms(labels, self.minterms)
        if (index < 0).any():
            row = labels[index < 0][0].int().tolist()
            raise ValueError(f"labels hold a minterm that the training set does not have: {row}")
        return index

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """log p(m | x) up to a constant for each of the embeddings (N, D): (N, M), float64."""
        raise NotImplementedError

    def minterm_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        """p(m | x) of every minterm, as the readout has it or calibrated.

        Args:
            embeddings: (N, D).
            calibrated: Which of the two.

        Returns:
            (N, M), float64, rows summing to 1.
        """
        logits = self.minterm_logits(embeddings)
        if calibrated:
            logits = logits / self.temperature + self.minterms.double() @ self.literal_biases
        return logits.softmax(dim=1)

    def literal_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self.minterm_probabilities(embeddings, calibrated) @ self.minterms.double()

    def proposition_probabilities(
        self, embeddings: Tensor, propositions: Sequence[Proposition], calibrated: bool = False
    ) -> Tensor:
        probabilities = self.minterm_probabilities(embeddings, calibrated)
        return probabilities @ self.masks(propositions).double().T

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self.minterms[self.minterm_probabilities(embeddings, calibrated).argmax(dim=1)]

    def top_minterms(self, embedding: Tensor, k: int) -> tuple[Tensor, Tensor]:
        (probabilities,) = self.minterm_probabilities(embedding.unsqueeze(0), calibrated=True)
        values, index = probabilities.topk(min(k, len(probabilities)))
        return values, self.minterms[index]

    def can_hold(self, proposition: Proposition) -> bool:
        return bool(proposition.holds(self.minterms).any())

    def masks(self, propositions: Sequence[Proposition]) -> Tensor:
        """The minterms that satisfy each proposition: (Q, M), bool."""
        return truth_table(propositions, self.minterms).T

    @torch.no_grad()
    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        """As `Readout.calibrate`. Images whose minterm is not in the table count nothing."""
        index = find_minterms(labels, self.minterms)
        known = index >= 0
        index = index[known]

        def misfit(logits: Tensor) -> tuple[Tensor, Tensor]:
            excess = logits.softmax(dim=1)
            excess[torch.arange(len(index)), index] -= 1
            return cross_entropy(logits, index, reduction="sum"), excess

        def right(logits: Tensor) -> Tensor:
            return logits.argmax(dim=1) == index

        logits = self.minterm_logits(embeddings[known]).log_softmax(dim=1)
        self._maximize_likelihood(logits, self.minterms, misfit, right)
