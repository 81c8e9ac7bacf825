"""Query images: `python -m src.retrieve ckpt_path=... query="even & ~prime"`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from omegaconf import DictConfig, OmegaConf

from src.config.command import command
from src.data.text_files import read_lines
from src.reports.console import make_console
from src.subspaces.propositions import SYNTAX

if TYPE_CHECKING:
    from src.search.answers import Model

OmegaConf.register_new_resolver("query_syntax", lambda: SYNTAX)  # for --help


class Keys(TypedDict):
    """The root keys of conf/retrieve.yaml that have plain values."""

    ckpt_path: str
    beside: str | None
    query: str | None
    queries: str | None
    gallery: str | None
    split: str
    top_k: int
    index: str
    candidates: int
    device: str
    data_dir: str | None
    cache_dir: str
    strict: bool
    output_dir: str


def retrieve(config: DictConfig) -> None:
    """Rank images by propositions; print the best, draw them and write them down."""
    queries = read_queries(config)
    # Lightning takes seconds to import, which --help and many mistakes need not wait for.
    from src.search.answers import check_same_images, load_models, split_place
    from src.search.results import draw, make_table, write_rows

    place = split_place(config.split) if config.gallery is None else str(config.gallery)
    models = load_models(config, [place])
    check_queries(queries, models)
    texts = [query.text for query in queries]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        names = [f"{model.name}, {model.path}" for model in models]
    answers = {
        name: model.search_all(texts, place, config.top_k)
        for name, model in zip(names, models, strict=True)
    }
    check_same_images(place, models[0], models[-1])

    console = make_console()
    rows = []
    for number, text in enumerate(texts):
        for name in names:
            found = [{"model": name} | row for row in answers[name][number].rows]
            console.print(make_table(f"{text}    {name}", found))
            rows += found
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_rows(output_dir, rows)
    images = {name: model.images(place) for name, model in zip(names, models, strict=True)}
    draw(output_dir / "retrieval.png", answers, images)
    for line in images[names[0]].left_out:
        console.print(line, soft_wrap=True)
    console.print(f"written to {output_dir}: retrieval.png, .csv, .json", soft_wrap=True)


class Asked(NamedTuple):
    """A query as it was given."""

    text: str
    place: str  # before a message: the file and the line, if it is of a file


def read_queries(config: DictConfig) -> list[Asked]:
    """Read the query, or those of a file, one a line. What follows a # there is a comment.

    Raises:
        ValueError: If there is none, or both are given, or the file is no text in UTF-8.
        OSError: If the file cannot be read.
    """
    if (config.query is None) == (config.queries is None):
        raise ValueError('give either query="..." or queries=FILE with one query a line')
    if config.queries is None:
        return [Asked(str(config.query), "")]
    queries = [
        Asked(text, f"{config.queries}, line {number}: ")
        for number, line in read_lines(Path(config.queries))
        if (text := line.partition("#")[0].strip())
    ]
    if not queries:
        raise ValueError(f"{config.queries} holds comments alone, and no query")
    return queries


def check_queries(queries: Sequence[Asked], models: Sequence["Model"]) -> None:
    """Raise ValueError, with its place, for the first query that one of the models cannot read."""
    from src.search.answers import read_query

    for query in queries:
        for model in models:
            try:
                read_query(query.text, model.module)
            except ValueError as error:
                raise ValueError(f"{query.place}{error}") from error


main = command("retrieve", Keys)(retrieve)

if __name__ == "__main__":
    main()
