import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run_command

from src.benchmarks.growth import Growth, growth_row, slope


def measure(folder: Path, part: str, *overrides: str) -> dict:
    result = run_command("benchmark", f"parts=[{part}]", *overrides, f"hydra.run.dir={folder}")
    assert result == (0, "")
    record, report = json.loads((folder / "report.json").read_text()), folder / "report.md"
    assert record["run/version/torch"] in report.read_text()
    assert list(record["parts"]) == part.split(",")
    for name in record["parts"]:
        drawn = (folder / f"{name}.png").exists()
        assert drawn == (f"({name}.png)" in report.read_text())
        assert drawn == (name in ("step", "target", "scaling", "memory"))
    return {name: section["rows"] for name, section in record["parts"].items()}


def test_a_report_can_be_written_anew_from_its_numbers(tmp_path: Path) -> None:
    settings = ["step.steps=1", "step.batch_sizes=[16]", "step.precisions=[32-true]"]
    measure(tmp_path, "step", *settings)
    page, record = tmp_path / "report.md", json.loads((tmp_path / "report.json").read_text())
    before = page.read_text()
    assert before.count(record["run/hardware"]) == 1 + len(record["parts"])
    page.unlink()
    (tmp_path / "step.png").unlink()
    again = [f"rewrite={tmp_path}", f"hydra.run.dir={tmp_path}/rewriting"]
    assert run_command("benchmark", *again) == (0, "")
    assert page.read_text() == before
    assert (tmp_path / "step.png").exists()
    assert json.loads((tmp_path / "report.json").read_text()) == record
    nowhere = run_command("benchmark", f"rewrite={tmp_path}/nowhere", again[1])
    assert nowhere.status == 1
    assert "report.json" in nowhere.message


def test_parts_share_a_report(tmp_path: Path) -> None:
    settings = ["loss.sizes=[[60,5,25],[40,20,10]]", "loss.seconds=0.05", "step.steps=2"]
    rows = measure(tmp_path, "loss,step", *settings, "step.batch_sizes=[16]")
    assert [row["size"] for row in rows["loss"]] == ["60, 5, 25", "40, 20, 10"]
    for row in rows["loss"]:
        assert row["gram_error"] < 1e-6 < row["svdvals_error"] * 100
        assert row["gram_error"] < row["svdvals_error"]
        assert row["speedup_authors"] == pytest.approx(row["authors_ms"] / row["gram_ms"])
    assert [row["what"] for row in rows["step"]] == ["32-true, 16", "bf16-mixed, 16"]
    for row in rows["step"]:
        assert 0 < row["loss_share"] < 1
        assert max(row[f"{phase}_ms"] for phase in ("forward", "backward")) < row["step_ms"]


def test_loaders_are_compared_on_grey_images_and_on_jpegs(tmp_path: Path) -> None:
    settings = ["loaders.epochs=1", "loaders.images=300", "loaders.faces=200"]
    rows = measure(tmp_path, "loaders", *settings)["loaders"]
    assert len(rows) == 2
    for row in rows:
        assert row["speedup"] == pytest.approx(row["cached"] / row["torchvision"])


def test_noise_contrastive_losses_are_compared_as_batches_grow(tmp_path: Path) -> None:
    rows = measure(tmp_path, "nce", "nce.sizes=[16,32,64]", "nce.rounds=3")["nce"]
    assert [row["size"] for row in rows] == [16, 32, 64, "slope"]
    for name in ("ranking", "dense", "sparse"):
        times = [row[f"{name}_ms"] for row in rows[:-1]]
        fitted = np.polyfit(np.log([16, 32, 64]), np.log(times), 1)[0]
        assert rows[-1][f"{name}_ms"] == pytest.approx(fitted)
    for row in rows[:-1]:
        for name in ("dense", "sparse"):
            assert row[f"{name}_ratio"] == pytest.approx(row["ranking_ms"] / row[f"{name}_ms"])


def test_retrieval_gives_the_numbers_of_the_authors_procedure(tmp_path: Path) -> None:
    settings = ["retrieval.images=3000", "retrieval.galleries=[100000]"]
    queries, gallery = measure(tmp_path, "retrieval", *settings)["retrieval"]
    assert queries["difference"] < 1e-9
    assert gallery["ours_s"] > 0
    assert gallery["peak_mb"] > 10


