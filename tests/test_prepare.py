from pathlib import Path

import pytest
from conftest import run_command


def test_makes_faces_and_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_command(
        "prepare",
        "dataset=faces",
        "dataset.number=200",
        f"data_dir={tmp_path}",
    )
    assert result == (0, "")
    output = capsys.readouterr().out
    assert "160" in output
    assert str(tmp_path) in output
    assert next(tmp_path.glob("faces-*-200-0/list_attr_celeba.txt")).stat().st_size > 0


def test_says_and_mends_a_cache_that_decayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("dataset=faces", "dataset.number=40", f"data_dir={tmp_path}")
    assert run_command("prepare", *asked) == (0, "")
    (cache,) = (tmp_path / "cache").glob("*.npy")
    content = cache.read_bytes()
    cache.write_bytes(content[:-4096] + bytes(4096))
    capsys.readouterr()
    assert run_command("prepare", *asked) == (0, "")
    assert f"{cache} is damaged: making it anew" in capsys.readouterr().err.replace("\n", "")
    assert cache.read_bytes() == content


def test_needs_to_be_told_which_set() -> None:
    result = run_command("prepare")
    assert result.status == 1
    assert "add dataset=NAME, one of celeba, cifar10," in result.message


def test_celeba_is_not_made_up(tmp_path: Path) -> None:
    result = run_command("prepare", "dataset=celeba", f"data_dir={tmp_path}")
    assert result.status == 1
    assert "dataset=faces" in result.message
