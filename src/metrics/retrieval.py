"""Retrieval metrics for many queries at once, right for scores of any sign and with ties."""

from typing import NamedTuple

import torch
from torch import Tensor


def average_precision(scores: Tensor, relevance: Tensor) -> Tensor:
    """Average precision of every query, as scikit-learn defines it.

    AP = sum_n (R_n - R_(n-1)) P_n over the distinct scores, as thresholds in descending order:
    items of equal score enter together, so that the order of ties makes no difference.

    Args:
        scores: (N, Q), higher for better matches.
        relevance: (N, Q), nonzero where an item answers a query.

    Returns:
        (Q,), float64; NaN for a query without relevant items.
    """
    ranked, order = scores.sort(dim=0, descending=True)
    relevant = relevance.bool().gather(0, order)
    ranks = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64).unsqueeze(1)
    precision = relevant.cumsum(dim=0) / ranks
    # Every item takes the precision at the last item of its score.
    last_of_tie = torch.ones_like(relevant)
    last_of_tie[:-1] = ranked[:-1] != ranked[1:]
    positions = torch.where(last_of_tie, ranks.long() - 1, len(scores))
    last = positions.flip(0).cummin(dim=0).values.flip(0)
    return (precision.gather(0, last) * relevant).sum(dim=0) / relevant.sum(dim=0)


def top_k(scores: Tensor, k: int) -> Tensor:
    """Positions of the k best items; ties keep the order of the items.

    Args:
        scores: (N, Q), higher for better matches.
        k: At least 1.

    Returns:
        (min(k, N), Q), int64, best first.
    """
    return scores.sort(dim=0, descending=True, stable=True).indices[:k]


def precision_at_k(scores: Tensor, relevance: Tensor, k: int) -> Tensor:
    """Share of relevant items among the k best of every query, as `top_k` ranks them.

    Args:
        scores: (N, Q), higher for better matches.
        relevance: (N, Q), nonzero where an item answers a query.
        k: At least 1. With fewer than k items the missing ones count as misses.

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
        relevance.bool().sum(dim=0),
        k,
    )
