import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import run_command
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from src.data.celeba import (
    ATTRIBUTES,
    CHECKSUMS,
    IMAGES,
    NAMES,
    PARTITION,
    CelebA,
    crop_square,
)
from src.data.faces import DRAWING, Faces, write_faces
from src.data.files import ImageFiles
from src.data.missing import MissingDataError
from src.data.pictures import DamagedImageError
from src.subspaces.propositions import Proposition

ROOT = Path(__file__).parent.parent.parent
FIVE = ["Bald", "Eyeglasses", "Wearing_Necktie", "Wearing_Hat", "Male"]
SETTINGS: dict[str, Any] = {
    "image_size": 40,
    "unlabelled": "keep",
    "cache": True,
    "attributes": FIVE,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty faces in the published file layout."""
    write_faces(tmp_path / "celeba", 40, seed=0)
    return tmp_path


def load(root: Path, **settings: Any) -> CelebA:
    images = CelebA(str(root), **{**SETTINGS, **settings})
    assert images.splits  # loaded here
    return images


def attribute_rows(root: Path) -> list[list[str]]:
    return [line.split() for line in (root / "celeba" / ATTRIBUTES).read_text().splitlines()]


def test_labels_and_splits_are_those_of_the_files(root: Path) -> None:
    data = load(root)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 32,
        "val": 4,
        "test": 4,
    }
    _, columns, *rows = attribute_rows(root)
    chosen = [row for index, row in enumerate(rows) if index % 10 == 9]
    for row, labels in zip(chosen, data.splits["test"].labels, strict=True):
        expected = [row[1 + columns.index(name)] == "1" for name in data.literals]
        assert labels.tolist() == expected


def test_any_attributes_may_be_the_literals_and_all_without_a_choice(root: Path) -> None:
    every = load(root, attributes=None)
    assert list(every.literals) == attribute_rows(root)[1]
    chosen = ["Young", "Smiling", "Male"]
    some = load(root, attributes=chosen)
    columns = [every.literals.index(name) for name in chosen]
    labels = every.splits["train"].labels[:, columns]
    assert torch.equal(some.splits["train"].labels, labels)
    for images in (every, some, load(root, attributes=["Bald"])):
        assert [Proposition(query, images.literals) for query in images.example_queries]
    with pytest.raises(ValueError, match=r"or null for all, not Happy"):
        load(root, attributes=["Male", "Happy"])


def test_pixels_are_those_of_torchvisions_transforms(root: Path) -> None:
    transform = v2.Compose(
        [v2.Lambda(lambda image: image.crop((0, 40, 178, 218))), v2.Resize(40), v2.PILToTensor()]
    )
    images = load(root).splits["test"].images
    for image, number in zip(images, (10, 20, 30, 40), strict=True):
        with Image.open(root / "celeba" / IMAGES / f"{number:06d}.jpg") as face:
            assert torch.equal(image, transform(face))


def test_original_folders_are_found_too(root: Path) -> None:
    expected = load(root).splits["train"].images
    folder = root / "celeba"
    for name, part in ((ATTRIBUTES, "Anno"), (PARTITION, "Eval"), (IMAGES, "Img")):
        (folder / part).mkdir()
        (folder / name).rename(folder / part / name)
    assert torch.equal(load(root).splits["train"].images, expected)


def as_on_kaggle(folder: Path) -> None:
    """CSV tables with Windows line ends, and a folder in the folder of images."""
    _, header, *rows = (line.split() for line in (folder / ATTRIBUTES).read_text().splitlines())
    parts = [line.split() for line in (folder / PARTITION).read_text().splitlines()]
    for name, lines in ((ATTRIBUTES, [["image_id", *header], *rows]), (PARTITION, parts)):
        lines = [["image_id", "partition"], *lines] if name == PARTITION else lines
        text = "".join(",".join(line) + "\r\n" for line in lines)
        (folder / name).with_suffix(".csv").write_text(text, newline="")
        (folder / name).unlink()
    (folder / IMAGES).rename(folder / "images")
    (folder / IMAGES).mkdir()
    (folder / "images").rename(folder / IMAGES / IMAGES)


def as_windows_saves(folder: Path) -> None:
    """Byte-order marks, Windows line ends and blank lines."""
    for name in (ATTRIBUTES, PARTITION):
        lines = (folder / name).read_text().splitlines()
        text = "\ufeff" + "\r\n".join([*lines[:2], "", *lines[2:], "", ""])
        (folder / name).write_text(text, newline="")


def as_floats(folder: Path) -> None:
    edit(folder / ATTRIBUTES, lambda text: text.replace(" -1", " 0.0").replace("  1", " 1.0"))


def as_words(folder: Path) -> None:
    edit(folder / ATTRIBUTES, lambda text: text.replace(" -1", " False").replace("  1", " True"))


def in_another_order(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: "\n".join(reversed(text.splitlines())))


@pytest.mark.parametrize(
    "change", [as_on_kaggle, as_windows_saves, as_floats, as_words, in_another_order]
)
def test_other_copies_are_read_as_the_published_one(change: Any, root: Path) -> None:
    expected = load(root).splits
    change(root / "celeba")
    assert_same(load(root).splits, expected)


def assert_same(found: Any, expected: Any) -> None:
    for name, split in expected.items():
        assert torch.equal(found[name].labels, split.labels)
        assert torch.equal(found[name].images, split.images)


def test_png_copies_are_read_by_the_names_of_the_jpegs(root: Path) -> None:
    expected = load(root).splits
    folder = root / "celeba"
    (folder / f"{IMAGES}_png").mkdir()
    for path in (folder / IMAGES).iterdir():
        with Image.open(path) as face:
            face.save(folder / f"{IMAGES}_png" / f"{path.stem}.png")
        path.unlink()
    (folder / IMAGES).rmdir()
    assert_same(load(root).splits, expected)


def test_what_the_folder_holds_is_said_where_a_file_is_missing(root: Path) -> None:
    (root / "celeba" / ATTRIBUTES).rename(root / "celeba" / "attributes.zip")
    with pytest.raises(MissingDataError, match=r"no list_attr_celeba.* \(it holds attributes.zip,"):
        load(root)


def test_images_without_any_attribute_are_kept_or_dropped_everywhere(root: Path) -> None:
    kept, dropped = load(root), load(root, unlabelled="drop")
    for split in ("train", "val", "test"):
        some = kept.splits[split].labels.any(dim=1)
        assert torch.equal(dropped.splits[split].labels, kept.splits[split].labels[some])
    assert len(dropped.splits["train"]) < len(kept.splits["train"])


def test_images_decoded_each_time_are_those_of_the_cache(root: Path) -> None:
    decoded, cached = load(root, cache=False), load(root)
    for split, images in cached.splits.items():
        assert torch.equal(decoded.splits[split].images, images.images)
        chosen = torch.tensor([3, 0, 2])
        first, second = decoded.splits[split][chosen], images[chosen]
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)


def test_checksums_are_those_that_torchvision_compares(root: Path) -> None:
    published = {name: md5 for _, md5, name in datasets.CelebA.file_list}
    assert {name: published[name] for name in CHECKSUMS} == CHECKSUMS
    with pytest.raises(ValueError, match=rf"{ATTRIBUTES} has MD5 \w+, not {CHECKSUMS[ATTRIBUTES]}"):
        load(root).verify()


def test_missing_folder_is_answered_with_where_how_and_the_stand_in(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        load(tmp_path)
    for part in (str(tmp_path / "celeba"), ATTRIBUTES, "dataset=faces"):
        assert part in str(caught.value)


def damage_image(folder: Path) -> None:
    path = folder / IMAGES / "000007.jpg"
    path.write_bytes(path.read_bytes()[:700])


def drop_attribute_row(folder: Path) -> None:
    lines = (folder / ATTRIBUTES).read_text().splitlines()
    (folder / ATTRIBUTES).write_text("\n".join(lines[:-1]) + "\n")


def cut_attribute_row(folder: Path) -> None:
    lines = (folder / ATTRIBUTES).read_text().splitlines()
    lines[5] = " ".join(lines[5].split()[:-1])
    (folder / ATTRIBUTES).write_text("\n".join(lines) + "\n")


def rename_attribute(folder: Path) -> None:
    text = (folder / ATTRIBUTES).read_text()
    (folder / ATTRIBUTES).write_text(text.replace("Bald", "Baldness"))


def shorten_partition(folder: Path) -> None:
    lines = (folder / PARTITION).read_text().splitlines()
    (folder / PARTITION).write_text("\n".join(lines[:-3]) + "\n")


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def repeat_in_partition(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text + "000003.jpg 2\n")


def repeat_attributes(folder: Path) -> None:
    lines = (folder / ATTRIBUTES).read_text().splitlines()
    (folder / ATTRIBUTES).write_text("\n".join(["41", *lines[1:], lines[4]]))


def list_in_partition_alone(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text + "41.jpg 2\n")


def misspell_split(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text.replace("000003.jpg 0", "000003.jpg 7"))


def spell(line: int, column: int, word: str, folder: Path) -> None:
    lines = (folder / ATTRIBUTES).read_text().splitlines()
    cells = lines[line - 1].split()
    cells[column] = word
    lines[line - 1] = " ".join(cells)
    (folder / ATTRIBUTES).write_text("\n".join(lines))


def misspell_label(folder: Path) -> None:
    spell(4, 1, "maybe", folder)


def forget_label(folder: Path) -> None:
    spell(4, 1, "NaN", folder)


def mix_minus_and_zero(folder: Path) -> None:
    spell(4, 1, "-1", folder)
    spell(9, 1, "0", folder)


def forget_count(folder: Path) -> None:
    edit(folder / ATTRIBUTES, lambda text: text.partition("\n")[2])


def leave_no_validation(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text.replace(" 1\n", " 2\n"))


def leave_no_test(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text.replace(" 2\n", " 1\n"))


def leave_no_training(folder: Path) -> None:
    edit(folder / PARTITION, lambda text: text.replace(" 0\n", " 1\n"))


def remove_image(folder: Path) -> None:
    (folder / IMAGES / "000009.jpg").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_image, "000007.jpg is damaged"),
        (drop_attribute_row, "says 40 images and has 39 rows"),
        (cut_attribute_row, "line 6: 40 values, where 41 columns are named"),
        (rename_attribute, "has no column Bald; did you mean Baldness"),
        (shorten_partition, "3 images of the attribute file are not in .*: 000038.jpg, 000039"),
        (repeat_in_partition, r"1 images .* 000003.jpg \(.*, line 3, and .*, line 41\)"),
        (repeat_attributes, r"1 images .* 000003.jpg \(.*, line 5, and .*, line 43\)"),
        (list_in_partition_alone, "1 images of .*partition.txt are not in the attribute file: 41"),
        (misspell_split, r"line 3: '7' is no split: write train, val or test"),
        (misspell_label, r"line 4: 5_o_Clock_Shadow is 'maybe', which is no label"),
        (forget_label, "line 4: a label is missing"),
        (mix_minus_and_zero, r"line 3: .* is -1, while other labels are 0"),
        (forget_count, "line 1: '5_o_Clock_Shadow .*' in the place of the number of images"),
        (leave_no_validation, "leaves no image to val"),
        (leave_no_test, "leaves no image to test"),
        (leave_no_training, r"CelebA leaves no image to train \(train 0, val 36, test 4\)"),
        (remove_image, r"1 of 40 images are not in .*: 000009.jpg; unpack all"),
    ],
)
def test_damaged_files_are_named_and_leave_no_cache(harm: Any, message: str, root: Path) -> None:
    harm(root / "celeba")
    with pytest.raises((ValueError, OSError), match=message):
        load(root, attributes=["5_o_Clock_Shadow", *FIVE])
    assert "leaves" in message or not list((root / "cache").glob("*.npy"))
    assert not list((root / "cache").glob("*.partial"))


def test_damaged_images_are_named_in_one_line_by_workers_too(root: Path) -> None:
    damage_image(root / "celeba")
    data = ("dataset=celeba", f"data_dir={root}", "dataset.cache=false", "loader.workers=1")
    once = ("debug=fast", "logger=none", "encoder=convnet", "loader.batch_size=32")
    result = run_command("train", *data, *once)
    path = root / "celeba" / IMAGES / "000007.jpg"
    assert result.status == 1
    assert re.fullmatch(f"error: {path} is damaged \\(.*\\): fetch it again", result.message)


def test_cache_is_used_again_and_rebuilt_when_settings_or_sources_change(root: Path) -> None:
    load(root)
    (first,) = (root / "cache").glob("*.npy")
    built = first.stat().st_mtime_ns
    load(root)
    assert first.stat().st_mtime_ns == built
    load(root, image_size=20)
    assert len(list((root / "cache").glob("*.npy"))) == 2
    image = root / "celeba" / IMAGES / "000010.jpg"
    Image.new("RGB", (178, 218), "red").save(image)
    assert load(root).splits["test"].images[0, 0].min() > 240
    assert len(list((root / "cache").glob("*.npy"))) == 3


def test_half_written_cache_is_never_read(root: Path) -> None:
    expected = load(root).splits["train"].images
    (cache,) = (root / "cache").glob("*.npy")
    cache.write_bytes(cache.read_bytes()[:-1000])
    assert torch.equal(load(root).splits["train"].images, expected)


def test_cache_that_decays_is_made_anew_and_said(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load(root).splits["train"].images
    (cache,) = (root / "cache").glob("*.npy")
    content = bytearray(cache.read_bytes())
    content[5000] ^= 1
    cache.write_bytes(content)
    assert torch.equal(load(root).splits["train"].images, expected)
    assert f"{cache} is damaged: making it anew" in capsys.readouterr().err.replace("\n", "")


def test_image_overwritten_with_its_old_size_and_time_is_decoded_anew(root: Path) -> None:
    load(root)
    image = root / "celeba" / IMAGES / "000010.jpg"
    before = image.stat()
    with Image.open(image) as face:
        face.transpose(Image.Transpose.ROTATE_180).save(image, quality=85)
    image.write_bytes(image.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_size == before.st_size
    decoded = load(root, cache=False).splits["test"].images
    assert torch.equal(load(root).splits["test"].images, decoded)


def test_data_for_reading_alone_is_used_without_a_cache_or_with_what_it_has(
    root: Path, unprivileged: None
) -> None:
    root.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot be written .*: dataset\.cache=false does without"):
        load(root)
    expected = load(root, cache=False).splits["train"].images
    root.chmod(0o700)
    load(root)
    for path in (root, root / "cache"):
        path.chmod(0o500)
    assert torch.equal(load(root).splits["train"].images, expected)
    for path in (root, root / "cache"):
        path.chmod(0o700)


def test_drawn_faces_for_reading_alone_are_used(tmp_path: Path, unprivileged: None) -> None:
    Faces(30, 0, str(tmp_path), **SETTINGS).load()
    next(tmp_path.glob("*.lock")).unlink()
    tmp_path.chmod(0o500)
    assert Faces(30, 0, str(tmp_path), **SETTINGS).load()
    tmp_path.chmod(0o700)


def test_full_disk_is_said_and_leaves_nothing_behind(root: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from src.data.celeba import CelebA\n"
        f"CelebA({str(root)!r}, 40, 'keep', True, None).load()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert {path.suffix for path in (root / "cache").iterdir()} <= {".lock"}
    assert len(load(root).splits["train"]) == 32


def test_two_processes_can_start_at_once(root: Path) -> None:
    script = (
        "from src.data.celeba import CelebA\n"
        f"data = CelebA({str(root)!r}, 40, 'keep', True, None)\n"
        "print(int(data.splits['train'].images.long().sum()))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    sums = {process.communicate()[0].splitlines()[-1] for process in processes}
    assert len(sums) == 1
    assert len(list((root / "cache").glob("*.npy"))) == 1


def test_killed_build_is_started_again(root: Path) -> None:
    script = (
        "import os, signal\n"
        "from src.data import celeba\n"
        "crop, count = celeba.crop_square, [0]\n"
        "def die_midway(image, size):\n"
        "    count[0] += 1\n"
        "    if count[0] > 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return crop(image, size)\n"
        "celeba.crop_square = die_midway\n"
        f"celeba.CelebA({str(root)!r}, 40, 'keep', True, None).load()\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert killed.returncode < 0
    assert not list((root / "cache").glob("*.npy"))
    assert len(load(root).splits["train"]) == 32


def test_decoding_refuses_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("no image")
    files = ImageFiles([path], (3, 8, 8), lambda image: crop_square(image, 8))
    with pytest.raises(DamagedImageError, match=r"note\.jpg"):
        files.cached(tmp_path / "cache", {})
    with pytest.raises(DamagedImageError, match=r"note\.jpg"):
        files[torch.tensor([0])]


def test_faces_are_drawn_once_whole_and_the_same_again(tmp_path: Path) -> None:
    Faces(30, 0, str(tmp_path), **SETTINGS).load()
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {f"faces-v{DRAWING}-30-0", "cache"}
    _, columns, *rows = attribute_rows_of(tmp_path / f"faces-v{DRAWING}-30-0")
    assert columns == list(NAMES)
    assert len(columns) == 40
    assert len(rows) == 30
    write_faces(tmp_path / "again", 30, seed=0)
    for path in (tmp_path / "again" / IMAGES).iterdir():
        first = (tmp_path / f"faces-v{DRAWING}-30-0" / IMAGES / path.name).read_bytes()
        assert path.read_bytes() == first


def attribute_rows_of(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / ATTRIBUTES).read_text().splitlines()]


@pytest.mark.parametrize("literal", FIVE)
def test_drawn_attributes_are_visible(literal: str) -> None:
    from src.data.faces import draw_face

    hair = {"Black_Hair"}  # tells men, too; the bald have none
    without = hair | {"No_Beard"}
    having = {"No_Beard", literal} | (set() if literal == "Bald" else hair)
    first, second = (
        np.asarray(draw_face(attributes, np.random.default_rng(0)), dtype=int)
        for attributes in (without, having)
    )
    below_the_crop = np.abs(first - second)[40:].max(axis=2)
    assert (below_the_crop > 60).mean() > 0.01
