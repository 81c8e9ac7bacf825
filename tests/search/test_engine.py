"""The example of src/search/README.md, as it stands there, in an engine that keeps embeddings."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run, run_command
from PIL import Image

from src.config.groups import CONF_DIR
from src.data.digits import Digits
from src.model import load
from src.subspaces.propositions import Proposition

PAGE = (CONF_DIR.parent / "src" / "search" / "README.md").read_text()
STORE, ASK, ALONE = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
QUERIES = ["even & ~prime", "~prime", "square | (even & has_loop)", "~(prime | square)"]


@pytest.fixture(params=["trained_run", "bce_run"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def test_an_engine_answers_propositions(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="needs qdrant-client, of the dev group")
    for number, image in enumerate(Digits(split_seed=0).splits["test"].images):
        (tmp_path / "gallery").mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "gallery" / f"{number:04d}.png")
    places = {'"latest"': repr(str(run.checkpoint)), '"FOLDER"': repr(str(tmp_path / "gallery"))}
    code = STORE + ASK
    for placeholder, path in places.items():
        assert placeholder in code
        code = code.replace(placeholder, path)
    page: dict[str, Any] = {}
    exec(code, page)

    model = load(str(run.checkpoint))
    for text in QUERIES:
        rows = model.search(text, str(tmp_path / "gallery"), k=5).rows
        found = page["ask"](text, k=5, candidates=360)  # all
        assert [score for _, score in found] == pytest.approx([row["score"] for row in rows])
        best = dict(page["ask"](text, k=5, candidates=30))
        assert sum(row["image"] in best for row in rows) >= 3
        scores = list(best.values())
        assert scores == sorted(scores, reverse=True)


def test_exported_directions_are_the_vectors_of_a_query(trained_run: Run, tmp_path: Path) -> None:
    export = [f"ckpt_path={trained_run.checkpoint}", "format=onnx", f"output_dir={tmp_path}"]
    assert run_command("export", *export) == (0, "")
    page: dict[str, Any] = {}
    exec(ALONE, page)  # in this folder
    model = load(str(trained_run.checkpoint))
    expected = model.module.readout.search_vectors(Proposition("even & ~prime", model.literals))
    actual = page["vectors"]
    np.testing.assert_array_equal(torch.cat([actual, -actual]), expected)
