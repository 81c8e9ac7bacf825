"""A folder of images and a table, by commands alone."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest
from conftest import Run, read_run, run_command
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
LITERALS = ("red", "round", "large")
QUICK = ("dataset.image_size=16", "trainer.max_epochs=8", "logger=none", "~callbacks.progress")


def draw_shapes(folder: Path, number: int) -> None:
    """Discs and squares, red or blue, large or small, and a table that says which."""
    (folder / "my pictures").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = [["file", *LITERALS]]
    for index in range(number):
        red, is_round, large = (bool(value) for value in generator.random(3) < (0.5, 0.4, 0.3))
        radius = 10 if large else 5
        x, y = generator.integers(11, 17, size=2).tolist()
        picture = Image.new("RGB", (28, 28), "black")
        draw = ImageDraw.Draw(picture)
        box = (x - radius, y - radius, x + radius, y + radius)
        (draw.ellipse if is_round else draw.rectangle)(box, fill="red" if red else "blue")
        picture.save(folder / "my pictures" / f"{index:03d}.png")
        rows.append([f"{index:03d}.png", *("yes" if v else "no" for v in (red, is_round, large))])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)  # as a spreadsheet saves it


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    draw_shapes(folder, 600)
    return folder


@pytest.fixture(scope="module")
def run(shapes: Path) -> Run:
    """A short training on them, from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shapes)
        data = ("dataset=table", "dataset.images=my pictures", "dataset.labels=labels.csv")
        assert run_command("prepare", *data, "dataset.image_size=16") == (0, "")
        assert run_command("train", *data, *QUICK, "hydra.run.dir=run") == (0, "")
    return read_run(shapes / "run")


def test_training_learns_the_literals_of_the_table(run: Run, shapes: Path) -> None:
    assert run.metrics["test/retrieval/map"] > 0.9
    assert run.config.name == "table_subspace"
    assert run.config.dataset.literals == list(LITERALS)
    assert run.config.dataset.images == str(shapes / "my pictures")
    assert len(run.config.dataset.mean) == 3
    assert run_command("evaluate", f"ckpt_path={run.checkpoint}") == (0, "")


def test_preparation_counts_and_says_how(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (f"dataset.images={shapes}/my pictures", f"dataset.labels={shapes}/labels.csv")
    arguments = ("dataset=table", *data, "dataset.image_size=16", f"data_dir={shapes}/data")
    assert run_command("prepare", *arguments) == (0, "")
    output = capsys.readouterr().out
    assert "600 images: train 420, val 60, test 120; test and val drawn by" in output
    assert "its middle is cut out (dataset.resize=crop" in output
    for literal in LITERALS:
        assert re.search(rf"{literal} │ +\d\d\.\d%", output)


@pytest.mark.parametrize("place", ["split", "gallery"])
def test_retrieval_answers(place: str, run: Run, shapes: Path, tmp_path: Path) -> None:
    where = [f"gallery={shapes}/my pictures", f"cache_dir={tmp_path}"] if place == "gallery" else []
    arguments = [f"ckpt_path={run.checkpoint}", "query=red & ~round", "top_k=10", *where]
    assert run_command("retrieve", *arguments, f"hydra.run.dir={tmp_path}/out") == (0, "")
    with (tmp_path / "out" / "retrieval.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if place == "split":
        assert sum(row["answers"] == "True" for row in rows) >= 9
    else:
        with (shapes / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
            truth = {row["file"]: row for row in csv.DictReader(file)}
        found = [truth[Path(row["image"]).name] for row in rows]
        assert sum(row["red"] == "yes" and row["round"] == "no" for row in found) >= 9


def test_training_goes_on_and_ends_as_before(
    run: Run, shapes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shapes)
    data = ("dataset=table", "dataset.images=my pictures", "dataset.labels=labels.csv")
    again = run_command("train", *data, *QUICK, "hydra.run.dir=run", "ckpt_path=auto")
    assert again == (0, "")
    assert "finished already" in capsys.readouterr().out


def test_the_page_opens(run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.explore", "port=0", f"ckpt_path={run.checkpoint}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.]+:\d+/", process.stdout.readline())
            assert found is not None
            page = build_opener(ProxyHandler({})).open(found[0]).read().decode()
            assert "red" in page
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
