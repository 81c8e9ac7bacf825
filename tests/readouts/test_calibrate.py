"""Calibration, against what labels were drawn with, scikit-learn, SciPy and loops."""

from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from src.readouts.readout import Readout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.subspaces.propositions import Proposition, conjunctions

LITERALS = ("a", "b", "c")
ALL = torch.tensor(list(product((False, True), repeat=3)))
BIASES = torch.tensor([1.0, -0.5, 0.2]).double()


def random_logits(number: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(number, width, generator=generator).double()


def drawn_minterms(logits: Tensor, minterms: Tensor) -> Tensor:
    """Labels (N, C) drawn with the probabilities of softmax(logits), (N, M)."""
    generator = torch.Generator().manual_seed(1)
    return minterms[logits.softmax(dim=1).multinomial(1, generator=generator)[:, 0]]


def drawn_literals(logits: Tensor) -> Tensor:
    """Labels (N, C) drawn with the probabilities of sigmoid(logits), (N, C)."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(logits.shape, generator=generator) < logits.sigmoid()


def found(readout: Readout) -> list[float]:
    """The temperature and then the biases."""
    return [float(readout.temperature), *readout.literal_biases.tolist()]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_table_finds_what_labels_were_drawn_with(temperature: float) -> None:
    logits = random_logits(40_000, 8)
    true_logits = logits / temperature + ALL.double() @ BIASES
    labels = drawn_minterms(true_logits, ALL)
    readout = SoftmaxReadout(ALL)
    queries = conjunctions(LITERALS, 3)
    before = readout.score(logits, queries, "probability")
    readout.calibrate(logits, labels)
    assert float(readout.temperature) == pytest.approx(temperature, rel=0.03)
    torch.testing.assert_close(readout.literal_biases, BIASES, atol=0.05, rtol=0)
    weights = (logits / readout.temperature).exp()
    for column, bias in zip(ALL.T, readout.literal_biases, strict=True):
        weights = weights * torch.where(column, bias.exp(), 1.0)
    expected = weights / weights.sum(dim=1, keepdim=True)
    torch.testing.assert_close(readout.minterm_probabilities(logits, calibrated=True), expected)
    torch.testing.assert_close(
        readout.score(logits, queries, "calibrated"),
        expected @ readout.masks(queries).double().T,
    )
    literals = torch.stack([expected[:, column].sum(dim=1) for column in ALL.T], dim=1)
    torch.testing.assert_close(readout.literal_probabilities(logits, calibrated=True), literals)
    assert torch.equal(readout.predict(logits, calibrated=True), ALL[expected.argmax(dim=1)])
    # What the readout says of itself stays, and is right less often.
    assert torch.equal(readout.score(logits, queries, "probability"), before)
    assert torch.equal(readout.predict(logits), ALL[logits.argmax(dim=1)])
    right = [
        (readout.predict(logits, calibrated) == labels).all(dim=1).double().mean()
        for calibrated in (False, True)
    ]
    assert right[1] > right[0]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_independent_literals_find_what_labels_were_drawn_with(temperature: float) -> None:
    logits = random_logits(40_000, 3)
    labels = drawn_literals(logits / temperature + BIASES)
    readout = SigmoidReadout(LITERALS)
    readout.calibrate(logits, labels)
    assert float(readout.temperature) == pytest.approx(temperature, rel=0.03)
    torch.testing.assert_close(readout.literal_biases, BIASES, atol=0.05, rtol=0)
    p = 1 / (1 + (-logits / readout.temperature - readout.literal_biases).exp())
    torch.testing.assert_close(readout.literal_probabilities(logits, calibrated=True), p)
    assert torch.equal(readout.predict(logits, calibrated=True), p > 0.5)
    queries = [Proposition(text, LITERALS) for text in ("a & ~b", "a | c")]
    conjunction, disjunction = readout.score(logits, queries, "calibrated").T
    torch.testing.assert_close(conjunction, p[:, 0] * (1 - p[:, 1]))
    torch.testing.assert_close(disjunction, p[:, 0] + p[:, 2] - p[:, 0] * p[:, 2])


@pytest.mark.parametrize("number", [12, 300])
def test_one_literal_is_the_logistic_regression_of_scikit_learn(number: int) -> None:
    logits = random_logits(number, 1)
    labels = drawn_literals(0.5 * logits + 1.5)
    readout = SigmoidReadout(("a",))
    readout.calibrate(logits, labels)
    # Its prior is on all coefficients: one of a feature so large is free, that of 1 is the bias.
    large = 1e4
    features = np.column_stack([large * logits.numpy(), np.ones(number)])
    peer = LogisticRegression(
        C=1.0, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    peer.fit(features, labels[:, 0].numpy())
    slope, bias = peer.coef_[0]
    assert found(readout) == pytest.approx([1 / (large * slope), bias], rel=1e-5)
    free = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000)
    free.fit(logits.numpy(), labels[:, 0].numpy())
    assert abs(bias) < abs(free.intercept_[0])  # the prior pulls it in


@settings(derandomize=True, deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), number=st.integers(20, 200), kept=st.integers(3, 8))
def test_a_table_is_at_the_optimum_of_scipy(seed: int, number: int, kept: int) -> None:
    logits = random_logits(number, kept, seed)
    labels = drawn_minterms(random_logits(number, 8, seed + 1), ALL)
    # Some minterms have no row, and their images say nothing.
    minterms = ALL[torch.randperm(8, generator=torch.Generator().manual_seed(seed))[:kept]]
    table = [tuple(row) for row in minterms.tolist()]
    places = [(image, tuple(row)) for image, row in enumerate(labels.tolist())]
    images, rows = np.array([(i, table.index(row)) for i, row in places if row in table]).T

    def unlikely(parameters: np.ndarray) -> float:
        biased = logits.numpy() * np.exp(-parameters[0]) + minterms.numpy() @ parameters[1:]
        likelihoods = log_softmax(biased, axis=1)[images, rows]
        return float(-likelihoods.sum() + (parameters[1:] ** 2).sum() / 2)

    readout = SoftmaxReadout(minterms)
    readout.calibrate(logits, labels)
    best = minimize(unlikely, np.zeros(4), method="L-BFGS-B", bounds=[(-5, 5)] + [(None, None)] * 3)
    temperature, *biases = found(readout)
    at = np.array([np.log(temperature), *biases])
    reached = unlikely(at)

    def number_right(parameters: np.ndarray) -> int:
        biased = logits.numpy() * np.exp(-parameters[0]) + minterms.numpy() @ parameters[1:]
        return int((biased[images].argmax(axis=1) == rows).sum())

    if number_right(best.x) < number_right(np.zeros(4)):  # which no calibration may cost
        assert number_right(at) >= number_right(np.zeros(4))
        assert best.fun < reached <= unlikely(np.zeros(4))
        return
    assert reached <= best.fun + 1e-9
    if -4.9 < best.x[0] < 4.9:
        nudges = 1e-3 * np.eye(4)
        assert all(unlikely(at + sign * nudge) > reached for nudge in nudges for sign in (-1, 1))


@settings(derandomize=True, deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), number=st.integers(5, 300))
def test_a_table_of_all_minterms_is_calibrated_as_independent_literals_are(
    seed: int, number: int
) -> None:
    logits = random_logits(number, 3, seed)
    labels = drawn_literals(random_logits(number, 3, seed) / 2 - BIASES)
    literals, table = SigmoidReadout(LITERALS), SoftmaxReadout(ALL)
    joint = logits @ ALL.double().T  # log p(m | x) of independent literals, up to a constant
    literals.calibrate(logits, labels)
    table.calibrate(joint, labels)
    torch.testing.assert_close(table.temperature, literals.temperature, rtol=1e-5, atol=0)
    torch.testing.assert_close(table.literal_biases, literals.literal_biases, rtol=0, atol=1e-6)
    queries = conjunctions(LITERALS, 3)
    torch.testing.assert_close(
        table.score(joint, queries, "calibrated"),
        literals.score(logits, queries, "calibrated"),
        rtol=0,
        atol=1e-6,
    )


def exact_literals() -> tuple[Tensor, Tensor]:
    """Logits (N, 2), and labels that have each literal just as often as they say."""
    rows = [(true / 8, image < true) for true in (2, 4, 6, 7) for image in range(8)]
    shares, labels = zip(*rows, strict=True)
    logits = torch.logit(torch.tensor(shares).double())
    return logits.repeat(2, 1).T, torch.tensor(labels).repeat(2, 1).T


def test_readouts_that_are_right_stay_as_they_are() -> None:
    logits, labels = exact_literals()
    literals = SigmoidReadout(("a", "b"))
    literals.calibrate(logits, labels)
    assert found(literals) == pytest.approx([1, 0, 0], abs=1e-8)

    shares = torch.tensor([[1, 3, 4], [5, 2, 1], [2, 2, 4]])  # of eight images
    minterms = ALL[[1, 2, 7]]
    table = SoftmaxReadout(minterms)
    index = torch.arange(3).repeat(3).repeat_interleave(shares.flatten())
    table.calibrate(shares.repeat_interleave(8, dim=0).double().log(), minterms[index])
    assert found(table) == pytest.approx([1, 0, 0, 0], abs=1e-8)


def test_the_prior_decides_where_no_held_out_image_has_a_literal() -> None:
    logits, labels = exact_literals()
    number = len(labels)
    absent = torch.zeros(number, 1)
    readout = SigmoidReadout(LITERALS)
    readout.calibrate(torch.cat([logits, absent], dim=1), torch.cat([labels, absent > 0], dim=1))
    # Of N images none has it, each at even odds: the slope of N log(1 + e^t) + t^2 / 2 is 0
    expected = brentq(lambda t: number * expit(t) + t, -20, 0)
    assert expected > -4
    assert found(readout) == pytest.approx([1, 0, 0, expected], abs=1e-7)


@pytest.mark.parametrize("value", [False, True])
def test_literals_that_tell_no_minterms_apart_have_no_bias(value: bool) -> None:
    minterms = ALL[ALL[:, 2] == value]
    logits = random_logits(500, 4)
    readout = SoftmaxReadout(minterms)
    readout.calibrate(logits, drawn_minterms(logits + minterms.double() @ BIASES, minterms))
    assert float(readout.literal_biases[2]) == pytest.approx(0, abs=1e-9)
    assert readout.literal_biases[:2].abs().min() > 0.2


# Frequencies of minterms that biases of literals learn, whatever the logits say
UNEVEN = torch.tensor([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("size", [1e-6, 1.0])
@pytest.mark.parametrize("over_minterms", [False, True])
def test_no_calibration_costs_accuracy_or_likelihood(size: float, over_minterms: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    index = UNEVEN.multinomial(600, replacement=True, generator=generator)
    labels = ALL[index]
    wrong = torch.rand(600, generator=generator) < 0.3  # of which the logits say something else
    shown = torch.where(wrong, torch.randint(8, (600,), generator=generator), index)
    readout = SoftmaxReadout(ALL) if over_minterms else SigmoidReadout(LITERALS)
    logits = size * (torch.eye(8)[shown] if over_minterms else 2.0 * ALL[shown] - 1).double()
    context = pytest.warns(UserWarning, match="met the bound") if size < 1 else nullcontext()
    with context:
        readout.calibrate(logits, labels)
    minterms = [Proposition(minterm_text(row), LITERALS) for row in ALL.tolist()]
    accuracies, likelihoods = [], []
    for kind in ("probability", "calibrated"):
        predicted = readout.predict(logits, kind == "calibrated")
        accuracies.append(float((predicted == labels).all(dim=1).double().mean()))
        likelihoods.append(
            float(readout.score(logits, minterms, kind)[range(600), index].log().sum())
        )
    assert accuracies[0] > 0.7
    assert accuracies[1] >= accuracies[0]
    assert likelihoods[1] > likelihoods[0]


def minterm_text(row: list[bool]) -> str:
    return " & ".join(
        name if true else f"~{name}" for name, true in zip(LITERALS, row, strict=True)
    )


def test_the_order_of_images_decides_on_no_digit() -> None:
    logits = random_logits(500, 8)
    labels = drawn_minterms(logits / 2 + ALL.double() @ BIASES, ALL)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(2))
    readouts = SoftmaxReadout(ALL), SoftmaxReadout(ALL)
    readouts[0].calibrate(logits, labels)
    readouts[1].calibrate(logits[order], labels[order])
    assert found(readouts[1]) == pytest.approx(found(readouts[0]), rel=1e-8)


def test_calibration_bears_unknown_and_impossible_minterms() -> None:
    readout = SoftmaxReadout(torch.tensor([[0, 0, 1], [1, 0, 0]]))
    readout.calibrate(torch.zeros(2, 2), torch.ones(2, 3))
    assert found(readout) == [1, 0, 0, 0]
    certain = torch.tensor([[0.0, -torch.inf]] * 99 + [[-torch.inf, 0.0]])
    readout.calibrate(certain, torch.tensor([[0, 0, 1]] * 100))
    assert torch.isfinite(readout.temperature)
    assert torch.isfinite(readout.literal_biases).all()
    assert readout.temperature > 1


def test_literals_held_certain_are_calibrated_too() -> None:
    logits = torch.tensor([[torch.inf, -torch.inf]] * 100).double()
    labels = torch.tensor([[True, False]] * 99 + [[False, False]])
    readout = SigmoidReadout(("a", "b"))
    readout.calibrate(logits, labels)
    assert torch.isfinite(readout.temperature)
    assert torch.isfinite(readout.literal_biases).all()
    assert readout.temperature > 1


def test_what_is_calibrated_is_in_the_state() -> None:
    logits = random_logits(200, 8)
    readout, fresh = SoftmaxReadout(ALL), SoftmaxReadout(ALL)
    readout.calibrate(logits, drawn_minterms(logits / 3 + ALL.double() @ BIASES, ALL))
    fresh.load_state_dict(readout.state_dict())
    probabilities = fresh.minterm_probabilities(logits, calibrated=True)
    assert torch.equal(probabilities, readout.minterm_probabilities(logits, calibrated=True))
    assert not torch.equal(probabilities, fresh.minterm_probabilities(logits))
