"""What W&B has of a run, read back from the run that it left offline."""

from base64 import b64decode
from hashlib import md5
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import wandb
from conftest import (
    UNDRAWN,
    Run,
    run_command,
    wandb_folder,
    wandb_history,
    wandb_records,
    wandb_summary,
)
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from src.callbacks.wandb_steps import ContinueWandbSteps
from src.config.groups import CONF_DIR
from src.modules.subspace import Readout
from src.runs.load import load_checkpoint
from src.runs.loggers import BEST
from src.runs.naming import name_run

RISING = (
    *("minterm_accuracy", "literal_auprc", "retrieval/map_negated", "retrieval/precision_at_10"),
    *("retrieval_projector/map_positive", "discriminant/map_negated"),
    *("discriminant/minterm_accuracy", "discriminant/literal_auprc"),
)
FALLING = (
    *("train/loss", "train/spectral/loss", "train/spectral/optimality_gap"),
    *("train/batch/optimality_gap", "val/spectral/relative_gap"),
    "val/calibration/calibrated_of_propositions",
)
TWO_STEPS = ("debug=fast", UNDRAWN, "test=false", "hydra.run.dir=run")
# A variable, what it is set to here, and where W&B's record of a run has it
NAMED = {
    "WANDB_PROJECT": ("a project", "project"),
    "WANDB_ENTITY": ("somebody", "entity"),
    "WANDB_NAME": ("a=[b]", "display_name"),
    "WANDB_RUN_GROUP": ("table_1", "run_group"),
    "WANDB_JOB_TYPE": ("ablation", "job_type"),
    "WANDB_TAGS": ("one,another", "tags"),
    "WANDB_NOTES": ("for later", "notes"),
    "WANDB_RUN_ID": ("abc123", "run_id"),
}
OVERRIDES = {
    "WANDB_PROJECT": "logger.project=mine",
    "WANDB_ENTITY": "logger.entity=mine",
    "WANDB_NAME": "logger.name=mine",
    "WANDB_RUN_GROUP": "group=mine",
    "WANDB_JOB_TYPE": "logger.job_type=mine",
    "WANDB_TAGS": "logger.tags=[mine]",
    "WANDB_NOTES": "logger.notes=mine",
    "WANDB_RUN_ID": "logger.id=mine",
}


