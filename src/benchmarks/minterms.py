"""Time and peak memory of training and of asking, with the 40 attributes of CelebA as literals and
as many minterms as images."""

from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from src.benchmarks.timing import peak_memory, timed
from src.config.command import call
from src.data.celeba import ATTRIBUTES, IMAGES, NAMES, PARTITION
from src.reports.tables import Row
from src.subspaces.minterms import MAX_MINTERMS

TITLE = "Many minterms"
COLUMNS = {
    "what": "what, minterms of training",
    "seconds": "s",
    "peak_mb": "peak memory, MB",
}
PIXELS = 8
QUERY = "Male & ~Young | Smiling"
CONDITIONS = (
    f"Noise of {PIXELS} x {PIXELS} pixels in CelebA's layout, with attributes of a row each, all "
    "distinct: eight of ten train, then validation and test. The 40 attributes are literals; "
    "ConvNet, nuclear norm over literals, a discriminant for each literal, one "
    "epoch, validation and test. Peak memory is the largest resident set of a process of its own, "
    "with all that it imports, which `imports` does alone, and with the decoded images that it "
    "touches, 192 bytes each."
)


def measure(device: str, minterms: Sequence[int]) -> Iterator[Row]:
    """Rows for every number of minterms.

    Args:
        device: `cpu` or `cuda`.
        minterms: Numbers of distinct minterms of training images, more than a table holds.
    """
    if min(minterms) <= MAX_MINTERMS:
        raise ValueError(f"minterms.minterms must be above {MAX_MINTERMS}, not {min(minterms)}")
    yield {"what": "imports", **in_own_process(imports, "", "")}
    for number in minterms:
        with TemporaryDirectory() as folder:
            write_images(Path(folder) / "celeba", number)
            for what, task in (("training", train), ("query", retrieve), ("page", explore)):
                row = in_own_process(task, folder, device)
                yield {"what": f"{what}, {number:,}", **row}


def in_own_process(task: Callable[[str, str], None], folder: str, device: str) -> Row:
    """Seconds and peak memory of a task in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        seconds, peak = pool.apply(_observe, (task, folder, device))
    return {"seconds": seconds, "peak_mb": peak}


def _observe(task: Callable[[str, str], None], folder: str, device: str) -> tuple[float, float]:
    _, (seconds,) = timed(lambda: task(folder, device), device or "cpu", repeats=1)
    return seconds, peak_memory()


def imports(folder: str, device: str) -> None:
    """What the others import."""
    import src.runs.fit
    import src.search.page  # noqa: F401


def train(folder: str, device: str) -> None:
    """Train, validate and test once."""
    run(
        "train",
        *("dataset=celeba", "dataset.attributes=null", f"dataset.image_size={PIXELS}"),
        *("encoder=convnet", "readout=literal_discriminants", "trainer.max_epochs=1"),
        *(f"trainer={'gpu' if device == 'cuda' else 'cpu'}", "logger=none"),
        *(f"data_dir={folder}", f"hydra.run.dir={folder}/run"),
    )


def retrieve(folder: str, device: str) -> None:
    """Answer one query on the test split."""
    settings = [f"{key}={value}" for key, value in places(folder, device).items()]
    run("retrieve", f"query={QUERY}", f"hydra.run.dir={folder}/answers", *settings)


def explore(folder: str, device: str) -> None:
    """Answer one query on the test split as the page does, and describe the best image."""
    from src.search.answers import load_models
    from src.search.page import search

    settings = {"beside": None, "cache_dir": f"{folder}/cache", "top_k": 20, "strict": False}
    settings |= {"index": "exact", "candidates": 20}
    config = OmegaConf.create(places(folder, device) | settings)
    place = "test split"
    fault, *_ = search(load_models(config, [place]), place, QUERY, config.top_k)
    if fault:
        raise RuntimeError(fault)


def places(folder: str, device: str) -> dict[str, str]:
    """The settings of commands that ask the model."""
    checkpoint = f"{folder}/run/checkpoints/last.ckpt"
    return {"ckpt_path": checkpoint, "data_dir": folder, "device": device}


def run(name: str, *arguments: str) -> None:
    """Run a command of the project.

    Raises:
        RuntimeError: If it ends with an error.
    """
    if error := call(name, arguments):
        raise RuntimeError(error)


def write_images(folder: Path, number: int) -> None:
    """Noise in CelebA's layout, with so many training images, whose attributes are all distinct."""
    generator = np.random.default_rng(0)
    images = number * 10 // 8
    rows = np.unique(generator.random((2 * images, len(NAMES))) < 0.25, axis=0)
    labels = generator.permutation(rows)[:images]
    (folder / IMAGES).mkdir(parents=True)
    lines, parts = [str(images), " ".join(NAMES)], []
    for index, row in enumerate(labels):
        name = f"{index + 1:06d}.jpg"
        pixels = generator.integers(256, size=(PIXELS, PIXELS, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / IMAGES / name)
        lines.append(" ".join([name, *("1" if value else "-1" for value in row)]))
        parts.append(f"{name} {(index >= number) + (index >= number + images // 10)}")
    (folder / ATTRIBUTES).write_text("\n".join(lines) + "\n")
    (folder / PARTITION).write_text("\n".join(parts) + "\n")
