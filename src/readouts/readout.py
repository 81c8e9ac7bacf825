"""What makes probabilities and scores of embeddings."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import exp
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from src.subspaces.minterms import encode_labels
from src.subspaces.propositions import Proposition

PROBABILITIES = ("calibrated", "probability")  # scores that every readout has
IMPOSSIBLE = 1000.0  # the logit of what is held impossible, which costs much, but not infinitely
LOG_TEMPERATURES = (-5.0, 5.0)  # where the temperature is looked for
BIASES = (-20.0, 20.0)  # and biases
SHARES = (0.5, 0.25, 0.125, 0.0)  # of a calibration that would cost accuracy
AT_BOUND = (
    "calibration met the bound of its temperature, and its biases would have predicted fewer "
    "validation images right: they are kept small; the logits of this readout differ too little"
)
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
    # Losses, and no subclasses of them, that it goes with where others do, too; without any, all
    goes_with: ClassVar[tuple[type[nn.Module], ...]] = ()
    score_kinds: ClassVar[tuple[str, ...]] = PROBABILITIES  # the first is the default
    # Embeddings that `search_vectors` are compared with; None where a readout has no such vectors
    searched: ClassVar[Literal["as they are", "at length 1"] | None] = None
    temperature: Tensor  # scalar, T of `calibrate`
    literal_biases: Tensor  # (C,), t of `calibrate`

    def __init__(self, num_literals: int) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))
        self.register_buffer("literal_biases", torch.zeros(num_literals, dtype=torch.float64))

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
        """What a loss sees of labels (N, C), see `src.subspaces.minterms.encode_labels`."""
        return encode_labels(labels, minterms, label_coding)

    def reset(self) -> None:
        """Forget what was accumulated. What was fitted stays."""

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of training embeddings (N, D) with labels (N, C) to what is fitted on."""

    def update_at(self, indices: Tensor, embeddings: Tensor, labels: Tensor) -> None:
        """`update` with the images at these positions (N,) of their split, by which a readout that
        draws something for each image does.
        """
        del indices
        self.update(embeddings, labels)

    def fit(self) -> None:
        """Fit what scores depend on to all that was added, on all processes, and reset."""

    def check_fitted(self, counts: Tensor) -> None:
        """Raise RuntimeError unless some image counts in what was fitted, counts of any shape."""
        if not counts.any():
            raise RuntimeError(
                f"the {self.name} readout is not fitted: call update and fit, or load a checkpoint"
            )

    def literal_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
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
        """The k minterms of an embedding (D,) that are most probable after `calibrate`, or all if
        they are fewer.

        Returns:
            Their calibrated probabilities, (k,), descending, and the minterms, (k, C), bool.
        """
        raise NotImplementedError

    def can_hold(self, proposition: Proposition) -> bool:
        """Whether any of the minterms that get a probability satisfies a proposition."""
        raise NotImplementedError

    def search_vectors(self, proposition: Proposition) -> Tensor:
        """Vectors (n, D), float64, that the best answers have large inner products with.

        An index finds candidates by them, which `score` ranks.

        Args:
            proposition: One that `can_hold`.

        Raises:
            ValueError: If the proposition has too many literals for a table of their minterms.
        """
        raise NotImplementedError

    def calibrate(self, embeddings: Tensor, labels: Tensor) -> None:
        """Set the temperature T [0] and the biases t of literals that make the minterms of held-out
        images most likely, with

            p(m | x) proportional to p_0(m | x)^(1 / T) exp(sum of t_c over the literals c of m)

        for p_0 what the readout says of itself. Bias-corrected temperature scaling [1] has a bias
        for every class; here classes share those of their literals, as held-out images of rare
        minterms are few. Each t_c has a standard normal prior, which decides where no image does.

        No calibration makes the readout worse on these images. Where fewer would be predicted
        right, parameters go back in halves towards those of the best temperature alone, which
        changes no prediction, until as many are. On all that way the likelihood, concave in 1 / T
        and t, is no less than that of the readout itself. If the temperature has met its bound
        there, a warning says so.

        Args:
            embeddings: (N, D).
            labels: (N, C).

        References:
            [0] Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
            https://arxiv.org/abs/1706.04599
            [1] Alexandari, Kundaje, Shrikumar, *Maximum Likelihood with Bias-Corrected Calibration
            is Hard-To-Beat at Label Shift Adaptation*, ICML 2020, https://arxiv.org/abs/1901.06852
        """
        raise NotImplementedError

    def _maximize_likelihood(
        self,
        logits: Tensor,
        classes: Tensor,
        misfit: Callable[[Tensor], tuple[Tensor, Tensor]],
        right: Callable[[Tensor], Tensor],
    ) -> None:
        """Set temperature and biases for logits (N, K) of classes with these literals, (K, C).

        Args:
            logits: As the readout makes them.
            classes: The literals of each class.
            misfit: Maps calibrated logits to minus the log likelihood and its gradient, (N, K).
            right: Maps them to whether each image is predicted right, (N,).
        """
        number = len(logits)
        if not number:
            return
        logits = logits.clamp(-IMPOSSIBLE, IMPOSSIBLE)
        literals = classes.double()

        def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            scale = exp(-parameters[0])  # 1 / T
            biases = torch.from_numpy(parameters[1:]).to(logits)
            loss, gradient = misfit(scale * logits + literals @ biases)
            loss = loss + biases.square().sum() / 2
            by_log_temperature = -scale * (gradient * logits).sum()
            by_biases = gradient.sum(dim=0) @ literals + biases
            by_all = torch.cat([by_log_temperature.view(1), by_biases])
            return float(loss) / number, (by_all / number).cpu().numpy()

        def best(biases: tuple[float, float]) -> tuple[float, np.ndarray]:
            """1 / T and the biases within these bounds."""
            found = minimize(
                loss_and_gradient,
                np.zeros(1 + literals.shape[1]),
                jac=True,
                method="L-BFGS-B",
                bounds=[LOG_TEMPERATURES, *[biases] * literals.shape[1]],
                options={"ftol": 0, "gtol": GRADIENT_TOLERANCE},
            ).x
            return exp(-found[0]), found[1:]

        def number_right(scale: float, biases: np.ndarray) -> int:
            shift = literals @ torch.from_numpy(biases).to(logits)
            return int(right(scale * logits + shift).sum())

        needed = number_right(1.0, np.zeros(literals.shape[1]))
        scale, biases = best(BIASES)
        if number_right(scale, biases) < needed:
            if not exp(LOG_TEMPERATURES[0]) < 1 / scale < exp(LOG_TEMPERATURES[1]):
                warnings.warn(AT_BOUND, stacklevel=4)
            (alone, _), (full_scale, full_biases) = best((0.0, 0.0)), (scale, biases)
            for share in SHARES:
                scale, biases = alone + share * (full_scale - alone), share * full_biases
                if number_right(scale, biases) >= needed:
                    break
        self.temperature.fill_(1 / scale)
        self.literal_biases.copy_(torch.from_numpy(biases))

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        """Retrieval scores of propositions, higher for better matches.

        Args:
            embeddings: (N, D).
            propositions: (Q,).
            kind: One of `score_kinds`; `probability` is p(q | x) as the readout has it,
                `calibrated` the same after `calibrate`.

        Returns:
            (N, Q), float64.
        """
        return self.proposition_probabilities(embeddings, propositions, kind == "calibrated")


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
    wanted = readout.trained_by or readout.goes_with
    fits = isinstance(loss, readout.trained_by) or type(loss) in readout.goes_with
    if wanted and not fits:
        names = " or ".join(kind.__name__ for kind in wanted)
        raise ValueError(f"readout={readout.name} goes with {names}, not {name}")


def _all_readouts(base: type[Readout]) -> Iterator[type[Readout]]:
    for readout in base.__subclasses__():
        yield readout
        yield from _all_readouts(readout)
