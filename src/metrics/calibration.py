"""Whether probabilities are frequencies."""

from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

BINS = 15


def calibration_error(probabilities: Tensor, truth: Tensor) -> float:
    """Expected calibration error [0]: the mean distance of confidence and frequency over bins.

    ECE = sum_b (n_b / n) |mean probability in bin b - share that is true in bin b|, over 15 bins of
    equal width and all entries together.

    Args:
        probabilities: (N, Q), in [0, 1].
        truth: (N, Q), nonzero where it holds.

    Returns:
        Between 0, calibrated, and 1.

    References:
        [0] Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017,
        https://arxiv.org/abs/1706.04599
    """
    clamped = probabilities.flatten().float().clamp(0, 1)
    return float(binary_calibration_error(clamped, truth.flatten().int(), n_bins=BINS, norm="l1"))
