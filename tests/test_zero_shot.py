"""Models of which nothing is trained: CLIP as it is published, and encoders as they are made."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import UNDRAWN, Run, Shared, run_command, train
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from src.config.instantiate import instantiate
from src.data.images import LabelledImages
from src.model import load
from src.readouts.prompts import FRAMES, minterm_captions, prompt
from src.subspaces.minterms import distinct_minterms
from src.subspaces.propositions import Proposition

ROOT = Path(__file__).parent.parent
FACES = ("+experiment=celeba_clip", "dataset=faces", "dataset.number=600", "loader.batch_size=16")
UNTRAINED = ("logger=none", "debug=fast", "trainer.max_epochs=0")
ZERO_SHOT = ("trainer.max_epochs=0", "protocol.clip_image_size=32")  # the model's: no scaling


@pytest.fixture(scope="session")
def faces(shared: Shared) -> tuple[str, ...]:
    """Overrides for CLIP on drawn faces, which the first run draws for all."""
    return (*FACES, f"data_dir={shared.base / 'data'}")


@pytest.fixture(scope="session")
def zero_shot(faces: tuple[str, ...], clip_folder: Path, shared: Shared) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clip_folder.parent)
        return shared.run("zero_shot", *faces, *ZERO_SHOT, f"encoder.model={clip_folder.name}")


def split(run: Run, name: str) -> LabelledImages:
    return instantiate(run.config.dataset).splits[name]


def published_similarities(model: Path, images: Tensor, texts: list[str]) -> Tensor:
    """Images (N, 3, height, width) with n texts, by transformers' own pipeline: (N, n)."""
    pixels = AutoImageProcessor.from_pretrained(model)(images=list(images), return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(model)(texts, padding=True, return_tensors="pt")
    network: Any = AutoModel.from_pretrained(model)
    with torch.no_grad():
        return network(**tokens, **pixels).logits_per_image


def state(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def changed_parts(weights: dict[str, Tensor], before: dict[str, Tensor]) -> set[str]:
    return {
        name.split("_")[0]
        for name, value in before.items()
        if not torch.equal(weights[f"encoder.network.{name}"], value)
    }


def evaluate(run: Run, folder: Path) -> dict[str, Any]:
    result = run_command("evaluate", f"ckpt_path={run.checkpoint}", f"hydra.run.dir={folder}")
    assert result == (0, "")
    return json.loads((folder / "metrics.json").read_text())


def of_the_test(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key.startswith("test/")}


def test_zero_shot_ranks_by_the_similarities_of_the_model(
    zero_shot: Run, clip_folder: Path
) -> None:
    test = split(zero_shot, "test")
    literals = list(instantiate(zero_shot.config.dataset).literals)
    with (zero_shot.folder / "report" / "retrieval.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["positives"]) >= 10]
    queries = [Proposition(row["query"], literals) for row in rows]
    # An image is as close to the mean direction of sentences as it is to them on average.
    scores = torch.stack(
        [
            published_similarities(
                clip_folder,
                test.images,
                [prompt(query, literals, frame=frame) for query in queries],
            )
            for frame in FRAMES
        ]
    ).mean(dim=0)
    assert len(queries) > 20
    for row, query, column in zip(rows, queries, scores.T, strict=True):
        expected = average_precision_score(query.holds(test.labels), column)
        assert float(row["average_precision"]) == pytest.approx(expected, abs=1e-9), row["query"]


def test_zero_shot_probabilities_have_the_temperature_of_the_model(
    zero_shot: Run, clip_folder: Path
) -> None:
    test = split(zero_shot, "test")
    literals = list(instantiate(zero_shot.config.dataset).literals)
    minterms = distinct_minterms(split(zero_shot, "train").labels)
    texts = minterm_captions(minterms, literals)
    probabilities = published_similarities(clip_folder, test.images, texts).softmax(dim=1)
    predicted = minterms[probabilities.argmax(dim=1)]
    accuracy = float((predicted == test.labels).all(dim=1).double().mean())
    assert zero_shot.metrics["test/minterm_accuracy"] == pytest.approx(accuracy)

    model, query = load(str(zero_shot.checkpoint)), Proposition("Male | Bald", literals)
    expected = probabilities[:, query.holds(minterms)].sum(dim=1)
    found = model.module.readout.score(model.embed(test.images), [query], "probability")[:, 0]
    torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-4)


def test_zero_shot_run_leaves_what_every_run_does_and_the_published_weights(
    zero_shot: Run, clip_folder: Path
) -> None:
    for name in ("report/coherence.png", "report/retrieval.png", "wandb/latest-run"):
        assert (zero_shot.folder / name).exists(), name
    assert zero_shot.metrics["run/epochs"] == 0
    assert zero_shot.metrics["run/score"] == "prompt_ensemble"
    assert "val/retrieval/map" in zero_shot.metrics
    weights = state(zero_shot.checkpoint)
    for name, value in load_file(clip_folder / "model.safetensors").items():
        assert torch.equal(weights[f"encoder.network.{name}"], value), name


def test_its_checkpoint_is_tested_from_another_folder(zero_shot: Run, tmp_path: Path) -> None:
    assert of_the_test(evaluate(zero_shot, tmp_path / "again")) == of_the_test(zero_shot.metrics)


def test_its_checkpoint_says_so_if_the_folder_of_the_model_is_gone(
    faces: tuple[str, ...], clip_folder: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(clip_folder, tmp_path / "model"))
    settings = [*faces, *UNTRAINED, UNDRAWN, "test=false"]
    run = train(tmp_path / "run", *settings, "encoder.model=model")
    shutil.rmtree(model)
    result = run_command("evaluate", f"ckpt_path={run.checkpoint}")
    assert result.status == 1
    assert f"there is no folder {model}; the model, its tokenizer" in result.message


def test_authors_ask_clip_without_not_about_small_images(
    faces: tuple[str, ...], clip_folder: Path, tmp_path: Path
) -> None:
    settings = [*faces, *UNTRAINED, UNDRAWN, f"encoder.model={clip_folder}"]
    run = train(tmp_path / "run", *settings, "protocol=authors")
    assert run.metrics["run/score"] == "prompt_without_negation"
    assert run.config.dataset.image_size == 40


@pytest.mark.parametrize("freeze", ["false", "true"])
def test_tuning_changes_towers_and_temperature(
    freeze: str, faces: tuple[str, ...], clip_folder: Path, tmp_path: Path
) -> None:
    settings = [*faces, *UNTRAINED, UNDRAWN, "trainer.max_epochs=1", "test=false"]
    model = [f"encoder.model={clip_folder}", f"encoder.freeze={freeze}"]
    weights = state(train(tmp_path / "run", *settings, *model).checkpoint)
    before = load_file(clip_folder / "model.safetensors")
    assert changed_parts(weights, before) == (
        {"text"} if freeze == "true" else {"text", "vision", "visual"}
    )
    assert weights["loss.log_scale"] != before["logit_scale"]
    assert weights["loss.log_scale"] == pytest.approx(float(before["logit_scale"]), abs=0.01)


def test_two_processes_train_the_image_tower_alone_under_the_nuclear_norm(
    clip_folder: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "src.train", "encoder=clip", f"encoder.model={clip_folder}"]
    command += ["encoder.radius=1", "debug=fast", "logger=none", f"hydra.run.dir={tmp_path}"]
    command += ["trainer.devices=2", "trainer.strategy=ddp", "module.max_query_depth=1", UNDRAWN]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    weights = state(tmp_path / "checkpoints" / "last.ckpt")
    before = load_file(clip_folder / "model.safetensors")
    assert changed_parts(weights, before) == {"vision", "visual"}


def test_untrained_encoder_gets_its_subspaces(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "trainer.max_epochs=0", "logger=none")
    assert run.metrics["run/epochs"] == 0
    assert run.metrics["test/minterm_accuracy"] > 0.4  # of eight minterms, by their directions
    assert not (run.folder / "report" / "spectrum.png").exists()
    callbacks = torch.load(run.checkpoint, weights_only=True)["callbacks"]
    assert callbacks["Spectra"]["epochs"] == []
    assert of_the_test(evaluate(run, tmp_path / "again")) == of_the_test(run.metrics)


def test_an_untrained_encoder_stopped_in_its_test_keeps_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = train(folder, "trainer.max_epochs=0", "logger=none")
    saved = state(run.checkpoint)
    (folder / "metrics.json").unlink()
    # Another seed would draw other weights, as a network does whose pretrained ones are not read.
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    name = next(key for key in saved if key.startswith("encoder."))
    checkpoint["state_dict"][name] += 1
    torch.save(checkpoint, run.checkpoint)
    train(folder, "trainer.max_epochs=0", "logger=none", f"ckpt_path={run.checkpoint}")
    torch.testing.assert_close(state(run.checkpoint)[name], saved[name] + 1)