def run_record(folder: Path) -> dict[str, Any]:
    (run,) = (record["run"] for record in wandb_records(wandb_folder(folder)) if "run" in record)
    return run


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes that runs are begun in from here on; none is sent anywhere."""
    found: list[str] = []
    begin = wandb.init

    def init(mode: str, **arguments: Any) -> Any:
        found.append(mode)
        return begin(mode="disabled", **arguments)

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    return found


def test_wandb_knows_runs_by_group_tags_and_name(trained_run: Run) -> None:
    run = run_record(trained_run.folder)
    assert run["run_group"] == "digits_nuclear"
    assert run["job_type"] == "train"
    assert run["tags"] == ["digits", "nuclear", "convnet", "clean", "subspaces"]
    assert run["display_name"] == "digits_nuclear trainer.max_epochs=12 seed=13"


def test_a_tag_says_one_thing() -> None:
    groups = [
        {path.stem for path in (CONF_DIR / name).glob("*.yaml")}
        for name in ("dataset", "loss", "encoder", "protocol")
    ]
    for first, second in combinations([*groups, set(get_args(Readout))], 2):
        assert not first & second


def test_metrics_are_drawn_over_epochs_or_steps(trained_run: Run) -> None:
    axes = {
        record["metric"]["name"]: record["metric"].get("step_metric")
        for record in wandb_records(wandb_folder(trained_run.folder))
        if "name" in record.get("metric", {})
    }
    history = wandb_history(trained_run.folder)
    for key in {key.partition(".")[0] for row in history for key in row if "/" in key}:
        if key == "trainer/global_step":
            continue
        rows = sum(key in row for row in history)
        if key.startswith("val/"):
            assert rows == 12
        if rows == 12:
            assert axes[key] == "epoch", key
            assert [row["epoch"] for row in history if key in row] == list(range(12))
        elif not key.startswith("train/spectral/"):
            assert axes[key] == "trainer/global_step", key
    assert axes["train/spectral/singular_values"] == "epoch"


def test_what_to_look_at_first_is_the_first_section(trained_run: Run) -> None:
    history, shown = wandb_history(trained_run.folder), wandb_summary(trained_run.folder)
    first = {key for row in history for key in row if key.startswith("main/")}
    assert len(first) == 12
    others = {key.partition("/")[0] for row in history for key in row if "/" in key} - {"main"}
    assert min(others) > "main"  # as W&B and `wandb leet` sort them
    for name in ("train/loss", "val/minterm_accuracy", "test/retrieval/map_negated"):
        again = f"main/{name.replace('/', '_')}"
        values = [row[name] for row in history if name in row]
        assert [row[again] for row in history if again in row] == values
        assert shown[again] == shown[name]
    hidden = [
        record["metric"]["name"]
        for record in wandb_records(wandb_folder(trained_run.folder))
        if record.get("metric", {}).get("options", {}).get("hidden")
    ]
    assert hidden == ["epoch"]  # it would be a section before the first


def test_summaries_are_the_best_and_the_last_value(trained_run: Run) -> None:
    history, shown = wandb_history(trained_run.folder), wandb_summary(trained_run.folder)
    rising = [f"val/{name}" for name in RISING]
    for names, kind, best in ((rising, "max", max), (FALLING, "min", min)):
        for name in names:
            values = [row[name] for row in history if name in row]
            assert shown[name] == {kind: best(values), "last": values[-1]}, name
    for name, value in trained_run.metrics.items():
        if name.startswith("test/"):
            assert shown[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize(
    "name",
    [
        "val/retrieval/queries",
        "val/discriminant/queries",
        "val/spectral/minterms",
        "train/lr",
        "train/spectral/optimum",
    ],
)
def test_metrics_without_a_best_value_have_a_plain_summary(name: str, trained_run: Run) -> None:
    assert isinstance(wandb_summary(trained_run.folder)[name], float | int)
    assert not any(pattern.match(name) for pattern in BEST.values())


def test_lines_of_the_spectrum_are_the_largest_singular_values(trained_run: Run) -> None:
    _, data, module = load_checkpoint(str(trained_run.checkpoint), None)
    images = data.image_set.splits["train"]
    with torch.no_grad():
        embeddings = module(images.images).double().numpy()
    share = 128 / len(embeddings)
    expected = np.linalg.svd(embeddings * share**0.5, compute_uv=False)[:10]
    rows = [row for row in wandb_history(trained_run.folder) if "train/spectral/s_01" in row]
    assert len(rows) == 12
    lines = [rows[-1][f"train/spectral/s_{index:02d}"] for index in range(1, 11)]
    assert lines == pytest.approx(expected, rel=1e-5)
    assert "train/spectral/s_11" not in rows[-1]

    optimal = np.array(
        [rows[-1][f"train/spectral/optimal_s_{index:02d}"] for index in (*range(1, 11),)]
    )
    assert (optimal[8:] == 0).all()  # eight minterms
    _, counts = np.unique(images.labels.numpy(), axis=0, return_counts=True)
    labels = np.sqrt(np.sort(counts)[::-1] * share)
    optimum = np.hypot(labels, optimal[:8]).sum() - 0.99 * optimal.sum() + 0.05 * optimal[0] ** 2
    assert optimum == pytest.approx(trained_run.metrics["train/spectral/optimum"], rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "digits_subspace seed=13"),
        (("logger.offline=false", "data_dir=/x", "~callbacks.report"), "digits_subspace seed=13"),
        (("method=harmonic", "seed=2"), "digits_harmonic seed=2"),
        (("dataset=faces", "dataset.number=9"), "faces_subspace dataset.number=9 seed=13"),
        (("+experiment=mnist_subspace", "group=a"), "mnist_subspace seed=13"),
        (("+experiment=authors", "dataset=cifar10"), "cifar10_authors seed=13"),
    ],
)
def test_names_say_what_was_set(overrides: tuple[str, ...], expected: str) -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["++output_dir=out", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    assert config.logger.name == expected


def test_long_names_are_cut_to_what_wandb_takes() -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        overrides = [f"encoder.embedding_dim={'1' * 90}", f"loader.batch_size={'2' * 90}"]
        config = compose("train", overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    name = name_run("digits", 5)
    assert len(name) == 128
    assert name.startswith("digits encoder.embedding_dim=111")
    assert name.endswith("… seed=5")


def test_variables_of_wandb_name_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, (value, _) in NAMED.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("WANDB_DIR", "kept")
    assert run_command("train", *TWO_STEPS) == (0, "")
    run = run_record(tmp_path / "kept")
    for variable, (value, field) in NAMED.items():
        assert run[field] == (value.split(",") if field == "tags" else value), variable
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("W&B"))
    assert "gives way" not in said
    assert all(variable in said for variable in {*OVERRIDES, "WANDB_DIR"})


def test_command_line_comes_before_variables_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in OVERRIDES:
        monkeypatch.setenv(variable, NAMED[variable][0])
    monkeypatch.setenv("WANDB_DIR", "kept")
    overrides = [*OVERRIDES.values(), "logger.save_dir=run"]
    assert run_command("train", *TWO_STEPS, *overrides) == (0, "")
    run = run_record(tmp_path / "run")
    for variable in OVERRIDES:
        field = NAMED[variable][1]
        assert run[field] == (["mine"] if field == "tags" else "mine"), variable
    assert not Path("kept").exists()
    said = capsys.readouterr().out
    assert "W&B: WANDB_PROJECT=a project gives way to logger.project=mine; " in said
    assert all(f"{variable}=" in said for variable in {*OVERRIDES, "WANDB_DIR"})


@pytest.mark.parametrize(
    ("variables", "overrides", "mode", "said"),
    [
        ({}, [], "offline", ""),
        ({"WANDB_MODE": "online"}, [], "online", "uses WANDB_MODE"),
        ({"WANDB_MODE": "offline"}, [], "offline", "uses WANDB_MODE"),
        ({"WANDB_MODE": "dryrun"}, [], "offline", "uses WANDB_MODE"),
        ({"WANDB_MODE": "disabled"}, [], "disabled", "uses WANDB_MODE"),
        ({"WANDB_DISABLED": "true"}, [], "disabled", "uses WANDB_DISABLED"),
        ({"WANDB_DISABLED": "0", "WANDB_MODE": "online"}, [], "online", "uses WANDB_MODE"),
        ({}, ["logger.offline=false"], "online", ""),
        (
            {"WANDB_MODE": "online"},
            ["logger.offline=true"],
            "offline",
            "WANDB_MODE gives way to logger.offline=true",
        ),
        (
            {"WANDB_DISABLED": "true"},
            ["logger.offline=false"],
            "online",
            "WANDB_DISABLED gives way to logger.offline=false",
        ),
    ],
)
def test_mode_is_that_of_the_command_line_or_the_environment(
    variables: dict[str, str],
    overrides: list[str],
    mode: str,
    said: str,
    modes: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert run_command("train", *TWO_STEPS, *overrides) == (0, "")
    assert modes == [mode]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("W&B: ")]
    assert lines == ([f"W&B: {said}"] if said else [])


@pytest.mark.parametrize("asked", [(), ("logger.log_model=best",)])
def test_best_checkpoint_is_an_artifact_where_it_is_asked_for(
    asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    assert run_command("train", *TWO_STEPS, *asked) == (0, "")
    records = wandb_records(wandb_folder(tmp_path / "run"))
    artifacts = [record["artifact"] for record in records if "artifact" in record]
    assert len(artifacts) == len(asked)  # and none of the last one
    for artifact in artifacts:
        assert artifact["type"] == "model"
        assert "best" in artifact["aliases"]
        best = (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes()
        (content,) = artifact["manifest"]["contents"]
        assert b64decode(content["digest"]) == md5(best).digest()


def test_resumed_run_knows_the_best_checkpoint_of_before() -> None:
    class Noting(WandbLogger):
        """Keeps the callbacks that it is told of."""

        experiment = SimpleNamespace(step=0)

        def __init__(self) -> None:
            self.noted: list[ModelCheckpoint] = []

        def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
            self.noted.append(checkpoint_callback)

    logger, best = Noting(), ModelCheckpoint(monitor="val/loss")
    trainer: Any = SimpleNamespace(loggers=[logger], checkpoint_callbacks=[best])
    ContinueWandbSteps().setup(trainer, LightningModule(), "fit")
    assert logger.noted == [best]


def test_disabled_run_leaves_nothing_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert run_command("train", "debug=fast", "hydra.run.dir=run") == (0, "")
    assert Path("run", "metrics.json").exists()
    assert not Path("run", "wandb").exists()


@pytest.mark.parametrize(
    ("variables", "overrides", "expected"),
    [
        ({"WANDB_MODE": "sometimes"}, [], "WANDB_MODE must be one of online, offline,"),
        ({"WANDB_DISABLED": "perhaps"}, [], "WANDB_DISABLED must be true or false"),
        ({"WANDB_MODE": "online"}, [], "there is no W&B key: run `wandb login`"),
        ({}, ["logger.offline=false"], "logger.offline=true keeps the run here"),
        ({}, ["logger.id='a/b'"], "'a/b' as logger.id, which is refused"),
        ({}, ["logger.tags=mine"], "logger.tags must be a list"),
        ({}, ["logger.log_model=all"], "logger.log_model must be one of best or null"),
    ],
)
def test_what_wandb_cannot_do_is_the_users_error(
    variables: dict[str, str],
    overrides: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    result = run_command("train", *TWO_STEPS, *overrides)
    assert result.status == 1
    assert expected in result.message
    assert len(result.message.splitlines()) == 1
