"""Entailments are read off subspaces and classifiers as plain loops, SciPy and scikit-learn do."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from PIL import Image
from scipy.linalg import subspace_angles
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.config.groups import CONF_DIR
from src.data.digits import DigitClasses
from src.data.trees import entailments, with_ancestors
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.reports.tables import Estimate
from src.studies.hierarchy import (
    agree,
    answer,
    fit_literal_discriminants,
    imply,
    include,
    read,
    run,
    violations,
)
from src.studies.trainings import compose_run, train

# a and b entail c
TRUTH = torch.tensor([[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()


def draw_labels(number: int) -> Tensor:
    labels = torch.rand(number, 4, generator=torch.Generator().manual_seed(0)) < 0.3
    labels[:, 2] |= labels[:, 0] | labels[:, 1]
    return labels


def test_inclusion_of_planted_subspaces() -> None:
    axes = torch.eye(6)
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]]).bool()
    images = torch.arange(3).repeat(20)
    found = include(3 * axes[images], labels[images], 0.99)
    expected = np.array([[1.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("energy", [0.5, 0.8, 1.0])
def test_inclusion_is_that_of_principal_angles(energy: float) -> None:
    labels = draw_labels(60)
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(60, 7, generator=generator) * torch.arange(1, 8)
    found = include(embeddings, labels, energy)
    unit = (embeddings / embeddings.norm(dim=1, keepdim=True)).double().numpy()
    bases = []
    for column in range(4):
        rows = unit[labels[:, column].numpy()]
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        shares = np.cumsum(values**2) / np.sum(values**2)
        number = next(n for n, share in enumerate(shares, 1) if share >= energy - 1e-12)
        bases.append(directions[:number].T)
    for row, first in enumerate(bases):
        for column, second in enumerate(bases):
            cosines = np.cos(subspace_angles(first, second)) ** 2
            expected = cosines.sum() / first.shape[1]
            assert found[row, column] == pytest.approx(expected, abs=1e-6)


def test_implication_is_a_weighted_mean() -> None:
    probabilities = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))
    found = imply(probabilities)
    for row in range(4):
        for column in range(4):
            weights, values = probabilities[:, row].numpy(), probabilities[:, column].numpy()
            expected = np.average(values, weights=weights)
            assert found[row, column] == pytest.approx(expected, rel=1e-5)


def test_agreement_counts_ordered_pairs_but_not_the_diagonal() -> None:
    scores = torch.rand(4, 4, generator=torch.Generator().manual_seed(3)).double()
    found = agree(scores, TRUTH, "")
    pairs = list(permutations(range(4), 2))
    positive = [scores[pair] for pair in pairs if TRUTH[pair]]
    negative = [scores[pair] for pair in pairs if not TRUTH[pair]]
    wins = [float(high > low) for high in positive for low in negative]
    assert found["auroc"] == pytest.approx(np.mean(wins))
    ranked = sorted(pairs, key=lambda pair: -float(scores[pair]))
    hits = [place for place, pair in enumerate(ranked, 1) if TRUTH[pair]]
    precisions = [number / place for number, place in enumerate(hits, 1)]
    assert found["auprc"] == pytest.approx(np.mean(precisions))
    assert agree(TRUTH.double(), TRUTH, "subspace_") == {
        "subspace_auprc": 1.0,
        "subspace_auroc": 1.0,
    }
    assert agree(TRUTH.T.double(), TRUTH, "")["auprc"] < 0.4


def test_violations_are_images_that_miss_an_ancestor() -> None:
    predicted = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = [(row[0] or row[1]) and not row[2] for row in predicted.tolist()]
    assert violations(predicted, TRUTH) == pytest.approx(np.mean(expected))
    assert violations(draw_labels(200), TRUTH) == 0


def test_levels_are_measured_by_themselves() -> None:
    labels = draw_labels(300)[:, [0, 1, 3, 2]]  # leaves first
    truth = TRUTH[[0, 1, 3, 2]][:, [0, 1, 3, 2]]
    embeddings = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    embeddings[:, :4] += 1.5 * labels
    readout = LiteralDiscriminants("abdc", 6, None)
    readout.update(embeddings, labels)
    readout.fit()
    found = answer(readout, embeddings, labels, truth, inner=1, calibrated=False)
    logits = readout.literal_logits(embeddings).numpy()
    precisions = [average_precision_score(labels[:, c], logits[:, c]) for c in range(4)]
    right = (logits > 0) == labels.numpy()
    assert found["leaf_map"] == pytest.approx(np.mean(precisions[:3]))
    assert found["inner_map"] == pytest.approx(precisions[3])
    assert found["leaf_accuracy"] == pytest.approx(right[:, :3].all(axis=1).mean())
    assert found["inner_accuracy"] == pytest.approx(right[:, 3].mean())
    assert found["violations"] == violations(torch.tensor(logits > 0), truth)


def test_discriminants_of_literals_are_those_of_a_run_that_asks_them(tmp_path: Path) -> None:
    overrides = ["trainer.max_epochs=1", "loader.fit_images=30", "readout=literal_discriminants"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose_run([*overrides, "module.max_query_depth=1"])
        model = train(config, DigitClasses(split_seed=0), tmp_path)
    found, expected = fit_literal_discriminants(model), model.module.readout
    assert isinstance(expected, LiteralDiscriminants)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.biases, expected.biases, rtol=1e-4, atol=1e-4)


def test_a_method_of_discriminants_of_literals_is_measured_by_its_own(tmp_path: Path) -> None:
    tree = {"odd": ["one", "three", "five", "seven", "nine"]}
    image_set = with_ancestors(DigitClasses(split_seed=0), tree)
    truth = entailments(image_set.literals, tree)
    overrides = ["trainer.max_epochs=1", "readout=literal_discriminants"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose_run([*overrides, "module.max_query_depth=1"])
        model = train(config, image_set, tmp_path)
    reading, measured = read(model, "test", truth, 1, 0.9)
    own, split = model.module.readout, model.data.splits["test"]
    embeddings = model.embed("test").embeddings
    expected = imply(own.literal_probabilities(embeddings, calibrated=True))
    assert torch.equal(reading.implications, expected)
    found = measured["literal_discriminants"]
    assert found.items() >= agree(expected, truth, "").items()
    assert found.items() >= answer(own, embeddings, split.labels, truth, 1, True).items()
    assert found.items() >= agree(reading.inclusions, truth, "subspace_").items()


def test_table_has_a_row_for_each_method_and_readout(tmp_path: Path) -> None:
    setting = {
        "tree": {"odd": ["one", "three", "five", "seven", "nine"], "fours": ["four", "eight"]},
        "without": ["left out"],
        "overrides": [
            "dataset=digit_classes",
            "trainer.max_epochs=1",
            "module.max_query_literals=1",
            "module.max_query_depth=1",
        ],
    }
    methods = {"minterms": ["method=nuclear"], "bce": ["method=bce"], "left out": ["method=none"]}
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        table = run(tmp_path, [0, 1], "test", 0.9, {"digits": setting, "no": None}, methods)
    assert [(row["method"], row["readout"]) for row in table.rows] == [
        ("minterms", "subspaces"),
        ("minterms", "discriminant"),
        ("minterms", "literal_discriminants"),
        ("bce", "sigmoid"),
        ("bce", "discriminant"),
        ("bce", "literal_discriminants"),
    ]
    for row in table.rows:
        assert ("subspace_auprc" in row) == (row["readout"] in ("subspaces", "sigmoid"))
        for key in set(table.columns) & row.keys() - {"data", "method", "readout", "n"}:
            assert isinstance(row[key], Estimate)
            assert 0 <= row[key].mean <= 1
        assert row["auprc"].mean > 7 / 132  # of a guess
        if row["readout"] in (
            "subspaces",
            "discriminant",
        ):  # a table of minterms has whole paths alone
            assert row["violations"].mean == 0
    assert "12 literals, of whose 132 ordered pairs 7 are entailments (5.3%)" in table.conditions
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > 700
