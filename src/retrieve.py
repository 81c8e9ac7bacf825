"""Query images: `python -m src.retrieve ckpt_path=... query="even & ~prime"`."""

from pathlib import Path
from typing import TypedDict

from omegaconf import DictConfig

from src.config.command import command
from src.reports.console import make_console


class Keys(TypedDict):
    """The root keys of conf/retrieve.yaml that have plain values."""

    ckpt_path: str
    beside: str | None
    query: str | None
    queries: str | None
    gallery: str | None
    split: str
    top_k: int
    device: str
    data_dir: str | None
    cache_dir: str
    output_dir: str


def retrieve(config: DictConfig) -> None:
    """Rank images by propositions; print the best, draw them and write them down."""
    texts = read_queries(config)
    # Lightning takes seconds to import, which --help and many mistakes need not wait for.
    from src.search.answers import check_same_images, load_models
    from src.search.results import draw, make_table, write_rows

    if config.gallery is None:
        models = load_models(config, [config.split], [])
    else:
        models = load_models(config, [], [config.gallery])
    (place,) = models[0].places
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        names = [f"{model.name}, {model.path}" for model in models]
    answers = {name: model.answer(texts, place) for name, model in zip(names, models, strict=True)}
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
    console.print(f"written to {output_dir}: retrieval.png, .csv, .json", soft_wrap=True)


def read_queries(config: DictConfig) -> list[str]:
    """Read the query, or those of a file, one a line.

    Raises:
        ValueError: If there is none, or both are given.
        OSError: If the file cannot be read.
    """
    if (config.query is None) == (config.queries is None):
        raise ValueError('give either query="..." or queries=FILE with one query a line')
    if config.queries is None:
        return [str(config.query)]
    lines = Path(config.queries).read_text().splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{config.queries} holds no query")
    return texts


main = command("retrieve", Keys)(retrieve)

if __name__ == "__main__":
    main()
