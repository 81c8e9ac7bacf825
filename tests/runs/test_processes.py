"""Processes that are not started, or do not arrive, are said and not waited for in silence."""

import socket
from datetime import timedelta

import pytest
from conftest import UNDRAWN, run_command
from pytorch_lightning.strategies import StrategyRegistry

from src.runs import processes

SHORT_RUN = ["debug=fast", "logger=none", UNDRAWN, "test=false", "hydra.run.dir=run"]
TORCHRUN = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "TORCHELASTIC_RUN_ID": "test",
}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the first of two that torchrun starts, and the other is never started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(StrategyRegistry["ddp"], "init_params", {"timeout": timedelta(seconds=2)})


@pytest.mark.parametrize("settings", [[], ["trainer=ddp_cpu"], ["trainer.strategy=ddp"]])
def test_several_nodes_need_something_that_starts_them(settings: list[str]) -> None:
    result = run_command("train", *SHORT_RUN, *settings, "+trainer.num_nodes=2")
    assert result.status == 1
    assert "neither SLURM nor torchrun started this process" in result.message


@pytest.mark.parametrize("settings", [["+trainer.num_nodes=2"], ["trainer=ddp_cpu"]])
def test_process_that_never_arrives_is_said_and_ends_the_run(
    settings: list[str],
    elsewhere: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.5)
    if settings == ["trainer=ddp_cpu"]:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    result = run_command("train", *SHORT_RUN, *settings)
    assert result.status == 1
    assert "error: process 0 of a run of 2 waited for the others at 127.0.0.1:" in result.message
    assert result.message.endswith("and gave up")
    assert len(result.message.splitlines()) == 1
    assert "can it reach this address? waiting on" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "[0,0]", "many", "[]"])
def test_devices_that_are_none_are_the_users_error(number: str) -> None:
    result = run_command("train", *SHORT_RUN, f"trainer.devices={number}")
    assert result.status == 1
    assert result.message.startswith("error: trainer")
    assert "HYDRA_FULL_ERROR" not in result.message
