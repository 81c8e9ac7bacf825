"""Claims held against measured numbers."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from src.reports.tables import Row
from src.studies.descent import Optimum

VANISHING = 1e-5  # norm of a gradient
NEAR = 0.01  # to the least loss: others are local minima
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "≤": operator.le,
    ">": operator.gt,
}
COLUMNS = {
    "claim": "claim",
    "loss": "loss",
    "setting": "relation or labels",
    "measure": "measure",
    "measured": "measured",
    "bound": "bound",
    "verdict": "verdict",
    "convergence": "convergence",
    "reference": "from",
}


class Found(NamedTuple):
    """The optima that descents found, and how well they have converged."""

    optima: Sequence[Optimum]  # by ascending loss
    convergence: str  # in words

    def measure(self, of: Callable[[Tensor], float]) -> list[float]:
        """Measure the embeddings (N, D) of each start."""
        return [of(optimum.embeddings) for optimum in self.optima]


class Claim(NamedTuple):
    """A statement about the optima of a loss, and the reference that makes it."""

    text: str
    measure: str  # the name of the number that is held against a bound
    reference: str


def judge(
    claim: Claim,
    loss: str,
    setting: str,
    convergence: str,
    measured: Sequence[float],
    comparison: str,
    bound: float,
) -> Row:
    """A row of the table: the worst of the measured numbers, and whether it is within the bound.

    Args:
        claim: The claim.
        loss: The name of the loss.
        setting: The relation or the labels, in words.
        convergence: See `Found`.
        measured: One number for each start.
        comparison: "=", "≤" or ">": how every number has to compare with the bound.
        bound: The number that they are held against.
    """
    holds = all(COMPARISONS[comparison](value, bound) for value in measured)
    signs = {"=": lambda value: abs(value - bound), "≤": float, ">": operator.neg}
    return {
        "claim": claim.text,
        "loss": loss,
        "setting": setting,
        "measure": claim.measure,
        "measured": max(measured, key=signs[comparison]),
        "bound": f"{comparison} {bound:.3g}",
        "verdict": "holds" if holds else "does not hold",
        "convergence": convergence,
        "reference": claim.reference,
    }


def converged(optima: Sequence[Optimum]) -> Found:
    """The best of several optima; convergence is the norm of the gradient or, at a kink, the spread
    of losses."""
    best = _best(optima)
    gradient = max(optimum.gradient for optimum in best)
    kink = f"kink, losses within {best[-1].loss - best[0].loss:.0e}"
    closeness = f"gradient {gradient:.0e}" if gradient < VANISHING else kink
    return Found(best, f"{closeness}; {len(best)} of {len(optima)} starts")


def converged_to(optima: Sequence[Optimum], least: float) -> Found:
    """The best of several optima of a loss whose least value is known, and the gap to it."""
    best = _best(optima)
    gap = best[-1].loss - least
    return Found(best, f"loss {gap:.0e} above least; {len(best)} of {len(optima)} starts")


def _best(optima: Sequence[Optimum]) -> list[Optimum]:
    """Optima by ascending loss, without local minima that are worse by more than `NEAR`."""
    ordered = sorted(optima, key=lambda optimum: optimum.loss)
    return [optimum for optimum in ordered if optimum.loss <= ordered[0].loss + NEAR]
