import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from src.metrics.calibration import BINS, calibration_error


def test_is_the_mean_distance_from_scikit_learns_reliability_curve() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random((200, 7))
    truth = generator.random((200, 7)) < probabilities**2
    frequency, confidence = calibration_curve(truth.ravel(), probabilities.ravel(), n_bins=BINS)
    weights = np.histogram(probabilities, bins=BINS, range=(0, 1))[0] / probabilities.size
    expected = float(np.sum(weights * np.abs(frequency - confidence)))
    actual = calibration_error(torch.from_numpy(probabilities), torch.from_numpy(truth))
    assert actual == pytest.approx(expected, abs=1e-5)
    assert actual > 0.1


def test_true_probabilities_are_calibrated() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(1000, 100, generator=generator)
    truth = torch.rand(1000, 100, generator=generator) < probabilities
    assert calibration_error(probabilities, truth) < 0.01


def test_certainty_that_is_wrong_is_the_worst() -> None:
    assert calibration_error(torch.ones(5, 2), torch.zeros(5, 2)) == 1
