from collections.abc import Callable
from pathlib import Path

import pytest

from src.data.listed import check_once, check_same, locate
from src.data.missing import MissingDataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "in/b.JPG", "in/deep/c.v2.png", "x/same.png", "y/same.png", "y/note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "a.png"),
        ("a.jpg", "a.png"),
        ("a", "a.png"),
        ("b.JPG", "in/b.JPG"),
        ("b.jpg", "in/b.JPG"),
        ("c.v2.png", "in/deep/c.v2.png"),
        ("c.v2", "in/deep/c.v2.png"),
        ("deep/c.v2.jpg", "in/deep/c.v2.png"),
        (r"in\deep\c.v2.png", "in/deep/c.v2.png"),
        ("x/same.png", "x/same.png"),
        ("y/same.jpg", "y/same.png"),
    ],
)
def test_images_are_found_by_the_name_that_a_table_gives(
    name: str, file: str, folder: Path
) -> None:
    assert locate(folder, [name], "look") == [folder / file]


def test_absolute_names_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert locate(other, [str(folder / "a.png")], "look") == [folder / "a.png"]


@pytest.mark.parametrize("name", ["d.png", "in/a.png", "eep/c.v2.png", "c.png", "note.txt", "in"])
def test_images_that_are_not_there_are_counted_and_named(name: str, folder: Path) -> None:
    with pytest.raises(MissingDataError, match=rf"1 of 2 images are not in {folder}: {name}; look"):
        locate(folder, ["a.png", name], "look")


def test_only_the_first_missing_names_are_said(folder: Path) -> None:
    names = [f"{number}.png" for number in range(9)]
    with pytest.raises(MissingDataError, match=r"9 of 9 .*: 0\.png, 1\.png, 2\.png, \.\.\.; look"):
        locate(folder, names, "look")


def test_names_that_fit_two_files_and_files_that_fit_two_names_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"same\.png may be .*x/same\.png or .*y/same\.png"):
        locate(folder, ["same.png"], "look")
    with pytest.raises(ValueError, match=r"a\.png \(as a\.png, and as a\.jpg\)"):
        locate(folder, ["a.png", "a.jpg"], "look")


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("name", ["linked.png", "in/linked.png"])
def test_a_file_and_a_link_to_it_are_one_image(
    name: str, link: Callable[[Path, Path], None], folder: Path
) -> None:
    link(folder / name, folder / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png \(as a\.png, and as {name}\); keep each once"):
        locate(folder, ["a.png", name, "in/b.JPG"], "look")


def test_lists_must_name_the_same_once() -> None:
    check_once([("a", "one, line 1"), ("b", "one, line 2")])
    check_same(["a", "b"], "one", ["b", "a"], "two")
    with pytest.raises(ValueError, match=r"1 images .* once: a \(one, line 1, and two, line 1\)"):
        check_once([("a", "one, line 1"), ("b", "one, line 2"), ("a", "two, line 1")])
    with pytest.raises(ValueError, match="1 images of two are not in one: c; both"):
        check_same(["a", "b"], "one", ["b", "a", "c"], "two")
    with pytest.raises(ValueError, match="2 images of one are not in two: a, b; both"):
        check_same(["a", "b"], "one", [], "two")
