from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import UNDRAWN, Run, Shared, train
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from src.data.digits import Digits
from src.runs.load import load_checkpoint

TWO_EPOCHS = ("trainer.max_epochs=2", "logger=none", UNDRAWN)
SUPERVISED = (*TWO_EPOCHS, "callbacks=probe")


@pytest.fixture(scope="module")
def supervised(shared: Shared) -> Run:
    return shared.run("supervised", *SUPERVISED)


def test_probes_are_scikit_learns_on_the_embeddings_of_the_checkpoint(supervised: Run) -> None:
    module = load_checkpoint(str(supervised.checkpoint), None)[2]
    embeddings, classes = {}, {}
    for split in ("train", "test"):
        images = Digits(0).splits[split]
        with torch.no_grad():
            embeddings[split] = module(images.images).double().numpy()
        classes[split] = images.labels.numpy() @ (16 >> np.arange(5))  # minterms, in order
    found = supervised.metrics
    linear = make_pipeline(PCA(whiten=True), LogisticRegression(max_iter=1000, tol=1e-6))
    accuracy = linear.fit(embeddings["train"], classes["train"]).score(
        embeddings["test"], classes["test"]
    )
    assert found["test/probe/linear_accuracy"] == pytest.approx(accuracy, abs=1.01 / 360)
    assert found["test/probe/linear_converged"] == 1
    nearest = KNeighborsClassifier(20, metric="cosine").fit(embeddings["train"], classes["train"])
    accuracy = nearest.score(embeddings["test"], classes["test"])
    assert found["test/probe/knn_accuracy"] == pytest.approx(accuracy, abs=1.01 / 360)
    shares = np.linalg.svd(embeddings["test"], compute_uv=False)
    shares /= shares.sum()
    rank = np.exp(-(shares * np.log(shares)).sum())
    assert found["test/probe/effective_rank"] == pytest.approx(rank, rel=1e-4)


def test_probe_changes_nothing_else(supervised: Run, tmp_path: Path) -> None:
    plain = train(tmp_path / "run", *TWO_EPOCHS).metrics
    tested = {key for key in supervised.metrics if key.startswith("test/")}
    assert {key for key in tested if key not in plain} == {
        f"test/probe/{name}"
        for name in ("linear_accuracy", "linear_converged", "knn_accuracy", "effective_rank")
    }
    assert all(supervised.metrics[key] == plain[key] for key in tested & plain.keys())


def test_an_untrained_encoder_is_probed(tmp_path: Path) -> None:
    run = train(tmp_path / "run", *SUPERVISED, "trainer.max_epochs=0")
    assert 0.5 < run.metrics["test/probe/linear_accuracy"] <= 1
    assert run.metrics["test/probe/effective_rank"] < 32
