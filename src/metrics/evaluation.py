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
from src.readouts.readout import PROBABILITIES, Readout
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
    subspaces: MintermSubspaces | None,
    embeddings: Tensor,
    labels: Tensor,
    queries: Queries,
    score: str,
    every_score: bool,
    examples: Sequence[Proposition] = (),
) -> Evaluation:
    """Measure how well a readout answers for embeddings.

    Args:
        readout: Fitted and calibrated.
        subspaces: Fitted on the same embeddings; the same object where they are the readout; None
            where there are too many minterms for them.
        embeddings: (N, D).
        labels: (N, C).
        queries: Propositions over the C literals.
        score: The score that ranks, one of the readout's `score_kinds`.
        every_score: Whether to measure the readout's other scores as well, and the subspaces where
            they are not the readout.
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
    literals = readout.literal_probabilities(embeddings)
    named = propositions[0].literals
    curves = {
        names.LITERALS: _reliability(
            readout, embeddings, [Proposition(name, named) for name in named], labels
        ),
        names.PROPOSITIONS: _reliability(readout, embeddings, propositions, relevance),
    }
    predicted = readout.predict(embeddings)
    metrics = {
        names.MINTERM_ACCURACY: accuracy(predicted, labels),
        **_accuracy_by_novelty(predicted, labels, queries.minterms.to(labels.device)),
        names.CALIBRATED_ACCURACY: accuracy(readout.predict(embeddings, True), labels),
        names.LITERAL_AUPRC: float(average_precision(literals, labels).nanmean()),
        **({} if subspaces is None else _geometry(subspaces)),
        **{
            names.calibration_name(kind, asked): curve.expected_error()
            for asked, kinds in curves.items()
            for kind, curve in kinds.items()
        },
        **of_retrieval,
    }
    if every_score:
        for kind in readout.score_kinds:
            if kind != score:
                scores = readout.score(embeddings, propositions, kind)
                metrics |= retrieve(names.score_source(kind), scores)[1]
        if subspaces is not None and readout is not subspaces:
            scores = subspaces.score(embeddings, propositions, subspaces.score_kinds[0])
            metrics |= retrieve(names.SUBSPACES, scores)[1]
            metrics[names.SUBSPACES_ACCURACY] = accuracy(subspaces.predict(embeddings), labels)
    rankings = [_rank(readout, embeddings, labels, example, score) for example in examples]
    return Evaluation(metrics, queries, retrieval, curves, rankings)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of images whose every literal is right, of predictions and labels, (N, C)."""
    return float((predicted == labels).all(dim=1).double().mean())


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


def _accuracy_by_novelty(predicted: Tensor, labels: Tensor, minterms: Tensor) -> dict[str, float]:
    """The accuracy on images whose minterm is among those of the training split, (M, C), and on
    those whose minterm is not, if there are both.
    """
    seen = find_minterms(labels, minterms) >= 0
    if seen.all() or not seen.any():
        return {}
    return {
        names.SEEN_ACCURACY: accuracy(predicted[seen], labels[seen]),
        names.UNSEEN_ACCURACY: accuracy(predicted[~seen], labels[~seen]),
    }


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
    as_defined, calibrated = PROBABILITIES
    probabilities = readout.proposition_probabilities
    return {
        as_defined: reliability(probabilities(embeddings, propositions), truth),
        calibrated: reliability(probabilities(embeddings, propositions, calibrated=True), truth),
    }


def _rank(
    readout: Readout, embeddings: Tensor, labels: Tensor, query: Proposition, score: str
) -> Ranking:
    scores = readout.score(embeddings, [query], score)
    positions = top_k(scores, len(scores))[:, 0]
    return Ranking(query, positions, query.holds(labels)[positions])
