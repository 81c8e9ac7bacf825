"""From embeddings to probabilities of minterms, and from those to literals and propositions."""

from collections.abc import Callable, Sequence
from itertools import product
from math import exp
from typing import ClassVar

import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from src.subspaces.prompts import FRAMES, minterm_captions, prompt
from src.subspaces.propositions import Proposition

PROBABILITIES = ("probability", "calibrated")  # scores that every readout has
IMPOSSIBLE = 1000.0
LOG_TEMPERATURES = (-5.0, 5.0)  # where the temperature is looked for
FREQUENCY_WEIGHTS = (-5.0, 5.0)
GRADIENT_TOLERANCE = 1e-10  # so that rounding, or the number of processes, decides on no digit


def find_minterms(labels: Tensor, minterms: Tensor) -> Tensor:
    """Row of each label vector in a table of minterms.

    Args:
        labels: (N, C), nonzero where a literal is true.
        minterms: (M, C), distinct rows.

    Returns:
        (N,), int64, -1 where the table does not have that minterm.
    """
    signs = 2 * labels.bool().float() - 1
    table = 2 * minterms.float() - 1
    # The product of two sign vectors of length C is C only where they agree everywhere.
    agreement, index = (signs @ table.T).max(dim=1)
    return torch.where(agreement == labels.shape[1], index, -1)


class MintermReadout(nn.Module):
    """Base of all that assign probabilities to minterms; a subclass says how.

    Two numbers make its probabilities fit held-out images, see `calibrate`.

    Args:
        minterms: (M, C).
    """

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
        # What is held impossible costs much, but not infinitely.
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
        return torch.stack([proposition.holds(self.minterms) for proposition in propositions])

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


class SoftmaxReadout(MintermReadout):
    """Embeddings are logits of minterms, as cross-entropy over minterms trains them: D = M."""

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return embeddings.double()


class HeadReadout(MintermReadout):
    """Logits of minterms come from what was trained along with the embeddings.

    Args:
        minterms: (M, C).
        logits: Maps embeddings (N, D) to logits (N, M).
    """

    def __init__(self, minterms: Tensor, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__(minterms)
        self.logits = logits

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        return self.logits(embeddings).double()


class SigmoidReadout(MintermReadout):
    """Embeddings are logits of independent literals, as binary cross-entropy trains them: D = C.

    Its minterms are all 2^C assignments, so that the probability of a conjunction is the product
    of those of its literals. The score `inclusion_exclusion` is that of `evaluate_independent`: the
    same where no literal occurs twice in a proposition.

    Args:
        num_literals: C, at most 12.

    Raises:
        ValueError: If there are more.
    """

    score_kinds = (*PROBABILITIES, "inclusion_exclusion")

    def __init__(self, num_literals: int) -> None:
        if num_literals > 12:
            raise ValueError(f"a sigmoid readout takes at most 12 literals, not {num_literals}")
        super().__init__(torch.tensor(list(product((False, True), repeat=num_literals))))

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        logits = embeddings.double()
        present = self.minterms.double()
        return logsigmoid(logits) @ present.T + logsigmoid(-logits) @ (1 - present).T

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind != "inclusion_exclusion":
            return super().score(embeddings, propositions, kind)
        return evaluate_independent(propositions, embeddings.double().sigmoid())


class TextReadout(MintermReadout):
    """Images are compared with texts, as CLIP does zero-shot.

    Scores of a proposition, from cosine similarities s of an image with texts:

    - `prompt`: with the prompt of the proposition, negation kept.
    - `prompt_ensemble`: with the mean direction of its prompts in several sentences.
    - `prompt_without_negation`: with "not" left out, as the authors do.
    - `arithmetic`: literals count s, negated -s; `&` adds, `|` takes the larger.
    - `probability`, `calibrated`: of the minterms that satisfy it, see `minterm_logits`.
    - `literal_product`: p(literal) is a softmax over its prompt and that of its negation; p q for
      `&`, p + q - p q for `|`, 1 - p for `~`.

    Args:
        minterms: (M, C).
        literals: (C,), names.
        text: Maps n texts to embeddings (n, D); trained along if it is a module.
        scale: Returns the inverse temperature of similarities.
    """

    score_kinds = (
        "prompt",
        "prompt_ensemble",
        "prompt_without_negation",
        "arithmetic",
        "literal_product",
        *PROBABILITIES,
    )

    def __init__(
        self,
        minterms: Tensor,
        literals: Sequence[str],
        text: Callable[[Sequence[str]], Tensor],
        scale: Callable[[], Tensor],
    ) -> None:
        super().__init__(minterms)
        self.literals = tuple(literals)
        self.text = text
        self.scale = scale

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """Similarities with the captions of minterms, which name what is there: (N, M)."""
        texts = minterm_captions(self.minterms, self.literals)
        return self.scale().double() * self._similarities(embeddings, texts)

    def literal_probabilities(self, embeddings: Tensor) -> Tensor:
        texts = [
            prompt(Proposition(sign + literal, self.literals), self.literals)
            for sign in ("", "~")
            for literal in self.literals
        ]
        plain, negated = self._similarities(embeddings, texts).chunk(2, dim=1)
        return (self.scale().double() * (plain - negated)).sigmoid()

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind in PROBABILITIES:
            return super().score(embeddings, propositions, kind)
        if kind.startswith("prompt"):
            frames = FRAMES if kind == "prompt_ensemble" else FRAMES[:1]
            negation = kind != "prompt_without_negation"
            directions = [
                self._directions(
                    [prompt(query, self.literals, negation, frame) for query in propositions]
                )
                for frame in frames
            ]
            return self._cosines(embeddings, torch.stack(directions).mean(dim=0))
        if kind == "literal_product":
            return evaluate_independent(propositions, self.literal_probabilities(embeddings))
        texts = [prompt(Proposition(name, self.literals), self.literals) for name in self.literals]
        literals = self._similarities(embeddings, texts)
        scores = [
            proposition.evaluate(
                literal=lambda column: literals[:, column],
                constant=lambda value: literals.new_full((len(literals),), 2.0 * value - 1),
                complement=torch.neg,
                meet=torch.add,
                join=torch.maximum,
            )
            for proposition in propositions
        ]
        return torch.stack(scores, dim=1)

    def _similarities(self, embeddings: Tensor, texts: Sequence[str]) -> Tensor:
        """Cosines of images (N, D) with n texts: (N, n), float64."""
        return self._cosines(embeddings, self._directions(texts))

    def _directions(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of n texts: (n, D), float64."""
        return normalize(self.text(texts).double(), dim=1)

    def _cosines(self, embeddings: Tensor, directions: Tensor) -> Tensor:
        return normalize(embeddings.double(), dim=1) @ normalize(directions, dim=1).T


def evaluate_independent(propositions: Sequence[Proposition], literals: Tensor) -> Tensor:
    """Probabilities of propositions as they are written, as if every occurrence of a literal were
    independent: p q for `&`, p + q - p q for `|`, 1 - p for `~`.

    Args:
        propositions: (Q,).
        literals: (N, C), probabilities of the literals.

    Returns:
        (N, Q).
    """
    scores = [
        proposition.evaluate(
            literal=lambda column: literals[:, column],
            constant=lambda value: literals.new_full((len(literals),), value),
            complement=lambda p: 1 - p,
            meet=torch.mul,
            join=lambda p, q: p + q - p * q,
        )
        for proposition in propositions
    ]
    return torch.stack(scores, dim=1)
