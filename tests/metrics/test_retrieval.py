"""Retrieval metrics against scikit-learn, plain loops and the authors' numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.metrics import retrieval
from src.metrics.retrieval import (
    average_precision,
    best_matches,
    evaluate_retrieval,
    precision_at_k,
    top_k,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/authors_reference.json").read_text())[
    "inference_case"
]
SEEDS = st.integers(0, 2**32)
# From continuous scores of both signs to a single value for all items
LEVELS = st.sampled_from([None, 1, 2, 3, 7])


def random_scores(num: int, queries: int, levels: int | None, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if levels is None:
        return generator.normal(size=(num, queries))
    return generator.integers(levels, size=(num, queries)) / 2 - 1


def random_relevance(num: int, queries: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, 1])
    return generator.random((num, queries)) < generator.random(queries)


def plain_top_k(scores: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda item: -scores[item])[:k]  # sorted is stable


def plain_precision(scores: np.ndarray, relevance: np.ndarray, k: int) -> float:
    return sum(bool(relevance[item]) for item in plain_top_k(scores, k)) / k


# Average precision


@settings(derandomize=True, deadline=None, max_examples=300)
@given(num=st.integers(1, 40), queries=st.integers(1, 4), levels=LEVELS, seed=SEEDS)
def test_average_precision_is_that_of_scikit_learn(
    num: int, queries: int, levels: int | None, seed: int
) -> None:
    scores = random_scores(num, queries, levels, seed)
    relevance = random_relevance(num, queries, seed)
    relevance[seed % num] = True
    actual = average_precision(torch.from_numpy(scores), torch.from_numpy(relevance))
    expected = [average_precision_score(relevance[:, q], scores[:, q]) for q in range(queries)]
    assert actual.dtype == torch.float64
    assert actual.tolist() == pytest.approx(expected, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(num=st.integers(1, 30), levels=LEVELS, seed=SEEDS)
def test_order_of_items_makes_no_difference_to_average_precision(
    num: int, levels: int | None, seed: int
) -> None:
    scores = torch.from_numpy(random_scores(num, 3, levels, seed))
    relevance = torch.from_numpy(random_relevance(num, 3, seed))
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        average_precision(scores[order], relevance[order]),
        average_precision(scores, relevance),
        rtol=0,
        atol=1e-12,
        equal_nan=True,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_average_precision_takes_scores_of_any_type(dtype: torch.dtype) -> None:
    scores = torch.tensor([[3], [-1], [-1], [0], [-5]], dtype=dtype)
    relevance = torch.tensor([[1], [1], [0], [0], [1]])
    # Recall rises by a third at precisions 1, 2/4 and 3/5.
    assert average_precision(scores, relevance).item() == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)


def test_constant_scores_give_the_share_of_relevant_items() -> None:
    relevance = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 1]])
    assert average_precision(torch.zeros(4, 2), relevance).tolist() == [0.25, 0.5]


def test_average_precision_without_relevant_items_is_nan() -> None:
    actual = average_precision(torch.randn(5, 2), torch.tensor([[0, 1]] * 5))
    assert actual.isnan().tolist() == [True, False]


# Precision at k


@settings(derandomize=True, deadline=None, max_examples=200)
@given(num=st.integers(1, 40), levels=LEVELS, k=st.integers(1, 45), seed=SEEDS)
def test_the_best_k_are_those_of_a_stable_sort(
    num: int, levels: int | None, k: int, seed: int
) -> None:
    scores = random_scores(num, 3, levels, seed)
    relevance = random_relevance(num, 3, seed)
    actual = precision_at_k(torch.from_numpy(scores), torch.from_numpy(relevance), k)
    expected = [plain_precision(scores[:, q], relevance[:, q], k) for q in range(3)]
    assert actual.dtype == torch.float64
    assert actual.tolist() == pytest.approx(expected, abs=1e-12)
    best = [plain_top_k(scores[:, q], k) for q in range(3)]
    assert top_k(torch.from_numpy(scores), k).T.tolist() == best


def test_items_that_are_missing_count_as_misses() -> None:
    assert precision_at_k(torch.randn(4, 1), torch.ones(4, 1), 10).tolist() == [0.4]


# The authors' numbers


def golden_relevance(query: dict[str, Any]) -> Tensor:
    return torch.tensor(
        [
            [
                all(labels[column] for column in query["positive_literals"])
                and not any(labels[column] for column in query["negative_literals"])
            ]
            for labels in GOLDEN["query_labels"]
        ]
    )


@pytest.mark.parametrize("query", GOLDEN["queries"], ids=lambda query: str(query["positives"]))
def test_metrics_equal_the_authors(query: dict[str, Any]) -> None:
    scores = torch.tensor(query["scores"], dtype=torch.float64).unsqueeze(1)
    results = evaluate_retrieval(scores, golden_relevance(query), 10)
    assert results.positives.tolist() == [query["positives"]]
    assert results.average_precision.item() == pytest.approx(query["average_precision"], abs=1e-9)
    # Stored in float32
    assert results.precision_at_k.item() == pytest.approx(query["precision_at_10"], abs=1e-6)


# Means over queries


def plain_summary(
    scores: np.ndarray, relevance: np.ndarray, group: list[bool], k: int, min_positives: int
) -> dict[str, float]:
    rows = []
    skipped = 0
    for query, belongs in enumerate(group):
        if not belongs:
            continue
        if relevance[:, query].sum() < min_positives:
            skipped += 1
            continue
        precision = plain_precision(scores[:, query], relevance[:, query], k)
        rows.append((average_precision_score(relevance[:, query], scores[:, query]), precision))
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)] or [float("nan")] * 2
    return {
        "map": means[0],
        f"precision_at_{k}": means[1],
        "queries": float(len(rows)),
        "queries_skipped": float(skipped),
    }


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    num=st.integers(2, 30),
    queries=st.integers(1, 8),
    levels=LEVELS,
    k=st.integers(1, 12),
    min_positives=st.integers(1, 12),
    seed=SEEDS,
)
def test_summary_is_that_of_a_plain_loop(
    num: int, queries: int, levels: int | None, k: int, min_positives: int, seed: int
) -> None:
    scores = random_scores(num, queries, levels, seed)
    relevance = random_relevance(num, queries, seed)
    group = np.random.default_rng([seed, 2]).random(queries) < 0.7
    results = evaluate_retrieval(torch.from_numpy(scores), torch.from_numpy(relevance), k)
    actual = results.summarize(torch.from_numpy(group), min_positives)
    expected = plain_summary(scores, relevance, group.tolist(), k, min_positives)
    assert all(type(value) is float for value in actual.values())
    assert actual == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_queries_with_too_few_positives_are_counted_and_left_out() -> None:
    scores = torch.tensor([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 3.0, 3.0]])
    relevance = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    results = evaluate_retrieval(scores, relevance, 2)
    summary = results.summarize(torch.tensor([False, True, True]), min_positives=2)
    assert summary["queries"] == 1
    assert summary["queries_skipped"] == 1
    assert summary["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert summary["precision_at_2"] == pytest.approx(0.5)


# Rankings of many


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("k", [1, 7, 200])
def test_pieces_give_the_ranking_of_the_whole(
    levels: int | None, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "CHUNK", 10)
    embeddings = torch.from_numpy(random_scores(95, 3, levels, seed=0))
    weights = torch.tensor([[1.0, 0, 0, -1], [0, 1, 0, 2], [0, 0, 1, 0.5]], dtype=torch.float64)
    scores, positions = best_matches(embeddings, lambda piece: piece @ weights, k)
    whole = embeddings @ weights
    assert torch.equal(positions, top_k(whole, k))
    assert torch.equal(scores, whole.gather(0, positions))


def test_ranking_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to rank"):
        best_matches(torch.zeros(0, 3), lambda piece: piece, 5)


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores, relevance = torch.rand(8, 3), torch.ones(8, 3)
    scores[[2, 5], 1] = torch.nan
    for measure in (
        lambda: average_precision(scores, relevance),
        lambda: top_k(scores, 2),
        lambda: precision_at_k(scores, relevance, 2),
        lambda: evaluate_retrieval(scores, relevance, 2),
        lambda: best_matches(torch.zeros(8, 1), lambda _: scores, 2),
    ):
        with pytest.raises(ValueError, match="scores are NaN for 2 of 8 items"):
            measure()


def test_infinite_scores_come_first_and_last() -> None:
    scores = torch.tensor([[0.0], [-torch.inf], [torch.inf], [1.0]])
    assert top_k(scores, 4)[:, 0].tolist() == [2, 3, 0, 1]
    for found, expected in ((2, 1.0), (1, 0.25)):
        relevance = torch.zeros(4, 1)
        relevance[found] = 1
        assert float(average_precision(scores, relevance)) == expected
