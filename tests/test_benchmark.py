import json
from pathlib import Path

import pytest
from conftest import run_command, write_idx_files


def measure(folder: Path, part: str, *overrides: str) -> dict:
    result = run_command("benchmark", f"part={part}", *overrides, f"hydra.run.dir={folder}")
    assert result == (0, "")
    record = json.loads((folder / f"{part}.json").read_text())
    assert record["run/version/torch"] in (folder / f"{part}.md").read_text()
    return record


def test_loss_compares_both_forms(tmp_path: Path) -> None:
    record = measure(tmp_path, "loss", "loss.sizes=[[60,5,25],[40,20,10]]", "loss.seconds=0.05")
    assert [row["size"] for row in record["rows"]] == ["60, 5, 25", "40, 20, 10"]
    for row in record["rows"]:
        assert row["gram_error"] < 1e-6 < row["svdvals_error"] * 100
        assert row["gram_error"] < row["svdvals_error"]
        assert row["speedup_authors"] == pytest.approx(row["authors_ms"] / row["gram_ms"])


def test_loaders_are_compared_on_grey_images_and_on_jpegs(tmp_path: Path) -> None:
    write_idx_files(tmp_path, "FashionMNIST", zipped=True, train=300)
    settings = ["loaders.epochs=1", "loaders.faces=200", f"data_dir={tmp_path}"]
    record = measure(tmp_path, "loaders", *settings)
    assert len(record["rows"]) == 2
    for row in record["rows"]:
        assert row["speedup"] == pytest.approx(row["cached"] / row["torchvision"])


def test_retrieval_gives_the_numbers_of_the_authors_procedure(tmp_path: Path) -> None:
    record = measure(tmp_path, "retrieval", "retrieval.images=3000", "retrieval.galleries=[100000]")
    queries, gallery = record["rows"]
    assert queries["difference"] < 1e-9
    assert gallery["ours_s"] > 0
    assert gallery["peak_mb"] > 10
