"""Nothing that is printed costs a result, and paths are printed as they are."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest
from conftest import UNDRAWN, Run, run_command

from src.config.output import unfailing_output

SHORT_RUN = ["debug=fast", "logger=none", UNDRAWN, "hydra.run.dir=run"]
MARKED = "a [b] [/c] [red]d :dog: 1.5"  # a file name that Rich would change


def closed_pipe() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def full_disk() -> TextIO:
    return Path("/dev/full").open("w")


def encoded(encoding: str) -> TextIO:
    return io.TextIOWrapper(io.BytesIO(), encoding)


STREAMS: dict[str, Callable[[], TextIO]] = {
    "latin-1": lambda: encoded("latin-1"),
    "ascii": lambda: encoded("ascii"),
    "closed pipe": closed_pipe,
    "full disk": full_disk,
}


@pytest.mark.parametrize("stream", STREAMS)
def test_training_ends_with_its_results_whatever_becomes_of_its_output(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # progress bars are drawn
    output = STREAMS[stream]()
    monkeypatch.setattr(sys, "stdout", output)
    assert run_command("train", *SHORT_RUN) == (0, "")
    assert Path("run", "metrics.json").exists()
    output.close()  # nothing is left that would raise here


@pytest.mark.parametrize("stream", STREAMS)
def test_error_output_may_fail_as_well(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = STREAMS[stream]()
    monkeypatch.setattr(sys, "stderr", output)
    with unfailing_output():
        print("a ━━━╸ bar • of ☃", file=sys.stderr, flush=True)  # noqa: T201
    output.close()


def test_characters_that_cannot_be_encoded_are_replaced() -> None:
    output = io.TextIOWrapper(io.BytesIO(), "latin-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        with unfailing_output():
            print("é ━━━╸ • ☃")  # noqa: T201
    output.seek(0)
    assert output.read() == "é ---- * ?\n"


def test_output_that_is_lost_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = full_disk()
    monkeypatch.setattr(sys, "stdout", output)
    with unfailing_output():
        for number in range(3):
            print(number, flush=True)  # noqa: T201
    assert sys.stdout is output
    said = capsys.readouterr().err
    assert said.count("output cannot be written (No space left on device)") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "debug=fast", "logger=none", UNDRAWN, f"hydra.run.dir={MARKED}"),
        ("train", "-m", "debug=fast", "logger=none", UNDRAWN, f"hydra.sweep.dir={MARKED}"),
        ("retrieve", "ckpt_path={ckpt}", "query=even", f"hydra.run.dir={MARKED}"),
        ("evaluate", "ckpt_path={ckpt}", f"hydra.run.dir={MARKED}"),
        ("prepare", "dataset=digits", f"data_dir={MARKED}"),
        ("benchmark", "parts=[loss]", "loss.seconds=0", f"output_dir={MARKED}"),
        ("reproduce", "table=synthetic", f"results_dir={MARKED}", f"runs_dir=runs/{MARKED}"),
    ],
    ids=" ".join,
)
def test_paths_are_printed_as_they_are(
    arguments: tuple[str, ...], trained_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [argument.replace("{ckpt}", str(trained_run.checkpoint)) for argument in arguments]
    assert run_command(*said) == (0, "")
    assert MARKED in capsys.readouterr().out


def test_finished_run_is_named_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"hydra.run.dir={MARKED}"
    for _ in range(2):
        arguments = ["debug=fast", "logger=none", UNDRAWN, folder, "ckpt_path=auto"]
        assert run_command("train", *arguments) == (0, "")
    assert f"finished already: {Path(MARKED).absolute()}" in capsys.readouterr().out
