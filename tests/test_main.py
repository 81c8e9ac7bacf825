"""All commands have one name, and run from any folder."""

import sys
from pathlib import Path

import pytest

from src.__main__ import COMMANDS, main


def vss(*arguments: str) -> str | int | None:
    """Run `vss ARGUMENTS` in this process; return what it exits with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vss", *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "0")  # which commands change
        try:
            main()
        except SystemExit as stop:
            return stop.code
    return None


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
def test_commands_are_listed_with_what_they_do(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert vss(*arguments) is None
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == COMMANDS
    assert "  train      Train a model" in lines


def test_command_is_run_where_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert vss("prepare", "dataset=digits", "data_dir=kept") is None
    assert "1,257" in capsys.readouterr().out
    assert Path("outputs/prepare").is_dir()


def test_unknown_command_is_answered_with_the_known() -> None:
    assert str(vss("trian")).startswith(
        "error: there is no command 'trian'; choose from benchmark,"
    )
