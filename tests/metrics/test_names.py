"""Names of metrics in code, held against what a run logs."""

import pytest
import torch
from conftest import Run

from src.metrics import names
from src.metrics.evaluation import evaluate
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.queries import make_queries


def test_a_run_logs_what_is_named(trained_run: Run) -> None:
    others = ("subspaces", "literal_discriminants", names.PROBE)  # of other runs
    elsewhere = tuple(f"test/{name}/" for name in others)
    expected = {
        key
        for key in names.main_columns("test")
        if not key.startswith(elsewhere) and "seen" not in key  # its training has all minterms
    }
    assert len(expected) == 17
    assert not [key for key in trained_run.metrics if "seen" in key]
    assert expected <= trained_run.metrics.keys()
    assert {key.replace("test", "val", 1) for key in expected} <= trained_run.metrics.keys()


def test_every_score_has_its_own_retrieval(trained_run: Run) -> None:
    sources = names.retrieval_sources(trained_run.metrics, "test")
    assert sources == {
        "sum": "retrieval",
        "calibrated": "retrieval_calibrated",
        "probability": "retrieval_probability",
        "projector": "retrieval_projector",
    }
    groups = names.query_groups(trained_run.metrics, "test")
    assert list(groups) == ["positive", "negated", "depth_2", "depth_3", "depth_4"]
    for source in sources.values():
        for measure in (names.MAP, names.PRECISION, names.QUERIES, names.SKIPPED):
            for group in ("", *groups):
                name = names.retrieval_name(measure, group, source)
                assert f"test/{name}" in trained_run.metrics


def test_groups_of_queries_are_those_of_any_run() -> None:
    keys = ("test/retrieval/queries_depth_10", "test/retrieval/queries_depth_2")
    unseen = names.query_groups(["test/retrieval/queries_unseen"], "test")
    assert list(unseen) == ["positive", "negated", "unseen"]
    assert list(names.query_groups([*keys, "val/retrieval/queries_depth_3"], "test").items()) == [
        ("positive", "positive"),
        ("negated", "negated"),
        ("depth_2", "depth 2"),
        ("depth_10", "depth 10"),
    ]


def test_readouts_beside_have_their_own_names_and_headings(bce_run: Run) -> None:
    readouts = (MintermSubspaces, DiscriminantReadout, LiteralDiscriminants)
    assert [readout.name for readout in readouts] == list(names.BESIDE)
    headings = names.main_columns("test")
    assert len(set(headings.values())) == len(headings)
    assert headings["test/discriminant/map_negated"] == "mAP negated by discriminants"
    assert headings["test/subspaces/minterm_accuracy"] == "accuracy by subspaces"
    measures = (names.MAP, names.PRECISION, names.QUERIES, names.SKIPPED)
    groups = ("", *names.query_groups(bce_run.metrics, "test"))
    for stage in ("val", "test"):
        for readout in ("subspaces", "discriminant"):
            prefix = f"{stage}/{readout}/"
            found = {key for key in bce_run.metrics if key.startswith(prefix)}
            of_labels = {f"{prefix}{name}" for name in ("minterm_accuracy", "literal_auprc")}
            assert found == of_labels | {
                f"{stage}/{names.retrieval_name(measure, group, readout)}"
                for measure in measures
                for group in groups
            }
        assert not [key for key in bce_run.metrics if key.startswith(f"{stage}/literal_disc")]


@pytest.mark.parametrize("score", ["sum", "calibrated"])
def test_calibrated_metrics_are_those_that_move_with_calibration(score: str) -> None:
    generator = torch.Generator().manual_seed(0)
    minterms = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()
    index = torch.randint(4, (80,), generator=generator)
    labels = minterms[index]
    embeddings = torch.randn(80, 6, generator=generator) + torch.eye(6)[index]
    readouts = MintermSubspaces(minterms, 6), DiscriminantReadout(minterms, 6, "additive", None)
    queries = make_queries(["a", "b", "c"], minterms, 2, 2, 5)
    found = []
    for biases in ([0.0, 0.0, 0.0], [3.0, -3.0, 2.0]):
        for readout in readouts:
            readout.update(embeddings, labels)
            readout.fit()
            readout.literal_biases.copy_(torch.tensor(biases))
        subspaces, *beside = readouts
        results = evaluate(subspaces, beside, subspaces, embeddings, labels, queries, score)
        found.append(results.metrics)
    before, after = found
    moved = {name for name in before if before[name] != after[name]}
    calibrated = {name for name in before if names.is_calibrated(name, score)}
    assert moved <= calibrated
    counts = {name for name in calibrated if "queries" in name}
    assert len(calibrated - counts - moved) < 3  # some by chance do not
