"""Caches: written once, checked when opened, made anew where they decayed."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.data.stored import StoredRows, write_once

ROWS = np.random.default_rng(0).normal(size=(1000, 3, 4)).astype(np.float32)
NOTES = {"7": "is damaged (☃\udcff)"}


def write(target: Path, rows: np.ndarray = ROWS) -> list[int]:
    """Store rows by threes, and tell the sizes of those that were asked for."""
    asked = []

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), 3):
            asked.append(len(rows[start : start + 3]))
            yield rows[start : start + 3]

    write_once(target, parts(), "elsewhere=true", NOTES)
    return asked


def test_rows_and_notes_come_back_and_numpy_reads_them(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "rows.npy"
    assert sum(write(target)) == 1000
    assert write(target) == []
    assert np.array_equal(np.load(target), ROWS)
    stored = StoredRows(target)
    assert len(stored) == 1000
    assert np.array_equal(stored[torch.tensor([999, 0])].numpy(), ROWS[[999, 0]])
    assert stored.notes == NOTES
    write_once(tmp_path / "plain.npy", [ROWS], "")
    assert StoredRows(tmp_path / "plain.npy").notes == {}


def test_the_checksum_is_what_sha256sum_checks(tmp_path: Path) -> None:
    write(tmp_path / "rows.npy")
    check = ["sha256sum", "--check", "rows.sha256"]
    result = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "rows.npy: OK\n")


def flip(place: float) -> Callable[[bytearray], Any]:
    def harm(content: bytearray) -> None:
        content[int(place * (len(content) - 1))] ^= 1

    return harm


def zero(content: bytearray) -> None:
    content[4096:8192] = bytes(4096)


HARMS: dict[str, Callable[[bytearray], Any]] = {
    "a bit of the magic": flip(0),
    "a bit of the header": flip(0.001),
    "a bit of the first row": flip(0.005),
    "a bit of the middle": flip(0.5),
    "a bit of the notes": flip(1),
    "a block of zeros": zero,
    "cut off": lambda content: content.__delitem__(slice(-100, None)),
    "half": lambda content: content.__delitem__(slice(20_000, None)),
    "longer": lambda content: content.extend(b"more"),
    "empty": lambda content: content.clear(),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_what_decays_is_made_anew_and_said(
    harm: Callable[[bytearray], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "rows.npy"
    write(target)
    content = bytearray(target.read_bytes())
    harm(content)
    target.write_bytes(content)
    assert sum(write(target)) == 1000
    assert np.array_equal(StoredRows(target)[:2000].numpy(), ROWS)
    said = capsys.readouterr().err.replace("\n", "")
    assert said == f"{target} is damaged: making it anew"
    assert write(target) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 64 + b"  rows.npy\n"])
def test_a_checksum_that_decays_is_made_anew(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "rows.npy")
    before = (tmp_path / "rows.sha256").read_text()
    (tmp_path / "rows.sha256").write_bytes(content)
    assert sum(write(tmp_path / "rows.npy")) == 1000
    assert (tmp_path / "rows.sha256").read_text() == before


def test_a_folder_for_reading_alone_serves_what_it_has_and_says_how_to_do_without(
    tmp_path: Path, unprivileged: None
) -> None:
    write(tmp_path / "cache" / "rows.npy")
    (tmp_path / "cache" / "rows.lock").unlink()
    (tmp_path / "cache").chmod(0o500)
    assert write(tmp_path / "cache" / "rows.npy") == []
    for target in ("cache/other.npy", "cache/below/other.npy"):
        with pytest.raises(OSError, match=r"other\.npy cannot be .* elsewhere=true"):
            write(tmp_path / target)
    (tmp_path / "cache").chmod(0o700)


def test_a_file_system_for_reading_alone_is_said_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"Read-only file system.*elsewhere=true"):
        write(tmp_path / "cache" / "rows.npy")


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_a_place_that_is_none_is_said_as_well(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"rows\.npy cannot be written .*: elsewhere=true"):
        write(tmp_path / place / "rows.npy")


def test_an_error_of_the_parts_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[np.ndarray]:
        yield ROWS
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        write_once(tmp_path / "rows.npy", parts(), "")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.lock"]
