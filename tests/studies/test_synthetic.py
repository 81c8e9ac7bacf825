import json
from pathlib import Path

import pytest
import torch
from conftest import run_command
from omegaconf import OmegaConf
from PIL import Image

from src.losses.nuclear import NuclearNormLoss
from src.studies.synthetic import descend, label_matrix, squared_cosines
from src.subspaces.closed_form import optimal_singular_values

ROOT = Path(__file__).parents[2]
CONFIG = OmegaConf.load(ROOT / "experiments" / "synthetic.yaml").study


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "minterms"),
    [
        ("Y0", (15, 6), [3, 9, 3, 5, 3, 2], 6),
        ("Y1", (24, 6), [4] * 6, 6),
        ("Y2", (16, 6), [3, 1, 7, 1, 3, 1], 6),
    ],
)
def test_labels_are_those_of_the_paper(
    name: str, shape: tuple[int, int], sizes: list[int], minterms: int
) -> None:
    labels = label_matrix(CONFIG.labels[name])
    assert labels.shape == shape
    assert labels.sum(dim=0).tolist() == sizes
    assert labels.any(dim=1).all()
    assert len(labels.unique(dim=0)) == minterms


def test_descent_leads_to_the_closed_form() -> None:
    labels = label_matrix(CONFIG.labels.Y1)
    found = descend(labels, 8, 0, NuclearNormLoss(0.99, 0.7), lr=0.5, decay=0.99, iterations=600)
    optimal = optimal_singular_values(labels, 0.99, 0.7)
    assert found.singular_values.shape == (600, 8)
    torch.testing.assert_close(found.singular_values[-1, :6], optimal, atol=0.05, rtol=0)
    cosines = squared_cosines(found.embeddings)
    torch.testing.assert_close(cosines, labels @ labels.T, atol=0.02, rtol=0)


def test_command_draws_the_figure_and_holds_it_against_the_closed_form(tmp_path: Path) -> None:
    short = [f"+study.methods.{name}.iterations=40" for name in CONFIG.methods]
    arguments = ["table=synthetic", *short, f"runs_dir={tmp_path}/runs", f"results_dir={tmp_path}"]
    assert run_command("reproduce", *arguments) == (0, "")
    folder = tmp_path / "synthetic" / "smoke"
    with Image.open(folder / "figure.png") as image:
        assert image.width > image.height
    record = json.loads((folder / "table.json").read_text())
    assert len(record["rows"]) == 9
    for row in record["rows"]:
        assert (row["largest_difference"] == "") == (row["method"] != "nuclear")
        if row["method"] == "nuclear":
            assert row["loss"] > row["optimum"]
    assert record["run/commit"] in (folder / "table.md").read_text()
