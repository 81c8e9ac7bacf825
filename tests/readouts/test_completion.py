"""Unknown labels, completed: exact values on small cases, and a likelihood that rises."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch import Tensor

from src.readouts.completion import WARM_UP, LabelCompletion, draw_labels, minterm_posterior
from src.readouts.discriminant import solve_minterm_discriminants
from src.readouts.moments import with_constant
from src.subspaces.minterms import all_minterms, distinct_minterms

DIM = 4


def data(share: float, number: int = 600) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings around means that literals shift, labels of uneven minterms, and unknown ones."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(number, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.7])
    labels[:, 2] |= labels[:, 0]
    shifts = 3 * torch.randn(3, DIM, generator=generator).double()
    mixing = torch.tensor([0.5, 1.0, 1.5, 2.0]).double().diag()  # far from a sphere
    noise = torch.randn(number, DIM, generator=generator).double() @ mixing
    unknown = torch.rand(number, 3, generator=generator) < share
    return labels.double() @ shifts + noise, labels, unknown


def by_enumeration(prior: dict[tuple[int, ...], float], known: list[int | None]) -> list[float]:
    """p(literal | known) from the joint distribution, literal by literal."""
    agree = {
        row: share
        for row, share in prior.items()
        if all(value is None or value == bit for bit, value in zip(row, known, strict=True))
    }
    total = sum(agree.values())
    return [
        sum(share for row, share in agree.items() if row[literal]) / total
        for literal in range(len(known))
    ]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(st.floats(0.01, 1), min_size=8, max_size=8),
    st.lists(st.sampled_from([0, 1, None]), min_size=3, max_size=3),
)
def test_expected_literals_are_those_of_the_joint_distribution(
    weights: list[float], known: list[int | None]
) -> None:
    rows = list(product((0, 1), repeat=3))
    expected = by_enumeration(dict(zip(rows, weights, strict=True)), known)
    labels = torch.tensor([[bool(value) for value in known]])
    unknown = torch.tensor([[value is None for value in known]])
    minterms = all_minterms(3)
    logits = torch.tensor(weights).double().log()
    for read in (labels, labels | unknown):  # whatever is read where labels are unknown
        found = minterm_posterior(logits, read, unknown, minterms) @ minterms.double()
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-6)


def test_posteriors_are_bayes_rule_with_the_densities_of_scipy() -> None:
    embeddings, labels, unknown = data(0.4, number=50_000)
    completion = LabelCompletion(distinct_minterms(labels), DIM)
    minterms = completion.minterms
    certain = minterm_posterior(torch.zeros(len(minterms)), labels, ~labels & labels, minterms)
    for _ in range(int(WARM_UP) + 1):  # the same batch: sums are a multiple of its own
        completion.update(embeddings, certain)
    design = np.column_stack([np.ones(len(labels)), labels.numpy()])
    coefficients, *_ = np.linalg.lstsq(design, embeddings.numpy(), rcond=None)
    residuals = embeddings.numpy() - design @ coefficients
    covariance = residuals.T @ residuals / len(labels)
    means = np.column_stack([np.ones(len(minterms)), minterms.numpy()]) @ coefficients
    counts = certain.sum(dim=0).numpy()
    densities = np.column_stack(
        [multivariate_normal(mean, covariance).pdf(embeddings.numpy()) for mean in means]
    )
    agrees = ((labels[:, None] == minterms) | unknown[:, None]).all(dim=2).numpy()
    joint = densities * counts * agrees
    found = completion.posterior(embeddings, labels, unknown).numpy()
    # Of so many images, shrinkage and the one that is shared out are next to nothing
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), atol=1e-3)


def test_each_step_makes_what_is_known_more_likely() -> None:
    """Expectation maximization, from no knowledge at all, by the functions of the completion."""
    embeddings, labels, unknown = data(0.5)
    minterms = all_minterms(3)
    regressors = with_constant(minterms)
    probabilities = minterm_posterior(torch.zeros(8), labels, unknown, minterms)
    agrees = (probabilities > 0).numpy()
    likelihoods = []
    for _ in range(25):
        counts, sums = probabilities.sum(dim=0), probabilities.T @ embeddings
        squares = regressors.T @ (counts.unsqueeze(1) * regressors)
        weights, biases = solve_minterm_discriminants(
            *(squares, regressors.T @ sums, embeddings.T @ embeddings, regressors),
            *(counts.sum(), 0.0),
        )
        logits = embeddings @ weights.T + biases + counts.log()
        # The likelihood is SciPy's, of means and covariance by the normal equations
        coefficients = np.linalg.solve(squares.numpy(), (regressors.T @ sums).numpy())
        within = embeddings.T.numpy() @ embeddings.numpy()
        within = (within - coefficients.T @ squares.numpy() @ coefficients) / len(labels)
        log_joint = np.column_stack(
            [
                multivariate_normal(mean, within).logpdf(embeddings.numpy()) + np.log(share)
                for mean, share in zip(
                    regressors.numpy() @ coefficients, counts.numpy() / len(labels), strict=True
                )
            ]
        )
        likelihoods.append(logsumexp(np.where(agrees, log_joint, -np.inf), axis=1).sum())
        probabilities = minterm_posterior(logits, labels, unknown, minterms)
    gains = np.diff(likelihoods)
    assert (gains > -1e-8).all()
    assert gains[0] > 1
    guessed = (probabilities @ minterms.double() > 0.5)[unknown]
    rate = (guessed == labels[unknown]).double().mean()
    assert rate > 0.9


def test_a_stream_finds_the_joint_distribution_and_the_unknown_labels() -> None:
    embeddings, labels, unknown = data(0.5, number=6400)
    hidden = labels & ~unknown
    completion = LabelCompletion(all_minterms(3), DIM)
    for rows in torch.arange(6400).split(128) * 3:
        part = completion.posterior(embeddings[rows], hidden[rows], unknown[rows])
        completion.update(embeddings[rows], part)
    # Where nothing is known, what is expected is the share of each minterm
    nothing = torch.ones(1, 3, dtype=torch.bool)
    (shares,) = completion.expected(~nothing, nothing)
    true = (labels[:, None] == completion.minterms).all(dim=2).double().mean(dim=0)
    torch.testing.assert_close(shares, true, atol=0.03, rtol=0)
    completed = completion.posterior(embeddings, hidden, unknown) @ completion.minterms.double()
    errors = (completed - labels.double()).abs()
    assert errors[~unknown].max() < 1e-12
    expected = completion.expected(hidden, unknown) @ completion.minterms.double()
    assert errors[unknown].mean() < 0.5 * (expected - labels.double()).abs()[unknown].mean()


def test_draws_have_the_shares_of_their_probabilities_and_repeat() -> None:
    minterms = all_minterms(3)
    row = torch.tensor([0.05, 0.0, 0.1, 0.3, 0.0, 0.15, 0.4, 0.0]).double()
    positions = torch.randperm(8000, generator=torch.Generator().manual_seed(0))
    drawn = draw_labels(row.expand(8000, -1), minterms, positions)
    shares = (drawn[:, None] == minterms).all(dim=2).double().mean(dim=0)
    torch.testing.assert_close(shares, row, atol=0.001, rtol=0)
    half = draw_labels(row.expand(4000, -1), minterms, positions[4000:])
    assert torch.equal(half, drawn[4000:])
    short = draw_labels((0.5 * row).expand(8000, -1), minterms, positions)  # sums below a place
    assert not (short[:, None] == minterms[[1, 4, 7]]).all(dim=2).any()


def test_what_no_minterm_agrees_with_is_refused() -> None:
    minterms = torch.tensor([[False, True], [True, True]])
    labels, known = torch.tensor([[True, False]]), torch.zeros(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"no minterm agrees .* labels \[1, 0\]"):
        minterm_posterior(torch.zeros(2), labels, known, minterms)


def test_more_minterms_than_a_table_holds_are_refused() -> None:
    completion = LabelCompletion(all_minterms(13), DIM)
    unknown = torch.ones(1, 13, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"8,192 minterms .* set module.completion=absent"):
        completion.posterior(torch.zeros(1, DIM), ~unknown, unknown)
