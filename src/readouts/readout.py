"""From embeddings to probabilities of minterms, and from those to literals and propositions."""

from collections.abc import Iterator, Sequence
from math import exp
from typing import ClassVar

import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from src.subspaces.minterms import find_minterms
from src.subspaces.propositions import Proposition, truth_table

PROBABILITIES = ("probability", "calibrated")  # scores that every readout has
IMPOSSIBLE = 1000.0
LOG_TEMPERATURES = (-5.0, 5.0)  # where the temperature is looked for
FREQUENCY_WEIGHTS = (-5.0, 5.0)
GRADIENT_TOLERANCE = 1e-10  # so that rounding, or the number of processes, decides on no digit


class Readout(nn.Module):
    """Base of all that assign probabilities to minterms; a subclass says how.

    A subclass states what it needs: the codings of labels that a loss may see beside it, the losses
    that train it, the width of embeddings, and what it fits on the training split.

    Two numbers make its probabilities fit held-out images, see `calibrate`.

    Args:
        minterms: (M, C).
    """

    name: ClassVar[str]  # of its file in conf/readout
    # Codings of labels that losses may see beside it; the first is the default
    label_codings: ClassVar[tuple[str, ...]] = ("minterms",)
    # Losses that train this readout and no other; without any, all losses but those of others do
    trained_by: ClassVar[tuple[type[nn.Module], ...]] = ()
    score_kinds: ClassVar[tuple[str, ...]] = PROBABILITIES  # the first is the default
    # (M,), training images of each minterm; None where logits learn how frequent minterms are
    counts: Tensor | None
    minterms: Tensor  # (M, C), bool
    temperature: Tensor  # scalar
    frequency_weight: Tensor  # scalar

    def __init__(self, minterms: Tensor) -> None:
        super().__init__()
        self.register_buffer("minterms", minterms.bool())
        self.register_buffer("counts", None)
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))
        self.register_buffer("frequency_weight", torch.zeros((), dtype=torch.float64))

    @classmethod
    def number_of_logits(cls, minterms: Tensor) -> int | None:
        """Return D where embeddings are logits for minterms (M, C); None where D is free."""
        del minterms
        return None

    def check_coding(self, label_coding: str) -> None:
        """Raise ValueError unless a coding of labels is one of `label_codings`."""
        if label_coding not in self.label_codings:
            raise ValueError(
                f"readout={self.name} goes with module.label_coding="
                f"{' or '.join(self.label_codings)}, not {label_coding}"
            )

    def check_width(self, embedding_dim: int, label_coding: str) -> None:
        """Raise ValueError if embeddings of D dimensions do not fit the minterms.

        Args:
            embedding_dim: D.
            label_coding: One of `label_codings`.
        """
        del label_coding
        wanted = self.number_of_logits(self.minterms)
        if wanted is not None and embedding_dim != wanted:
            raise ValueError(
                f"a {self.name} readout takes {wanted} logits on this data, not {embedding_dim}; "
                "set encoder.embedding_dim=null"
            )

    def check_queries(self, queries: Sequence[Proposition]) -> None:
        """Raise ValueError if there is a proposition that it cannot score."""

    def encode_labels(self, labels: Tensor, label_coding: str) -> Tensor:
        """Make of labels (N, C) what a loss sees of them: the literals themselves, (N, C); with
        `complements` the literals and their negations, (N, 2 C), whose products Y^T Y count the
        literals on which two images agree; or for `minterms` indicators, (N, M), all 0 for a
        minterm that is not in the table.
        """
        if label_coding == "literals":
            return labels
        if label_coding == "complements":
            present = labels.bool()
            return torch.cat([present, ~present], dim=1)
        index = find_minterms(labels, self.minterms)
        return one_hot(index + 1, len(self.minterms) + 1)[:, 1:]

    def reset(self) -> None:
        """Forget what was accumulated. What was fitted stays."""

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of training embeddings (N, D) with labels (N, C) to what is fitted on."""

    def fit(self) -> None:
        """Fit what scores depend on to all that was added, on all processes, and reset."""

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
        """Probability of every literal for embeddings (N, D): (N, C)."""
        return self.proposition_probabilities(embeddings, self.minterms.T)

    def proposition_probabilities(
        self, embeddings: Tensor, masks: Tensor, calibrated: bool = False
    ) -> Tensor:
        """Probability of propositions: the sum over the minterms that satisfy them.

        Args:
            embeddings: (N, D).
            masks: (Q, M), the minterms that satisfy each proposition.
            calibrated: As in `minterm_probabilities`.

        Returns:
            (N, Q).
        """
        return self.minterm_probabilities(embeddings, calibrated) @ masks.double().T

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        """Retrieval scores of propositions, higher for better matches.

        Args:
            embeddings: (N, D).
            propositions: (Q,).
            kind: One of `score_kinds`; `probability` is p(q | x), `calibrated` the same after
                `calibrate`.

        Returns:
            (N, Q), float64.
        """
        masks = self.masks(propositions)
        return self.proposition_probabilities(embeddings, masks, calibrated=kind == "calibrated")

    @torch.no_grad()
    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Set the temperature [0] that makes the minterms of held-out images most likely, and with
        it, where `counts` are known, the weight of their frequencies [1].

        Bias-corrected temperature scaling [1] fits a bias for every class. Here the biases are one
        number times the log frequencies, since held-out images of rare minterms are few.
        Minterms that are not in the table count nothing.

        Args:
            embeddings: (N, D).
            labels: (N, C).

        References:
            [0] Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
            https://arxiv.org/abs/1706.04599
            [1] Alexandari, Kundaje, Shrikumar, *Maximum Likelihood with Bias-Corrected Calibration
            is Hard-To-Beat at Label Shift Adaptation*, ICML 2020, https://arxiv.org/abs/1901.06852
        """
        index = find_minterms(labels, self.minterms)
        known = index >= 0
        # A minterm that is held impossible costs much, but not infinitely.
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
        best = minimize(
            loss_and_gradient,
            (0.0, 0.0),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 0, "gtol": GRADIENT_TOLERANCE},
        )
        self.temperature.fill_(exp(best.x[0]))
        self.frequency_weight.fill_(best.x[1])

    def masks(self, propositions: Sequence[Proposition]) -> Tensor:
        """The minterms that satisfy each proposition: (Q, M), bool."""
        return truth_table(propositions, self.minterms).T

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        """Labels of the most probable minterm of embeddings (N, D): (N, C), bool."""
        return self.minterms[self.minterm_probabilities(embeddings, calibrated).argmax(dim=1)]

    def _calibrated(
        self, logits: Tensor, temperature: Tensor | float, weight: Tensor | float
    ) -> Tensor:
        return logits / temperature + weight * self._log_frequencies()

    def _log_frequencies(self) -> Tensor:
        """log n_m, (M,), or 0 where logits know them."""
        if self.counts is None:
            return self.temperature.new_zeros(len(self.minterms))
        return self.counts.clamp(min=1).double().log()


def check_pairing(loss: nn.Module, readout: type[Readout]) -> None:
    """Raise ValueError unless a loss and a readout go together.

    Args:
        loss: The loss that trains embeddings.
        readout: The class that will answer for them.
    """
    name = type(loss).__name__
    for other in _all_readouts(Readout):
        if isinstance(loss, other.trained_by) and not issubclass(readout, other):
            raise ValueError(f"{name} goes with readout={other.name}, not {readout.name}")
    if readout.trained_by and not isinstance(loss, readout.trained_by):
        trained_by = " or ".join(kind.__name__ for kind in readout.trained_by)
        raise ValueError(f"readout={readout.name} goes with {trained_by}, not {name}")


def _all_readouts(base: type[Readout]) -> Iterator[type[Readout]]:
    for readout in base.__subclasses__():
        yield readout
        yield from _all_readouts(readout)
