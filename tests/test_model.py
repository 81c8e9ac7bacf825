"""The model in Python."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import UNDRAWN, Run, run_command, train
from PIL import Image

from src.data.digits import Digits
from src.model import load
from src.runs.checkpoints import CheckpointError
from src.runs.latest import find_checkpoint
from src.search import answers
from src.search.images import Images
from src.subspaces.propositions import Proposition

IMAGES = Digits(split_seed=0).splits["test"].images[:12]


@pytest.fixture
def folder() -> Path:
    folder = Path("photos")
    folder.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:02d}.png")
    return folder


def test_a_folder_is_searched_and_given_probabilities(trained_run: Run, folder: Path) -> None:
    model = load(str(trained_run.checkpoint), cache_dir="cache")
    answer = model.search("even & ~prime", f"{folder}/", k=5)
    assert [row["rank"] for row in answer.rows] == [1, 2, 3, 4, 5]
    best = [int(Path(row["image"]).stem) for row in answer.rows]
    assert best == answer.positions.tolist()
    of_folder = model.probabilities("even & ~prime", f"{folder}/")
    of_pixels = model.probabilities("even & ~prime", IMAGES)
    torch.testing.assert_close(of_folder, of_pixels)
    assert [row["probability"] for row in answer.rows] == pytest.approx(of_folder[best].tolist())
    labels = Digits(split_seed=0).splits["test"].labels[:12]
    holds = Proposition("even & ~prime", Digits.literals).holds(labels)
    assert of_pixels[holds].min() > of_pixels[~holds].max()
    explained = model.explain("even & ~prime", f"{folder}/", best[0])
    of_minterms = sum(minterm.value for minterm in explained.minterms if minterm.answers)
    assert of_minterms == pytest.approx(float(of_folder[best[0]]), abs=1e-6)  # all are shown
    values = {literal.name: literal.value for literal in explained.literals}
    for name, value in values.items():
        assert value == pytest.approx(float(model.probabilities(name, f"{folder}/")[best[0]]))
        assert value == pytest.approx(answer.rows[0][f"p({name})"])


@pytest.mark.parametrize("images", [IMAGES[:, :, 1:], IMAGES[0], IMAGES.float()])
def test_other_pixels_are_refused(trained_run: Run, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"images are \(N, 1, \d+, \d+\), uint8, not"):
        load(str(trained_run.checkpoint)).embed(images)


def test_no_answers_are_refused(trained_run: Run) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        load(str(trained_run.checkpoint)).search("even", "test split", k=0)


def test_a_place_is_embedded_once_and_holds_no_other_up(
    trained_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, opened = load(str(trained_run.checkpoint)), []
    real = answers.open_split

    def slowly(data: object, split: str, module: object) -> Images:
        opened.append(split)
        if split == "train":
            time.sleep(1)
        return real(data, split, module)  # type: ignore[arg-type]

    monkeypatch.setattr(answers, "open_split", slowly)
    with ThreadPoolExecutor() as threads:
        slow = [threads.submit(model.search, "even", "train split") for _ in range(3)]
        model.search("even", "test split")
        assert len({id(each.result().query) for each in slow}) == 3
    assert sorted(opened) == ["test", "train"]


def test_latest_is_the_newest_finished_run_that_is_no_debug_run(trained_run: Run) -> None:
    with pytest.raises(CheckpointError, match=r"no finished run in .*outputs: train one"):
        find_checkpoint("latest")
    older, newer, unfinished = (Path("outputs", "digits", name) for name in "abc")
    for place, run in enumerate((newer, older, unfinished)):
        shutil.copytree(trained_run.folder, run, symlinks=True)
        os.utime(run / "metrics.json", (1e9 - place, 1e9 - place))
    (unfinished / "metrics.json").unlink()
    debug = train(Path("outputs/debug_fast"), "debug=fast", "logger=none", UNDRAWN)
    assert debug.checkpoint.exists()
    assert find_checkpoint("latest") == str(newer / "checkpoints" / "last.ckpt")
    assert find_checkpoint(str(older)) == str(older)
    written = ["top_k=1", "query=even", "hydra.run.dir=found"]
    assert run_command("retrieve", "ckpt_path=latest", *written) == (0, "")
    assert load("latest").path == str(newer / "checkpoints" / "last.ckpt")
