import os
from pathlib import Path

import pytest

from src.data.folders import list_files
from src.data.pictures import picture_endings


def listed(folder: Path, *endings: str) -> list[str]:
    files = list_files(folder, endings or (".png", ".jpg", ".webp")).files
    return [path.relative_to(folder).as_posix() for path in files]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "a.png", "b/1.webp", "note.txt")
    assert listed(tmp_path) == ["a.png", "b/1.webp", "b/2.JPG"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/sub/a.png", "in/z/b.png", "elsewhere/c.png", "elsewhere/deep/d.png")
    folder = tmp_path / "in"
    (folder / "all").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (folder / "first").symlink_to(folder / "z")  # sorts before z, which keeps its own name
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    (tmp_path / "elsewhere" / "back").symlink_to(folder / "sub")
    assert listed(folder) == ["again/d.png", "all/c.png", "sub/a.png", "z/b.png"]
    (tmp_path / "link").symlink_to(folder)
    assert len(listed(tmp_path / "link")) == 4


def test_links_to_each_other_end(tmp_path: Path) -> None:
    for name in "abcdefgh":
        touch(tmp_path, f"{name}/{name}.png")
        for other in "abcdefgh":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    assert listed(tmp_path) == [f"{name}/{name}.png" for name in "abcdefgh"]


def test_links_to_files_are_files(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert listed(tmp_path / "in") == ["one.png"]


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".b.png", ".ipynb_checkpoints/a.png", ".git/x/y.png", "n.txt", "m.txt")
    touch(tmp_path, "README", "raw.CR2")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    files, left_out = list_files(tmp_path, {".png"})
    assert files == [tmp_path / "a.png"]
    assert left_out == {
        "hidden": 3,
        "broken links and what is no file": 2,
        "with other endings (.txt, none, .cr2)": 4,
    }


def test_a_hidden_folder_may_be_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, ".photos/a.png")
    assert listed(tmp_path / ".photos") == ["a.png"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "file.png")
    for name in ("nowhere", "file.png", "bad\x1b\udcff"):
        with pytest.raises(ValueError, match="there is no folder") as caught:
            list_files(tmp_path / name, {".png"})
        assert str(caught.value).isprintable()


def test_folders_without_permission_are_counted_or_refused(
    tmp_path: Path, unprivileged: None
) -> None:
    touch(tmp_path, "a.png", "closed/b.png", "listed/c.png")
    (tmp_path / "closed").chmod(0o000)
    (tmp_path / "listed").chmod(0o400)
    files, left_out = list_files(tmp_path, {".png"})
    assert files == [tmp_path / "a.png"]
    assert left_out == {
        "folders that cannot be read": 1,
        "broken links and what is no file": 1,
    }
    with pytest.raises(PermissionError, match="closed"):
        list_files(tmp_path / "closed", {".png"})


def test_every_format_that_pillow_opens_is_an_image() -> None:
    endings = picture_endings()
    common = "png apng jpg jpeg jpe jfif gif tif tiff bmp webp avif jp2 j2k ppm pgm tga ico mpo"
    assert endings >= {f".{name}" for name in common.split()}
    assert not endings & {".pdf", ".txt", ".svg", ".heic", ".npy", ".mp4", ".xml"}
