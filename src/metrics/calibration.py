"""Calibration: the agreement of probabilities with frequencies."""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 15


class Reliability(NamedTuple):
    """Probabilities in bins of equal width, beside the truth; NaN where a bin is empty."""

    confidence: Tensor  # (15,), mean probability of each bin
    frequency: Tensor  # (15,), share of the bin that is true
    number: Tensor  # (15,), float64, entries of the bin

    def expected_error(self) -> float:
        """Expected calibration error [0], between 0, calibrated, and 1.

        ECE = sum_b (n_b / n) |mean probability in bin b - share that is true in bin b|

        References:
            [0] Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
            https://arxiv.org/abs/1706.04599
        """
        gaps = (self.confidence - self.frequency).abs()
        return float((self.number * gaps).nansum() / self.number.sum())


def reliability(probabilities: Tensor, truth: Tensor) -> Reliability:
    """Sort probabilities into 15 bins, all entries together.

    Args:
        probabilities: (N, Q), in [0, 1].
        truth: (N, Q), nonzero where a proposition holds.
    """
    values, true = probabilities.flatten().double().clamp(0, 1), truth.flatten().bool().double()
    bins = (values * BINS).long().clamp(max=BINS - 1)
    counts = torch.bincount(bins, minlength=BINS).double()
    return Reliability(
        confidence=torch.bincount(bins, values, BINS) / counts,
        frequency=torch.bincount(bins, true, BINS) / counts,
        number=counts,
    )
