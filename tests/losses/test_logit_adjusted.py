import math

import pytest
import torch
from batches import random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor, nn

from src.losses.linear import LinearCrossEntropyLoss
from src.losses.logit_adjusted import LogitAdjustedLoss

COUNTS = torch.tensor([60, 5, 1])


def build(counts: Tensor = COUNTS, tau: float = 1.0) -> LogitAdjustedLoss:
    torch.manual_seed(0)
    return LogitAdjustedLoss(len(counts), 4, counts, tau)


def plain(
    embeddings: Tensor, labels: Tensor, linear: nn.Linear, log_shares: Tensor, tau: float
) -> float:
    """The formula, one sample after the other."""
    weights, biases = (part.detach().double().numpy() for part in (linear.weight, linear.bias))
    total = 0.0
    for row, label in zip(embeddings.numpy(), labels, strict=True):
        adjusted = weights @ row + biases + tau * log_shares.numpy()
        total -= adjusted[int(label.argmax())] - logsumexp(adjusted)
    return total / len(embeddings)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(num=st.integers(3, 9), tau=st.floats(0.1, 3), seed=st.integers(0, 2**32))
def test_is_the_formula(num: int, tau: float, seed: int) -> None:
    embeddings, labels = random_embeddings(num, 4, seed), random_classes(num, 3, seed)
    loss = build(tau=tau)
    expected = plain(embeddings, labels, loss.linear, (COUNTS / 66).log(), tau)
    assert float(loss(embeddings, labels).detach()) == pytest.approx(expected, rel=1e-6)


def test_with_tau_1_it_is_the_balanced_softmax_of_counts() -> None:
    embeddings, labels = random_embeddings(9, 4), random_classes(9, 3)
    loss = build()
    weighted = COUNTS.double() * loss.balanced_logits(embeddings).exp()
    shares = weighted / weighted.sum(dim=1, keepdim=True)
    expected = -shares[labels.bool()].log().mean()
    torch.testing.assert_close(loss(embeddings, labels), expected)


def test_equal_counts_make_it_cross_entropy() -> None:
    embeddings, labels = random_embeddings(9, 4), random_classes(9, 3)
    torch.manual_seed(0)
    usual = LinearCrossEntropyLoss(3, 4)
    loss = build(torch.tensor([7, 7, 7]), tau=2.0)
    torch.testing.assert_close(loss(embeddings, labels), usual(embeddings, labels))


def test_it_is_cross_entropy_that_starts_with_another_bias() -> None:
    embeddings, labels = random_embeddings(9, 4), random_classes(9, 3)
    loss, usual = build(tau=1.5).double(), LinearCrossEntropyLoss(3, 4).double()
    with torch.no_grad():
        usual.linear.weight.copy_(loss.linear.weight)
        usual.linear.bias.copy_(loss.linear.bias + 1.5 * (COUNTS / 66).double().log())
    for _ in range(5):
        values = [each(embeddings, labels) for each in (loss, usual)]
        torch.testing.assert_close(*values)
        for each, value in zip((loss, usual), values, strict=True):
            slopes = torch.autograd.grad(value, list(each.parameters()))
            with torch.no_grad():
                for parameter, slope in zip(each.parameters(), slopes, strict=True):
                    parameter.sub_(0.5 * slope)
        torch.testing.assert_close(loss.logits(embeddings), usual.logits(embeddings))


def test_logits_are_the_posterior_and_balanced_ones_what_equal_classes_would_say() -> None:
    """Two Gaussians, 9 to 1: Bayes' rule at a point says what the head should have learned."""
    generator = torch.Generator().manual_seed(0)
    rare = torch.rand(20000, generator=generator) < 0.1
    points = torch.randn(20000, 1, generator=generator, dtype=torch.float64)
    points[rare] += 1
    labels = torch.stack([~rare, rare], dim=1).double()
    loss = LogitAdjustedLoss(2, 1, labels.sum(dim=0), tau=1.0).double()
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=50)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(points, labels)
        value.backward()
        return value

    optimizer.step(closure)
    at = torch.tensor([[-1.0], [0.5], [2.0]]).double()
    densities = torch.stack([(-(at**2) / 2).exp(), (-((at - 1) ** 2) / 2).exp()], dim=1)[..., 0]
    balanced = densities / densities.sum(dim=1, keepdim=True)
    joint = densities * torch.tensor([0.9, 0.1])
    posterior = joint / joint.sum(dim=1, keepdim=True)
    torch.testing.assert_close(loss.logits(at).softmax(dim=1), posterior, atol=0.02, rtol=0)
    said = loss.balanced_logits(at).softmax(dim=1)
    torch.testing.assert_close(said, balanced, atol=0.03, rtol=0)


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 0], [1, 2, -1], [1, 2, math.nan]])
def test_counts_that_do_not_fit_are_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="class_counts must be 3 numbers above 0"):
        LogitAdjustedLoss(3, 4, torch.tensor(counts), 1.0)


@pytest.mark.parametrize("tau", [0, -1, math.nan, math.inf])
def test_tau_out_of_range_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="tau must be a number above 0"):
        build(tau=tau)


def test_a_state_dict_keeps_the_shares() -> None:
    first, second = build(), build(torch.ones(3))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.log_shares, first.log_shares)
    assert repr(first).startswith("LogitAdjustedLoss(\n  tau=1.0")
