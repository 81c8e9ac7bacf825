"""Biases and rates against exact expectations, in closed form or by enumeration."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import random_embeddings
from conftest import run_command
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.stats import binom
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.data.digits import Digits
from src.readouts.discriminant import DiscriminantReadout
from src.studies.convergence import (
    JOINT,
    LOSS,
    NUCLEAR,
    SPECTRAL,
    Trained,
    fit_factor,
    fit_rate,
    measure_bias,
    perceptron,
    run,
    train,
)
from src.subspaces.minterms import distinct_minterms

ALPHA, BETA = 0.9, 0.3


def normalized(rows: Tensor) -> np.ndarray:
    """Singular values over the root of the number of rows."""
    return np.linalg.svd(rows.numpy(), compute_uv=False) / len(rows) ** 0.5


def exact(embeddings: Tensor, labels: Tensor, size: int) -> dict[str, float]:
    """Biases over all batches of a size, one by one."""

    def norms(rows: list[int]) -> np.ndarray:
        joint = normalized(torch.cat([labels[rows], embeddings[rows]], dim=1)).sum()
        own = normalized(embeddings[rows])
        return np.array([joint, own.sum(), own[0] ** 2])

    number = len(embeddings)
    batches = [norms(list(rows)) for rows in product(range(number), repeat=size)]
    joint, own, largest = np.mean(batches, axis=0) - norms(list(range(number)))
    loss = joint - ALPHA * own + BETA * largest
    return {JOINT: joint, NUCLEAR: own, SPECTRAL: largest, LOSS: loss}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_biases_are_those_of_all_batches_there_are(size: int) -> None:
    embeddings, labels = random_embeddings(6, 2), torch.eye(3)[torch.arange(6) % 3].double()
    found = measure_bias(embeddings, labels, ALPHA, BETA, [size], draws=3000)
    for name, expected in exact(embeddings, labels, size).items():
        (mean,), (error,), _ = found[name]
        assert abs(mean - expected) < 4 * error
        assert error < 0.1


def test_indicators_of_classes_have_the_bias_of_binomial_numbers() -> None:
    classes = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    labels = torch.eye(3)[classes].double()
    shares = np.array([0.5, 0.3, 0.2])
    sizes = [8, 64, 512]
    found = measure_bias(labels, 0 * labels[:, :1], ALPHA, BETA, sizes, draws=2000)[NUCLEAR]
    assert found.predicted == pytest.approx(-((1 - shares) / (8 * np.sqrt(shares))).sum())
    for place, size in enumerate(sizes):
        counts = np.arange(size + 1)
        roots = [binom(size, share).pmf(counts) @ np.sqrt(counts / size) for share in shares]
        expected = float(np.sum(roots) - np.sqrt(shares).sum())
        assert abs(found.means[place] - expected) < 4 * found.errors[place]
    # The last of them is all but what theory says
    assert expected * 512 == pytest.approx(found.predicted, rel=0.02)


def test_what_theory_says_is_what_large_batches_have() -> None:
    embeddings = random_embeddings(400, 5) * torch.arange(1, 6)
    labels = (random_embeddings(400, 3, 1) > 0).double()
    found = measure_bias(embeddings, labels, ALPHA, BETA, [2000], draws=1500)
    for name in (JOINT, NUCLEAR, SPECTRAL, LOSS):
        (mean,), (error,), predicted = found[name]
        assert abs(2000 * mean - predicted) < 4 * 2000 * error + 0.03 * abs(predicted)
        assert 2000 * error < 0.15 * abs(predicted)


@pytest.mark.parametrize(("rate", "limit"), [(0.5, 0.3), (1.0, 0.0), (1.7, -2.0)])
def test_a_power_law_is_found_with_its_uncertainty(rate: float, limit: float) -> None:
    sizes = [2**power for power in range(4, 13)]
    truth = 3 * np.array(sizes, dtype=float) ** -rate + limit
    random = np.random.default_rng(0)
    deviation = 0.01 * (truth - limit)
    drawn = truth + deviation * random.standard_normal((200, 9))
    fits = [fit_rate(sizes, values, deviation.tolist(), limit != 0) for values in drawn.tolist()]
    for name, expected in (("factor", 3.0), ("rate", rate)):
        values = np.array([getattr(fit, name).mean for fit in fits])
        stated = np.array([getattr(fit, name).std for fit in fits])
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / 200**0.5)
        assert stated.mean() == pytest.approx(values.std(), rel=0.2)
    limits = [fit.limit.mean if fit.limit else 0.0 for fit in fits]
    assert np.mean(limits) == pytest.approx(limit, abs=1e-4)


def test_the_factor_of_theory_is_found_with_its_uncertainty() -> None:
    shares = np.array([0.5, 0.3, 0.2])  # of classes, as above
    theory = -((1 - shares) / (8 * np.sqrt(shares))).sum()
    sizes = [64, 128, 256, 512]
    factors = []
    for size in sizes:  # exactly
        counts = np.arange(size + 1)
        roots = [binom(size, share).pmf(counts) @ np.sqrt(counts / size) for share in shares]
        factors.append(float(np.sum(roots) - np.sqrt(shares).sum()))
    errors = [0.01 * -theory / size for size in sizes]
    random = np.random.default_rng(0)
    drawn = np.array(factors) + errors * random.standard_normal((500, 4))
    fits = [fit_factor(sizes, values, errors) for values in drawn.tolist()]
    values, stated = np.array(fits).T
    assert values.mean() == pytest.approx(theory, abs=4 * values.std() / 500**0.5)
    assert stated.mean() == pytest.approx(values.std(), rel=0.1)


SIZES, SEEDS = [200, 400, 800, 1200], [1, 2, 3]
STUDY: dict[str, Any] = {
    "image_set": Digits(split_seed=0),
    "batch_sizes": [32, 64, 128, 256, 512],
    "draws": 200,
    "fit_from": 64,
    "whole": 500,
    "training_sizes": SIZES,
    "steps": 0,
    "batch_size": 100,
    "width": 16,
    "embedding_dim": 6,
    "alpha": ALPHA,
    "beta": BETA,
    "lr": 4e-3,
}


def test_a_table_has_the_law_of_each_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = {"relative gap": (1.3, 0.4, 0.6), "1 - mAP": (2.0, 0.5, 0.1)}  # a, b and c
    offsets = {1: -0.004, 2: 0.001, 3: 0.003}  # of seeds

    def planted(splits: object, size: int, seed: int, *_: object, literals: object) -> Trained:
        torch.manual_seed(seed)
        gap, missed = (a * size**-b + c + offsets[seed] for a, b, c in laws.values())
        return Trained(perceptron(torch.zeros(1, 1, 8, 8), 16, 6), gap, 1 - missed)

    monkeypatch.setattr("src.studies.convergence.train", planted)
    rows = run(tmp_path, seeds=SEEDS, **STUDY).rows
    for row in rows[:8]:
        assert row["predicted"].std is None
        if row["measure"] != SPECTRAL:
            assert abs(row["rate"].mean - 1) < 0.1
            assert abs(row["factor"].mean - row["predicted"].mean) < 4 * row["factor"].std
            assert row["factor"].std < 0.08 * abs(row["predicted"].mean)
    for row, (name, (a, b, c)) in zip(rows[8:], laws.items(), strict=True):
        assert row["measure"] == name
        found = [row[key] for key in ("factor", "rate", "limit")]
        assert [value.mean for value in found] == pytest.approx([a, b, c], rel=1e-3)
        # Errors of least squares, of means over three seeds, to first order
        n = np.array(SIZES, dtype=float)
        slopes = np.stack([n**-b, -a * n**-b * np.log(n), n**0], axis=1)
        variance = np.var([*offsets.values()], ddof=1) / 3
        expected = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)) * variance)
        assert [value.std for value in found] == pytest.approx(expected, rel=1e-2)


def test_gap_and_precision_of_a_trained_encoder_are_those_of_numpy_and_scikit_learn() -> None:
    digits = Digits(split_seed=0)
    known, held_out, asked = (digits.splits[name] for name in ("train", "val", "test"))
    settings: dict[str, Any] = {"steps": 40, "batch_size": 50, "width": 32, "embedding_dim": 8}
    settings |= {"alpha": ALPHA, "beta": BETA, "lr": 4e-3}
    found = train(digits.splits, 300, 0, **settings, literals=digits.literals)
    with torch.no_grad():
        images = (known.images[:300], held_out.images, asked.images)
        fitted, calibrated, embeddings = (
            found.encoder.eval()(part.float() / 255) for part in images
        )
    # The loss of batches of 50, and the best of any cap on the singular values of embeddings
    truth = asked.labels.double()
    joint, own, labels = (
        50**0.5 * normalized(rows)
        for rows in (torch.cat([truth, embeddings], dim=1), embeddings.double(), truth)
    )
    loss = joint.sum() - ALPHA * own.sum() + BETA * own[0] ** 2
    uncapped = labels * ALPHA / (1 - ALPHA**2) ** 0.5

    def capped(cap: float) -> float:
        values = np.minimum(cap, uncapped)
        return float(np.sum(np.hypot(labels, values) - ALPHA * values) + BETA * cap**2)

    optimum = minimize_scalar(capped, bounds=(0, uncapped[0]), method="bounded").fun
    assert found.gap == pytest.approx(loss / optimum - 1, rel=1e-6)
    # Every conjunction, from probabilities of minterms
    readout = DiscriminantReadout(distinct_minterms(known.labels[:300]), 8, "additive", None)
    readout.update(fitted, known.labels[:300])
    readout.fit()
    readout.calibrate(calibrated.double(), held_out.labels)
    probabilities = readout.minterm_probabilities(embeddings.double(), calibrated=True).numpy()
    precisions = []
    for values in product((None, False, True), repeat=5):
        named = [column for column in range(5) if values[column] is not None]
        holds, satisfying = (
            np.all([rows[:, c].numpy() == values[c] for c in named], axis=0)
            for rows in (asked.labels, readout.minterms)
        )
        if named and holds.any():
            score = probabilities[:, satisfying].sum(axis=1)
            precisions.append(average_precision_score(holds, score))
    assert found.retrieval == pytest.approx(np.mean(precisions), abs=1e-9)


def test_one_seed_has_no_standard_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seeds must be two or more, for standard errors, not 1"):
        run(tmp_path, seeds=[1], **STUDY)


def test_command_writes_the_table_and_the_figure(tmp_path: Path) -> None:
    arguments = ["table=convergence", f"runs_dir={tmp_path}/runs", f"results_dir={tmp_path}"]
    assert run_command("reproduce", *arguments) == (0, "")
    folder = tmp_path / "convergence" / "smoke"
    with Image.open(folder / "figure.png") as image:
        assert image.width > 1000
    rows = json.loads((folder / "table.json").read_text())["rows"]
    assert len(rows) == 2 * 4 + 2
    for row in rows[:8]:
        assert (row["predicted"]["mean"] > 0) == (row["last"] > 0)
