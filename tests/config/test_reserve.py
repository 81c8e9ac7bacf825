"""Folders that are named by a time belong to one command."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import UNDRAWN, Run, run_command
from omegaconf import OmegaConf

from src.config.groups import CONF_DIR
from src.config.reserve import reserve

ROOTS = sorted(CONF_DIR.glob("*.yaml"))
THIS_YEAR = "place=(a b)/${now:%Y}"  # two commands of a test never miss it
SHORT_RUN = ["debug=fast", "logger=none", UNDRAWN]
COMMANDS = {
    "train": SHORT_RUN,
    "prepare": ["dataset=digits"],
    "retrieve": ["ckpt_path={ckpt}", "query=even"],
    "evaluate": ["ckpt_path={ckpt}"],
}


def test_reserved_folders_are_new_and_no_two_are_the_same(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "today"
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: reserve(wanted), range(40)))
    assert len(set(found)) == 40
    assert {path.name for path in found} == {"today", *(f"today_{n}" for n in range(2, 41))}
    assert all(path.is_dir() for path in found)


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.stem)
def test_every_command_that_names_folders_by_a_time_reserves_them(root: Path) -> None:
    config = OmegaConf.load(root)
    if "${now:" in root.read_text():
        assert "new_folder" in config.hydra.callbacks


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_at_the_same_time_have_a_folder_each(command: str, trained_run: Run) -> None:
    arguments = [argument.format(ckpt=trained_run.checkpoint) for argument in COMMANDS[command]]
    for _ in range(2):
        assert run_command(command, *arguments, f"hydra.run.dir={THIS_YEAR}") == (0, "")
    first, second = sorted(Path("place=(a b)").iterdir())
    assert second.name == f"{first.name}_2"
    left = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (first, second)]
    assert left[0] == left[1]


def test_sweeps_at_the_same_time_have_a_folder_each_for_all_their_jobs() -> None:
    for seeds in ("1,2", "3"):
        sweep = ["-m", f"seed={seeds}", f"hydra.sweep.dir={THIS_YEAR}", *SHORT_RUN]
        assert run_command("train", *sweep) == (0, "")
    first, second = sorted(Path("place=(a b)").iterdir())
    found = [
        {path.parent.name for path in folder.glob("*/metrics.json")} for folder in (first, second)
    ]
    assert found == [{"0", "1"}, {"0"}]
    assert (first / "sweep.md").exists()
    assert (second / "sweep.md").exists()


def test_folder_that_was_given_is_taken_as_it_is() -> None:
    for _ in range(2):
        assert run_command("prepare", "dataset=digits", "hydra.run.dir=here") == (0, "")
    assert [path.name for path in Path().iterdir()] == ["here"]


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_processes_that_must_agree_are_asked_for_a_folder(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "2")
    result = run_command("prepare", "dataset=digits")
    assert result.status == 1
    assert "give them one with hydra.run.dir=FOLDER" in result.message
    assert run_command("prepare", "dataset=digits", "hydra.run.dir=here") == (0, "")
