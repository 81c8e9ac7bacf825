"""Retrieval metrics for many queries at once, right for scores of any sign and with ties."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

SORTED = 65536  # scores sorted at a time, which a cache holds
CHUNK = 32768  # embeddings scored at a time: bounds the memory of a ranking
# The k of precision@k, and the fewest positives of a query that counts: with less it cannot reach 1
TOP_K = 10


class Embeddings(Protocol):
    """Rows (N, D), in memory or in a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Tensor: ...


def check_numbers(values: Tensor, name: str) -> None:
    """Raise ValueError if values (N, Q) of this name hold NaN, which has no place in any order."""
    wrong = values.isnan().any(dim=1)
    if wrong.any():
        raise ValueError(f"{name} are NaN for {int(wrong.sum())} of {len(values)} items")


def average_precision(scores: Tensor, relevance: Tensor) -> Tensor:
    """Average precision of every query, as scikit-learn defines it.

    AP = sum_n (R_n - R_(n-1)) P_n over the distinct scores, as thresholds in descending order:
    items of equal score enter together, so that the order of ties makes no difference.

    Scores that differ in the last bit of float64 count as equal: that bit makes room for the
    relevance, so that one sort of integers orders both, which NumPy does fastest.

    Args:
        scores: (N, Q), higher for better matches.
        relevance: (N, Q), nonzero where an item answers a query.

    Returns:
        (Q,), float64, on the device of the scores; NaN for a query without relevant items.

    Raises:
        ValueError: If a score is NaN.
    """
    check_numbers(scores, "scores")
    values = np.ascontiguousarray(scores.detach().cpu().double().numpy().T)
    relevant = np.ascontiguousarray(relevance.bool().cpu().numpy().T)
    num_threads = torch.get_num_threads()
    # A few queries a task: starting one takes about as long as sorting one.
    number = max(4 * num_threads, values.size // SORTED)
    parts = (np.array_split(rows, number) for rows in (values, relevant))
    with ThreadPoolExecutor(num_threads) as threads:
        results = threads.map(_average_precisions, *parts)
        precisions = [precision for result in results for precision in result]
    return torch.tensor(precisions, dtype=torch.float64, device=scores.device)


def _average_precisions(scores: np.ndarray, relevant: np.ndarray) -> list[float]:
    """AP of q queries: scores (q, N), float64, and relevance (q, N), bool."""
    ordered = (scores + 0.0).view(np.int64)  # + 0.0 makes one zero of two
    ordered ^= (ordered >> 63) & np.int64(2**63 - 1)  # integers in the order of the scores
    ordered &= ~np.int64(1)
    ordered |= relevant
    ordered.sort(axis=1)
    return [_average_precision(row) for row in ordered]


def _average_precision(ordered: np.ndarray) -> float:
    """AP of ascending integers (N,), the scores, whose last bit is the relevance."""
    found = ordered[(ordered & 1).astype(bool)]
    if not len(found):
        return float("nan")
    # Precision at the threshold of every relevant item: searchsorted counts what is below.
    hits = len(found) - np.searchsorted(found, found)
    items = len(ordered) - np.searchsorted(ordered, found - 1)
    return float((hits / items).mean())


def top_k(scores: Tensor, k: int) -> Tensor:
    """Positions of the k best items; ties keep the order of the items.

    Args:
        scores: (N, Q), higher for better matches.
        k: Number of best items, at least 1.

    Returns:
        (min(k, N), Q), int64, best first.

    Raises:
        ValueError: If a score is NaN.
    """
    check_numbers(scores, "scores")
    columns = scores.T.contiguous()
    k = min(k, len(scores))
    # One more, to see where an item beyond the k-th is as good as it: those that come first count.
    values, best = columns.topk(min(k + 1, len(scores)), dim=1)
    tied = (values[:, k - 1 : k] == values[:, k:]).any(dim=1)
    best = best[:, :k].sort(dim=1).values
    order = columns.gather(1, best).sort(dim=1, descending=True, stable=True).indices
    best = best.gather(1, order)
    for column in tied.nonzero().flatten():
        best[column] = columns[column].sort(descending=True, stable=True).indices[:k]
    return best.T


def best_matches(
    embeddings: Embeddings, score: Callable[[Tensor], Tensor], k: int
) -> tuple[Tensor, Tensor]:
    """The k best of any number of embeddings for every query, exactly, a piece at a time.

    Args:
        embeddings: (N, D), asked for a piece at a time.
        score: Maps n embeddings (n, D) to scores (n, Q).
        k: Number of best items, at least 1.

    Returns:
        Scores and positions, both (min(k, N), Q), best first; ties keep the order of the items.
    """
    scores = positions = None
    for start in range(0, len(embeddings), CHUNK):
        found = score(embeddings[start : start + CHUNK])
        best = top_k(found, k)
        found, best = found.gather(0, best), best + start
        if scores is not None and positions is not None:
            found, best = torch.cat([scores, found]), torch.cat([positions, best])
            kept = top_k(found, k)
            found, best = found.gather(0, kept), best.gather(0, kept)
        scores, positions = found, best
    if scores is None or positions is None:
        raise ValueError("there is nothing to rank")
    return scores, positions


def precision_at_k(scores: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Share of relevant items among the k best of every query, as `top_k` ranks them.

    Args:
        scores: (N, Q), higher for better matches.
        relevance: (N, Q), nonzero where an item answers a query.
        k: Number of best items, at least 1; with fewer than k items the missing ones count as
            misses.

    Returns:
        (Q,), float64.
    """
    return relevance.bool().gather(0, top_k(scores, k)).sum(dim=0).double() / k


class RetrievalResults(NamedTuple):
    """Metrics of every query."""

    average_precision: Tensor  # (Q,), NaN without relevant items
    precision_at_k: Tensor  # (Q,)
    positives: Tensor  # (Q,), number of relevant items
    k: int

    def summarize(self, group: Tensor, min_positives: int) -> dict[str, float]:
        """Means over a group of queries.

        Queries with fewer than `min_positives` relevant items are left out of the means, and
        counted.

        Args:
            group: (Q,), bool, the queries of the group.
            min_positives: Least number of relevant items of a query that counts.

        Returns:
            `map`, `precision_at_{k}`, `queries` and `queries_skipped`. A mean over no query is NaN.
        """
        counted = group & (self.positives >= min_positives)
        return {
            "map": float(self.average_precision[counted].mean()),
            f"precision_at_{self.k}": float(self.precision_at_k[counted].mean()),
            "queries": float(counted.sum()),
            "queries_skipped": float((group & ~counted).sum()),
        }


def evaluate_retrieval(scores: Tensor, relevance: Tensor, k: int) -> RetrievalResults:
    """Average precision and precision@k of every query.

    Args:
        scores: (N, Q), higher for better matches.
        relevance: (N, Q), nonzero where an item answers a query.
        k: Cut-off of precision@k.
    """
    return RetrievalResults(
        average_precision(scores, relevance),
        precision_at_k(scores, relevance, k),
        relevance.bool().sum(dim=0, dtype=torch.int32),
        k,
    )
