"""Two commands that would write into one folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BRIEF, UNDRAWN, Run, read_run, run_command
from filelock import FileLock

from src.config import occupied as module
from src.config.occupied import FolderInUseError, occupied
from src.config.refused import LOCK, RANKS, missing, removing_if_refused

ROOT = Path(__file__).parents[2]
IN_USE = "is in use by another command: wait for its end, or name another folder"
# Hold a folder; each child, as those that load images, lives on for a second.
HOLD = """
import os, sys, time
from pathlib import Path
from src.config.occupied import occupied
with occupied(Path(sys.argv[1])):
    for _ in range(int(sys.argv[2])):
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_folder_is_had_by_one_and_given_back() -> None:
    folder = Path("a/b")
    with (
        occupied(folder),
        occupied(Path("a")),
        occupied(Path("other")),
        pytest.raises(FolderInUseError, match=f"^a/b {IN_USE}$"),
        occupied(folder),
    ):
        pass
    with pytest.raises(ZeroDivisionError), occupied(folder):
        raise ZeroDivisionError
    with occupied(folder):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_another_made_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("meanwhile")
    first = FileLock(folder / LOCK)

    def late(path: Path) -> list[Path]:
        found = missing(path)
        path.mkdir()
        first.acquire()
        return found

    monkeypatch.setattr(module, "missing", late)
    with pytest.raises(FolderInUseError), removing_if_refused(), occupied(folder):
        pass
    assert (folder / LOCK).exists()
    first.release()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("variable", RANKS)
def test_processes_of_a_command_share_its_folder(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with occupied(Path("run")):
        monkeypatch.setenv(variable, "1")
        with occupied(Path("run")):
            pass
        monkeypatch.setenv(variable, "0")
        with pytest.raises(FolderInUseError), occupied(Path("run")):
            pass


@pytest.mark.parametrize("children", [0, 1])
def test_a_killed_process_gives_its_folder_back(
    children: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(children)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        monkeypatch.setattr(module, "GRACE", 0.1)
        with pytest.raises(FolderInUseError), occupied(tmp_path):
            pass
        process.kill()
    monkeypatch.undo()
    with occupied(tmp_path):
        pass


COMMANDS = {
    "train": ["logger=none"],
    "evaluate": ["ckpt_path={ckpt}"],
    "retrieve": ["ckpt_path={ckpt}", "query=even"],
    "benchmark": ["parts=[loss]"],
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("key", ["hydra.run.dir", "output_dir"])
def test_the_second_command_in_a_folder_is_refused(
    key: str, name: str, trained_run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = [argument.format(ckpt=trained_run.checkpoint) for argument in COMMANDS[name]]
    with occupied(folder):
        result = run_command(name, f"{key}={folder}", *arguments)
        assert result == (1, f"error: {folder} {IN_USE}")
        assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.usefixtures("impatient")
def test_the_second_sweep_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    with occupied(folder):
        result = run_command("train", "-m", f"hydra.sweep.dir={folder}", *BRIEF, "seed=1,2")
    assert result == (1, f"error: {folder} {IN_USE}")
    assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.usefixtures("impatient")
def test_the_second_command_for_a_table_is_refused(tmp_path: Path) -> None:
    arguments = ["table=synthetic", f"runs_dir={tmp_path}", f"results_dir={tmp_path / 'results'}"]
    with occupied(tmp_path / "synthetic" / "smoke"):
        result = run_command("reproduce", *arguments)
    assert result == (1, f"error: synthetic: {tmp_path}/synthetic/smoke {IN_USE}")
    assert not (tmp_path / "results").exists()


def test_of_two_runs_at_once_one_is_refused_and_one_ends_as_if_alone(
    brief_run: Run, tmp_path: Path
) -> None:
    run, end = tmp_path / "run", tmp_path / "end"
    wait = ["+callbacks.wait._target_=disturbances.WaitForFile", f"+callbacks.wait.path={end}"]
    arguments = [f"hydra.run.dir={run}", "logger=none", *BRIEF, UNDRAWN, *wait]
    processes = [start(*arguments) for _ in range(2)]
    while all(process.poll() is None for process in processes):
        time.sleep(0.1)
    first, second = sorted(processes, key=lambda process: process.poll() is None)
    assert first.communicate()[1] == f"error: {run} {IN_USE}\n"
    assert first.returncode == 1
    assert second.poll() is None
    end.touch()
    assert second.communicate()[1] == ""
    assert second.returncode == 0
    assert read_run(run).metrics == brief_run.metrics


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "src.train", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
