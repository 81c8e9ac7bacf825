import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import idx, run_command, write_idx_files
from PIL import Image
from torch import nn

from src.data.mnist import FILES, FashionMnist, read_idx
from src.losses.nuclear import NuclearNormLoss
from src.readouts.subspaces import MintermSubspaces
from src.studies.incremental.learner import (
    Learner,
    Samples,
    accuracies,
    build_learner,
    evaluate,
)
from src.studies.incremental.memory import Memory, freeze_trunk
from src.studies.incremental.methods import split_embeddings
from src.studies.incremental.study import load


def samples(classes: list[int], seed: int, features: int = 7, num_classes: int = 4) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.eye(num_classes)[classes]
    centres = torch.randn(num_classes, features, generator=generator)
    noise = torch.randn(len(classes), features, generator=generator)
    return Samples(labels @ centres + 0.5 * noise, labels)


def images(root: Path) -> FashionMnist:
    return FashionMnist(str(root), validate_on="held_out", validation=20, split_seed=0)


@pytest.fixture
def striped(tmp_path: Path) -> Path:
    """FashionMNIST's files with a bright stripe in place of each class, in noise."""
    write_idx_files(tmp_path, "FashionMNIST", zipped=False, train=820, test=200)
    folder = tmp_path / "FashionMNIST" / "raw"
    for pixels, labels in FILES.values():
        values, classes = read_idx(folder / pixels) // 2, read_idx(folder / labels)
        for image, label in zip(values, classes.tolist(), strict=True):
            image[2 * label + 4 : 2 * label + 7] = 255
        (folder / pixels).write_bytes(idx(values))
    return tmp_path


@pytest.mark.parametrize("orthogonal", [True, False])
def test_split_is_what_numpy_gives(orthogonal: bool) -> None:
    generator = np.random.default_rng(0)
    embeddings, rows = generator.normal(size=(9, 6)), generator.normal(size=(2, 6))
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if orthogonal:
        directions = np.linalg.qr(rows.T)[0].T
    complement = np.linalg.svd(directions)[2][2:]
    across = np.linalg.norm(embeddings @ complement.T, axis=1)

    split = split_embeddings(torch.tensor(embeddings), torch.tensor(directions)).numpy()
    np.testing.assert_allclose(split, np.column_stack([embeddings @ directions.T, across]))
    lengths = np.linalg.norm(split, axis=1)
    assert np.allclose(lengths, np.linalg.norm(embeddings, axis=1)) == orthogonal


def test_frozen_directions_do_not_move_and_new_ones_are_fitted() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(7, 5)
    learner = Learner(nn.Sequential(layer), MintermSubspaces(torch.eye(4), 5))
    assert learner.subspaces is not None
    learner.fit_directions(samples([0, 1] * 20, seed=1))
    before = learner.subspaces.directions.clone()
    assert before[2:].abs().max() == 0

    nn.init.normal_(layer.weight)
    new = samples([2, 3, 3] * 20, seed=2)
    learner.fit_directions(new)
    after = learner.subspaces.directions
    assert torch.equal(after[:2], before[:2])
    for label in (2, 3):
        outputs = layer(new.inputs[new.labels[:, label] == 1]).detach().numpy()
        unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
        top = np.linalg.svd(unit.astype(np.float64))[2][0]
        assert abs(top @ after[label].numpy()) == pytest.approx(1)
    assert learner.scores(new.inputs).isfinite().all()


def test_directions_of_known_means_follow_the_network() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(7, 5, bias=False)
    learner = Learner(nn.Sequential(layer), MintermSubspaces(torch.eye(4), 5))
    assert learner.subspaces is not None
    old = samples([0, 1] * 20, seed=1)
    learner.fit_directions(old)
    learner.old_means = torch.stack([old.inputs[::2].mean(dim=0), old.inputs[1::2].mean(dim=0)])
    learner.fit_directions(samples([2, 3] * 20, seed=2))
    weight = layer.weight.detach().numpy()
    for label in (0, 1):
        mean = weight @ old.inputs[label::2].numpy().mean(axis=0)
        direction = learner.subspaces.directions[label].numpy()
        np.testing.assert_allclose(direction, mean / np.linalg.norm(mean), atol=1e-6)


