"""Where a run goes on from, and whether there is anything left to do."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SHORT, UNDRAWN, Run, run_command, train
from omegaconf import OmegaConf
from test_interruptions import SLURM

from src.reports.results import METRICS
from src.runs.checkpoints import CheckpointError, read_checkpoint
from src.runs.resume import check_resumable, find_finished, find_newest, find_resumed

ESCAPE = "\x1b]0;owned\x07"


def save(path: Path, step: Any, minutes_ago: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"global_step": step}, path)
    moment = path.stat().st_mtime - 60 * minutes_ago
    os.utime(path, (moment, moment))
    return path


# From where


@pytest.mark.parametrize(
    ("last", "interrupted", "found"),
    [
        ((36, 5), (12, 0), "last"),  # an older one that was touched, or copied
        ((36, 0), (12, 5), "last"),
        ((18, 5), (25, 0), "interrupted"),
        ((18, 0), (25, 5), "interrupted"),
        ((18, 0), (18, 5), "interrupted"),
        ((18, 0), None, "last"),
        (None, (12, 0), "interrupted"),
    ],
)
def test_the_highest_step_is_gone_on_from_whatever_the_clock_says(
    last: tuple[int, int] | None, interrupted: tuple[int, int] | None, found: str, tmp_path: Path
) -> None:
    for name, saved in (("last", last), ("interrupted", interrupted)):
        if saved is not None:
            save(tmp_path / "checkpoints" / f"{name}.ckpt", *saved)
    assert find_newest(tmp_path) == tmp_path / "checkpoints" / f"{found}.ckpt"
    assert find_newest(tmp_path / "elsewhere") is None


def test_requeued_jobs_go_on_from_the_highest_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = str(save(tmp_path / "checkpoints" / "last.ckpt", 18, 0))
    save(tmp_path / "hpc_ckpt_1.ckpt", 12, 0)
    second = str(save(tmp_path / "hpc_ckpt_2.ckpt", 25, 9))
    assert find_resumed(given, tmp_path) == given
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert find_resumed(given, tmp_path) == second
    assert find_resumed(None, tmp_path) == second
    save(Path(given), 27, 9)
    assert find_resumed(given, tmp_path) == given


@pytest.mark.parametrize("step", [None, "36", 36.0])
def test_a_checkpoint_without_its_step_is_named(step: Any, tmp_path: Path) -> None:
    save(tmp_path / "checkpoints" / "interrupted.ckpt", 12, 0)
    last = save(tmp_path / "checkpoints" / "last.ckpt", step, 0)
    with pytest.raises(CheckpointError, match="which step") as refusal:
        find_newest(tmp_path)
    assert str(last) in str(refusal.value)
    last.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="it is damaged or no checkpoint: move it away"):
        find_newest(tmp_path)


@pytest.mark.parametrize(
    "loops", [None, [], "x", {}, {"fit_loop": {}}, {"fit_loop": {"epoch_loop.batch_progress": {}}}]
)
def test_checkpoints_that_do_not_say_how_far_training_was_are_refused(
    loops: Any, trained_run: Run
) -> None:
    now: Any = OmegaConf.to_container(trained_run.config)
    checkpoint = read_checkpoint(str(trained_run.checkpoint))
    with pytest.raises(CheckpointError, match="does not say how far training was"):
        check_resumable("some.ckpt", checkpoint | {"loops": loops}, now)


# Whether


@pytest.fixture
def folder(trained_run: Run, tmp_path: Path) -> Path:
    """What tells whether a run is finished."""
    (tmp_path / "run").mkdir()
    for name in (METRICS, "config.yaml"):
        shutil.copy(trained_run.folder / name, tmp_path / "run")
    return tmp_path / "run"


def only_validated(run: Path) -> None:
    metrics = json.loads((run / METRICS).read_text())
    kept = {name: value for name, value in metrics.items() if not name.startswith("test/")}
    (run / METRICS).write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("disturb", "finished"),
    [
        (lambda run: None, True),
        (lambda run: (run / METRICS).unlink(), False),
        (lambda run: (run / METRICS).write_text((run / METRICS).read_text()[:-9]), False),
        (lambda run: (run / METRICS).write_text(""), False),
        (lambda run: (run / "config.yaml").unlink(), False),
        (only_validated, False),
    ],
    ids=["whole", "no metrics", "cut off", "empty", "no config", "no test"],
)
def test_runs_are_finished_whose_results_are_whole(
    disturb: Callable[[Path], Any], finished: bool, trained_run: Run, folder: Path
) -> None:
    disturb(folder)
    config: Any = OmegaConf.to_container(trained_run.config)
    assert find_finished(folder, config) == finished


def test_validation_alone_finishes_a_run_that_asks_for_no_test(
    trained_run: Run, folder: Path
) -> None:
    config: Any = OmegaConf.to_container(trained_run.config)
    only_validated(folder)
    assert find_finished(folder, config | {"test": False})


FOREIGN = {
    "own function": ("dataset._target_", "os.mkdir"),
    "terminal's title in a value": ("loss.alpha", ESCAPE),
    "terminal's title in a key": (f"loss.{ESCAPE}", 1),
    "nested": ("loss.alpha", {"_target_": "os.mkdir", "path": "executed"}),
    "interpolation": ("loss.alpha", "${oc.env:HOME}"),
    "no part": ("readout", None),
}


@pytest.mark.parametrize(("key", "value"), FOREIGN.values(), ids=FOREIGN)
def test_what_a_foreign_folder_says_is_no_advice(
    key: str, value: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    *parents, name = key.split(".", 1)
    section = config[parents[0]] if parents else config
    section[name] = value
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    before = {path: path.read_bytes() for path in (folder / METRICS, folder / "config.yaml")}
    arguments = ["ckpt_path=auto", f"hydra.run.dir={folder}", "logger=none", SHORT[0]]
    result = run_command("train", *arguments)
    assert result.status == 1
    assert result.message.startswith(f"error: {folder}/config.yaml is no config of a run: ")
    assert result.message.isprintable()
    assert "resume" not in result.message
    assert "with loss" not in result.message
    assert {path: path.read_bytes() for path in before} == before
    assert not Path("executed").exists()
    assert "owned" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("content", ["[1, 2]", "3", "a: [", "\x00", "", "a: " + "[" * 5000])
def test_a_folder_whose_config_is_none_is_left_alone(content: str, folder: Path) -> None:
    (folder / "config.yaml").write_text(content)
    result = run_command("train", "ckpt_path=auto", f"hydra.run.dir={folder}", "logger=none")
    assert result.status == 1
    assert "config.yaml is no config of a run" in result.message
    assert result.message.isprintable()
    assert (folder / "config.yaml").read_text() == content


# From start to end


def test_a_model_in_a_folder_here_is_the_same_model_when_a_run_goes_on(
    clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("clip").symlink_to(clip_folder)
    encoder = ["encoder=clip", "encoder.model=clip", "trainer.max_epochs=0", "test=false"]
    arguments = ["hydra.run.dir=run", *encoder, "logger=none", UNDRAWN, "ckpt_path=auto"]
    for _ in range(2):
        assert run_command("train", *arguments, "module.max_query_depth=1") == (0, "")
    assert "finished already: " in capsys.readouterr().out


def test_a_test_that_was_left_out_is_made_up_for(tmp_path: Path) -> None:
    quick = ["trainer.max_epochs=0", "logger=none", UNDRAWN, "ckpt_path=auto"]
    untested = train(tmp_path / "run", *quick, "test=false")
    assert not any(name.startswith("test/") for name in untested.metrics)
    tested = train(tmp_path / "run", *quick)
    assert tested.metrics["test/minterm_accuracy"] > 0.4


def test_a_run_that_does_not_end_leaves_no_results_of_the_one_before(tmp_path: Path) -> None:
    run, other = tmp_path / "run", ["debug=fast", "logger=none", UNDRAWN]
    train(run, *other)
    shutil.rmtree(run / "report")
    (run / "report").write_text("in the way of the page")
    ended = run_command("train", f"hydra.run.dir={run}", *other, "seed=1")
    assert ended.status == 1
    assert not (run / METRICS).exists()
