import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Run, run_command, train
from PIL import Image

from src.data.digits import Digits
from src.data.printable import printable


def retrieve(run: Run, folder: Path, *arguments: str) -> list[dict[str, str]]:
    checkpoint = f"ckpt_path={run.checkpoint}"
    result = run_command("retrieve", checkpoint, *arguments, f"hydra.run.dir={folder}")
    assert result == (0, "")
    with (folder / "retrieval.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder_of_digits(tmp_path: Path) -> Path:
    """The test split as PNG files in two folders, in its order."""
    for number, image in enumerate(Digits(split_seed=0).splits["test"].images):
        path = tmp_path / "gallery" / f"part_{number // 200}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    return tmp_path / "gallery"


@pytest.mark.parametrize(
    "query", ["even & ~prime", "square | (even & has_loop)", "not (prime or square)"]
)
def test_ranks_images_and_draws_them(
    query: str, trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = retrieve(trained_run, tmp_path / "out", f"query={query}", "top_k=7")
    output = capsys.readouterr().out
    rows = re.findall(r"│ (\d+) +│ (\d+) +│ (\d\.\d+) +│ (\d\.\d+) +│ (yes|no)", output)
    assert [int(row[0]) for row in rows] == list(range(1, 8))
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert sum(row[4] == "yes" for row in rows) >= 6
    assert [row["image"] for row in written] == [row[1] for row in rows]
    assert all(0 <= float(row["p(even)"]) <= 1 for row in written)
    with Image.open(tmp_path / "out" / "retrieval.png") as image:
        assert image.width > image.height


@pytest.mark.parametrize("name", ["trained_run", "cross_entropy_run"])
def test_a_folder_is_searched_as_the_split_that_it_holds(
    name: str, request: pytest.FixtureRequest, folder_of_digits: Path, tmp_path: Path
) -> None:
    query = "query=even & ~prime"
    run: Run = request.getfixturevalue(name)
    split = retrieve(run, tmp_path / "split", query, "top_k=20")
    gallery = ["top_k=20", f"gallery={folder_of_digits}", f"cache_dir={tmp_path / 'cache'}"]
    found = retrieve(run, tmp_path / "found", query, *gallery)
    assert [int(Path(row["image"]).stem) for row in found] == [int(row["image"]) for row in split]
    for one, other in zip(split, found, strict=True):
        assert float(one["score"]) == pytest.approx(float(other["score"]), abs=1e-6)
    assert "answers" not in found[0]

    (stored,) = (tmp_path / "cache").glob("embeddings-*.npy")
    built = stored.stat().st_mtime_ns
    retrieve(run, tmp_path / "again", "query=prime", *gallery)
    assert stored.stat().st_mtime_ns == built
    next(folder_of_digits.rglob("*.png")).unlink()
    retrieve(run, tmp_path / "fewer", "query=prime", *gallery)
    assert len(list((tmp_path / "cache").glob("embeddings-*.npy"))) == 2


@pytest.mark.parametrize("name", ["trained_run", "cross_entropy_run", "bce_run"])
def test_an_index_gives_the_ranking_of_all_images(
    name: str, request: pytest.FixtureRequest, folder_of_digits: Path, tmp_path: Path
) -> None:
    """With as many candidates as images, and of these with less, but for what it misses."""
    run: Run = request.getfixturevalue(name)
    gallery = [f"gallery={folder_of_digits}", f"cache_dir={tmp_path / 'cache'}"]
    asked = ["query=even & ~(prime | square)", *gallery, "top_k=5"]
    exact = retrieve(run, tmp_path / "exact", *asked)
    whole = retrieve(run, tmp_path / "whole", *asked, "index=faiss", "candidates=360")
    assert whole == exact
    assert not list((tmp_path / "cache").glob("*index*"))  # nothing to leave out
    part = retrieve(run, tmp_path / "part", *asked, "index=faiss", "candidates=20")
    (index,) = (tmp_path / "cache").glob("*-index-embeddings-*.npy")
    assert index.name.startswith("unit-" if name == "trained_run" else "raw-")
    scores = {row["image"]: float(row["score"]) for row in exact}
    found = [row for row in part if row["image"] in scores]
    assert len(found) >= 3
    for row in found:
        assert float(row["score"]) == pytest.approx(scores[row["image"]], abs=1e-9)
    made = index.stat().st_mtime_ns
    assert retrieve(run, tmp_path / "again", *asked, "index=faiss", "candidates=20") == part
    assert index.stat().st_mtime_ns == made


HOSTILE_NAMES = ["\x1b[2J\x1b]0;owned\x07.png", "two\nlines.png", "=1+1\t.png"]


def test_names_of_files_do_nothing_to_a_terminal(
    trained_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, image = tmp_path / "gallery", Digits(split_seed=0).splits["test"].images[0, 0]
    gallery.mkdir()
    for name in HOSTILE_NAMES:
        Image.fromarray(image.numpy()).save(gallery / name)
    arguments = ["query=prime", f"gallery={gallery}", f"cache_dir={tmp_path / 'cache'}"]
    rows = retrieve(trained_run, tmp_path / "out", *arguments)
    printed = "".join(capsys.readouterr())
    assert not set("\x1b\x07\t") & set(printed)
    assert all(row["image"].isprintable() for row in rows)
    assert any(row["image"].endswith(r"\x1b[2J\x1b]0;owned\x07.png") for row in rows)
    records = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert {record["image"] for record in records} == {
        f"{gallery}/{printable(name)}" for name in HOSTILE_NAMES
    }

    (gallery / HOSTILE_NAMES[0]).write_bytes(b"no image")
    strictly = (*arguments, "strict=true")
    result = run_command("retrieve", f"ckpt_path={trained_run.checkpoint}", *strictly)
    assert result.status == 1
    assert r"\x1b[2J\x1b]0;owned\x07.png is damaged" in result.message
    assert result.message.isprintable()


def test_a_folder_as_people_have_it_is_searched_and_what_is_left_out_said(
    trained_run: Run, folder_of_digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gallery, linked = folder_of_digits, tmp_path / "linked"
    (gallery / "part_1").rename(linked)
    (gallery / "part_1").symlink_to(linked)
    (linked / "loop").symlink_to(gallery)
    some = next((gallery / "part_0").iterdir())
    for name in (b"caf\xe9.png", b"esc\x1b]0;[red].png"):
        shutil.copy(some, gallery / os.fsdecode(name))
    (gallery / ".ipynb_checkpoints").mkdir()
    shutil.copy(some, gallery / ".ipynb_checkpoints")
    (gallery / "note.txt").touch()
    (gallery / os.fsdecode(b"broken\xff\x1b.png")).write_text("no image")
    asked = [f"gallery={gallery}", f"cache_dir={tmp_path}/cache", "query=even | ~even"]
    for again in ("out", "again"):
        rows = retrieve(trained_run, tmp_path / again, *asked, "top_k=500")
        names = {Path(row["image"]).name for row in rows}
        assert len(rows) == 360 + 2
        assert names >= {"0000.png", "0359.png", r"caf\xe9.png", r"esc\x1b]0;[red].png"}
        output = "".join(capfd.readouterr().out.splitlines())
        counts = "left out: hidden: 1, with other endings (.txt): 1, cannot be decoded: 1"
        assert rf"{counts}{gallery}/broken\xff\x1b.png is damaged (" in output
        assert "\x1b" not in output
    records = json.loads((tmp_path / "again" / "retrieval.json").read_text(encoding="utf-8"))
    assert len(records) == len(rows)


def test_a_checkpoint_of_the_same_size_and_time_has_other_embeddings(
    trained_run: Run, folder_of_digits: Path, tmp_path: Path
) -> None:
    run = trained_run._replace(folder=tmp_path)
    run.checkpoint.parent.mkdir()
    gallery = [f"gallery={folder_of_digits}", "query=even", "top_k=5"]
    kept = f"cache_dir={tmp_path}/cache"
    content = torch.load(trained_run.checkpoint, weights_only=True)
    torch.save(content, run.checkpoint)
    status = run.checkpoint.stat()
    first = retrieve(run, tmp_path / "first", *gallery, kept)
    for name, value in content["state_dict"].items():
        if name.startswith("encoder.") and value.is_floating_point():
            value.neg_()
    torch.save(content, run.checkpoint)
    assert run.checkpoint.stat().st_size == status.st_size
    os.utime(run.checkpoint, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = retrieve(run, tmp_path / "second", *gallery, kept)
    fresh = retrieve(run, tmp_path / "fresh", *gallery, f"cache_dir={tmp_path}/new")
    assert second == fresh
    assert second != first
    assert len(list((tmp_path / "cache").glob("embeddings-*.npy"))) == 2


def test_embeddings_that_decay_are_made_anew_and_said(
    trained_run: Run, folder_of_digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gallery = [f"gallery={folder_of_digits}", f"cache_dir={tmp_path}/cache", "query=even"]
    first = retrieve(trained_run, tmp_path / "first", *gallery)
    (stored,) = (tmp_path / "cache").glob("*.npy")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    stored.write_bytes(content)
    capfd.readouterr()
    assert retrieve(trained_run, tmp_path / "second", *gallery) == first
    assert f"{stored} is damaged: making it anew" in capfd.readouterr().err.replace("\n", "")


def test_several_queries_come_from_a_file(trained_run: Run, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("\ufeffprime & ~even\r\n\r\n# more\r\nsquare # 4, 9\r\n")
    rows = retrieve(trained_run, tmp_path, f"queries={tmp_path / 'queries.txt'}", "top_k=3")
    assert [row["query"] for row in rows] == ["prime & ~even"] * 3 + ["square"] * 3
    records = json.loads((tmp_path / "retrieval.json").read_text())
    assert [record["rank"] for record in records] == [1, 2, 3, 1, 2, 3]
    alone = retrieve(trained_run, tmp_path / "alone", "query=square", "top_k=3")
    assert [row["image"] for row in alone] == [row["image"] for row in rows[3:]]


def test_two_models_are_asked_the_same(
    trained_run: Run, cross_entropy_run: Run, tmp_path: Path
) -> None:
    other = cross_entropy_run
    asked = ["query=even & ~prime", "top_k=4"]
    both = retrieve(trained_run, tmp_path / "both", *asked, f"beside={other.checkpoint}")
    models = ["NuclearNormLoss, score sum"] * 4 + ["CrossEntropyLoss, score calibrated"] * 4
    assert [row["model"] for row in both] == models
    for run, rows in ((trained_run, both[:4]), (other, both[4:])):
        alone = retrieve(run, tmp_path / run.folder.name, *asked)
        assert [row["image"] for row in alone] == [row["image"] for row in rows]
    best = trained_run.checkpoint.with_name("best.ckpt")
    alike = retrieve(trained_run, tmp_path / "alike", *asked, f"beside={best}")
    assert [row["model"] for row in alike] == [
        f"NuclearNormLoss, score sum, {path}"
        for path in (trained_run.checkpoint, best)
        for _ in range(4)
    ]
    heights = []
    for name in ("both", trained_run.folder.name):
        with Image.open(tmp_path / name / "retrieval.png") as image:
            heights.append(image.height)
    assert heights[0] > 1.5 * heights[1]


def test_models_of_other_images_are_not_compared(trained_run: Run, tmp_path: Path) -> None:
    other = train(tmp_path / "run", "logger=none", "debug=fast", "dataset.split_seed=1")
    beside = [f"ckpt_path={trained_run.checkpoint}", f"beside={other.checkpoint}", "query=even"]
    result = run_command("retrieve", *beside, f"hydra.run.dir={tmp_path / 'out'}")
    assert result.status == 1
    assert "holds other images" in result.message
    assert not (tmp_path / "out" / "retrieval.png").exists()


def test_help_explains_queries(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("retrieve", "--help") == (0, "")
    output = capsys.readouterr().out
    assert "(not)" in output
    assert "ckpt_path" in output


ASK = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from src.retrieve import main
main()
"""
UNUSED = {"fastapi", "gradio", "kornia", "optuna", "tensorboard", "timm", "uvicorn", "wandb"}
# pytorch_lightning imports most of these, so that a query cannot do without.
SLOW = {"matplotlib", "pandas", "pytorch_lightning", "scipy", "sklearn", "torchmetrics"}
SLOW |= {"torchvision", "transformers"}


def loaded(*arguments: str) -> set[str]:
    """The modules that a command loads in a process of its own."""
    command = [sys.executable, "-c", ASK, *arguments]
    root = Path(__file__).parent.parent
    result = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_a_query_loads_what_it_uses(trained_run: Run, tmp_path: Path) -> None:
    checkpoint = f"ckpt_path={trained_run.checkpoint}"
    modules = loaded(checkpoint, "query=even & ~prime", f"hydra.run.dir={tmp_path / 'out'}")
    assert "src.search.answers" in modules
    assert not modules & UNUSED
    assert (tmp_path / "out" / "retrieval.png").exists()


def test_help_waits_for_nothing_slow() -> None:
    modules = loaded("--help")
    assert "src.retrieve" in modules
    assert not modules & (UNUSED | SLOW)
