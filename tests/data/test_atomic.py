import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from src.data.atomic import PARTIAL, replacing, write_whole
from src.data.stored import write_once
from src.runs.checkpoints import AtomicCheckpointIO

LIMIT = 100_000  # bytes that a file may have here; all writers have more to write
NOISE = np.random.default_rng(0).integers(256, size=(512, 512, 3), dtype=np.uint8)


def write_array(path: Path) -> None:
    write_once(path, [NOISE], elsewhere="do without")


def write_checkpoint(path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint({"weights": torch.from_numpy(NOISE)}, path)


def write_picture(path: Path) -> None:
    with replacing(path) as partial:
        Image.fromarray(NOISE).save(partial, "PNG")


def write_figure(path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 8))
    axes.imshow(NOISE)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
    plt.close(figure)


def write_folder(path: Path) -> None:
    with replacing(path) as partial:
        partial.mkdir()
        (partial / "small").write_text("fits")
        (partial / "large").write_bytes(NOISE.tobytes())


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_whole(path, "x" * 2 * LIMIT),
    "array": write_array,
    "checkpoint": write_checkpoint,
    "picture": write_picture,
    "figure": write_figure,
    "folder": write_folder,
}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files end at a size, as on a disk that is full."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, unlimited[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_leaves_nothing_and_is_said_with_the_path(
    writer: str, full_disk: None, tmp_path: Path
) -> None:
    target = tmp_path / "target.npy"
    with pytest.raises(OSError, match="File too large") as raised:
        WRITERS[writer](target)
    assert str(target) in str(raised.value)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


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
