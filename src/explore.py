"""Ask for images in the browser: `python -m src.explore ckpt_path=RUN/checkpoints/last.ckpt`."""

from typing import TypedDict

from omegaconf import DictConfig

from src.config.command import command
from src.reports.console import make_console


class Keys(TypedDict):
    """The root keys of conf/explore.yaml that have plain values."""

    ckpt_path: str
    beside: str | None
    galleries: list[str]
    top_k: int
    index: str
    candidates: int
    host: str
    port: int
    device: str
    data_dir: str | None
    cache_dir: str
    strict: bool


def explore(config: DictConfig) -> None:
    """Serve the page until it is interrupted."""
    # Gradio and Lightning take seconds to import, which --help need not wait for.
    from src.search.answers import SPLITS, load_models
    from src.search.page import make_page
    from src.search.server import listen, serve

    listener = listen(config.host, config.port)
    places = [*map(str, config.galleries), *SPLITS]
    page = make_page(load_models(config, places), places, config.top_k)
    host, port = listener.getsockname()
    make_console().print(f"http://{host}:{port}/ (Ctrl-C ends it)")
    serve(page, listener, config.host)


main = command("explore", Keys)(explore)

if __name__ == "__main__":
    main()
