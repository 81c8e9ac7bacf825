"""Runs that are killed, stopped, requeued, lose a process or diverge; and how they go on."""

import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import BRIEF, PAPER, UNDRAWN, Run, run_command, train, wandb_records
from omegaconf import OmegaConf
from PIL import Image
from test_train import assert_same_weights

from src.runs.load import load_checkpoint

ROOT = Path(__file__).parent.parent
STEPS = 9  # in an epoch
MIDDLE = STEPS + 3  # a step in the middle of the second of four epochs
EPOCHS_A_KILL = 3
TWO_PROCESSES = ["trainer.strategy=ddp", "trainer.devices=2"]
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a terminal; a process in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: signal.Signals, step: int, name: str = "send") -> list[str]:
    """Overrides for a signal in the middle of a step."""
    return [
        f"+callbacks.{name}._target_=disturbances.SendSignal",
        f"+callbacks.{name}.number={int(number)}",
        f"+callbacks.{name}.step={step}",
    ]


def spoil(rank: int, step: int) -> list[str]:
    """Overrides for weights that become NaN on one process."""
    return [
        "+callbacks.spoil._target_=disturbances.SpoilWeights",
        f"+callbacks.spoil.rank={rank}",
        f"+callbacks.spoil.step={step}",
    ]


def go_on(message: str) -> list[str]:
    """The arguments that a stopped run asks to be resumed with, but for what stopped it."""
    arguments = shlex.split(message.split("go on with python -m src.train ")[1])
    return [argument for argument in arguments if not argument.startswith("+callbacks.send")]


def assert_same_metrics(first: Run, second: Run) -> None:
    assert first.metrics == second.metrics


def history(run: Path) -> tuple[set[str], dict[int, dict[str, Any]]]:
    """Ids of the W&B runs in a folder, and what was logged at every step, without times
    and names of files."""
    ids, rows = set(), {}
    for folder in sorted((run / "wandb").glob("offline-run-*")):
        for record in wandb_records(folder):
            if record["type"] == "run":
                ids.add(record["run"]["run_id"])
            if record["type"] == "history":
                item = record["history"]["item"]
                rows[item["_step"]] = {
                    key: value
                    for key, value in item.items()
                    if not key.startswith("_") and not isinstance(value, str)
                }
    return ids, rows


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "src.train", f"hydra.run.dir={folder}", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    environment.pop("WANDB_SERVICE", None)  # that of this process would outlive a killed run
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until a condition holds or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.001)


# SIGTERM and SLURM


@pytest.mark.parametrize(
    ("number", "step", "workers", "auto"),
    [
        (signal.SIGINT, MIDDLE, 0, False),
        (signal.SIGTERM, MIDDLE, 0, False),
        (signal.SIGHUP, MIDDLE, 0, False),
        (signal.SIGTERM, MIDDLE, 2, False),
        (signal.SIGTERM, 2 * STEPS - 1, 0, False),  # the last of an epoch
        (signal.SIGTERM, 4 * STEPS - 2, 0, False),  # the last but one of all
        (signal.SIGTERM, 2 * STEPS + 5, 0, True),
    ],
)
def test_signal_saves_in_mid_epoch_and_the_run_goes_on_exactly(
    number: signal.Signals,
    step: int,
    workers: int,
    auto: bool,
    brief_run: Run,
    tmp_path: Path,
) -> None:
    run, serve = tmp_path / "run", f"loader.workers={workers}"
    overrides = [serve, *BRIEF, *send(number, step)]
    result = run_command("train", f"hydra.run.dir={run}", *overrides)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    saved = run / "checkpoints" / "interrupted.ckpt"
    assert result.status == 1
    arguments = shlex.join([*overrides, f"ckpt_path={saved}", f"hydra.run.dir={run}"])
    assert result.message == f"stopped: go on with python -m src.train {arguments}"
    assert torch.load(saved, weights_only=True)["global_step"] == step + 1
    assert not (run / "metrics.json").exists()

    again = [*BRIEF, serve, "ckpt_path=auto"] if auto else go_on(result.message)
    resumed = train(run, *again)
    assert_same_weights(brief_run.checkpoint, resumed.checkpoint)
    assert_same_metrics(brief_run, resumed)
    ids, rows = history(run)
    assert len(ids) == 1  # gone on with, not started anew
    assert rows == history(brief_run.folder)[1]


def test_closed_terminal_ends_no_run_that_ignores_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts it
    try:
        hangup = send(signal.SIGHUP, MIDDLE)
        run = train(tmp_path / "run", "logger=none", UNDRAWN, "test=false", *BRIEF, *hangup)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.metrics["run/epochs"] == 4


