"""Losses and mutual information are ranked as SciPy's tau and plain counting would."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_embeddings
from conftest import run_command
from PIL import Image
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from src.data.digits import DIGITS_WITH
from src.studies.mutual_information import (
    ALL,
    CHANGES,
    EPOCHS,
    LAST,
    OF_ONE,
    Run,
    Training,
    codings,
    correlate,
    judged,
    measure,
    train,
)
from src.subspaces.closed_form import optimal_embeddings

HOW = Training("classes", (0.99, 0.05), 0.01, 0, 20, 3, 16, 10)


def ranks(values: np.ndarray) -> np.ndarray:
    """The number of values below each: those of a rank correlation, where none are equal."""
    return np.array([(values < value).sum() for value in values])


def plain(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def random_runs() -> list[Run]:
    random = np.random.default_rng(0)
    return [
        Run("classes", weights, random.random(6).tolist(), {"e": random.random(6).tolist()})
        for weights in ((0.9, 0.1), (0.5, 0.1))
        for _ in range(4)
    ]


def test_correlations_are_those_of_counted_ranks() -> None:
    runs = random_runs()
    gaps = np.array([run.gaps for run in runs])
    bits = np.array([run.information["e"] for run in runs])
    expected = {
        EPOCHS: [plain(*pair) for pair in zip(gaps, bits, strict=True)],
        CHANGES: [plain(g[1:] - g[:-1], b[1:] - b[:-1]) for g, b in zip(gaps, bits, strict=True)],
        LAST: [plain(gaps[part, 5], bits[part, 5]) for part in (slice(4), slice(4, 8))],
        OF_ONE: [plain(gaps[part].ravel(), bits[part].ravel()) for part in (slice(4), slice(4, 8))],
        ALL: [plain(gaps.flatten(), bits.flatten())],
    }
    found = correlate(runs, "e")
    assert found.keys() == expected.keys()
    for claim, values in found.items():
        assert values == pytest.approx(expected[claim])


def test_the_worst_correlation_decides() -> None:
    def steps(sign: int, first: int) -> Run:
        squares = [float(step) ** 2 for step in range(first, first + 6)]
        return Run("classes", (0.9, 0.1), squares, {"e": [sign * square for square in squares]})

    falling = steps(-1, 0)
    (row, *_) = judged([falling, steps(1, 1)], -0.7)
    assert (row["claim"], row["verdict"]) == (EPOCHS, "does not hold")
    assert (row["measured"], row["median"]) == (pytest.approx(1), pytest.approx(0))
    for row in judged([falling, steps(-1, 1)], -0.7):
        assert (row["measured"], row["verdict"]) == (pytest.approx(-1), "holds")


def test_labels_are_those_of_the_data_set() -> None:
    labels = codings()
    assert {name: tuple(rows.shape) for name, rows in labels.items()} == {
        "classes": (10, 10),
        "minterms": (10, 8),
        "literals": (10, 5),
    }
    for digit, row in enumerate(labels["literals"].tolist()):
        assert row == [digit in has for has in DIGITS_WITH.values()]
    same = labels["minterms"] @ labels["minterms"].T
    for first in range(10):
        for second in range(10):
            alike = labels["literals"][first].tolist() == labels["literals"][second].tolist()
            assert same[first, second] == alike


def test_measures_at_the_optimum_are_no_gap_and_the_information_of_classes() -> None:
    digits = torch.arange(10).repeat(4)
    labels = codings()["classes"][digits]
    generator = torch.Generator().manual_seed(0)
    half = optimal_embeddings(labels[:20], 0.99, 0.05, 10, generator)
    best = torch.cat([half, half])  # of the same labels, so that both batches agree
    entropies = {"cosine": (lambda rows: rows @ rows.T, 1.0)}
    run = measure([best, random_embeddings(40, 10)], labels, HOW, entropies)
    assert run.gaps[0] == pytest.approx(0, abs=1e-9)
    assert run.gaps[1] > 0.1
    expected = mutual_info_score(digits, digits) / np.log(2)
    assert run.information["cosine"][0] == pytest.approx(expected)
    other = random_embeddings(40, 10).numpy()
    kernels = [other @ other.T, labels.numpy() @ labels.numpy().T]
    kernels.append(kernels[0] * kernels[1])
    bits = []
    for kernel in kernels:
        lengths = np.sqrt(kernel.diagonal())
        shares = np.linalg.eigvalsh(kernel / np.outer(lengths, lengths)).clip(0)
        bits.append(entropy(shares, base=2))
    assert run.information["cosine"][1] == pytest.approx(bits[0] + bits[1] - bits[2])


def test_training_lowers_the_gap_and_is_the_same_again() -> None:
    digits = torch.arange(10).repeat(4)
    inputs = random_embeddings(10, 64)[digits] + 0.1 * random_embeddings(40, 64, 1)
    labels = codings()["classes"][digits]
    first, second = (list(train(inputs, labels, inputs, HOW)) for _ in range(2))
    assert len(first) == HOW.epochs + 1
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    gaps = measure(first, labels, HOW, {}).gaps
    assert gaps[-1] < gaps[0]


def test_command_writes_the_table_and_the_figure(tmp_path: Path) -> None:
    arguments = ["table=mutual_information", f"runs_dir={tmp_path}/runs", f"results_dir={tmp_path}"]
    assert run_command("reproduce", *arguments) == (0, "")
    folder = tmp_path / "mutual_information" / "smoke"
    with Image.open(folder / "figure.png") as image:
        assert image.width > 1000
    rows = json.loads((folder / "table.json").read_text())["rows"]
    assert len(rows) == 3 * 2 * 5  # codings, kernels at one order, claims
    assert all(-1 <= row["measured"] <= 1 for row in rows)
