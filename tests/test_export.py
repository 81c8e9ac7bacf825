"""Models passed on as safetensors and ONNX answer as they did, also where nothing is ours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, run_command
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from src.data.digits import Digits
from src.model import load
from src.runs.checkpoints import DIGEST, CheckpointError, digest, read_checkpoint

IMAGES = Digits(split_seed=0).splits["test"].images
QUERIES = ("even & ~prime", "square | (even & has_loop)", "~(prime | square)")
PLACE = "test split"


def export(run: Run, form: str) -> Path:
    arguments = [f"ckpt_path={run.checkpoint}", f"format={form}", "hydra.run.dir=exported"]
    assert run_command("export", *arguments) == (0, "")
    return Path("exported")


@pytest.mark.parametrize("name", ["trained_run", "bce_run"])
def test_safetensors_answer_as_the_checkpoint(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    exported = export(run, "safetensors") / "model.safetensors"
    model, again = load(str(run.checkpoint)), load(str(exported))
    assert again.literals == model.literals
    for query in QUERIES:
        expected, found = (each.search(query, PLACE, k=30) for each in (model, again))
        assert found.rows == expected.rows
        probabilities = [each.probabilities(query, IMAGES) for each in (model, again)]
        assert torch.equal(*probabilities)


def test_safetensors_are_evaluated_as_the_checkpoint(trained_run: Run) -> None:
    exported = export(trained_run, "safetensors") / "model.safetensors"
    arguments = [f"ckpt_path={exported}", "hydra.run.dir=evaluated"]
    assert run_command("evaluate", *arguments) == (0, "")
    metrics = json.loads(Path("evaluated/metrics.json").read_text())
    for key in ("test/retrieval/map_negated", "test/minterm_accuracy"):
        assert metrics[key] == pytest.approx(trained_run.metrics[key])


def test_safetensors_are_checked_as_checkpoints_are(trained_run: Run) -> None:
    good = export(trained_run, "safetensors") / "model.safetensors"
    with safe_open(good, "pt") as stored:
        metadata = stored.metadata()
    state = load_file(good)
    assert metadata[DIGEST] == digest(state)
    bad = Path("bad.safetensors")

    def refused(match: str) -> None:
        with pytest.raises(CheckpointError, match=match):
            read_checkpoint(str(bad))

    flipped = bytearray(good.read_bytes())
    flipped[-1] ^= 1  # of a weight
    bad.write_bytes(flipped)
    refused("cannot be read")
    bad.write_bytes(good.read_bytes()[:-1])
    refused("cannot be read")
    save_file(state, bad)
    refused("cannot be read")
    config = json.loads(metadata["config"])
    config["encoder"] = {"_target_": "os.mkdir", "path": "executed"}
    save_file(state, bad, metadata | {"config": json.dumps(config)})
    refused("which is refused")
    save_file(state, bad, metadata | {"config": "[]"})
    refused("holds no config")
    arguments = [f"ckpt_path={good}", "logger=none", "hydra.run.dir=resumed"]
    assert "holds weights, but not all the rest" in run_command("train", *arguments).message


def test_onnx_and_what_was_fitted_answer_without_this_project(trained_run: Run) -> None:
    """NumPy and onnxruntime, by the equations of the README alone."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = export(trained_run, "onnx")
    session = onnxruntime.InferenceSession(folder / "encoder.onnx")
    (embeddings,) = session.run(None, {"images": IMAGES.numpy()})
    model = load(str(trained_run.checkpoint))
    ours = model.embed(IMAGES).numpy()
    np.testing.assert_allclose(embeddings, ours, rtol=0, atol=1e-4)
    (one,) = session.run(None, {"images": IMAGES[:1].numpy()})
    np.testing.assert_allclose(one, ours[:1], rtol=0, atol=1e-4)

    fitted = {
        name: value.numpy() for name, value in load_file(folder / "readouts.safetensors").items()
    }
    with safe_open(folder / "readouts.safetensors", "np") as stored:
        metadata = {name: stored.metadata()[name] for name in ("literals", "readout", "score")}
    literals = json.loads(metadata["literals"])
    assert literals == list(model.literals)
    assert json.loads(metadata["readout"]) == "subspaces"
    assert json.loads(metadata["score"]) == "sum"

    def holds(table: str) -> np.ndarray:
        """even & ~prime of the minterms of a readout."""
        minterms = fitted[f"{table}.minterms"]
        return minterms[:, literals.index("even")] & ~minterms[:, literals.index("prime")]

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    energies = (unit.astype(float) @ fitted["subspaces.directions"].T) ** 2
    ranked = np.argsort(-energies[:, holds("subspaces")].sum(axis=1))[:50]
    answer = model.search("even & ~prime", PLACE, k=50)
    scores = energies[:, holds("subspaces")].sum(axis=1)[ranked]
    np.testing.assert_allclose([row["score"] for row in answer.rows], scores, rtol=0, atol=1e-5)
    apart = np.abs(np.diff(scores)).min() > 1e-5
    assert not apart or answer.positions.tolist() == ranked.tolist()
    minterms = fitted["subspaces.minterms"].astype(float)
    p = energies ** (1 / fitted["subspaces.temperature"])
    p *= np.exp(minterms @ fitted["subspaces.literal_biases"])
    p = p[:, holds("subspaces")].sum(axis=1) / p.sum(axis=1)
    expected: np.ndarray = model.probabilities("even & ~prime", IMAGES).numpy()
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-4)

    logits = embeddings.astype(float) @ fitted["discriminant.weights"].T
    logits += fitted["discriminant.biases"]
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = likely[:, holds("discriminant")].sum(axis=1) / likely.sum(axis=1)
    (discriminant,) = (other for other in model.module.beside if other.name == "discriminant")
    asked = answer.query
    expected = discriminant.score(torch.from_numpy(ours), [asked], "probability")[:, 0].numpy()
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-3)


def test_export_without_onnx_names_the_mend(
    trained_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.runs.exported.find_spec", lambda name: None)
    result = run_command("export", f"ckpt_path={trained_run.checkpoint}", "format=onnx")
    assert result.message == "error: format=onnx needs two packages: pip install onnx onnxscript"
