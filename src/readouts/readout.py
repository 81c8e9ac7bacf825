"""What makes probabilities and scores of embeddings."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import one_hot

from src.subspaces.minterms import find_minterms
from src.subspaces.propositions import Proposition

PROBABILITIES = ("probability", "calibrated")  # scores that every readout has
IMPOSSIBLE = 1000.0  # the logit of what is held impossible, which costs much, but not infinitely
LOG_TEMPERATURES = (-5.0, 5.0)  # where the temperature is looked for
GRADIENT_TOLERANCE = 1e-10  # so that rounding, or the number of processes, decides on no digit


class Readout(nn.Module):
    """Base of all that assign probabilities to propositions, as `MintermReadout` does with a table
    of minterms and `LiteralReadout` without; a subclass of one of them says how.

    A subclass states what it needs: the codings of labels that a loss may see beside it, the losses
    that train it, the width of embeddings, and what it fits on the training split.
    """

    name: ClassVar[str]  # of its file in conf/readout
    # Codings of labels that losses may see beside it; the first is the default
    label_codings: ClassVar[tuple[str, ...]] = ("minterms",)
    # Losses that train this readout and no other; without any, all losses but those of others do
    trained_by: ClassVar[tuple[type[nn.Module], ...]] = ()
    score_kinds: ClassVar[tuple[str, ...]] = PROBABILITIES  # the first is the default
    temperature: Tensor  # scalar, found by `calibrate`

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))

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

    def check_width(self, embedding_dim: int, minterms: Tensor, label_coding: str) -> None:
        """Raise ValueError if embeddings of D dimensions do not fit the minterms.

        Args:
            embedding_dim: D.
            minterms: (M, C), of the training split.
            label_coding: One of `label_codings`.
        """
        del label_coding
        wanted = self.number_of_logits(minterms)
        if wanted is not None and embedding_dim != wanted:
            raise ValueError(
                f"a {self.name} readout takes {wanted} logits on this data, not {embedding_dim}; "
                "set encoder.embedding_dim=null"
            )

    def check_queries(self, queries: Sequence[Proposition]) -> None:
        """Raise ValueError if there is a proposition that it cannot score."""

    def encode_labels(self, labels: Tensor, minterms: Tensor, label_coding: str) -> Tensor:
        """Make of labels (N, C) what a loss sees of them: the literals themselves, (N, C); with
        `complements` the literals and their negations, (N, 2 C), whose products Y^T Y count the
        literals on which two images agree; or for `minterms` indicators of these (M, C), (N, M),
        all 0 for labels that are none of them.
        """
        if label_coding == "literals":
            return labels
        if label_coding == "complements":
            present = labels.bool()
            return torch.cat([present, ~present], dim=1)
        return one_hot(find_minterms(labels, minterms) + 1, len(minterms) + 1)[:, 1:]

    def reset(self) -> None:
        """Forget what was accumulated. What was fitted stays."""

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of training embeddings (N, D) with labels (N, C) to what is fitted on."""

    def fit(self) -> None:
        """Fit what scores depend on to all that was added, on all processes, and reset."""

    def literal_probabilities(self, embeddings: Tensor) -> Tensor:
        """Probability of every literal for embeddings (N, D): (N, C)."""
        raise NotImplementedError

    def proposition_probabilities(
        self, embeddings: Tensor, propositions: Sequence[Proposition], calibrated: bool = False
    ) -> Tensor:
        """p(q | x), or what `calibrate` made of it.

        Args:
            embeddings: (N, D).
            propositions: (Q,).
            calibrated: Which of the two.

        Returns:
            (N, Q), float64.
        """
        raise NotImplementedError

    def predict(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        """Labels of the most probable minterm of embeddings (N, D): (N, C), bool."""
        raise NotImplementedError

    def top_minterms(self, embedding: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k most probable minterms of an embedding (D,), or all if they are fewer.

        Returns:
            Their probabilities, (k,), descending, and the minterms, (k, C), bool.
        """
        raise NotImplementedError

    def can_hold(self, proposition: Proposition) -> bool:
        """Whether any of the minterms that get a probability satisfies a proposition."""
        raise NotImplementedError

    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Make the minterms of held-out images with embeddings (N, D) and labels (N, C) most
        likely, by a temperature [0] and what else a subclass has.

        References:
            [0] Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
            https://arxiv.org/abs/1706.04599
        """
        raise NotImplementedError

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
        return self.proposition_probabilities(embeddings, propositions, kind == "calibrated")


def most_likely(
    loss_and_gradient: Callable[[Sequence[float]], tuple[float, Sequence[float]]],
    bounds: Sequence[tuple[float, float]],
) -> list[float]:
    """Parameters between bounds, 0 to begin with, that make a negative log likelihood least.

    Args:
        loss_and_gradient: Maps the parameters to the loss and its derivatives by each of them.
        bounds: The least and the largest value of each parameter.
    """
    best = minimize(
        loss_and_gradient,
        [0.0] * len(bounds),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 0, "gtol": GRADIENT_TOLERANCE},
    )
    return best.x.tolist()


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
