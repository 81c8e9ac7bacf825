"""Few images, what is learned from them, and how it is measured, against scikit-learn and plain
counting."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from PIL import Image
from scipy.special import expit
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.config.groups import CONF_DIR
from src.reports.tables import Estimate
from src.studies.novel_tasks import (
    Task,
    conjunction_scores,
    conjunction_signs,
    discriminant,
    draw,
    logistic_probe,
    run,
    satisfied,
    standardize,
)


def draw_labels(number: int, seed: int, literals: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(number, literals, generator=generator) < 0.4


def draw_embeddings(labels: Tensor, strength: float, seed: int) -> Tensor:
    """Gaussian noise, moved along an axis by each literal."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), 12, generator=generator)
    noise[:, : labels.shape[1]] += strength * labels
    return noise


KNOWN, ASKED = draw_labels(300, 0), draw_labels(400, 1)


def task(strength: float) -> Task:
    embeddings = (draw_embeddings(labels, strength, 2) for labels in (KNOWN, ASKED))
    known, asked = embeddings
    return Task(known, KNOWN, asked, ASKED, column=2, max_literals=3)


def test_conjunctions_are_all_that_name_the_literal() -> None:
    signs = conjunction_signs(5, 3, 3)
    found = {tuple(row) for row in signs.tolist()}
    expected = set()
    for size in (2, 3):
        for columns in combinations(range(5), size):
            for values in product((1, -1), repeat=size):
                row = [0] * 5
                for column, value in zip(columns, values, strict=True):
                    row[column] = value
                if row[3]:
                    expected.add(tuple(row))
    assert len(signs) == len(found)
    assert found == expected


def test_conjunctions_hold_and_are_scored_as_their_literals() -> None:
    labels = draw_labels(50, 3)
    signs = conjunction_signs(4, 0, 4)
    logits = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double()
    holds, scores = satisfied(labels, signs), conjunction_scores(logits, signs)
    probabilities = expit(logits.numpy())
    for image, query in product(range(50), range(len(signs))):
        named = [(column, sign) for column, sign in enumerate(signs[query].tolist()) if sign]
        assert holds[image, query] == all(labels[image, c] == (sign > 0) for c, sign in named)
        factors = [
            probabilities[image, c] if sign > 0 else 1 - probabilities[image, c]
            for c, sign in named
        ]
        assert scores[image, query].exp() == pytest.approx(np.prod(factors))


def test_nearly_certain_literals_leave_an_order() -> None:
    logits = torch.tensor([[-800.0, 1.0], [-900.0, 2.0], [-1000.0, 3.0]]).double()
    found = conjunction_scores(logits, torch.tensor([[1, 1], [1, -1]]))
    second = -np.log1p(np.exp([[-1, 1], [-2, 2], [-3, 3]]))
    np.testing.assert_allclose(found, logits[:, :1].numpy() + second)


