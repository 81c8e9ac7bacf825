"""What is measured of unseen minterms, against loops over hand-made logits."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.metrics.evaluation import Evaluation, evaluate
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.queries import make_queries

LITERALS = ("a", "b", "c")
ALL = torch.tensor(list(product((False, True), repeat=3)))
TRAINED = [0, 3, 5, 6, 7]  # rows that the training split has


def judge(minterms: Tensor, labels: Tensor, logits: Tensor) -> Evaluation:
    """Evaluate logits of literals for a training split that has these minterms."""
    subspaces = MintermSubspaces(minterms, 3)
    subspaces.update(minterms.float() + 0.1, minterms)
    subspaces.fit()
    queries = make_queries(LITERALS, minterms, 3, max_depth=1, queries_per_depth=0)
    readout = SigmoidReadout(LITERALS)
    return evaluate(readout, [subspaces], subspaces, logits, labels, queries, "probability")


def images(counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Labels, so many of each of the eight minterms, and noisy logits."""
    labels = ALL.repeat_interleave(torch.tensor(counts), dim=0)
    noise = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    return labels, labels.float() - 0.5 + noise


def test_unseen_queries_and_images_are_measured_by_themselves() -> None:
    labels, logits = images([20, 14, 9, 30, 11, 25, 40, 12])
    found = judge(ALL[TRAINED], labels, logits)
    p = torch.sigmoid(logits.double()).numpy()
    precisions, hits, skipped = [], [], 0
    for columns in (c for size in (1, 2, 3) for c in product(range(3), repeat=size)):
        if list(columns) != sorted(set(columns)):
            continue
        for signs in product((False, True), repeat=len(columns)):
            chosen = list(columns)
            if (ALL[TRAINED][:, chosen].numpy() == signs).all(axis=1).any():
                continue
            true = (labels.numpy()[:, chosen] == signs).all(axis=1)
            if true.sum() < 10:
                skipped += 1
                continue
            score = np.where(signs, p[:, chosen], 1 - p[:, chosen]).prod(axis=1)
            precisions.append(average_precision_score(true, score))
            hits.append(true[np.argsort(-score, kind="stable")[:10]].mean())
    assert len(precisions) == 2
    assert skipped == 1
    metrics = found.metrics
    assert metrics["retrieval/map_unseen"] == pytest.approx(np.mean(precisions))
    assert metrics["retrieval/precision_at_10_unseen"] == pytest.approx(np.mean(hits))
    assert metrics["retrieval/queries_unseen"] == len(precisions)
    assert metrics["retrieval/queries_skipped_unseen"] == skipped

    known = {tuple(row) for row in ALL[TRAINED].tolist()}
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row, values in zip(labels.tolist(), logits.tolist(), strict=True):
        right[tuple(row) in known].append(row == [value > 0 for value in values])
    assert metrics["seen_minterm_accuracy"] == pytest.approx(np.mean(right[True]))
    assert metrics["unseen_minterm_accuracy"] == pytest.approx(np.mean(right[False]))


def test_directions_tie_on_what_no_training_image_answers() -> None:
    labels, logits = images([20, 14, 13, 30, 11, 25, 40, 12])
    metrics = judge(ALL[TRAINED], labels, logits).metrics
    share = np.mean([14, 13, 11]) / len(labels)
    assert metrics["subspaces/map_unseen"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("trained", "counts"),
    [
        (range(8), [20, 14, 9, 30, 11, 25, 40, 12]),  # training has all minterms
        (TRAINED, [20, 0, 0, 30, 0, 25, 40, 12]),  # and all that occur
    ],
)
def test_where_nothing_is_unseen_nothing_is_said_of_it(
    trained: Sequence[int], counts: list[int]
) -> None:
    metrics = judge(ALL[list(trained)], *images(counts)).metrics
    assert not [name for name in metrics if "seen" in name]
    assert metrics["retrieval/queries_negated"] > 0


def test_unseen_queries_with_few_answers_make_no_mean() -> None:
    metrics = judge(ALL[TRAINED], *images([20, 5, 5, 30, 5, 25, 40, 12])).metrics
    assert [name for name in metrics if "unseen" in name] == ["unseen_minterm_accuracy"]
