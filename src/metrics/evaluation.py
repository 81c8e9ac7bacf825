"""Everything that is measured on a split, from embeddings and labels alone."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from src.metrics import names
from src.metrics.calibration import Reliability, reliability
from src.metrics.retrieval import (
    TOP_K,
    RetrievalResults,
    average_precision,
    evaluate_retrieval,
    top_k,
)
from src.readouts.readout import Readout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.minterms import find_minterms
from src.subspaces.projectors import (
    literal_projectors,
    max_coherence,
    max_commutator,
    semantic_coherence,
)
from src.subspaces.propositions import Proposition, truth_table
from src.subspaces.queries import Queries


class Ranking(NamedTuple):
    """All images in the order of their scores for one query."""

    query: Proposition
    positions: Tensor  # (N,), rows of the embeddings, best first
    relevant: Tensor  # (N,), bool, whether each answers the query


class QueryResult(NamedTuple):
    """A row of the table of queries."""

    query: str
    depth: int
    negated: bool
    positives: int
    average_precision: float
    precision_at_10: float


class Evaluation(NamedTuple):
    """The results on a split."""

    metrics: dict[str, float]
    queries: Queries
    retrieval: RetrievalResults  # of the queries
    # Curves of literals and of propositions, then by p(q | x) and calibrated
    reliability: dict[str, dict[str, Reliability]]
    examples: list[Ranking]

    @property
    def rows(self) -> list[QueryResult]:
        """The results of every query."""
        measured = (
            self.retrieval.positives,
            self.retrieval.average_precision,
            self.retrieval.precision_at_k,
        )
        return [
            QueryResult(query.text, *values)
            for query, *values in zip(
                self.queries.propositions,
                self.queries.depths,
                self.queries.negated,
                *(values.tolist() for values in measured),
                strict=True,
            )
        ]


def evaluate(
    readout: Readout,
    beside: Sequence[Readout],
    subspaces: MintermSubspaces | None,
    embeddings: Tensor,
    labels: Tensor,
    queries: Queries,
    score: str,
    examples: Sequence[Proposition] = (),
) -> Evaluation:
    """Measure how well a readout answers for embeddings.

    Args:
        readout: Fitted and calibrated.
        beside: Other readouts, fitted and calibrated on the same embeddings, to be measured too,
            each by its first score.
        subspaces: The one of them whose geometry is measured; None where there are too many
            minterms for subspaces.
        embeddings: (N, D).
        labels: (N, C).
        queries: Propositions over the C literals.
        score: The score that ranks, one of the readout's `score_kinds`; the others are measured,
            too.
        examples: Propositions to rank all images by, for a picture.
    """
    propositions = queries.propositions
    relevance = truth_table(propositions, labels)
    groups = _groups(queries, relevance)

    def retrieve(source: str, scores: Tensor) -> tuple[RetrievalResults, dict[str, float]]:
        results = evaluate_retrieval(scores, relevance, TOP_K)
        return results, {
            names.retrieval_name(measure, group, source): value
            for group, mask in groups.items()
            for measure, value in results.summarize(mask.to(scores.device), TOP_K).items()
        }

    retrieval, of_retrieval = retrieve(
        names.RETRIEVAL, readout.score(embeddings, propositions, score)
    )
    calibrated = score == names.CALIBRATED
    named = propositions[0].literals
    curves = {
        names.LITERALS: _reliability(
            readout, embeddings, [Proposition(name, named) for name in named], labels
        ),
        names.PROPOSITIONS: _reliability(readout, embeddings, propositions, relevance),
    }
    shown = find_minterms(labels, queries.minterms.to(labels.device)) >= 0
    metrics = {
        **_accuracies(readout.predict(embeddings, calibrated), labels, shown),
        names.CALIBRATED_ACCURACY: accuracy(readout.predict(embeddings, True), labels),
        names.LITERAL_AUPRC: literal_auprc(readout, embeddings, labels, calibrated),
        **({} if subspaces is None else _geometry(subspaces)),
        **{
            names.calibration_name(kind, asked): curve.expected_error()
            for asked, kinds in curves.items()
            for kind, curve in kinds.items()
        },
        **of_retrieval,
    }
    for kind in readout.score_kinds:
        if kind != score:
            scores = readout.score(embeddings, propositions, kind)
            metrics |= retrieve(names.score_source(kind), scores)[1]
    for other in beside:
        kind = other.score_kinds[0]
        scores = other.score(embeddings, propositions, kind)
        metrics |= retrieve(other.name, scores)[1]
        calibrated = kind == names.CALIBRATED
        measured = {
            **_accuracies(other.predict(embeddings, calibrated), labels, shown),
            names.LITERAL_AUPRC: literal_auprc(other, embeddings, labels, calibrated),
        }
        metrics |= {names.beside_name(name, other.name): value for name, value in measured.items()}
    rankings = [_rank(readout, embeddings, labels, example, score) for example in examples]
    return Evaluation(metrics, queries, retrieval, curves, rankings)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of images whose every literal is right, of predictions and labels, (N, C)."""
    return float((predicted == labels).all(dim=1).double().mean())


def literal_auprc(readout: Readout, embeddings: Tensor, labels: Tensor, calibrated: bool) -> float:
    """Mean over literals of the average precision of their probabilities."""
    literals = readout.literal_probabilities(embeddings, calibrated)
    return float(average_precision(literals, labels).nanmean())


def _groups(queries: Queries, relevance: Tensor) -> dict[str, Tensor]:
    """The groups of queries, (Q,) each, without the unseen ones where none of them counts: as where
    the training split has all minterms that occur.
    """
    counted = (relevance.sum(dim=0) >= TOP_K).cpu()
    return {
        group: mask
        for group, mask in queries.groups.items()
        if group != names.UNSEEN or (mask & counted).any()
    }


def _accuracies(predicted: Tensor, labels: Tensor, shown: Tensor) -> dict[str, float]:
    """The accuracy of predictions, (N, C); and, where there are both, that on images whose minterm
    the training split shows, (N,), and on the others.
    """
    accuracies = {names.MINTERM_ACCURACY: accuracy(predicted, labels)}
    if shown.any() and not shown.all():
        accuracies[names.SEEN_ACCURACY] = accuracy(predicted[shown], labels[shown])
        accuracies[names.UNSEEN_ACCURACY] = accuracy(predicted[~shown], labels[~shown])
    return accuracies


def _geometry(subspaces: MintermSubspaces) -> dict[str, float]:
    """Measure how far minterms are from a Boolean lattice of orthogonal subspaces."""
    directions, minterms = subspaces.directions, subspaces.minterms
    return {
        names.MAX_COHERENCE: max_coherence(directions),
        names.SEMANTIC_COHERENCE: semantic_coherence(directions, minterms),
        names.MAX_COMMUTATOR: max_commutator(literal_projectors(directions, minterms)),
        names.NUM_MINTERMS: float(len(minterms)),
    }


def _reliability(
    readout: Readout, embeddings: Tensor, propositions: Sequence[Proposition], truth: Tensor
) -> dict[str, Reliability]:
    return {
        kind: reliability(readout.score(embeddings, propositions, kind), truth)
        for kind in (names.PROBABILITY, names.CALIBRATED)
    }


def _rank(
    readout: Readout, embeddings: Tensor, labels: Tensor, query: Proposition, score: str
) -> Ranking:
    scores = readout.score(embeddings, [query], score)
    positions = top_k(scores, len(scores))[:, 0]
    return Ranking(query, positions, query.holds(labels)[positions])
