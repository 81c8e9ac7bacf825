import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import (
    BRIEF,
    PAPER,
    SHORT,
    UNDRAWN,
    Run,
    Shared,
    read_run,
    run_command,
    train,
    wandb_folder,
    wandb_history,
    wandb_records,
)
from omegaconf import OmegaConf
from torch import Tensor

from src.losses.nuclear import gram_matrix
from src.metrics.spectral import compare_spectrum
from src.reports.results import EXPLAINED
from src.runs.load import load_checkpoint

ROOT = Path(__file__).parent.parent

ROOT = Path(__file__).parent.parent
FAST = ("debug=fast", "logger=none", UNDRAWN)
# Those that learn from the labels of digits, without published weights.
METHODS = sorted(
    {path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")}
    - {"clip", "probe", "two_views"}
)

METRICS_PROMISED = [
    "test/minterm_accuracy",
    "test/literal_auprc",
    "test/retrieval/map_positive",
    "test/retrieval/map_negated",
    "test/retrieval/precision_at_10_positive",
    "test/retrieval/precision_at_10_negated",
    "test/retrieval/queries",
    "test/spectral/max_coherence",
    "test/spectral/optimality_gap",
]


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(scope="module")
def fast_run(shared: Shared) -> Run:
    """Two steps of the paper's form."""
    return shared.run("fast", *FAST, PAPER)


def test_run_leaves_config_checkpoints_metrics_and_report(trained_run: Run) -> None:
    for name in (
        "config.yaml",
        "metrics.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "report/spectrum.png",
        "report/coherence.png",
        "report/reliability.png",
        "report/retrieval.png",
        "report/retrieval.csv",
    ):
        assert (trained_run.folder / name).stat().st_size > 0, name
    assert "${" not in (trained_run.folder / "config.yaml").read_text()
    for key in METRICS_PROMISED:
        assert isinstance(trained_run.metrics[key], float), key
    for key in ("run/commit", "run/hardware", "run/version/torch"):
        assert trained_run.metrics[key], key
    assert trained_run.metrics["run/seed"] == 13


def test_first_run_says_little(tmp_path: Path) -> None:
    """In an environment that has never run, without a terminal."""
    command = [
        sys.executable,
        "-m",
        "src.train",
        "trainer.max_epochs=2",
        f"hydra.run.dir={tmp_path}",
    ]
    fresh = os.environ | {"MPLCONFIGDIR": str(tmp_path / "fonts")}
    result = subprocess.run(command, cwd=ROOT, env=fresh, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) <= 60
    said = re.compile("tip|font|tpu|litlogger|anonymous|restor|lightning|wandb|warning", re.I)
    assert not said.search(result.stdout.replace("Testing", ""))
    metrics = read_run(tmp_path).metrics
    numbers = [f"{metrics[f'test/{name}']:.4f}" for name in EXPLAINED]
    (table,) = (place for place, line in enumerate(lines) if line.startswith("results on the test"))
    shown = lines[table + 1 : table + 6]
    assert [re.findall(r"\d\.\d{4}(?=  )", line) for line in shown] == [[n] for n in numbers]
    assert [lines.count(line) for line in lines] == [1] * len(lines)
    assert f"page:        {tmp_path / 'report' / 'index.html'}" in lines
    commands = [shlex.split(line) for line in lines[lines.index("next:") + 1 :]]
    assert [command[:3] for command in commands] == [
        ["python", "-m", f"src.{name}"] for name in ("retrieve", "explore")
    ]
    assert run_command("retrieve", *commands[0][3:]) == (0, "")


def test_short_run_already_learns(trained_run: Run) -> None:
    assert trained_run.metrics["test/minterm_accuracy"] > 0.95
    assert trained_run.metrics["test/retrieval/map_positive"] > 0.97
    assert trained_run.metrics["test/retrieval/map_negated"] > 0.97
    assert trained_run.metrics["test/spectral/label_rank"] == 8
    assert trained_run.metrics["test/spectral/optimality_gap"] > 0


def test_batches_are_logged_as_they_are(tmp_path: Path) -> None:
    overrides = [*FAST, "module.label_coding=literals", "loader.batch_size=125"]
    random = train(tmp_path / "random", *overrides).metrics
    assert (random["train/batch/label_rank"], random["train/batch/minterms"]) == (5, 8)
    authors = train(tmp_path / "authors", "loader.minterms_per_batch=5", *overrides).metrics
    assert authors["train/batch/minterms"] == 5
    assert authors["train/batch/label_rank"] <= 5
    for metrics in (random, authors):
        assert metrics["train/batch/optimality_gap"] > 0
        assert 0 < metrics["train/loss"] < float("inf")


def test_queries_are_counted_whether_or_not_they_have_positives(trained_run: Run) -> None:
    metrics = trained_run.metrics
    assert metrics["test/retrieval/queries"] + metrics["test/retrieval/queries_skipped"] == 242
    with (trained_run.folder / "report" / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    harder = [row for row in rows if row["depth"] != "1"]
    rows = [row for row in rows if row["depth"] == "1"]
    assert len(rows) == 242
    for depth in ("2", "3", "4"):
        queries = [row for row in harder if row["depth"] == depth]
        asked = [row for row in queries if int(row["positives"]) >= 10]
        assert len(asked) == metrics[f"test/retrieval/queries_depth_{depth}"] > 0
        precisions = [float(row["average_precision"]) for row in asked]
        expected = metrics[f"test/retrieval/map_depth_{depth}"]
        assert sum(precisions) / len(asked) == pytest.approx(expected, abs=1e-12)
    answered = [row for row in rows if int(row["positives"]) >= 10]
    assert len(answered) == metrics["test/retrieval/queries"]
    negated = [float(row["average_precision"]) for row in answered if "~" in row["query"]]
    mean = sum(negated) / len(negated)
    assert mean == pytest.approx(metrics["test/retrieval/map_negated"], abs=1e-12)


def test_wandb_received_scalars_spectra_pictures_and_table(trained_run: Run) -> None:
    history = wandb_history(trained_run.folder)
    logged = {key: row for row in history for key in row}
    for key in METRICS_PROMISED:
        assert logged[key][key] == pytest.approx(trained_run.metrics[key], rel=1e-6), key
    assert len([row for row in history if "val/minterm_accuracy" in row]) == 12
    assert len([row for row in history if "train/loss" in row]) == 12 * 9

    assert logged["train/spectral/singular_values._type"][
        "train/spectral/singular_values._type"
    ] == ("histogram")
    counts = logged["train/spectral/singular_values.values"]
    assert sum(counts["train/spectral/singular_values.values"]) == 32
    steps = {row["trainer/global_step"] for row in history if "val/minterm_accuracy" in row}
    assert steps == {
        row["trainer/global_step"]
        for row in history
        if "train/spectral/optimal_values.values" in row
    }

    media = trained_run.folder / "wandb" / "latest-run" / "files"
    for name in ("spectrum", "coherence", "reliability", "retrieval"):
        row = logged[f"report/{name}.path"]
        picture = media / row[f"report/{name}.path"]
        assert picture.read_bytes() == (trained_run.folder / "report" / f"{name}.png").read_bytes()
    row = logged["test/retrieval_table.path"]
    table = json.loads((media / row["test/retrieval_table.path"]).read_text())
    assert table["columns"][:3] == ["query", "depth", "negated"]
    assert len(table["data"]) >= 242


def test_wandb_received_the_config(trained_run: Run) -> None:
    records = json.dumps(wandb_records(wandb_folder(trained_run.folder)))
    assert "src.losses.nuclear.NuclearNormLoss" in records


def test_same_seed_gives_the_same_run_and_another_seed_does_not(
    brief_run: Run, fast_run: Run, tmp_path: Path
) -> None:
    again = train(tmp_path / "again", "logger=none", UNDRAWN, *BRIEF)
    other = train(tmp_path / "other", *FAST, PAPER, "seed=14")
    assert_same_weights(brief_run.checkpoint, again.checkpoint)
    assert again.metrics["test/retrieval/map"] == brief_run.metrics["test/retrieval/map"]
    name = "encoder.layers.0.weight"
    assert not torch.equal(weights(other.checkpoint)[name], weights(fast_run.checkpoint)[name])


@pytest.mark.parametrize(
    ("logger", "pattern"),
    [("csv", "csv/version_0/metrics.csv"), ("tensorboard", "tensorboard/version_0/events.*")],
)
def test_other_loggers_write_their_files(logger: str, pattern: str, tmp_path: Path) -> None:
    run = train(tmp_path / "run", f"logger={logger}", "debug=fast")
    files = list(run.folder.glob(pattern))
    assert files
    assert all(file.stat().st_size > 0 for file in files)


def test_neither_workers_nor_the_place_of_images_change_the_weights(
    brief_run: Run, tmp_path: Path
) -> None:
    plain = ["logger=none", UNDRAWN, "test=false", *BRIEF]
    for number, override in enumerate(("loader.on_device=true", "loader.workers=2")):
        again = train(tmp_path / str(number), *plain, override)
        assert_same_weights(brief_run.checkpoint, again.checkpoint)


def test_debug_fast_takes_two_steps(fast_run: Run) -> None:
    assert torch.load(fast_run.checkpoint, weights_only=True)["global_step"] == 2


def test_no_test_on_request(tmp_path: Path) -> None:
    run = train(tmp_path / "run", *FAST, "test=false")
    assert not [key for key in run.metrics if key.startswith("test/")]
    assert "val/minterm_accuracy" in run.metrics


def test_chosen_score_finds_what_it_finds_beside_another(fast_run: Run, tmp_path: Path) -> None:
    run = train(tmp_path / "run", *FAST, PAPER, "module.score=projector")
    assert (fast_run.metrics["run/score"], run.metrics["run/score"]) == ("sum", "projector")
    assert_same_weights(fast_run.checkpoint, run.checkpoint)
    for name in ("map_positive", "map_negated", "precision_at_10", "map_depth_3"):
        found = fast_run.metrics[f"test/retrieval/{name}"]
        assert found == run.metrics[f"test/retrieval_sum/{name}"]
        found = fast_run.metrics[f"test/retrieval_projector/{name}"]
        assert found == run.metrics[f"test/retrieval/{name}"]


def test_optimizer_of_the_authors_takes_its_own_steps(fast_run: Run, tmp_path: Path) -> None:
    run = train(tmp_path / "run", *FAST, PAPER, "optimizer=sgd_step")
    saved = torch.load(run.checkpoint, weights_only=True)
    ((group,),) = (state["param_groups"] for state in saved["optimizer_states"])
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-4, 0.98, 0)
    (schedule,) = saved["lr_schedulers"]
    assert (schedule["step_size"], schedule["gamma"]) == (100, 0.5)
    assert run.metrics["train/loss"] != fast_run.metrics["train/loss"]
    assert 0 < run.metrics["train/loss"] < float("inf")


def test_mixed_precision_is_for_training_alone(tmp_path: Path) -> None:
    run = train(tmp_path / "run", *FAST, PAPER, "trainer.precision=bf16-mixed")
    assert 0 < run.metrics["train/loss"] < float("inf")
    _, data, module = load_checkpoint(str(run.checkpoint), None)
    images = data.image_set.splits["test"]
    with torch.no_grad():
        embeddings = module(images.images)
    correct = (module.readout.predict(embeddings) == images.labels).all(dim=1)
    assert run.metrics["test/minterm_accuracy"] == pytest.approx(float(correct.double().mean()))
    gram = gram_matrix(embeddings, module.encode_labels(images.labels)) * 128 / len(embeddings)
    spectrum = compare_spectrum(gram, len(gram) - embeddings.shape[1], 0.99, 0.05)
    assert run.metrics["test/spectral/loss"] == pytest.approx(spectrum.summary["loss"], rel=1e-6)


@pytest.mark.parametrize("name", ["trained_run", "cross_entropy_run", "bce_run"])
def test_baselines_answer_the_same_queries(name: str, request: pytest.FixtureRequest) -> None:
    metrics = request.getfixturevalue(name).metrics
    assert metrics["test/retrieval/queries"] == 150
    assert metrics["test/minterm_accuracy"] > 0.85
    assert metrics["test/retrieval/map_negated"] > 0.9
    assert ("test/spectral/optimality_gap" in metrics) == (name == "trained_run")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_is_asked_through_the_subspaces_too(
    method: str, tmp_path: Path
) -> None:
    run = train(
        tmp_path / "run",
        f"method={method}",
        "logger=none",
        "trainer.check_val_every_n_epoch=12",
        "module.max_query_depth=1",
        UNDRAWN,
    )
    assert run.metrics["test/minterm_accuracy"] > 0.8
    has_another_readout = run.config.readout._target_ != "src.readouts.subspaces.MintermSubspaces"
    assert ("test/subspaces/map_negated" in run.metrics) == has_another_readout
    if method in ("linear_cross_entropy", "opl", "grassmann"):
        assert run.metrics["test/subspaces/minterm_accuracy"] > 0.8


def test_text_baseline_tells_images_apart_and_misses_negation_in_prompts(tmp_path: Path) -> None:
    text = ["loss=contrastive", "readout=text", "module.label_coding=captions"]
    once = ["trainer.max_epochs=20", "trainer.check_val_every_n_epoch=20"]
    few = "module.queries_per_depth=5"  # long prompts take most of the time
    run = train(tmp_path / "run", "logger=none", UNDRAWN, few, *once, *text)
    assert run.metrics["run/score"] == "prompt"
    assert run.metrics["test/minterm_accuracy"] > 0.9
    by_minterms = run.metrics["test/retrieval_probability/map_negated"]
    assert by_minterms > 0.95
    for name in ("retrieval", "retrieval_prompt_without_negation"):
        assert run.metrics[f"test/{name}/map_negated"] < by_minterms - 0.2
    out = tmp_path / "out"
    assert run_command("evaluate", f"ckpt_path={run.checkpoint}", f"hydra.run.dir={out}") == (0, "")
    again = json.loads((out / "metrics.json").read_text())
    tested = [key for key in again if key.startswith("test/")]
    assert {key: again[key] for key in tested} == {key: run.metrics[key] for key in tested}


def test_faces_take_the_place_of_celeba_on_request(tmp_path: Path) -> None:
    run = train(
        tmp_path / "run",
        "experiment=celeba_subspace",
        "dataset=faces",
        "dataset.number=300",
        "loader.batch_size=16",
        f"data_dir={tmp_path}",
        "debug=fast",
        "logger=none",
    )
    assert run.config.name == "faces_subspace"
    assert (run.folder / "report" / "retrieval.png").exists()


@pytest.mark.slow
def test_a_worker_of_a_launcher_trains_one_run_after_the_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.train", "-m", "hydra/launcher=joblib", "seed=1,2"]
    command += ["hydra.launcher.n_jobs=1", f"hydra.sweep.dir={tmp_path}", "debug=fast"]
    subprocess.run([*command, "logger.offline=true", UNDRAWN], cwd=ROOT, check=True)
    assert len(list(tmp_path.glob("*/metrics.json"))) == 2


def test_sweep_ends_with_a_table_and_one_wandb_run_a_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_command(
        "train",
        "-m",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
        "loss.alpha=0.9,0.99",
        "seed=1,2",
        "group=table_1",
        "debug=fast",
        UNDRAWN,
        PAPER,
        *SHORT,
    )
    assert result == (0, "")
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {row["n"] for row in rows} == {"2"}
    assert "linear probe" not in rows[0]  # nothing was probed
    with (tmp_path / "sweep" / "retrieval.csv").open() as file:
        retrieval = list(csv.DictReader(file))
    scores = ["sum", "calibrated", "probability", "projector"]
    assert [row["score"] for row in retrieval] == scores * 2
    assert retrieval[0]["mAP negated"] == rows[0]["mAP negated"]
    printed = capsys.readouterr().out
    assert "Best first, by val/retrieval/map." in printed
    shown = re.findall(r"^ (0\.99?) +2 +(\d\.\d{4}) .*?(\*?) *$", printed, re.M)
    assert {alpha for alpha, _, _ in shown} == {"0.9", "0.99"}
    assert [best for _, _, best in shown] == ["*", ""]
    assert float(shown[0][1]) >= float(shown[1][1])
    queries = json.loads((tmp_path / "sweep" / "0" / "metrics.json").read_text())
    counted = f"Digits positive {int(queries['test/retrieval/queries_positive'])} "
    assert counted in (tmp_path / "sweep" / "retrieval.md").read_text()
    assert (tmp_path / "sweep" / "retrieval.png").stat().st_size > 0
    conditions = (tmp_path / "sweep" / "sweep.md").read_text()
    assert "data (test images) Digits (360); protocol clean; seeds 1, 2;" in conditions
    accuracies = [
        json.loads((tmp_path / "sweep" / str(job) / "metrics.json").read_text())[
            "test/minterm_accuracy"
        ]
        for job in (0, 1)
    ]
    assert float(rows[0]["minterm accuracy"]) == pytest.approx(sum(accuracies) / 2)
    runs = [
        record["run"]
        for job in range(4)
        for record in wandb_records(wandb_folder(tmp_path / "sweep" / str(job)))
        if record["type"] == "run"
    ]
    assert len({run["run_id"] for run in runs}) == 4
    assert {run["run_group"] for run in runs} == {"table_1"}
    assert [run["display_name"] for run in runs] == [
        f"digits_nuclear loss.alpha={alpha} debug=fast trainer.max_epochs=12 seed={seed}"
        for alpha in (0.9, 0.99)
        for seed in (1, 2)
    ]


def test_search_maximizes_what_it_is_told(tmp_path: Path) -> None:
    result = run_command(
        "train",
        "-m",
        "hparams_search=alpha_beta",
        "hydra.sweeper.n_trials=3",
        f"hydra.sweep.dir={tmp_path / 'search'}",
        *FAST,
        *SHORT,
    )
    assert result == (0, "")
    found = OmegaConf.load(tmp_path / "search" / "optimization_results.yaml")
    values = [
        json.loads((tmp_path / "search" / str(job) / "metrics.json").read_text())[
            "val/retrieval/map_negated"
        ]
        for job in range(3)
    ]
    assert found.best_value == pytest.approx(max(values))
    assert 0.5 <= found.best_params["loss.alpha"] < 1
    assert (tmp_path / "search" / "parallel.png").exists()
    result = run_command("train", "optimized_metric=val/nothing", *FAST, "test=false")
    assert result.status == 1
    assert "optimized_metric is one of" in result.message


# Of 40 images, so few are for validation that no query counts.
FEW = ("dataset=faces", "encoder=convnet", "encoder.radius=null", "loader.batch_size=8")


def test_search_leaves_out_trials_that_diverge_or_cannot_be_measured(tmp_path: Path) -> None:
    trials = ["optimizer.lr=choice(1e30,0.01)", "dataset.number=choice(40,400)"]
    result = run_command(
        "train",
        *("-m", "hparams_search=alpha_beta", "hydra.sweeper.n_trials=8"),
        *(f"hydra.sweep.dir={tmp_path / 'search'}", "loss.alpha=0.9", "loss.beta=0.05"),
        *(*FEW, "optimizer=sgd_step", *trials, *FAST, "test=false"),
    )
    assert result == (0, "")
    jobs = [OmegaConf.load(path) for path in tmp_path.glob("search/*/.hydra/overrides.yaml")]
    good = [{"optimizer.lr=0.01", "dataset.number=400"} <= set(job) for job in jobs]
    assert len(good) == 8
    assert any(good)
    assert not all(good)
    found = OmegaConf.load(tmp_path / "search" / "optimization_results.yaml")
    assert found.best_params == {"optimizer.lr": 0.01, "dataset.number": 400}


def test_search_of_trials_that_all_fail_is_an_error(tmp_path: Path) -> None:
    search = ["-m", "hparams_search=alpha_beta", "hydra.sweeper.n_trials=2", "loss.alpha=2"]
    result = run_command("train", *search, f"hydra.sweep.dir={tmp_path / 'search'}", *FAST)
    assert result.status == 1
    assert "No trials are completed" in result.message


def test_metric_to_optimize_that_is_nan_is_explained(tmp_path: Path) -> None:
    few = [*FEW, "dataset.number=40", "optimized_metric=val/retrieval/map_negated", "test=false"]
    result = run_command("train", f"hydra.run.dir={tmp_path / 'run'}", *FAST, *few)
    assert result.status == 1
    assert re.fullmatch(
        r"error: optimized_metric=val/retrieval/map_negated is NaN: all \d+ queries have fewer "
        r"than 10 answers among the validation images",
        result.message,
    )
    assert (tmp_path / "run" / "metrics.json").exists()


def test_sweep_survives_a_failing_job(tmp_path: Path) -> None:
    result = run_command(
        "train",
        "-m",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
        "loss.alpha=2,0.99",
        *FAST,
        *SHORT,
    )
    assert result.status == 1
    assert "alpha must be a number between 0 and 1" in result.message
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        table = [(row["n"], row["unfinished"]) for row in csv.DictReader(file)]
    assert sorted(table) == [("0", "1"), ("1", "0")]
    assert not (tmp_path / "sweep" / "0" / "metrics.json").exists()
    assert (tmp_path / "sweep" / "1" / "metrics.json").exists()
