"""One image, one answer, one query, one literal, one minterm, one batch: none is a special case."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, Shared, run_command
from PIL import Image

from src.data.celeba import ATTRIBUTES, IMAGES, NAMES, PARTITION
from src.model import load
from src.search.page import search

ONE_A_BATCH = ["loader.batch_size=1", "encoder.batch_norm=false"]
# Images of the training, validation and test split; attributes; overrides
SIZES = {
    "one literal": ((24, 6, 6), ["Male"], []),
    "one minterm": ((24, 6, 6), ["Eyeglasses"], []),
    "one minterm of two literals": ((24, 6, 6), ["Eyeglasses", "No_Beard"], []),
    "one image to validate and one to test": ((24, 1, 1), ["Male", "Young"], []),
    "one batch": ((24, 6, 6), ["Male", "Young"], ["loader.batch_size=24"]),
    "one image a batch": ((2, 1, 1), ["Male", "Young"], ONE_A_BATCH),
    "one image to train": ((1, 1, 1), ["Male"], ONE_A_BATCH),
}
METHODS = {
    "nuclear": ["encoder.embedding_dim=8"],
    "bce": ["method=bce"],
    "cross_entropy": ["method=cross_entropy"],
}
TRUE = {"Eyeglasses", "No_Beard"}  # of all images
SMALL = (
    *("dataset=celeba", "dataset.image_size=8", "encoder=convnet", "logger=none"),
    "loader.batch_size=8",
)


def write_faces(folder: Path, parts: tuple[int, int, int]) -> None:
    """Noise in CelebA's layout; Male and Young of every other and every third image."""
    number, generator = sum(parts), np.random.default_rng(0)
    (folder / IMAGES).mkdir(parents=True)
    lines, splits = [str(number), " ".join(NAMES)], []
    for index in range(number):
        name = f"{index + 1:06d}.jpg"
        pixels = generator.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / IMAGES / name)
        true = TRUE | ({"Male"} if index % 2 else set()) | ({"Young"} if index % 3 else set())
        lines.append(" ".join([name, *("1" if label in true else "-1" for label in NAMES)]))
        splits.append(f"{name} {(index >= parts[0]) + (index >= parts[0] + parts[1])}")
    (folder / ATTRIBUTES).write_text("\n".join(lines) + "\n")
    (folder / PARTITION).write_text("\n".join(splits) + "\n")


def trained(size: str, method: str, shared: Shared) -> tuple[Run, Path]:
    parts, literals, overrides = SIZES[size]
    name = "_".join(map(str, parts))
    faces = shared.folder(f"faces_{name}", lambda folder: write_faces(folder / "celeba", parts))
    settings = [f"dataset.attributes=[{','.join(literals)}]", f"data_dir={faces}"]
    settings += [*METHODS[method], "trainer.max_epochs=1", *overrides]
    return shared.run(f"{size}_{method}".replace(" ", "_"), *SMALL, *settings), faces


@pytest.mark.parametrize(
    ("size", "method"),
    [(size, "nuclear") for size in SIZES]
    + [("one minterm", "cross_entropy"), ("one literal", "bce"), ("one image to train", "bce")],
)
def test_everything_answers_at_a_size_of_one(
    size: str, method: str, shared: Shared, tmp_path: Path
) -> None:
    run, _ = trained(size, method, shared)
    assert (run.folder / "report" / "index.html").stat().st_size > 1000
    literals = SIZES[size][1]

    gallery = tmp_path / "gallery"
    gallery.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(gallery / "only.png")
    places = {"split=test": "test split", f"gallery={gallery}": str(gallery)}
    query = f"{literals[0]} | ~{literals[0]}"
    for argument in places:
        arguments = [f"ckpt_path={run.checkpoint}", f"query={query}", "top_k=1", argument]
        assert run_command("retrieve", *arguments, "hydra.run.dir=found") == (0, "")
        with Path("found/retrieval.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert 0 <= float(row["probability"]) <= 1 + 1e-9
        assert Path("found/retrieval.png").stat().st_size > 1000
    model = load(str(run.checkpoint))
    for place in places.values():
        fault, ranking, detail, asked = search([model], place, query, k=1)
        assert not fault
        assert ranking.count('class="card"') == 1
        assert "likeliest minterms" in detail
        assert asked is not None


@pytest.mark.parametrize("size", ["one minterm", "one image to validate and one to test"])
def test_a_test_and_a_table_of_one_run(size: str, shared: Shared) -> None:
    run, faces = trained(size, "nuclear", shared)
    evaluated = run_command("evaluate", f"ckpt_path={run.checkpoint}", "hydra.run.dir=again")
    assert evaluated == (0, "")
    metrics = json.loads(Path("again/metrics.json").read_text())
    key = "test/minterm_accuracy"
    assert metrics[key] == pytest.approx(run.metrics[key])
    attributes = f"dataset.attributes=[{','.join(SIZES[size][1])}]"
    sweep = ["-m", *SMALL, attributes, f"data_dir={faces}", *METHODS["nuclear"]]
    sweep += ["trainer.max_epochs=1", "seed=1", "hydra.sweep.dir=sweep"]
    assert run_command("train", *sweep) == (0, "")
    assert Path("sweep/index.html").stat().st_size > 1000
