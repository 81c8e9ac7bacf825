"""From embeddings to probabilities of the minterms of a table, and from those to propositions."""

from collections.abc import Sequence
from math import exp

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.readouts.readout import IMPOSSIBLE, LOG_TEMPERATURES, Readout, most_likely
from src.subspaces.minterms import MAX_MINTERMS, find_minterms
from src.subspaces.propositions import Proposition, truth_table

FREQUENCY_WEIGHTS = (-5.0, 5.0)  # where the weight of frequencies is looked for


class MintermReadout(Readout):
    """Base of readouts with a probability for each minterm of a table; a subclass says how.

    The probability of a proposition is the sum over the minterms that satisfy it. Two numbers make
    probabilities fit held-out images, see `calibrate`.

    Args:
        minterms: (M, C), at most 4,096.

    Raises:
        ValueError: If there are more.
    """

    # (M,), training images of each minterm; None where logits learn how frequent minterms are
    counts: Tensor | None
    minterms: Tensor  # (M, C), bool
    frequency_weight: Tensor  # scalar

    def __init__(self, minterms: Tensor) -> None:
        super().__init__()
        if len(minterms) > MAX_MINTERMS:
            raise ValueError(
                f"{len(minterms):,} minterms are more than the {MAX_MINTERMS:,} of a table: set "
                "readout=literal_discriminants module.label_coding=complements"
            )
        self.register_buffer("minterms", minterms.bool())
        self.register_buffer("counts", None)
        self.register_buffer("frequency_weight", torch.zeros((), dtype=torch.float64))

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """log p(m | x) up to a constant for each of the embeddings (N, D): (N, M), float64."""
        raise NotImplementedError

    def minterm_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        """p(m | x), or with the temperature T and the frequency weight w that `calibrate` found,
        what is proportional to p(m | x)^(1 / T) n_m^w for n_m training images of m.

        Args:
            embeddings: (N, D).
            calibrated: Which of the two.

        Returns:
            (N, M), float64, rows summing to 1.
        """
        logits = self.minterm_logits(embeddings)
        if calibrated:
            logits = self._calibrated(logits, self.temperature, self.frequency_weight)
        return logits.softmax(dim=1)

    def literal_probabilities(self, embeddings: Tensor) -> Tensor:
        return self.minterm_probabilities(embeddings) @ self.minterms.double()

    def proposition_probabilities(
        self, embeddings: Tensor, propositions: Sequence[Proposition], calibrated: bool = False
    ) -> Tensor:
        probabilities = self.minterm_probabilities(embeddings, calibrated)
        return probabilities @ self.masks(propositions).double().T

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        return self.minterms[self.minterm_probabilities(embeddings, calibrated).argmax(dim=1)]

    def top_minterms(self, embedding: Tensor, k: int) -> tuple[Tensor, Tensor]:
        (probabilities,) = self.minterm_probabilities(embedding.unsqueeze(0))
        values, index = probabilities.topk(min(k, len(probabilities)))
        return values, self.minterms[index]

    def can_hold(self, proposition: Proposition) -> bool:
        return bool(proposition.holds(self.minterms).any())

    def masks(self, propositions: Sequence[Proposition]) -> Tensor:
        """The minterms that satisfy each proposition: (Q, M), bool."""
        return truth_table(propositions, self.minterms).T

    @torch.no_grad()
    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Set the temperature and, where `counts` are known, the weight of frequencies that make
        the minterms of held-out images most likely.

        Bias-corrected temperature scaling [0] fits a bias for every class. Here the biases are one
        number times the log frequencies, since held-out images of rare minterms are few.
        Minterms that are not in the table count nothing.

        Args:
            embeddings: (N, D).
            labels: (N, C).

        References:
            [0] Alexandari, Kundaje, Shrikumar, *Maximum Likelihood with Bias-Corrected Calibration
            is Hard-To-Beat at Label Shift Adaptation*, ICML 2020, https://arxiv.org/abs/1901.06852
        """
        index = find_minterms(labels, self.minterms)
        known = index >= 0
        logits = self.minterm_logits(embeddings[known]).clamp(min=-IMPOSSIBLE)
        index = index[known]
        if not len(index):
            return

        def loss_and_gradient(parameters: Sequence[float]) -> tuple[float, tuple[float, float]]:
            log_temperature, weight = parameters
            calibrated = self._calibrated(logits, exp(log_temperature), weight)
            excess = calibrated.softmax(dim=1)
            excess[torch.arange(len(index)), index] -= 1
            # By the log temperature, logits / T has the derivative -logits / T.
            by_temperature = -(excess * logits).sum() / exp(log_temperature)
            by_weight = (excess * self._log_frequencies()).sum()
            gradient = (float(by_temperature) / len(index), float(by_weight) / len(index))
            return float(cross_entropy(calibrated, index)), gradient

        bounds = (LOG_TEMPERATURES, (0.0, 0.0) if self.counts is None else FREQUENCY_WEIGHTS)
        log_temperature, weight = most_likely(loss_and_gradient, bounds)
        self.temperature.fill_(exp(log_temperature))
        self.frequency_weight.fill_(weight)

    def _calibrated(
        self, logits: Tensor, temperature: Tensor | float, weight: Tensor | float
    ) -> Tensor:
        return logits / temperature + weight * self._log_frequencies()

    def _log_frequencies(self) -> Tensor:
        """log n_m, (M,), or 0 where there is no image or logits know them."""
        if self.counts is None:
            return self.temperature.new_zeros(len(self.minterms))
        counts = self.counts.double()
        return torch.where(counts > 0, counts, 1.0).log()
