import numpy as np
import pytest
import torch
from batches import gradient, random_embeddings, random_literals
from torch import Tensor
from torch.nn.functional import logsigmoid

from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.nuclear import nuclear_norm_loss
from src.losses.nuclear_discriminant import NuclearDiscriminantLoss

LITERALS, DIM, SHRINKAGE = 3, 5, 0.1


def make_loss(**changes: float) -> NuclearDiscriminantLoss:
    parameters = {
        "alpha": 0.9,
        "beta": 0.1,
        "gamma": 0.3,
        "averaging": 0.75,
        "shrinkage": SHRINKAGE,
    }
    return NuclearDiscriminantLoss(LITERALS, DIM, **(parameters | changes))


def batches(number: int) -> list[tuple[Tensor, Tensor]]:
    """Embeddings that depend on their labels, and the labels."""
    drawn = []
    for seed in range(number):
        labels = random_literals(40, LITERALS, seed)
        means = labels.double() @ random_embeddings(LITERALS, DIM, 99)
        drawn.append((means + random_embeddings(40, DIM, seed), labels))
    return drawn


def weighted_discriminants(
    embeddings: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Fisher's discriminants of weighted samples, one class after the other."""
    slopes, offsets = [], []
    for literal in labels.T:
        within, means, shares = 0.0, [], []
        for value in (0, 1):
            members = literal == value
            share = weights[members].sum() / weights.sum()
            part = {"aweights": weights[members], "ddof": 0}
            within = within + share * np.cov(embeddings[members].T, **part)
            means.append(np.average(embeddings[members], axis=0, weights=weights[members]))
            shares.append(share)
        sphere = np.trace(within) / DIM * np.eye(DIM)
        within = (1 - SHRINKAGE) * within + SHRINKAGE * sphere
        slope = np.linalg.inv(within) @ (means[1] - means[0])
        slopes.append(slope)
        offsets.append(np.log(shares[1] / shares[0]) - slope @ (means[0] + means[1]) / 2)
    return torch.tensor(np.array(slopes)), torch.tensor(np.array(offsets))


def test_adds_the_likelihood_of_discriminants_of_the_batches_so_far() -> None:
    loss, seen = make_loss(), batches(6)
    for number, (embeddings, labels) in enumerate(seen, start=1):
        value = loss(embeddings, labels)
        norms = nuclear_norm_loss(embeddings, labels, 0.9, 0.1)
        if number < 4:  # 1 / (1 - 0.75)
            torch.testing.assert_close(value, norms)
            continue
        past = seen[:number]
        ages = np.repeat([0.75 ** (number - place) for place in range(1, number + 1)], 40)
        weights, biases = weighted_discriminants(
            np.concatenate([rows.numpy() for rows, _ in past]),
            np.concatenate([rows.numpy() for _, rows in past]),
            ages,
        )

        def misfit(x: Tensor, labels: Tensor = labels, w: Tensor = weights, b: Tensor = biases):  # type: ignore[no-untyped-def]
            return -logsigmoid((x @ w.T + b) * (2 * labels - 1)).sum()

        torch.testing.assert_close(value, norms + 0.3 * misfit(embeddings))
        torch.testing.assert_close(loss.other_terms, 0.3 * misfit(embeddings))
        loss.eval()  # or the batch would count twice
        expected = gradient(lambda x, y=labels: nuclear_norm_loss(x, y, 0.9, 0.1), embeddings)
        expected += 0.3 * gradient(misfit, embeddings)
        torch.testing.assert_close(gradient(lambda x, y=labels: loss(x, y), embeddings), expected)
        loss.train()
    assert number == 6 == int(loss.batches)


def test_goes_on_from_a_checkpoint_bit_for_bit() -> None:
    whole, first, second = make_loss(), make_loss(), make_loss()
    seen = batches(8)
    expected = [whole(*batch) for batch in seen]
    for batch in seen[:5]:
        first(*batch)
    second.load_state_dict(first.state_dict())
    assert [second(*batch) for batch in seen[5:]] == expected[5:]


def test_moments_are_of_training_batches_alone() -> None:
    loss = make_loss().eval()
    loss(*batches(1)[0])
    assert not loss.moment.any()


def test_embeddings_that_are_not_finite_leave_no_trace() -> None:
    loss = make_loss()
    embeddings, labels = batches(1)[0]
    embeddings[3, 1] = torch.nan
    with pytest.raises(NonFiniteEmbeddingsError):
        loss(embeddings, labels)
    assert not loss.moment.any()


def test_labels_that_all_images_have_or_none_add_nothing() -> None:
    loss = make_loss(averaging=0.5)
    for embeddings, labels in batches(3):
        labels[:, 0], labels[:, 2] = 0, 1
        value = loss(embeddings, labels)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient(lambda x: loss(x, labels), embeddings)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.0}, "alpha must be"),
        ({"gamma": 0.0}, "gamma must be a number above 0"),
        ({"averaging": 1.0}, "averaging must be below 1"),
        ({"averaging": 0.0}, "averaging must be"),
        ({"shrinkage": 0.0}, "shrinkage must be"),
        ({"shrinkage": 1.5}, "shrinkage must be at most 1"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_loss(**changes)
