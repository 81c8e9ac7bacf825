"""A list of packages, by commands alone."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Run, read_run, run_command
from packages import Written, write_packages

from src.model import load
from src.search.page import Asked, explain, search

QUERY = "implemented-in::c++ & ~use::gameplaying"
PLACE = "test split"


class Trained(NamedTuple):
    """A short training on a small list, with everything that was written into it."""

    run: Run
    written: dict[str, Written]  # by what is shown


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("packages")
    written = write_packages(folder / "Packages", 500)
    parts = ["+experiment=packages_subspace", "dataset.file=Packages", "dataset.tags=4"]
    small = ["encoder.buckets=2000", "trainer.max_epochs=6", "logger=none", "~callbacks.progress"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command("train", *parts, *small, "hydra.run.dir=run") == (0, "")
    shown = {f"{package.name}: {package.description}": package for package in written}
    return Trained(read_run(folder / "run"), shown)


def holds(package: Written) -> bool:
    return "implemented-in::c++" in package.tags and "use::gameplaying" not in package.tags


def test_tags_are_learned_from_descriptions(trained: Trained) -> None:
    assert trained.run.metrics["test/retrieval/map"] > 0.8
    assert trained.run.config.dataset.file == str(trained.run.folder.parent / "Packages")
    assert (trained.run.folder / "report" / "retrieval.png").is_file()


def test_prepare_counts_texts_and_says_what_is_not_known(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained.run.config.dataset.file
    literals = "dataset.literals=[implemented-in::c++,use::gameplaying]"
    assert run_command("prepare", "dataset=packages", f"dataset.file={path}", literals) == (0, "")
    output = capsys.readouterr().out
    sizes = re.search(r"│ +texts │ +(\d+) │ +(\d+) │ +(\d+) │", output)
    assert sizes is not None
    tagged = sum(bool(package.tags) for package in trained.written.values())
    assert sum(map(int, sizes.groups())) == tagged
    assert re.search(r"implemented-in::c\+\+ │ +\d", output)
    assert "role::program" not in output
    assert "100% no interface" in output  # which the list has none of


def test_retrieve_lists_packages(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = f"ckpt_path={trained.run.checkpoint}"
    out = f"hydra.run.dir={tmp_path / 'out'}"
    assert run_command("retrieve", checkpoint, f"query={QUERY}", out) == (0, "")
    assert QUERY in capsys.readouterr().out
    with (tmp_path / "out" / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["text"] for row in rows}) == 10
    assert [row["answers"] == "True" for row in rows] == [
        holds(trained.written[row["text"]]) for row in rows
    ]
    assert sum(row["answers"] == "True" for row in rows) >= 8
    assert all(0 <= float(row["p(implemented-in::c++)"]) <= 1 for row in rows)
    assert (tmp_path / "out" / "retrieval.png").is_file()


def test_the_page_shows_texts(trained: Trained) -> None:
    model = load(str(trained.run.checkpoint))
    message, ranking, detail, asked = search([model], PLACE, QUERY, 5)
    assert message == ""
    assert asked == Asked(PLACE, QUERY)
    texts = re.findall(r'<span class="text">(.*?)</span>', ranking)
    assert [trained.written[text].name for text in texts]
    assert texts == [row["text"] for row in model.search(QUERY, PLACE, 5).rows]
    assert "<img" not in ranking + detail
    assert f'<span class="text">{texts[0]}</span>' in detail
    assert f"{PLACE}, text " in detail
    images = model.images(PLACE)
    assert f"of {len(images.embeddings)} texts are" in ranking
    assert "has no text 9999" in explain([model], asked, 9999)


def test_a_folder_of_images_is_refused(trained: Trained, tmp_path: Path) -> None:
    gallery = tmp_path / "images"
    gallery.mkdir()
    (gallery / "one.png").write_bytes(b"")
    arguments = (f"ckpt_path={trained.run.checkpoint}", f"query={QUERY}", f"gallery={gallery}")
    status, message = run_command("retrieve", *arguments)
    assert status == 1
    assert "this model reads texts: it searches no folder of images" in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+experiment=packages_bce", "encoder=convnet"], "ConvNet reads images, and Packages has"),
        (["encoder=byte_ngrams"], "ByteNgrams reads texts, and Digits has images"),
        (["dataset=packages", "method=two_views"], "draws views of images, and of texts none"),
    ],
)
def test_texts_and_images_are_not_taken_for_each_other(
    overrides: list[str], said: str, tmp_path: Path
) -> None:
    if "encoder=byte_ngrams" not in overrides:
        write_packages(tmp_path / "Packages", 200)
        overrides = [*overrides, f"dataset.file={tmp_path / 'Packages'}", "dataset.tags=4"]
    status, message = run_command("train", *overrides, "logger=none")
    assert status == 1
    assert said in message
