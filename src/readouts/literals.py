"""From embeddings to probabilities of independent literals, and from those to propositions."""

from collections.abc import Sequence
from math import exp

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from src.readouts.readout import IMPOSSIBLE, LOG_TEMPERATURES, PROBABILITIES, Readout, most_likely
from src.subspaces.decision_diagrams import is_satisfiable, model_count
from src.subspaces.minterms import all_minterms
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
        super().__init__()
        self.num_literals = len(literals)

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        """Log odds of literals for embeddings (N, D): (N, C), float64."""
        raise NotImplementedError

    def literal_probabilities(self, embeddings: Tensor) -> Tensor:
        return self.literal_logits(embeddings).sigmoid()

    def proposition_probabilities(
        self, embeddings: Tensor, propositions: Sequence[Proposition], calibrated: bool = False
    ) -> Tensor:
        logits = self.literal_logits(embeddings)
        if calibrated:
            logits = logits / self.temperature
        return model_count(propositions, logits.sigmoid(), (-logits).sigmoid())

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self.literal_logits(embeddings) > 0  # at any temperature

    def top_minterms(self, embedding: Tensor, k: int) -> tuple[Tensor, Tensor]:
        (logits,) = self.literal_logits(embedding.unsqueeze(0))
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
        """Set the temperature that makes the minterms of held-out images most likely.

        Args:
            embeddings: (N, D).
            labels: (N, C).
        """
        logits = self.literal_logits(embeddings).clamp(-IMPOSSIBLE, IMPOSSIBLE)
        truth = labels.double()
        if not len(truth):
            return

        def loss_and_gradient(parameters: Sequence[float]) -> tuple[float, tuple[float]]:
            tempered = logits / exp(parameters[0])
            loss = binary_cross_entropy_with_logits(tempered, truth, reduction="sum")
            # By the log temperature, logits / T has the derivative -logits / T.
            by_temperature = -((tempered.sigmoid() - truth) * tempered).sum()
            return float(loss) / len(truth), (float(by_temperature) / len(truth),)

        (log_temperature,) = most_likely(loss_and_gradient, (LOG_TEMPERATURES,))
        self.temperature.fill_(exp(log_temperature))
