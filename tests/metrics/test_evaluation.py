"""What is measured of a split, against loops over hand-made logits."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from src.metrics import names
from src.metrics.evaluation import Evaluation, evaluate
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.propositions import Proposition
from src.subspaces.queries import Queries, make_queries

LITERALS = ("a", "b", "c")
ALL = torch.tensor(list(product((False, True), repeat=3)))
TRAINED = [0, 3, 5, 6, 7]  # rows that the training split has


def judge(minterms: Tensor, labels: Tensor, logits: Tensor) -> Evaluation:
    """Evaluate logits of literals for a training split that has these minterms."""
    subspaces = MintermSubspaces(minterms, 3)
    subspaces.update(minterms.float() + 0.1, minterms)
    subspaces.fit()
    readout = SigmoidReadout(LITERALS)
    queries = asked(minterms)
    return evaluate(readout, [subspaces], subspaces, logits, labels, queries, "probability")


def asked(minterms: Tensor) -> Queries:
    return make_queries(LITERALS, minterms, 3, max_depth=1, queries_per_depth=0)


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
    assert metrics["subspaces/unseen_minterm_accuracy"] == 0  # their table lacks these minterms


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
    unseen = {name for name in metrics if "unseen" in name}
    assert unseen == {"unseen_minterm_accuracy", "subspaces/unseen_minterm_accuracy"}


# Readouts and scores


def readout_of(name: str, embeddings: Tensor, labels: Tensor) -> Readout:
    """A readout that is fitted to every second image and calibrated on the others."""
    dim = embeddings.shape[1]
    makers: dict[str, Callable[[], Readout]] = {
        "sigmoid": lambda: SigmoidReadout(LITERALS),
        "subspaces": lambda: MintermSubspaces(ALL, dim),
        "discriminant": lambda: DiscriminantReadout(ALL, dim, "additive", None),
        "literal_discriminants": lambda: LiteralDiscriminants(LITERALS, dim, None),
    }
    readout = makers[name]()
    readout.update(embeddings[::2], labels[::2])
    readout.fit()
    readout.calibrate(embeddings[1::2], labels[1::2])
    return readout


def mean_precision(scores: Tensor, labels: Tensor, negated: bool) -> float:
    """mAP of conjunctions with ten answers or more, with or without a negation."""
    precisions = []
    for query, score in zip(asked(ALL).propositions, scores.T, strict=True):
        answers = [is_true(query, row) for row in labels.tolist()]
        if ("~" in query.text) == negated and sum(answers) >= 10:
            precisions.append(average_precision_score(answers, score.numpy()))
    return float(np.mean(precisions))


def is_true(conjunction: Proposition, row: list[bool]) -> bool:
    parts = conjunction.text.split(" & ")
    return all(row[LITERALS.index(part.lstrip("~"))] != part.startswith("~") for part in parts)


@pytest.mark.parametrize("name", ["subspaces", "discriminant", "literal_discriminants"])
def test_a_readout_beside_is_measured_by_its_first_score(name: str) -> None:
    labels, embeddings = images([20, 14, 13, 30, 11, 25, 40, 12])
    readout, beside = (readout_of(each, embeddings, labels) for each in ("sigmoid", name))
    metrics = evaluate(
        readout, [beside], None, embeddings, labels, asked(ALL), "calibrated"
    ).metrics
    kind = "sum" if name == "subspaces" else "calibrated"
    scores = beside.score(embeddings, asked(ALL).propositions, kind)
    for group in ("positive", "negated"):
        expected = mean_precision(scores, labels, group == "negated")
        assert metrics[f"{name}/map_{group}"] == pytest.approx(expected)
    calibrated = kind == "calibrated"
    right = (beside.predict(embeddings, calibrated) == labels).all(dim=1).double()
    assert metrics[f"{name}/minterm_accuracy"] == pytest.approx(float(right.mean()))
    literals = beside.literal_probabilities(embeddings, calibrated).numpy()
    auprc = average_precision_score(labels.numpy(), literals, average="macro")
    assert metrics[f"{name}/literal_auprc"] == pytest.approx(auprc)
    # The same readout by itself says the same.
    alone = evaluate(beside, [], None, embeddings, labels, asked(ALL), kind).metrics
    found = {key: value for key, value in metrics.items() if key.startswith(f"{name}/")}
    of_retrieval = {key for key in alone if key.startswith("retrieval/")}
    assert found == {
        f"{name}/{key.removeprefix('retrieval/')}": alone[key]
        for key in (*of_retrieval, "minterm_accuracy", "literal_auprc")
    }


@pytest.mark.parametrize("name", ["sigmoid", "subspaces", "discriminant"])
def test_every_score_of_the_readout_is_measured(name: str) -> None:
    labels, embeddings = images([20, 14, 13, 30, 11, 25, 40, 12])
    if name != "sigmoid":  # or spans of three directions are the whole space
        embeddings = torch.cat([embeddings, torch.randn(len(labels), 9)], dim=1)
    readout = readout_of(name, embeddings, labels)
    for first in readout.score_kinds:
        metrics = evaluate(readout, [], None, embeddings, labels, asked(ALL), first).metrics
        for kind in readout.score_kinds:
            source = "retrieval" if kind == first else f"retrieval_{kind}"
            scores = readout.score(embeddings, asked(ALL).propositions, kind)
            expected = mean_precision(scores, labels, negated=True)
            assert metrics[f"{source}/map_negated"] == pytest.approx(expected)
        assert not [key for key in metrics if key.partition("/")[0] in names.BESIDE]


def test_predictions_are_calibrated_where_the_score_is() -> None:
    labels, embeddings = images([20, 14, 13, 30, 11, 25, 40, 12])
    readout = SigmoidReadout(LITERALS)
    readout.calibrate(embeddings + 1, labels)
    plain, calibrated = (
        evaluate(readout, [], None, embeddings + 1, labels, asked(ALL), score).metrics
        for score in ("probability", "calibrated")
    )
    right = ((embeddings + 1 > 0) == labels).all(dim=1).double().mean()
    assert plain["minterm_accuracy"] == pytest.approx(float(right))
    assert plain["minterm_accuracy"] < calibrated["minterm_accuracy"] - 0.05
    for metrics in (plain, calibrated):
        expected = calibrated["minterm_accuracy"]
        assert metrics["calibrated_minterm_accuracy"] == expected
