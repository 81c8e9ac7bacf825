"""Commands run for real, in a folder of their own, and small data in published layouts."""

import gzip
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from torch.multiprocessing import start_processes

from src.config.command import call
from src.data.mnist import FILES

SHORT = ("trainer.max_epochs=12",)  # enough to learn the digits
PAPER = "method=nuclear"  # whose subspaces and optimum tests look at
BRIEF = (PAPER, "trainer.max_epochs=4")  # enough to tell one run from another
UNDRAWN = "~callbacks.report"  # where a test looks at no picture
CROSS_ENTROPY = (PAPER, "loss=cross_entropy", "readout=softmax", "encoder.embedding_dim=null")
BCE = (
    *(PAPER, "loss=bce", "readout=sigmoid", "encoder.embedding_dim=null"),
    "module.label_coding=literals",
)
NOBODY = 65534  # the user without rights
IMPORTED_ONCE = ["pytorch_lightning"]  # and torch with it

for variable in [name for name in os.environ if name.startswith("WANDB_")]:
    del os.environ[variable]  # which would send runs of tests, or name them


class CommandResult(NamedTuple):
    """What a command left behind."""

    status: int
    message: str  # the error it ended with


class Run(NamedTuple):
    """A finished training run."""

    folder: Path
    config: DictConfig
    metrics: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


def run_command(name: str, *arguments: str) -> CommandResult:
    """Run `python -m src.NAME ARGUMENTS` in this process and the current folder."""
    error = call(name, arguments)
    return CommandResult(0, "") if error is None else CommandResult(1, error)


def train(folder: Path, *overrides: str) -> Run:
    """Train into a folder, a short run unless the overrides say otherwise."""
    result = run_command("train", f"hydra.run.dir={folder}", *SHORT, *overrides)
    assert result == (0, "")
    return read_run(folder)


def read_run(folder: Path) -> Run:
    metrics = json.loads((folder / "metrics.json").read_text())
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return Run(folder, config, metrics)


def in_processes(worker: Callable[..., None], number: int, *arguments: object) -> None:
    """Call `worker(rank, *arguments)` in so many new processes, and wait for all of them.

    They come from one process that has imported the large libraries, and nothing else.
    """
    multiprocessing.set_forkserver_preload(IMPORTED_ONCE)
    start_processes(worker, arguments, number, start_method="forkserver")


def wandb_folder(run: Path) -> Path:
    (folder,) = (run / "wandb").glob("offline-run-*")
    return folder


@cache
def wandb_records(folder: Path) -> list[dict]:
    """Everything in an offline run that has ended, as W&B itself reads it back."""
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def wandb_history(run: Path) -> list[dict]:
    records = wandb_records(wandb_folder(run))
    return [record["history"]["item"] for record in records if record["type"] == "history"]


def wandb_summary(run: Path) -> dict[str, Any]:
    """What W&B shows for the run in a table."""
    values: dict[str, Any] = {}
    for record in wandb_records(wandb_folder(run)):
        values |= record.get("summary", {}).get("update", {})
    return values


def idx(values: torch.Tensor) -> bytes:
    """Bytes of an IDX file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


def write_idx_files(root: Path, name: str, zipped: bool, train: int = 60, test: int = 30) -> None:
    """Random images of ten classes as MNIST (or another name) lies below a root folder."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for split, size in (("train", train), ("test", test)):
        images = torch.randint(0, 256, (size, 28, 28), dtype=torch.uint8, generator=generator)
        classes = torch.arange(size, dtype=torch.uint8) % 10
        for file, values in zip(FILES[split], (images, classes), strict=True):
            data = idx(values)
            path = folder / (f"{file}.gz" if zipped else file)
            path.write_bytes(gzip.compress(data) if zipped else data)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=4, help="how often a training is killed")
    parser.addoption("--queries", type=int, default=1000, help="how many random ones are read")
    parser.addoption("--overrides", type=int, default=60, help="how many runs have random ones")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks and tests with a browser are slow."""
    for item in items:
        if item.path.suffix == ".ipynb" or "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs of a command go nowhere else."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws without a generator are the same whichever tests came before, on any worker."""
    torch.manual_seed(0)


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """Whoever runs the tests is kept out by permissions, root too."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(tmp_path, NOBODY, NOBODY)
    for path in tmp_path.parents:
        if not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)  # for good: other workers need it as well
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


class Shared:
    """Folders that are made by the first process that asks, and read by all.

    Args:
        base: A folder of all processes of this session.
    """

    def __init__(self, base: Path) -> None:
        self.base = base

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of a name, made by `make(folder)` if it is not there yet."""
        folder, done = self.base / name, self.base / f"{name}.done"
        with FileLock(self.base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # half made by one that failed
                make(folder)
                done.touch()
        return folder

    def run(self, name: str, *overrides: str) -> Run:
        """Return the short training run of a name. Tests that change its folder copy it first."""
        return read_run(self.folder(name, lambda folder: train(folder, *overrides)))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Shared:
    """Folders that are made once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    base = (base if worker_id == "master" else base.parent) / "shared"
    base.mkdir(exist_ok=True)
    return Shared(base)


@pytest.fixture(scope="session")
def clip_folder(shared: Shared) -> Path:
    """A small CLIP with random weights, as published ones are saved."""
    from tiny_clip import save_clip  # transformers takes seconds to import

    return shared.folder("clip", save_clip)


@pytest.fixture(scope="session")
def trained_run(shared: Shared) -> Run:
    """One short training with W&B offline, that many tests look at."""
    return shared.run("trained", PAPER)


@pytest.fixture(scope="session")
def brief_run(shared: Shared) -> Run:
    """One training of four epochs with W&B offline, that others must repeat exactly."""
    return shared.run("brief", *BRIEF)


@pytest.fixture(scope="session")
def cross_entropy_run(shared: Shared) -> Run:
    """The baseline that takes minterms for classes."""
    return shared.run("cross_entropy", "logger=none", *CROSS_ENTROPY)


@pytest.fixture(scope="session")
def bce_run(shared: Shared) -> Run:
    """The baseline that takes literals for independent."""
    return shared.run("bce", "logger=none", *BCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """Chromium without a window, which keeps a record of its requests."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()
