from pathlib import Path

import pytest

from src.data.atomic import PARTIAL, replacing, write_whole


def test_a_file_is_the_old_one_until_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    write_whole(target, "old ± 0")
    with replacing(target) as partial:
        partial.write_text("half")
        assert target.read_text(encoding="utf-8") == "old ± 0"
        partial.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_fails_leaves_nothing(is_folder: bool, tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        if is_folder:
            partial.mkdir()
        (partial / "part" if is_folder else partial).write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), replacing(tmp_path / "made") as partial:
        fail(partial)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    left = tmp_path / f"made{PARTIAL}"
    left.mkdir()
    (left / "half").touch()
    with replacing(tmp_path / "made") as partial:
        partial.mkdir()
        (partial / "whole").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "made",
        "made/whole",
    ]
