import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from src.metrics.calibration import BINS, reliability


def test_bins_are_those_of_scikit_learn_and_the_error_that_of_torchmetrics() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random((200, 7))
    truth = generator.random((200, 7)) < probabilities**2
    result = reliability(torch.from_numpy(probabilities), torch.from_numpy(truth))
    frequency, confidence = calibration_curve(truth.ravel(), probabilities.ravel(), n_bins=BINS)
    count = np.histogram(probabilities, bins=BINS, range=(0, 1))[0]
    assert result.confidence.tolist() == pytest.approx(confidence)
    assert result.frequency.tolist() == pytest.approx(frequency)
    assert result.number.tolist() == count.tolist()
    flat = torch.from_numpy(probabilities).flatten(), torch.from_numpy(truth).flatten().int()
    expected = binary_calibration_error(*flat, n_bins=BINS, norm="l1")
    assert result.expected_error() == pytest.approx(float(expected), abs=1e-5)
    assert result.expected_error() > 0.1


def test_true_probabilities_are_calibrated() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(1000, 100, generator=generator)
    truth = torch.rand(1000, 100, generator=generator) < probabilities
    assert reliability(probabilities, truth).expected_error() < 0.01


def test_certainty_that_is_wrong_is_the_worst_and_empty_bins_count_nothing() -> None:
    result = reliability(torch.ones(5, 2), torch.zeros(5, 2))
    assert result.expected_error() == 1
    assert result.number.tolist() == [0] * (BINS - 1) + [10]
