"""A command that is refused leaves no folder."""

from pathlib import Path

import pytest
from conftest import UNDRAWN, run_command

REFUSED = ["loss.alpha=2", "logger=none"]
SHORT_RUN = ["debug=fast", "logger=none", UNDRAWN, "test=false"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", REFUSED),
        ("train", [*REFUSED, "debug=fast"]),
        ("train", [*REFUSED, "hydra.run.dir=runs/one"]),
        ("train", [*REFUSED, "output_dir=results/one"]),
        ("train", ["-m", *REFUSED, "seed=1,2"]),
        ("train", ["-m", "loss.alhpa=0.5,0.9", "hydra.sweep.dir=sweeps/one"]),
        ("train", ["loss.alhpa=0.5"]),
        ("evaluate", ["ckpt_path=nowhere.ckpt"]),
        ("retrieve", ["ckpt_path=nowhere.ckpt", "query=a"]),
        ("export", ["ckpt_path=nowhere.ckpt", "output_dir=model"]),
        ("prepare", []),
        ("reproduce", ["table=nothing"]),
    ],
    ids=str,
)
def test_refused_command_leaves_nothing(command: str, arguments: list[str]) -> None:
    assert run_command(command, *arguments).status == 1
    assert not list(Path().iterdir())


def test_refused_command_leaves_what_was_there() -> None:
    for folder in ("here", "outputs/digits_subspace"):
        Path(folder).mkdir(parents=True)
    assert run_command("train", *REFUSED, "hydra.run.dir=here").status == 1
    assert run_command("train", *REFUSED).status == 1
    assert {str(path) for path in Path().rglob("*") if path.is_dir()} == {
        *("here", "here/.hydra", "outputs", "outputs/digits_subspace"),
    }


def test_command_that_fails_later_leaves_what_it_has_written() -> None:
    failing = ["optimized_metric=val/nothing", "hydra.run.dir=run"]
    assert run_command("train", *SHORT_RUN, *failing).status == 1
    assert Path("run", "metrics.json").exists()
    assert run_command("train", "-m", *SHORT_RUN, "loss.alpha=2,0.5", "hydra.sweep.dir=s").status
    assert {path.name for path in Path("s").iterdir() if path.is_dir()} == {"0", "1"}


def test_debug_runs_go_to_a_folder_of_their_own() -> None:
    assert run_command("train", *SHORT_RUN) == (0, "")
    assert [path.parts[:3] for path in Path().rglob("metrics.json")] == [
        ("outputs", "debug", "digits_subspace")
    ]
