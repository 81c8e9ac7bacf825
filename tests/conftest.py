"""Commands run for real, in a folder of their own, and small data in published layouts."""

import gzip
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from src.data.mnist import FILES

SHORT = ("trainer.max_epochs=12",)


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


RunCommand = Callable[..., CommandResult]


def run_command(name: str, *arguments: str) -> CommandResult:
    """Run `python -m src.NAME ARGUMENTS` in this process and the current folder."""
    argv, full_error = sys.argv, os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.argv = [f"src/{name}.py", *arguments]
    try:
        importlib.import_module(f"src.{name}").main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            return CommandResult(1, stop.code)
        return CommandResult(int(stop.code or 0), "")
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    return CommandResult(0, "")


def train(folder: Path, *overrides: str) -> Run:
    """Train into a folder, a short run unless the overrides say otherwise."""
    result = run_command("train", f"hydra.run.dir={folder}", *SHORT, *overrides)
    assert result == (0, "")
    metrics = json.loads((folder / "metrics.json").read_text())
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return Run(folder, config, metrics)


def wandb_folder(run: Path) -> Path:
    (folder,) = (run / "wandb").glob("offline-run-*")
    return folder


def wandb_records(folder: Path) -> list[dict]:
    """Everything in an offline run, as W&B itself reads it back."""
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


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs of a command go nowhere else."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights, as published ones are saved."""
    from tiny_clip import save_clip  # transformers takes seconds to import

    return save_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One short training with W&B offline, that many tests look at."""
    return train(tmp_path_factory.mktemp("run") / "out")


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