def test_loss_with_pseudo_samples_is_that_of_all_old_samples() -> None:
    old, new = samples([0, 1, 1] * 40, seed=1), samples([2, 3] * 12, seed=2)
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    pseudo = Memory(old).pseudo_samples(len(old.labels))
    assert len(pseudo.labels) == 4 + 7
    loss = NuclearNormLoss(0.99, 0.05)
    found = loss(
        torch.cat([new.inputs, pseudo.inputs]) @ weight.T, torch.cat([new.labels, pseudo.labels])
    )

    embeddings = (torch.cat([new.inputs, old.inputs]) @ weight.T).double().numpy()
    labels = torch.cat([new.labels, old.labels]).double().numpy()
    joint = np.linalg.svd(np.hstack([labels, embeddings]), compute_uv=False)
    values = np.linalg.svd(embeddings, compute_uv=False)
    expected = joint.sum() - 0.99 * values.sum() + 0.05 * values[0] ** 2
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_drawn_features_have_the_means_and_the_covariance_of_the_old() -> None:
    old = samples([1, 3, 3] * 60, seed=1, features=3)
    torch.manual_seed(0)
    drawn = Memory(old).draw(60_000)
    within = np.zeros((3, 3))
    for label in (1, 3):
        members = old.inputs[old.labels[:, label] == 1].double().numpy()
        chosen = drawn.inputs[drawn.labels[:, label] == 1].double().numpy()
        assert len(chosen) == pytest.approx(30_000, rel=0.03)
        np.testing.assert_allclose(chosen.mean(axis=0), members.mean(axis=0), atol=0.02)
        within += np.cov(members.T, bias=True) * len(members) / len(old.labels)
    spread = np.cov(chosen.T)
    np.testing.assert_allclose(spread, within, atol=0.02)


def test_last_layer_on_features_gives_the_outputs_of_the_whole_network(striped: Path) -> None:
    data = load(images(striped), "val", old_classes=5, images_per_class=6)
    assert [len(part.labels) for part in data] == [30, 30, 20]
    assert data.old.labels.argmax(dim=1).unique().tolist() == [0, 1, 2, 3, 4]
    assert data.new.labels.argmax(dim=1).unique().tolist() == [5, 6, 7, 8, 9]
    learner = build_learner(images(striped), embedding_dim=16, seed=0)
    whole = evaluate(learner.network, data.new.inputs)
    features = freeze_trunk(learner, data)
    assert sum(weight.numel() for weight in learner.network.parameters()) == 16 * 129
    torch.testing.assert_close(evaluate(learner.network, features.new.inputs), whole)


def test_accuracy_among_the_own_group_and_among_all() -> None:
    scores = torch.tensor(
        [
            [3, 2, 9, 0],  # 0, but for a new class
            [3, 2, 1, 0],  # 1 mistaken for 0
            [0, 0, 1, 2],  # 3
            [9, 0, 2, 1],  # 2, but for an old class
        ]
    ).float()
    found = accuracies(scores, torch.eye(4)[[0, 1, 3, 2]], old_classes=2)
    expected = {"old_own": 0.5, "new_own": 1, "old_all": 0, "new_all": 0.5, "all": 0.25}
    assert found == expected


def in_folder(folder: Path) -> list[str]:
    return [
        "table=incremental",
        "scale=cpu",
        f"runs_dir={folder}/runs",
        f"results_dir={folder}",
    ]


def test_command_tells_what_forgets_from_what_does_not(striped: Path) -> None:
    settings = {
        "image_set.root": striped,
        "image_set.validation": 20,
        "images_per_class": 80,
        "embedding_dim": 16,
        "epochs": 3,
        "batch_size": 16,
        "seeds": "[0,1]",
    }
    overrides = [f"+study.{key}={value}" for key, value in settings.items()]
    assert run_command("reproduce", *in_folder(striped), *overrides) == (0, "")
    folder = striped / "incremental" / "cpu"
    with Image.open(folder / "figure.png") as image:
        assert image.width > image.height
    record = json.loads((folder / "table.json").read_text())
    ends = {}
    for row in record["rows"]:
        assert [len(run) for run in row["seeds"]] == [6, 6]
        ends[row["method"]] = row["seeds"][0][-1]
        # All methods of one loss share the first phase
        same = [other for other in record["rows"] if other["before"] == row["before"]]
        assert len(same) >= 2
        assert row["seeds"][0][2]["old_own"] > 0.9
    assert ends["cross-entropy"]["old_all"] < 0.5
    for method in ("cross-entropy, memory", "nuclear norm, memory"):
        assert ends[method]["old_all"] > 0.8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("old_classes=10", "old_classes must be between 1 and 9"),
        ("embedding_dim=9", "embedding_dim must be at least 10"),
        ("epochs=0", "epochs must be at least 1"),
        ("seeds=[]", "seeds must name at least one"),
        ("batch_size=51", "batch_size 51 is larger than the training set"),
        ("split=train", "split must be one of val, test"),
        ("image_set._target_=src.data.fashion_attributes.FashionAttributes", "exactly one class"),
    ],
)
def test_impossible_settings_are_refused(override: str, message: str, striped: Path) -> None:
    settings = [f"image_set.root={striped}", "image_set.validation=20", "images_per_class=10"]
    if "_target_" in override:
        settings += ["embedding_dim=10", "old_classes=3"]
    overrides = [f"+study.{setting}" for setting in (*settings, override)]
    result = run_command("reproduce", *in_folder(striped), *overrides)
    assert result.status == 1
    assert message in result.message
