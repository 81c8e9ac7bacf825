"""Query images: `python -m src.retrieve ckpt_path=... query="even & ~prime"`."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from src.checkpoints import load_checkpoint
from src.cli import check_device, command
from src.data.gallery import Gallery
from src.figures import retrieval_figure
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.search import Images, check_top_k, describe, open_folder, open_split, rank, read_query
from src.subspaces.propositions import Proposition

DRAWN_QUERIES, DRAWN_IMAGES = 10, 10


@torch.inference_mode()
def retrieve(config: DictConfig) -> None:
    """Rank images by propositions; print the best, draw them and write them down."""
    check_top_k(config.top_k)
    check_device(config.device)
    _, data, module = load_checkpoint(config.ckpt_path, config.data_dir)
    module = module.to(config.device)
    queries = [read_query(text, module) for text in read_queries(config)]
    images = open_images(config, data, module)
    module = module.cpu()

    scores, best = rank(queries, images, module, config.top_k)
    console = Console()
    rows = []
    for column, query in enumerate(queries):
        found = describe(query, images, module, best[:, column], scores[:, column])
        rows += found
        console.print(print_table(query, found))
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write(output_dir, rows)
    draw(output_dir / "retrieval.png", queries, images, best)
    console.print(f"written to {output_dir}: retrieval.png, .csv, .json", soft_wrap=True)


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


def open_images(config: DictConfig, data: ImageDataModule, module: SubspaceModule) -> Images:
    """Embed the folder of the config, or else the split of the data set."""
    if config.gallery is not None:
        gallery = Gallery(Path(config.gallery), data.image_set)
        return open_folder(gallery, module, Path(config.cache_dir), Path(config.ckpt_path))
    return open_split(data, config.split, module)


def print_table(query: Proposition, rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of a query for a terminal."""
    table = Table(title=escape(query.text), title_justify="left")
    headings = [key for key in rows[0] if key != "query" and not key.startswith("p(")]
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


def draw(path: Path, queries: Sequence[Proposition], images: Images, best: Tensor) -> None:
    """Pictures of the first queries and their best images; wrong ones, if known, are crossed."""
    queries, best = queries[:DRAWN_QUERIES], best[:DRAWN_IMAGES, :DRAWN_QUERIES]
    captions, hits = [], []
    for query, chosen in zip(queries, best.T, strict=True):
        if images.labels is None:
            captions.append("")
            hits.append([True] * len(chosen))
            continue
        hits.append(query.holds(images.labels[chosen]).tolist())
        captions.append(f"{sum(hits[-1])} of {len(chosen)} right")
    texts = [query.text for query in queries]
    pixels = [images.pixels(chosen) for chosen in best.T]
    ranks = [range(1, len(best) + 1)] * len(queries)
    retrieval_figure(texts, captions, pixels, ranks, hits).savefig(path, dpi=130)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "[red]no[/red]"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


main = command("retrieve", text_keys=["ckpt_path", "query", "queries", "gallery"])(retrieve)

if __name__ == "__main__":
    main()
