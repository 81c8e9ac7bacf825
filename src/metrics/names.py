"""The names of metrics and the headings that tables give them, as plain strings.

A metric is logged as `STAGE/NAME`, with the stage `train`, `val` or `test`. Names of retrieval have
parts: `retrieval/map_negated` is the mean average precision (`map`) of queries with negation by the
score that a run was asked for, `retrieval_projector/map_negated` the same by another score, and
`discriminant/map_negated` the same by a readout beside that of the run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

MINTERM_ACCURACY = "minterm_accuracy"
CALIBRATED_ACCURACY = "calibrated_minterm_accuracy"
SEEN_ACCURACY = "seen_minterm_accuracy"  # of images whose minterm the training split has
UNSEEN_ACCURACY = "unseen_minterm_accuracy"  # of the others
LITERAL_AUPRC = "literal_auprc"

RETRIEVAL = "retrieval"
# Readouts that answer beside that of a run, with what headings call them
DISCRIMINANT = "discriminant"
BESIDE = {
    "subspaces": "subspaces",
    DISCRIMINANT: "discriminants",
    "literal_discriminants": "literal discriminants",
}
MAP, PRECISION = "map", "precision_at_10"
QUERIES, SKIPPED = "queries", "queries_skipped"
# Groups of queries; DEPTH and a number
POSITIVE, NEGATED, UNSEEN, DEPTH = "positive", "negated", "unseen", "depth_"
RETRIEVAL_TABLE = "retrieval_table"  # every query, in W&B
MEASURE_HEADINGS = {MAP: "mAP", PRECISION: "P@10"}

CALIBRATION = "calibration"
PROBABILITY, CALIBRATED = "probability", "calibrated"
LITERALS, PROPOSITIONS = "literals", "propositions"
CALIBRATED_ON = "run/calibrated_on"  # the split, `test` or `validation`
MARK = "†"
ON_TEST = (
    f"{MARK} Calibrated on the test images themselves, since validation is the test split there: "
    "calibrated accuracies, scores and errors, and what discriminants say, flatter the run."
)

SPECTRAL = "spectral"
MAX_COHERENCE = f"{SPECTRAL}/max_coherence"
SEMANTIC_COHERENCE = f"{SPECTRAL}/semantic_coherence"
MAX_COMMUTATOR = f"{SPECTRAL}/max_commutator"
NUM_MINTERMS = f"{SPECTRAL}/minterms"
OPTIMALITY_GAP = f"{SPECTRAL}/optimality_gap"
RELATIVE_GAP = f"{SPECTRAL}/relative_gap"
EFFECTIVE_RANK = f"{SPECTRAL}/effective_rank"
SINGULAR_VALUES = f"{SPECTRAL}/singular_values"
OPTIMAL_VALUES = f"{SPECTRAL}/optimal_values"

BATCH = "batch"  # of the last training batch
BATCH_GAP = f"{BATCH}/optimality_gap"
BATCH_RANK = f"{BATCH}/label_rank"
BATCH_MINTERMS = f"{BATCH}/minterms"

PROBE = "probe"
LINEAR_ACCURACY = f"{PROBE}/linear_accuracy"
LINEAR_CONVERGED = f"{PROBE}/linear_converged"
KNN_ACCURACY = f"{PROBE}/knn_accuracy"
PROBE_RANK = f"{PROBE}/effective_rank"


def retrieval_name(measure: str, group: str = "", source: str = RETRIEVAL) -> str:
    """The name of a measure of retrieval.

    Args:
        measure: `MAP`, `PRECISION`, `QUERIES` or `SKIPPED`.
        group: The queries that it is of; none for all conjunctions.
        source: The part that answers: `RETRIEVAL`, one of `BESIDE` or a `score_source`.
    """
    return f"{source}/{measure}_{group}" if group else f"{source}/{measure}"


def beside_name(measure: str, readout: str) -> str:
    """The name of an accuracy or of `LITERAL_AUPRC`, of a readout beside that of a run."""
    return f"{readout}/{measure}"


def score_source(kind: str) -> str:
    """The source of retrieval by another score than the one that a run was asked for."""
    return f"{RETRIEVAL}_{kind}"


def is_calibrated(name: str, score: str) -> bool:
    """Whether calibration has a say in a metric.

    Args:
        name: The metric, without its stage.
        score: The score that the run was asked for.
    """
    source = name.partition("/")[0]
    by_score = {MINTERM_ACCURACY, SEEN_ACCURACY, UNSEEN_ACCURACY, LITERAL_AUPRC}
    return (
        name == CALIBRATED_ACCURACY
        or source in BESIDE.keys() - {"subspaces"}
        or source == score_source(CALIBRATED)
        or name.startswith(f"{CALIBRATION}/{CALIBRATED}")
        or (score == CALIBRATED and (name in by_score or source == RETRIEVAL))
    )


def calibration_name(kind: str, asked: str) -> str:
    """The name of an expected calibration error.

    Args:
        kind: `PROBABILITY` or `CALIBRATED`.
        asked: `LITERALS` or `PROPOSITIONS`.
    """
    return f"{CALIBRATION}/{kind}_of_{asked}"


def singular_value_name(index: int, optimal: bool = False) -> str:
    """The name of a singular value, counted from 1, measured or at the optimum."""
    return f"{SPECTRAL}/{'optimal_' if optimal else ''}s_{index:02d}"


MAIN_HEADINGS = {
    MINTERM_ACCURACY: "minterm accuracy",
    CALIBRATED_ACCURACY: "calibrated accuracy",
    SEEN_ACCURACY: "accuracy on seen minterms",
    UNSEEN_ACCURACY: "accuracy on unseen minterms",
    LITERAL_AUPRC: "literal AUPRC",
    LINEAR_ACCURACY: "linear probe",
    KNN_ACCURACY: "kNN",
    PROBE_RANK: "effective rank",
    retrieval_name(MAP, POSITIVE): "mAP positive",
    retrieval_name(MAP, NEGATED): "mAP negated",
    retrieval_name(MAP, UNSEEN): "mAP unseen",
    retrieval_name(PRECISION, POSITIVE): "P@10 positive",
    retrieval_name(PRECISION, NEGATED): "P@10 negated",
    **{
        name: f"{heading} by {said}"
        for readout, said in BESIDE.items()
        for name, heading in (
            (beside_name(MINTERM_ACCURACY, readout), "accuracy"),
            (beside_name(UNSEEN_ACCURACY, readout), "accuracy on unseen minterms"),
            (beside_name(LITERAL_AUPRC, readout), "literal AUPRC"),
            *(
                (retrieval_name(MAP, group, readout), f"mAP {group}")
                for group in (POSITIVE, NEGATED, UNSEEN)
            ),
        )
    },
    calibration_name(PROBABILITY, PROPOSITIONS): "calibration error",
    calibration_name(CALIBRATED, PROPOSITIONS): "after calibration",
    MAX_COHERENCE: "largest coherence",
    SEMANTIC_COHERENCE: "semantic coherence",
    OPTIMALITY_GAP: "optimality gap",
    RELATIVE_GAP: "gap, share of the optimum",
}


def main_columns(stage: str) -> dict[str, str]:
    """The metrics of a stage that tables show, from keys to headings."""
    return {f"{stage}/{name}": heading for name, heading in MAIN_HEADINGS.items()}


def retrieval_sources(metrics: Mapping[str, Any], stage: str) -> dict[str, str]:
    """The scores that a run was tested with, the one that it was asked for first.

    Args:
        metrics: The metrics of the run, with its own keys.
        stage: The stage to look at.

    Returns:
        The `source` of each score, by its name.
    """
    start = f"{stage}/{score_source('')}"
    others = (key.removeprefix(start).partition("/")[0] for key in metrics if key.startswith(start))
    return {metrics["run/score"]: RETRIEVAL} | {kind: score_source(kind) for kind in others}


def query_groups(keys: Iterable[str], stage: str) -> dict[str, str]:
    """The groups of queries that runs were asked, with what headings call them.

    Args:
        keys: The keys of the metrics of all runs.
        stage: The stage to look at.
    """
    keys = set(keys)
    unseen = {f"{stage}/{retrieval_name(QUERIES, UNSEEN)}"} & keys
    prefix = f"{stage}/{retrieval_name(QUERIES, DEPTH)}"
    depths = {int(key.removeprefix(prefix)) for key in keys if key.startswith(prefix)}
    groups = [POSITIVE, NEGATED, *[UNSEEN] * len(unseen)]
    groups += [f"{DEPTH}{depth}" for depth in sorted(depths)]
    return {group: group.replace("_", " ") for group in groups}


# The four that say the most, of a stage
HEADLINES = (
    *(MINTERM_ACCURACY, LITERAL_AUPRC),
    *(retrieval_name(MAP, POSITIVE), retrieval_name(MAP, NEGATED)),
)


def smaller_is_better(key: str) -> bool:
    """Whether the smaller of two values of a metric is the better one: a loss or gap, an error of
    calibration, the coherence of minterms or a commutator.
    """
    name = key.partition("/")[2]
    small = ("loss", "_gap", MAX_COHERENCE, MAX_COMMUTATOR)
    return name.startswith(f"{CALIBRATION}/") or name.endswith(small)