def test_few_images_are_as_many_of_each_answer_and_more_hold_the_fewer() -> None:
    novel = KNOWN[:, 2]
    drawn = draw(novel, 50, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 50)
    assert len(drawn.unique()) == 100
    assert novel[drawn[0]].all()
    assert not novel[drawn[1]].any()
    again = draw(novel, 50, torch.Generator().manual_seed(0))
    other = draw(novel, 50, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    with pytest.raises(ValueError, match=r"shots asks for 500 images of each answer, and there"):
        draw(novel, 500, torch.Generator())


def test_embeddings_have_one_scale() -> None:
    known, asked = 5 * draw_embeddings(KNOWN, 3, 0) + 2, 5 * draw_embeddings(ASKED, 3, 0) + 2
    scaled, others = standardize(known, asked)
    np.testing.assert_allclose(scaled.mean(dim=0), 0, atol=1e-6)
    assert scaled.square().mean() == pytest.approx(1)
    scale = (scaled[1, 0] - scaled[0, 0]) / (known[1, 0] - known[0, 0])
    np.testing.assert_allclose(scaled[5] - scaled[4], scale * (known[5] - known[4]), atol=1e-5)
    np.testing.assert_allclose(others[0] - scaled[0], scale * (asked[0] - known[0]), atol=1e-5)


def test_measures_are_scikit_learns() -> None:
    asked = task(2.0)
    found = asked.measure(logistic_probe(0.5), [1, 7], 3, seed=4, joint=True)
    known, queried = standardize(draw_embeddings(KNOWN, 2, 2), draw_embeddings(ASKED, 2, 2))
    others = [
        LinearDiscriminantAnalysis(solver="lsqr", priors=None)
        .fit(known, KNOWN[:, column])
        .decision_function(queried)
        for column in (0, 1, 3)
    ]
    generator = torch.Generator().manual_seed(4)
    draws = [draw(KNOWN[:, 2], 7, generator) for _ in range(3)]
    few = {
        "1": [drawn[:, :1].flatten() for drawn in draws],
        "7": [drawn.flatten() for drawn in draws],
        "all": [torch.arange(300)],
    }
    assert found.keys() == {f"{measure} {key}" for measure in ("AP", "mAP") for key in few}
    for key, chosen in few.items():
        alone, joint = [], []
        for rows in chosen:
            model = LogisticRegression(C=2, max_iter=1000).fit(known[rows], KNOWN[rows, 2])
            logits = np.insert(np.array(others), 2, model.decision_function(queried), axis=0).T
            alone.append(average_precision_score(ASKED[:, 2], logits[:, 2]))
            precisions = []
            for signs in conjunction_signs(4, 2, 3):
                holds = satisfied(ASKED, signs.unsqueeze(0))[:, 0].numpy()
                if holds.sum() >= 10:
                    score = -np.logaddexp(0, -logits * signs.numpy())[:, signs != 0].sum(axis=1)
                    precisions.append(average_precision_score(holds, score))
            joint.append(np.mean(precisions))
        assert found[f"AP {key}"] == pytest.approx(np.mean(alone), abs=1e-6)
        # scikit-learn's covariance is not shrunk, and that of three hundred images hardly
        assert found[f"mAP {key}"] == pytest.approx(np.mean(joint), abs=0.01)


@pytest.mark.parametrize("learn", [discriminant, logistic_probe(1.0)])
def test_more_images_teach_more_and_nothing_teaches_noise(learn: object) -> None:
    found = task(4.0).measure(learn, [1, 20], 10, 0, joint=False)  # type: ignore[arg-type]
    assert found["AP 1"] < found["AP 20"] < found["AP all"]
    assert found["AP all"] > 0.95
    known = draw_embeddings(KNOWN[:, :2], 4, 2), draw_embeddings(ASKED[:, :2], 4, 3)
    noise = Task(known[0], KNOWN, known[1], ASKED, column=2, max_literals=2)
    share = float(ASKED[:, 2].double().mean())
    found = noise.measure(learn, [1, 20], 10, 0, joint=False)  # type: ignore[arg-type]
    for key in ("AP 1", "AP 20", "AP all"):
        assert found[key] == pytest.approx(share, abs=0.08)


def test_log_odds_of_conjunctions_have_one_scale() -> None:
    asked = task(2.0)
    assert asked.logits[:, [0, 1, 3]].square().mean().sqrt() < 5
    generator = torch.Generator().manual_seed(0)
    for number in (1, 1, 1, 5, 20):
        rows = draw(asked.novel, number, generator).flatten()
        few = asked.known[rows], asked.novel[rows].unsqueeze(1), asked.asked
        assert 0.1 < logistic_probe(1.0)(*few).square().mean().sqrt() < 5
        if number == 1:  # those of discriminants have another
            assert discriminant(*few).square().mean().sqrt() > 1e6


def test_one_image_of_each_answer_is_a_nearest_mean() -> None:
    known, asked = draw_embeddings(KNOWN, 2, 2).double(), draw_embeddings(ASKED, 2, 3).double()
    pair = torch.tensor([int(KNOWN[:, 2].int().argmax()), int(KNOWN[:, 2].int().argmin())])
    logits = discriminant(known[pair], KNOWN[pair, 2:3], asked)[:, 0]
    distances = torch.cdist(asked, known[pair])
    nearer = distances[:, 1] - distances[:, 0] > 0
    assert torch.equal(logits > 0, nearer)
    assert torch.equal((distances[:, 1] ** 2 - distances[:, 0] ** 2).argsort(), logits.argsort())


def test_table_has_a_row_for_each_method_layer_and_readout(tmp_path: Path) -> None:
    digits = {
        "hidden": ["even", "prime"],
        "overrides": ["dataset=digits", "trainer.max_epochs=1", "trainer.limit_val_batches=0"],
    }
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        table = run(
            tmp_path,
            seeds=[0, 1],
            shots=[1, 3],
            draws=2,
            max_query_literals=2,
            penalty=1.0,
            split="val",
            data={"digits": digits, "left out": None},
            methods={"ours": [], "random": ["trainer.max_epochs=0"]},
        )
    settings = [(row["method"], row["layer"], row["probe"]) for row in table.rows]
    layers, probes = ("features", "embeddings"), ("discriminant", "logistic probe")
    assert settings == list(product(("ours", "random"), layers, probes))
    measures = [f"{measure} {number}" for measure in ("AP", "mAP") for number in (1, 3, "all")]
    for row in table.rows:
        assert row["n"] == "2"
        found = [key for key in measures if key in row]
        assert found == measures[: 3 if row["probe"] == "discriminant" else 6]
        for key in found:
            assert isinstance(row[key], Estimate)
            assert 0 < row[key].mean <= 1
            assert row[key].std is not None
    assert list(table.columns)[5:] == measures
    assert "180 images, even (5" in table.conditions
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > 1000