def test_moments_that_a_loss_averages_go_on_exactly(tmp_path: Path) -> None:
    settings = ["loss=nuclear_discriminant", "logger=none", *BRIEF, UNDRAWN]
    whole, run = train(tmp_path / "whole", *settings), tmp_path / "run"
    middle = send(signal.SIGTERM, 2 * STEPS + 5)  # after the likelihood has set in
    stopped = run_command("train", f"hydra.run.dir={run}", *settings, *middle)
    resumed = train(run, *go_on(stopped.message))
    assert_same_weights(whole.checkpoint, resumed.checkpoint)
    assert_same_metrics(whole, resumed)
    state = torch.load(resumed.checkpoint, weights_only=True)["state_dict"]
    assert state["loss.batches"] == 4 * STEPS
    assert state["loss.moment"].any()


def test_second_ctrl_c_does_not_wait_and_the_run_goes_on_from_the_last_epoch(
    brief_run: Run, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    signals = send(signal.SIGINT, MIDDLE), send(signal.SIGINT, MIDDLE, "send_again")
    overrides = [*BRIEF, UNDRAWN, *signals[0], *signals[1]]
    result = run_command("train", f"hydra.run.dir={run}", *overrides)
    last = run / "checkpoints" / "last.ckpt"
    assert f"ckpt_path={last}" in go_on(result.message)
    resumed = train(run, *go_on(result.message))
    assert_same_weights(brief_run.checkpoint, resumed.checkpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_in_the_test_leaves_only_the_test_to_be_done(
    number: signal.Signals, brief_run: Run, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = run_command("train", f"hydra.run.dir={run}", *BRIEF, *send(number, -1))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    last = run / "checkpoints" / "last.ckpt"
    assert f"ckpt_path={last}" in go_on(result.message)
    elsewhere = run_command("train", f"ckpt_path={last}", *BRIEF)
    assert f"hydra.run.dir={run} ends the run" in elsewhere.message
    resumed = train(run, *go_on(result.message))
    assert_same_metrics(brief_run, resumed)
    assert history(run)[1] == history(brief_run.folder)[1]


def test_checkpoint_of_mid_epoch_answers_no_queries(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_command("train", f"hydra.run.dir={run}", "logger=none", *send(signal.SIGTERM, MIDDLE))
    saved = run / "checkpoints" / "interrupted.ckpt"
    for command in (["evaluate"], ["retrieve", "query=even"]):
        result = run_command(*command, f"ckpt_path={saved}")
        assert "its subspaces belong to other weights: resume it" in result.message


def test_resumed_elsewhere_a_run_goes_on_as_the_same_wandb_run_and_a_new_one_does_not(
    brief_run: Run, tmp_path: Path
) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    overrides = [*BRIEF, UNDRAWN, *send(signal.SIGTERM, MIDDLE)]
    stopped = run_command("train", f"hydra.run.dir={run}", *overrides)
    resumed = train(other, *go_on(stopped.message)[:-1])  # but for the folder
    assert_same_weights(brief_run.checkpoint, resumed.checkpoint)
    assert history(other)[0] == history(run)[0] != history(brief_run.folder)[0]
    assert min(history(other)[1]) == max(history(run)[1]) + 1


def test_requeued_slurm_job_goes_on_by_itself(
    brief_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    run = tmp_path / "run"
    job = [f"hydra.run.dir={run}", *BRIEF, UNDRAWN]
    signals = send(signal.SIGUSR1, MIDDLE), send(signal.SIGTERM, 2 * STEPS + 4, "later")
    assert run_command("train", *job, *signals[0], *signals[1]).status == 1
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    saved = torch.load(run / "hpc_ckpt_1.ckpt", weights_only=True)
    assert saved["global_step"] == MIDDLE + 1

    resumed = train(run, *job[1:])
    assert_same_weights(brief_run.checkpoint, resumed.checkpoint)
    assert_same_metrics(brief_run, resumed)
    assert len(history(run)[0]) == 1


# SIGKILL


def readable(folder: Path) -> None:
    """Assert that every file that a run writes can be read, whole."""
    for path in folder.rglob("*"):
        assert path.suffix != ".partial", path
        if path.suffix == ".ckpt":
            torch.load(path, weights_only=True)
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".yaml" and "wandb" not in path.parts:
            OmegaConf.load(path)
        if path.suffix == ".png":
            Image.open(path).load()


def kill(folder: Path, arguments: list[str], moment: str, delay: float) -> bool:
    """Start a run, or go on with it, and kill it; return whether it was writing a checkpoint."""
    begin = time.time_ns()

    def written(pattern: str) -> bool:
        try:
            files = (folder / "checkpoints").glob(pattern)
            return any(path.stat().st_mtime_ns > begin for path in files)
        except FileNotFoundError:  # renamed meanwhile
            return False

    process = start(folder, *arguments)
    if moment == "writing":
        wait_for(lambda: written("*.partial"), process)
    else:
        if moment == "training":
            wait_for(lambda: written("last.ckpt"), process)
        time.sleep(delay)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.communicate()[1]
    return written("*.partial")


@pytest.mark.slow
def test_run_killed_over_and_over_ends_as_if_it_had_not_been(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    kills: int = pytestconfig.getoption("kills")
    settings = [f"trainer.max_epochs={EPOCHS_A_KILL * kills}", "encoder.batch_norm=true"]
    whole, run = train(tmp_path / "whole", *settings), tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    generator = random.Random(0)
    in_writing = 0
    for number in range(kills):
        moment = ("writing", "training", "writing", "anywhere")[number % 4]
        delay = generator.uniform(0, 10 if moment == "anywhere" else 0.5)
        resume = [f"ckpt_path={last}"] if last.exists() else []
        in_writing += kill(run, [*settings, *resume], moment, delay)
        for path in (run / "checkpoints").glob("*.ckpt"):
            torch.load(path, weights_only=True)
        if not last.exists():  # nothing to go on from: what comes next is a new W&B run
            shutil.rmtree(run / "wandb", ignore_errors=True)
    assert in_writing >= kills // 4
    resumed = train(run, *settings, f"ckpt_path={last}")
    assert_same_weights(whole.checkpoint, resumed.checkpoint)
    best = [one.folder / "checkpoints" / "best.ckpt" for one in (whole, resumed)]
    assert_same_weights(*best)
    assert_same_metrics(whole, resumed)
    readable(run)
    ids, rows = history(run)
    assert len(ids) == 1
    expected = history(whole.folder)[1]
    # W&B itself loses what it had not written yet.
    assert all(row == expected[step] for step, row in rows.items())
    assert max(rows) == max(expected)


# A full disk


def test_full_disk_ends_the_run_and_loses_no_checkpoint(brief_run: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = [*BRIEF, UNDRAWN, *send(signal.SIGTERM, MIDDLE)]
    stopped = run_command("train", f"hydra.run.dir={run}", *overrides)
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))  # smaller than a checkpoint
    try:
        full = run_command("train", "logger=none", *go_on(stopped.message))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert full.status == 1
    assert full.message.startswith("error: [Errno 27] File too large: ")
    assert str(run / "checkpoints") in full.message
    assert not list(run.rglob("*.partial"))
    assert len(full.message.splitlines()) == 1
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    resumed = train(run, *go_on(stopped.message))
    assert_same_weights(brief_run.checkpoint, resumed.checkpoint)


# Divergence


def test_diverging_run_leaves_the_batch_and_the_weights(tmp_path: Path) -> None:
    run = tmp_path / "run"
    lr = ["optimizer=sgd_step", "optimizer.lr=1e30"]
    result = run_command("train", f"hydra.run.dir={run}", "logger=none", *lr, *BRIEF)
    saved = run / "diverged_rank0.ckpt"
    assert result.status == 1
    assert "epoch 0, step 1, batch 1" in result.message
    assert result.message.endswith(f"; {saved} holds the batch")
    content = torch.load(saved, weights_only=True)
    assert (content["epoch"], content["global_step"]) == (0, 1)
    _, data, module = load_checkpoint(str(make_checkpoint(tmp_path)), None)
    second = list(data.train_dataloader())[1]
    assert content["unknown"] is second.unknown is None
    for name in ("images", "labels", "indices"):
        assert torch.equal(content[name], getattr(second, name)), name
    module.load_state_dict(content["state_dict"])
    assert not torch.isfinite(module(content["images"])).all()


def make_checkpoint(tmp_path: Path) -> Path:
    untrained = [PAPER, "trainer.max_epochs=0", "test=false", "logger=none", UNDRAWN]
    return train(tmp_path / "good", *untrained).checkpoint


@pytest.mark.parametrize("step", [4, -1])
def test_all_processes_end_when_one_diverges(step: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    plain = ["logger=none", "module.max_query_depth=1", UNDRAWN]
    process = start(run, *plain, *TWO_PROCESSES, *spoil(1, step), *BRIEF)
    _, said = process.communicate(timeout=120)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert process.returncode == 1
    assert len(errors) == 2
    assert all("NaN or infinite" in error for error in errors)
    assert "Traceback" not in said
    assert len(list(run.glob("diverged_rank*.ckpt"))) == (2 if step >= 0 else 0)


# A lost process


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_losing_a_process_ends_the_others(lost: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    plain = ["logger=none", "module.max_query_depth=1", UNDRAWN]
    process = start(run, *plain, "trainer.max_epochs=100", *TWO_PROCESSES)
    wait_for(last.exists, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (other,) = [int(child) for child in children if b"src.train" in arguments_of(child)]
    os.kill((process.pid, other)[lost], signal.SIGKILL)
    _, said = process.communicate(timeout=60)  # ends when both have closed their standard error
    assert process.returncode == (1 if lost else -signal.SIGKILL)
    assert "error: another process of this run was lost: go on with python -m src.train" in said
    assert f"ckpt_path={last} " in said
    assert "Traceback" not in said
    torch.load(last, weights_only=True)


def arguments_of(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
