"""Query images: `python -m src.retrieve ckpt_path=... query="even & ~prime"`."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from src.config.command import check_device, command
from src.data.gallery import Gallery
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.reports.figures.retrieval import retrieval_figure
from src.runs.load import load_checkpoint
from src.search.images import (
    Images,
    check_same_images,
    check_same_literals,
    check_top_k,
    describe,
    model_name,
    open_folder,
    open_split,
    rank,
    read_query,
)
from src.subspaces.propositions import Proposition

DRAWN_QUERIES, DRAWN_IMAGES = 10, 10


class Answers(NamedTuple):
    """What a model answers to all queries."""

    model: str
    queries: list[Proposition]  # (Q,)
    images: Images
    scores: Tensor  # (k, Q)
    best: Tensor  # (k, Q), positions of the images
    rows: list[list[dict[str, Any]]]  # (Q, k), as they are written


def retrieve(config: DictConfig) -> None:
    """Rank images by propositions; print the best, draw them and write them down."""
    check_top_k(config.top_k)
    check_device(config.device)
    texts = read_queries(config)
    paths = [config.ckpt_path] if config.beside is None else [config.ckpt_path, config.beside]
    loaded = {path: load_checkpoint(path, config.data_dir)[1:] for path in paths}
    check_same_literals({path: module for path, (_, module) in loaded.items()})
    names = {path: model_name(module) for path, (_, module) in loaded.items()}
    if len(set(names.values())) < len(names):
        names = {path: f"{name}, {path}" for path, name in names.items()}
    answers = [answer(config, path, names[path], texts, *loaded[path]) for path in loaded]
    place = f"{config.split} split"
    check_same_images(place, answers[0].images, paths[0], answers[-1].images, paths[-1])

    console = Console()
    rows = []
    for query in range(len(texts)):
        for model in answers:
            title = f"{texts[query]}    {model.model}"
            console.print(print_table(title, model.rows[query]))
            rows += model.rows[query]
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write(output_dir, rows)
    draw(output_dir / "retrieval.png", answers)
    console.print(f"written to {output_dir}: retrieval.png, .csv, .json", soft_wrap=True)


@torch.inference_mode()
def answer(
    config: DictConfig,
    path: str,
    name: str,
    texts: Sequence[str],
    data: ImageDataModule,
    module: SubspaceModule,
) -> Answers:
    """Rank the images of a config by all queries under one model."""
    queries = [read_query(text, module) for text in texts]
    images = open_images(config, path, data, module.to(config.device))
    module = module.cpu()
    scores, best = rank(queries, images, module, config.top_k)
    rows = [
        [
            {"model": name} | row
            for row in describe(query, images, module, best[:, column], scores[:, column])
        ]
        for column, query in enumerate(queries)
    ]
    return Answers(name, queries, images, scores, best, rows)


def read_queries(config: DictConfig) -> list[str]:
    """The query, or those of a file, one a line."""
    if (config.query is None) == (config.queries is None):
        raise ValueError('give either query="..." or queries=FILE with one query a line')
    if config.queries is None:
        return [str(config.query)]
    lines = Path(config.queries).read_text().splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{config.queries} holds no query")
    return texts


def open_images(
    config: DictConfig, path: str, data: ImageDataModule, module: SubspaceModule
) -> Images:
    """Embed the folder of the config, or else the split of the data set."""
    if config.gallery is not None:
        gallery = Gallery(Path(config.gallery), data.image_set)
        return open_folder(gallery, module, Path(config.cache_dir), Path(path))
    return open_split(data, config.split, module)


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of a query for a terminal."""
    table = Table(title=escape(title), title_justify="left")
    headings = [key for key in rows[0] if key not in ("model", "query") and key[:2] != "p("]
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[heading]) for heading in headings))
    return table


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write all rows as CSV and JSON."""
    with (folder / "retrieval.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "retrieval.json").write_text(json.dumps(list(rows), indent=2) + "\n")


def draw(path: Path, answers: Sequence[Answers]) -> None:
    """Pictures of the first queries and their best images; wrong ones, if known, are crossed."""
    titles, captions, pixels, ranks, hits = [], [], [], [], []
    for column in range(min(DRAWN_QUERIES, len(answers[0].queries))):
        for model in answers:
            query, chosen = model.queries[column], model.best[:DRAWN_IMAGES, column]
            answered = [row.get("answers") for row in model.rows[column][: len(chosen)]]
            known = model.images.labels is not None
            caption = [f"{sum(map(bool, answered))} of {len(chosen)} right"] if known else []
            titles.append(query.text)
            captions.append("    ".join([*caption, *([model.model] if len(answers) > 1 else [])]))
            pixels.append(model.images.pixels(chosen))
            ranks.append(range(1, len(chosen) + 1))
            hits.append([answer is not False for answer in answered])
    retrieval_figure(titles, captions, pixels, ranks, hits).savefig(path, dpi=130)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "[red]no[/red]"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


main = command("retrieve", text_keys=["ckpt_path", "beside", "query", "queries", "gallery"])(
    retrieve
)

if __name__ == "__main__":
    main()
