import math
from typing import Any

import numpy as np
import pytest
import torch
from batches import gradient, random_classes, random_embeddings
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from src.losses.harmonic import HarmonicLoss, harmonic_logits, harmonic_loss
from src.readouts.head import HeadReadout

DISTANCES = ["euclidean", "cosine", "manhattan"]


def plain(
    embeddings: Tensor, labels: Tensor, centers: Tensor, exponent: float, distance: str
) -> float:
    """The formula, one sample after the other, with the distances of SciPy."""
    between = {"euclidean": "sqeuclidean", "manhattan": "cityblock"}.get(distance, distance)
    rows = cdist(embeddings.double().numpy(), centers.double().numpy(), between) + 1e-4
    if distance == "euclidean":
        rows = np.sqrt(rows)
    total = 0.0
    for distances, label in zip(rows.tolist(), labels, strict=True):
        weights = [distance**-exponent for distance in distances]
        total -= math.log(weights[int(label.argmax())] / sum(weights))
    return total / len(embeddings)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    num=st.integers(3, 9),
    dim=st.integers(1, 5),
    exponent=st.floats(0.5, 12),
    distance=st.sampled_from(DISTANCES),
    seed=st.integers(0, 2**32),
)
def test_is_the_formula(num: int, dim: int, exponent: float, distance: Any, seed: int) -> None:
    embeddings, labels = random_embeddings(num, dim, seed), random_classes(num, 3, seed)
    centers = random_embeddings(3, dim, seed + 1)
    expected = plain(embeddings, labels, centers, exponent, distance)
    actual = float(harmonic_loss(embeddings, labels, centers, exponent, distance))
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_common_scale_of_embeddings_and_centers_makes_no_difference(distance: Any) -> None:
    embeddings, centers = 100 * random_embeddings(6, 4), 100 * random_embeddings(3, 4, 1)
    first, second = (
        harmonic_logits(scale * embeddings, scale * centers, 4.0, distance).softmax(dim=1)
        for scale in (1, 50)
    )
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_cosine_distances_see_directions_alone_and_are_half_squares_of_euclid() -> None:
    embeddings, centers = random_embeddings(6, 4), random_embeddings(3, 4, 1)
    logits = harmonic_logits(embeddings, centers, 4.0, "cosine")
    lengths = random_embeddings(6, 1, 2).abs() + 0.1
    again = harmonic_logits(lengths * embeddings, 7 * centers, 4.0, "cosine")
    torch.testing.assert_close(again, logits)
    units = embeddings / embeddings.norm(dim=1, keepdim=True)
    unit_centers = centers / centers.norm(dim=1, keepdim=True)
    twice = harmonic_logits(units, unit_centers, 8.0, "euclidean")
    torch.testing.assert_close(twice.softmax(dim=1), logits.softmax(dim=1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_those_of_finite_differences(distance: Any) -> None:
    embeddings, labels = random_embeddings(6, 4).requires_grad_(), random_classes(6, 3)
    centers = random_embeddings(3, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, c: harmonic_loss(x, labels, c, 4.0, distance), (embeddings, centers)
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_embeddings_on_their_centers_have_next_to_no_loss(distance: Any) -> None:
    labels = torch.eye(3)
    value = harmonic_loss(10 * labels, labels, 10 * labels, 4.0, distance)
    assert 0 <= float(value) < 1e-9


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_stay_finite_on_centers_and_at_0(distance: Any) -> None:
    centers = torch.eye(3, dtype=torch.float64)
    embeddings = torch.cat([centers, torch.zeros(3, 3, dtype=torch.float64)])
    labels = torch.cat([torch.eye(3), torch.eye(3)])
    slope = gradient(lambda leaf: harmonic_loss(leaf, labels, centers, 4.0, distance), embeddings)
    assert slope.isfinite().all()


def test_centers_that_do_not_fit_are_refused() -> None:
    embeddings, labels = random_embeddings(6, 5), random_classes(6, 3)
    for centers in (torch.ones(4, 5), torch.ones(3, 6)):
        with pytest.raises(ValueError, match=r"centers .* must be \(K, D\)"):
            harmonic_loss(embeddings, labels, centers, 4.0, "euclidean")


@pytest.mark.parametrize("distance", DISTANCES)
def test_module_and_its_head_answer_with_its_own_centers(distance: Any) -> None:
    loss = HarmonicLoss(num_classes=3, embedding_dim=4, exponent=2.0, distance=distance)
    centers = loss.centers.detach()
    assert loss.logits(centers).argmax(dim=1).tolist() == [0, 1, 2]
    assert repr(loss) == f"HarmonicLoss(exponent=2.0, distance={distance})"
    minterms = torch.tensor([[1, 0], [0, 1], [1, 1]])
    readout = HeadReadout(minterms, loss)
    assert torch.equal(readout.predict(centers), minterms.bool())
    torch.testing.assert_close(
        readout.minterm_probabilities(centers)[0, 0],
        (-harmonic_loss(centers[:1], torch.eye(3)[:1], centers, 2.0, distance)).exp().double(),
        check_dtype=False,
    )


def test_other_distances_are_refused() -> None:
    message = "distance must be one of euclidean, cosine, manhattan, not 'braycurtis'"
    unknown: Any = "braycurtis"
    with pytest.raises(ValueError, match=message):
        HarmonicLoss(num_classes=3, embedding_dim=4, exponent=2.0, distance=unknown)
    with pytest.raises(ValueError, match=message):
        harmonic_logits(random_embeddings(6, 4), random_embeddings(3, 4), 2.0, unknown)