def test_an_index_is_compared_with_the_scan_of_all(tmp_path: Path) -> None:
    settings = ["galleries.images=[3000,20000]", "galleries.candidates=[20,20000]"]
    rows = measure(tmp_path, "galleries", *settings)["galleries"]
    assert len(rows) == 2 * 3 * 2
    for row in rows:
        recalls = [row[kind] for kind in ("plain", "negated", "mixed", "either")]
        assert all(0 <= recall <= 1 for recall in recalls)
        if row["candidates"] == "20,000":  # all of them
            assert recalls == [1, 1, 1, 1]
            assert row["precision"] == row["exact_precision"]
        assert row["speedup"] > 0
        assert row["exact_precision"] > 0.5
    few = [row["plain"] for row in rows if row["candidates"] == "20"]
    assert 0.2 < sum(few) / len(few) < 1


def test_training_is_compared_and_stops_at_its_target(tmp_path: Path) -> None:
    fit = ["fit.images=64", "fit.repeats=1", "fit.batch_sizes=[32]"]
    target = ["target.target=0.5", "target.epochs=12", "target.seeds=[1]"]
    rows = measure(tmp_path, "fit,target", *fit, *target)
    assert [row["what"].split(", ")[-1] for row in rows["fit"]] == ["none", "wandb"]
    for row in rows["fit"]:
        assert row["ratio"] == pytest.approx(row["ours"] / row["bare"])
    for row in rows["target"]:
        ((seconds, accuracies),) = row["curves"]
        assert row["reached"] == "1 of 1"
        assert (row["seconds"], row["epochs"]) == (seconds[-1], len(seconds))
        assert max(accuracies[:-1], default=0) < 0.5 <= accuracies[-1]


def test_a_target_out_of_reach_is_said_to_be(tmp_path: Path) -> None:
    settings = ["target.target=1.5", "target.epochs=1", "target.seeds=[1]"]
    for row in measure(tmp_path, "target", *settings)["target"]:
        assert (row["reached"], row["seconds"], row["epochs"]) == ("0 of 1", "", "")


def test_growth_is_measured_over_every_size(tmp_path: Path) -> None:
    sizes = {
        "scaling.images": [60, 120],
        "scaling.labels": [5, 10],
        "scaling.dims": [5, 10],
        "scaling.minterms": [4, 9],
        "scaling.queries": [3, 300],
        "scaling.processes": [1, 2],
        "memory.batch_sizes": [64, 128],
        "memory.images": [40000, 80000],
        "memory.dims": [400, 800],
    }
    settings = [f"{key}={value}" for key, value in sizes.items()]
    small = ["scaling.repeats=1", "scaling.batch_size=8"]
    rows = measure(tmp_path, "scaling,memory", *settings, *small)
    assert [row["sizes"] for row in rows["scaling"]] == [
        sizes[f"scaling.{key}"]
        for key in ("images", "labels", "dims", "minterms", "minterms", "queries", "processes")
    ]
    over_images, over_dims = rows["memory"][1:]
    # At least the batch and its gradient, in float32, and the batch with its labels in float64.
    assert over_images["measured"][0] > 40_000 * (64 * 4 + 74 * 8) / 2**20
    assert over_dims["measured"][1] > over_dims["measured"][0] > 410**2 * 8 / 2**20
    assert all(min(row["measured"]) > 0 for part in rows.values() for row in part)


@pytest.mark.parametrize("power", [-1, 0.5, 3])
def test_slopes_are_those_of_a_line_through_logarithms(power: float) -> None:
    sizes = np.array([3.0, 10, 20, 700])
    values = 2 * sizes**power * np.random.default_rng(0).uniform(0.5, 2, size=4)
    fitted = np.polyfit(np.log(sizes), np.log(values), 1)[0]
    assert slope(sizes, values) == pytest.approx(fitted)
    assert slope(sizes, 7 * sizes**power) == pytest.approx(power)


@pytest.mark.parametrize(("power", "reason"), [(2.2, ""), (1.8, ""), (2.4, "why"), (1.6, "why")])
def test_a_slope_far_from_theory_needs_a_reason(power: float, reason: str) -> None:
    sizes = [10, 20, 40]
    row = growth_row(Growth("cost", "size", 2, "why"), sizes, [n**power for n in sizes], "ms")
    assert row["reason"] == reason
    assert row["slope"] == pytest.approx(power)


def test_many_minterms_are_trained_on_and_asked_for(tmp_path: Path) -> None:
    rows = measure(tmp_path, "minterms", "minterms.minterms=[4200]")["minterms"]
    assert [row["what"] for row in rows] == [
        "imports",
        *("training, 4,200", "query, 4,200", "page, 4,200"),
    ]
    for row in rows[1:]:
        assert 0 < row["peak_mb"] - rows[0]["peak_mb"] + 500 < 2048
