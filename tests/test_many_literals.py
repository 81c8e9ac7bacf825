"""The 40 attributes of CelebA, and more minterms than a table holds: trained, saved and asked."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run, Shared, run_command
from omegaconf import OmegaConf

from src.benchmarks.minterms import places, write_images
from src.data.celeba import NAMES
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.runs.load import load_checkpoint
from src.search.answers import load_models
from src.search.page import search
from src.subspaces.minterms import MAX_MINTERMS
from src.subspaces.propositions import Proposition

IMAGES = MAX_MINTERMS + 4
QUERY = "Male & ~Young | Smiling"
DATA = ("dataset=celeba", "dataset.attributes=null", "dataset.image_size=8", "encoder=convnet")
ONCE = ("trainer.max_epochs=1", "logger=none", "loader.batch_size=512")
NO_TABLE = {
    "discriminants": ("method=nuclear_discriminant", "readout=literal_discriminants"),
    "bce": ("method=bce",),
}
MEND = f"set {', or '.join(' '.join(NO_TABLE[name]) for name in ('bce', 'discriminants'))}"


@pytest.fixture(scope="session")
def faces(shared: Shared) -> Path:
    """A folder of data sets with noise in CelebA's layout, every image a minterm of its own."""
    return shared.folder("noise", lambda folder: write_images(folder / "celeba", IMAGES))


def trained(name: str, shared: Shared, faces: Path) -> Run:
    overrides = (*DATA, *NO_TABLE[name], *ONCE, f"data_dir={faces}")
    return shared.run(f"many_{name}", *overrides)


@pytest.mark.parametrize("name", list(NO_TABLE))
def test_a_run_without_a_table_is_reported_and_answers(
    name: str, shared: Shared, faces: Path, tmp_path: Path
) -> None:
    run = trained(name, shared, faces)
    assert run.metrics["run/conjunctions"] == "sampled"
    assert run.metrics["test/retrieval/queries"] > 100
    assert 0 < run.metrics["test/retrieval_inclusion_exclusion/map_depth_4"] < 1
    assert not any("subspaces" in key or "coherence" in key for key in run.metrics)
    assert {path.name for path in (run.folder / "report").glob("*.png")} >= {
        "reliability.png",
        "retrieval.png",
    }
    assert not (run.folder / "report" / "coherence.png").exists()
    assert (run.folder / "report" / "index.html").stat().st_size > 1000

    arguments = (f"ckpt_path={run.checkpoint}", f"query={QUERY}", f"data_dir={faces}")
    assert run_command("retrieve", *arguments, f"hydra.run.dir={tmp_path}/out") == (0, "")
    with (tmp_path / "out" / "retrieval.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        p, q, r = (float(row[f"p({literal})"]) for literal in ("Male", "Young", "Smiling"))
        assert float(row["probability"]) == pytest.approx(1 - (1 - p * (1 - q)) * (1 - r))
    evaluated = run_command(
        "evaluate", f"ckpt_path={run.checkpoint}", f"hydra.run.dir={tmp_path}/again"
    )
    assert evaluated == (0, "")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    key = "test/retrieval/map"
    assert again[key] == pytest.approx(run.metrics[key])


def test_the_page_explains_an_image_by_its_likeliest_minterms(shared: Shared, faces: Path) -> None:
    run = trained("discriminants", shared, faces)
    settings: dict[str, Any] = places(str(faces), "cpu") | {"ckpt_path": str(run.checkpoint)}
    settings |= {"beside": None, "cache_dir": "cache", "top_k": 5, "strict": False}
    config = OmegaConf.create(settings | {"index": "exact", "candidates": 5})
    models = load_models(config, ["test split"])
    fault, ranking, detail, _ = search(models, "test split", QUERY, k=5)
    assert not fault
    assert ranking.count("card") > 5
    assert all(name in detail for name in NAMES)
    explained = models[0].explain(QUERY, "test split", 0)
    assert len(explained.literals) == 40
    values = [minterm.value for minterm in explained.minterms]
    assert values == sorted(values, reverse=True)
    embedding = models[0].images("test split").embeddings[:1]
    p = models[0].module.readout.literal_probabilities(embedding, calibrated=True)[0]
    assert values[0] == pytest.approx(float(torch.maximum(p, 1 - p).prod()))


def test_a_checkpoint_gives_what_it_gave(shared: Shared, faces: Path) -> None:
    run = trained("discriminants", shared, faces)
    modules = [load_checkpoint(str(run.checkpoint), str(faces))[2] for _ in range(2)]
    embeddings = torch.randn(5, modules[0].encoder.embedding_dim)
    queries = [Proposition(QUERY, NAMES)]
    first, second = (module.score(embeddings, queries) for module in modules)
    assert torch.equal(first, second)
    assert modules[0].subspaces is None
    assert len(modules[0].minterms) == IMAGES
    readout = modules[0].readout
    assert isinstance(readout, LiteralDiscriminants)
    assert readout.weights.any()


@pytest.mark.parametrize(
    ("overrides", "mend"),
    [
        *(
            ([f"method={method}"], MEND)
            for method in ("nuclear", "cross_entropy", "captions", "harmonic")
        ),
        (
            ["readout=literal_discriminants", "module.label_coding=minterms"],
            "set module.label_coding=complements",
        ),
    ],
)
def test_what_needs_a_table_is_refused_with_the_mend(
    overrides: list[str], mend: str, faces: Path
) -> None:
    result = run_command("train", *DATA, *overrides, *ONCE, f"data_dir={faces}")
    assert result.status == 1
    assert "4,100 minterms are more than the 4,096 of a table" in result.message
    assert mend in result.message
    assert result.message.count("\n") <= 1
