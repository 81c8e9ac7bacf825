"""Commands run for real, in a folder of their own."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import DictConfig, OmegaConf

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


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs of a command go nowhere else."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One short training with W&B offline, that many tests look at."""
    return train(tmp_path_factory.mktemp("run") / "out")
