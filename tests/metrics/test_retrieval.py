import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from src.metrics.retrieval import average_precision, evaluate_retrieval, precision_at_k, top_k

GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "authors_reference.json").read_text()
)["inference_case"]


def random_case(seed: int, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of any sign, the more tied the fewer levels, and relevance with a positive each."""
    generator = np.random.default_rng(seed)
    items, queries = generator.integers(2, 60), generator.integers(1, 8)
    scores = generator.integers(-levels, levels + 1, (items, queries)) * 0.37
    relevance = generator.random((items, queries)) < generator.uniform(0.05, 0.9)
    relevance[generator.integers(items)] = True
    return torch.from_numpy(scores), torch.from_numpy(relevance)


CASES = {"seed": st.integers(0, 10**6), "levels": st.sampled_from([0, 1, 3, 1000])}


@settings(max_examples=300, derandomize=True, deadline=None)
@given(**CASES)
def test_average_precision_is_scikit_learns(seed: int, levels: int) -> None:
    scores, relevance = random_case(seed, levels)
    expected = [
        average_precision_score(relevance[:, query], scores[:, query])
        for query in range(scores.shape[1])
    ]
    np.testing.assert_allclose(average_precision(scores, relevance), expected, atol=1e-12)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(**CASES, k=st.integers(1, 15))
def test_precision_is_that_of_a_plain_sort(seed: int, levels: int, k: int) -> None:
    scores, relevance = random_case(seed, levels)
    expected = []
    for query in range(scores.shape[1]):
        ranking = sorted(range(len(scores)), key=lambda item: -float(scores[item, query]))
        assert top_k(scores, k)[:, query].tolist() == ranking[:k]
        expected.append(sum(bool(relevance[item, query]) for item in ranking[:k]) / k)
    np.testing.assert_allclose(precision_at_k(scores, relevance, k), expected, atol=1e-12)


def test_average_precision_does_not_depend_on_the_order_of_ties() -> None:
    scores, relevance = random_case(0, levels=1)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        average_precision(scores[order], relevance[order]), average_precision(scores, relevance)
    )


@pytest.mark.parametrize("query", GOLDEN["queries"])
def test_authors_metrics(query: dict) -> None:
    labels = torch.tensor(GOLDEN["query_labels"]).bool()
    holds = [labels[:, i] for i in query["positive_literals"]]
    holds += [~labels[:, i] for i in query["negative_literals"]]
    relevance = torch.stack(holds).all(dim=0).unsqueeze(1)
    results = evaluate_retrieval(torch.tensor(query["scores"]).unsqueeze(1), relevance, k=10)
    assert results.positives.item() == query["positives"]
    assert results.average_precision.item() == pytest.approx(query["average_precision"], abs=1e-6)
    assert results.precision_at_k.item() == pytest.approx(query["precision_at_10"], abs=1e-6)


def test_summary_leaves_out_and_counts_queries_with_too_few_positives() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 6, generator=generator)
    relevance = torch.rand(40, 6, generator=generator) < 0.5
    relevance[:, 2] = False
    relevance[3:, 4] = False
    negated = torch.tensor([False, True, True, False, False, True])
    results = evaluate_retrieval(scores, relevance, k=10)
    summary = results.summarize(negated, min_positives=10)
    assert results.average_precision[2].isnan()
    assert (summary["queries"], summary["queries_skipped"]) == (4, 2)
    precision = {q: average_precision_score(relevance[:, q], scores[:, q]) for q in (0, 1, 3, 5)}
    assert summary["map"] == pytest.approx(np.mean(list(precision.values())))
    assert summary["map_positive"] == pytest.approx((precision[0] + precision[3]) / 2)
    assert summary["map_negated"] == pytest.approx((precision[1] + precision[5]) / 2)
    assert summary["precision_at_10_positive"] == results.precision_at_k[[0, 3]].mean()


def test_mean_over_no_query_is_not_a_number() -> None:
    results = evaluate_retrieval(torch.zeros(5, 1), torch.ones(5, 1), k=10)
    summary = results.summarize(torch.tensor([False]), min_positives=10)
    assert np.isnan(summary["map"])
    assert summary["queries"] == 0
