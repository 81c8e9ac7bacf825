"""Ask for images in the browser: `python -m src.explore ckpt_path=RUN/checkpoints/last.ckpt`."""

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from src.config.command import command


def explore(config: DictConfig) -> None:
    """Serve the page until it is interrupted."""
    if not isinstance(config.galleries, ListConfig):
        raise ValueError("galleries is a list: 'galleries=[FOLDER,...]'")
    # Gradio and Lightning take seconds to import, which --help need not wait for.
    from src.search.answers import SPLITS, load_models
    from src.search.page import make_page
    from src.search.server import listen, serve

    listener = listen(config.host, config.port)
    places = [*map(str, config.galleries), *SPLITS]
    page = make_page(load_models(config, places), places, config.top_k)
    host, port = listener.getsockname()
    Console().print(f"http://{host}:{port}/ (Ctrl-C ends it)")
    serve(page, listener, config.host)


main = command("explore", text_keys=["ckpt_path", "beside"])(explore)

if __name__ == "__main__":
    main()
