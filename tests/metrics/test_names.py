"""Names of metrics in code, held against what a run logs."""

from conftest import Run

from src.metrics import names


def test_a_run_logs_what_is_named(trained_run: Run) -> None:
    elsewhere = (f"test/{names.SUBSPACES}/", f"test/{names.PROBE}/")  # of other runs
    expected = {key for key in names.main_columns("test") if not key.startswith(elsewhere)}
    assert len(expected) == 13
    assert expected <= trained_run.metrics.keys()
    assert {key.replace("test", "val", 1) for key in expected} <= trained_run.metrics.keys()


def test_every_score_has_its_own_retrieval(trained_run: Run) -> None:
    scores = names.retrieval_scores(trained_run.metrics, "test")
    assert scores == {
        "sum": "test/retrieval/",
        "calibrated": "test/retrieval_calibrated/",
        "probability": "test/retrieval_probability/",
        "projector": "test/retrieval_projector/",
    }
    for prefix in scores.values():
        for measure in (names.MAP, names.PRECISION, names.QUERIES, names.SKIPPED):
            for group in ("", names.POSITIVE, names.NEGATED, f"{names.DEPTH}3"):
                name = names.retrieval_name(measure, group, source="")
                assert f"{prefix}{name.lstrip('/')}" in trained_run.metrics
    assert names.score_source("projector") == "retrieval_projector"
