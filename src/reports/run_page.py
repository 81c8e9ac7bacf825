"""The page of a run: what it found, under which conditions, with its pictures inside."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from src.config.groups import PARTS
from src.metrics import names
from src.metrics.evaluation import QueryResult
from src.metrics.retrieval import TOP_K
from src.reports import pages

SHOWN_QUERIES = 6
CONJUNCTIONS = (names.POSITIVE, names.NEGATED)
PICTURES = {
    "retrieval": (
        "Retrieved",
        "The best of the test split for each proposition with their ranks, and after them the "
        "first one further down that does not answer. Images that do not answer are crossed in "
        "red, and texts are red.",
    ),
    "spectrum": (
        "Spectrum",
        "Singular values of the embeddings of a training batch, over training and after the last "
        "epoch. Dashed: where the closed-form optimum of the loss has them; all others are 0 "
        "there.",
    ),
    "coherence": (
        "Minterms",
        "Squared cosines between the directions of minterms: 0 off the diagonal where every "
        "minterm has a direction of its own. A minterm is named by its true literals; those that "
        "are not named are false. Columns have the numbers of rows.",
    ),
    "reliability": (
        "Calibration",
        "How often what is given a probability is true, for literals and for all queries: on the "
        "diagonal where probabilities are right. The error is the mean distance from it, each bin "
        "weighted by what it holds. Below, how many literals or queries of images are in each bin; "
        "points of few say little.",
    ),
}


def write_run_page(
    folder: Path,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    queries: Sequence[QueryResult],
) -> Path:
    """Write the page of a run, with the pictures that lie beside it.

    Args:
        folder: The folder of the page and the pictures.
        config: The resolved config of the model.
        metrics: The content of metrics.json.
        queries: The results of every query of the test; empty without a test.

    Returns:
        The path of the page.
    """
    stage = "test" if any(key.startswith("test/") for key in metrics) else "val"
    sections: list[pages.Section] = [
        pages.Heading(f"Results, {'test' if stage == 'test' else 'validation'} split"),
        *_results(metrics, stage),
    ]
    for name, (heading, caption) in PICTURES.items():
        picture = folder / f"{name}.png"
        if picture.exists():
            sections += [pages.Heading(heading), pages.Picture(picture, caption)]
    if queries:
        sections += [pages.Heading("Queries"), *_queries(queries)]
    sections += [pages.Heading("Conditions"), *_conditions(metrics, config)]
    page = folder / "index.html"
    subtitle = (
        f"{metrics['run/data']} · {_class(config['loss'])} · {_class(config['encoder'])} · "
        f"protocol {metrics['run/protocol']} · seed {metrics['run/seed']}"
    )
    pages.write_page(page, config["name"], sections, subtitle)
    return page


def _results(metrics: Mapping[str, Any], stage: str) -> list[pages.Section]:
    main = names.main_columns(stage)
    on_test = metrics.get(names.CALIBRATED_ON) == "test"

    def mark(said: str, name: str) -> str:
        marked = on_test and names.is_calibrated(name, metrics["run/score"])
        return f"{said} {names.MARK}" if marked else said

    facts = {
        mark(heading, key.removeprefix(f"{stage}/")): metrics[key]
        for key, heading in main.items()
        if key in metrics
    }
    groups = names.query_groups(metrics, stage)

    def measured(measure: str, group: str, source: str = names.RETRIEVAL) -> float:
        return metrics[f"{stage}/{names.retrieval_name(measure, group, source)}"]

    by_score = [
        (
            mark(score, names.score_source(score)),
            *(measured(names.MAP, group, source) for group in groups),
            *(measured(names.PRECISION, group, source) for group in CONJUNCTIONS),
        )
        for score, source in names.retrieval_sources(metrics, stage).items()
    ]
    columns = [
        "score",
        *(f"mAP {name}" for name in groups.values()),
        *(f"P@{TOP_K} {group}" for group in CONJUNCTIONS),
    ]
    counts = [
        f"{name}: {measured(names.QUERIES, group):.0f} ({measured(names.SKIPPED, group):.0f})"
        for group, name in groups.items()
    ]
    note = (
        f"Queries scored (in brackets: left out, fewer than {TOP_K} positives): "
        f"{', '.join(counts)}. The first score is the one that the run was asked for."
    )
    if on_test:
        note = f"{names.ON_TEST} {note}"
    return [pages.Facts(facts), pages.PageTable(columns, by_score), pages.Text(note)]


def _queries(rows: Sequence[QueryResult]) -> list[pages.Section]:
    columns = ("query", "depth", "negated", "positives", "average precision", f"P@{TOP_K}")
    counted = [row for row in rows if row.positives >= TOP_K]
    # Among equals the rarer is the harder.
    counted.sort(key=lambda row: (-row.average_precision, row.positives))
    return [
        pages.PageTable(columns, counted[: -SHOWN_QUERIES - 1 : -1], "The worst"),
        pages.PageTable(columns, counted[:SHOWN_QUERIES], "The best"),
        pages.PageTable(columns, rows, folded=f"All {len(rows):,} queries, as asked"),
    ]


def _conditions(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> list[pages.Section]:
    run = {key.removeprefix("run/"): value for key, value in metrics.items() if "run/" in key}
    versions = [
        f"{key.removeprefix('version/')} {value}"
        for key, value in run.items()
        if key.startswith("version/")
    ]
    conditions = {
        "data": f"{run['data']}, a test split of {run['test_images']:,}",
        "protocol": run["protocol"],
        "seed": str(run["seed"]),
        "epochs": str(run.get("epochs", "")),
        "checkpoint": run.get("checkpoint", ""),
        "commit": run["commit"],
        "hardware": run["hardware"],
        "versions": ", ".join([f"Python {run['python']}", *versions]),
    }
    parts = [(name, _describe(config[name])) for name in PARTS]
    yaml = OmegaConf.to_yaml(OmegaConf.create(dict(config)))
    return [
        pages.PageTable((), [(name, value) for name, value in conditions.items() if value]),
        pages.PageTable((), parts),
        pages.Listing("The whole config", yaml),
    ]


def _class(part: Mapping[str, Any]) -> str:
    return str(part["_target_"]).rpartition(".")[2]


def _describe(part: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in part.items() if not key.startswith("_")}
    settings = ", ".join(f"{key}={json.dumps(value)}" for key, value in plain.items())
    return f"{_class(part)}({settings})"
