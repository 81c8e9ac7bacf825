"""From embeddings to probabilities of independent literals, and from those to propositions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from src.readouts.contrasts import contrasts
from src.readouts.readout import PROBABILITIES, Readout
from src.subspaces.decision_diagrams import is_satisfiable, model_count
from src.subspaces.minterms import MAX_MINTERMS, all_minterms
from src.subspaces.propositions import Proposition, evaluate_independent


class LiteralReadout(Readout):
    """Base of readouts with a probability for each literal; a subclass says how.

    Literals are independent given the image, so that any of the 2^C minterms has as its probability
    the product of those of its literals, and a proposition the sum over the minterms that satisfy
    it. It is taken exactly over the literals that the proposition names (`model_count`), and no
    table of minterms is kept. The score `inclusion_exclusion` is that of `evaluate_independent`:
    the same where no literal occurs twice in a proposition.

    Args:
        literals: (C,), names.
    """

    score_kinds = (*PROBABILITIES, "inclusion_exclusion")

    def __init__(self, literals: Sequence[str]) -> None:
        super().__init__(len(literals))

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        """Log odds of literals for embeddings (N, D): (N, C), float64."""
        raise NotImplementedError

    def literal_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self._logits(embeddings, calibrated).sigmoid()

    def proposition_probabilities(
        self, embeddings: Tensor, propositions: Sequence[Proposition], calibrated: bool = False
    ) -> Tensor:
        logits = self._logits(embeddings, calibrated)
        return model_count(propositions, logits.sigmoid(), (-logits).sigmoid())

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self._logits(embeddings, calibrated) > 0

    def top_minterms(self, embedding: Tensor, k: int) -> tuple[Tensor, Tensor]:
        (logits,) = self._logits(embedding.unsqueeze(0), calibrated=True)
        # The k best differ from the best in some of the k - 1 least certain literals at most.
        doubtful = logits.abs().argsort()[: k - 1]
        flips = all_minterms(len(doubtful)).to(logits.device)
        minterms = (logits > 0).repeat(len(flips), 1)
        minterms[:, doubtful] ^= flips
        probabilities = torch.where(minterms, logits, -logits).sigmoid().prod(dim=1)
        values, index = probabilities.topk(min(k, len(probabilities)))
        return values, minterms[index]

    def can_hold(self, proposition: Proposition) -> bool:
        return is_satisfiable(proposition)

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind != "inclusion_exclusion":
            return super().score(embeddings, propositions, kind)
        return evaluate_independent(propositions, self.literal_probabilities(embeddings))

    @torch.no_grad()
    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        truth = labels.double()

        def misfit(logits: Tensor) -> tuple[Tensor, Tensor]:
            loss = binary_cross_entropy_with_logits(logits, truth, reduction="sum")
            return loss, logits.sigmoid() - truth

        def right(logits: Tensor) -> Tensor:
            return ((logits > 0) == labels.bool()).all(dim=1)

        logits = self.literal_logits(embeddings)
        self._maximize_likelihood(logits, torch.eye(logits.shape[1]).to(logits), misfit, right)

    def _logits(self, embeddings: Tensor, calibrated: bool) -> Tensor:
        logits = self.literal_logits(embeddings)
        return logits / self.temperature + self.literal_biases if calibrated else logits


def literal_contrasts(proposition: Proposition, weights: Tensor) -> Tensor:
    """`contrasts` of the minterms of the literals that a proposition names.

    Args:
        proposition: Over C literals.
        weights: (C, D), of their log odds.

    Returns:
        (n, D), float64.

    Raises:
        ValueError: If it names so many literals that no table holds their minterms.
    """
    named = proposition.columns
    if 2 ** len(named) > MAX_MINTERMS:
        raise ValueError(
            f"an index is asked for at most {MAX_MINTERMS.bit_length() - 1} literals in a query, "
            f"and this one has {len(named)}: set index=exact"
        )
    minterms = all_minterms(len(named)).to(weights.device)
    labels = minterms.new_zeros(len(minterms), len(weights))
    labels[:, named] = minterms
    return contrasts(labels.to(weights) @ weights, minterms, proposition.holds(labels))
