"""Ask for images in the browser: `python -m src.explore ckpt_path=RUN/checkpoints/last.ckpt`."""

import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from starlette.types import ASGIApp, Receive, Scope, Send

from src.config.command import check_device, command, describe_error
from src.config.errors import USER_ERRORS
from src.data.gallery import Gallery
from src.runs.load import load_checkpoint
from src.search import markup
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
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition, PropositionError

SPLITS = ("test", "val", "train")
SHOWN_MINTERMS = 8
OPERATORS = {"and": "&", "or": "|", "not": "~", "(": "(", ")": ")"}

# What the page asks for. Gradio would also take uploads, read files and fetch addresses.
SERVED = re.compile(
    r"/($|config$|theme\.css$|favicon\.ico$|manifest\.json$|(assets|static)/"
    r"|gradio_api/(queue/(join|data)$|heartbeat/))"
)
CLICK = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('.card');
  if (card) trigger('click', {position: Number(card.dataset.position)});
});
"""
APPEND = """(text) => {
  const joined = !text || /[~(]$/.test(text) || TOKEN === ')';
  return text + (joined ? '' : ' ') + TOKEN;
}"""
DROP_LAST = r"(text) => text.replace(/\s*([^\s&|~()]+|[&|~()])\s*$/, '')"


class Asked(NamedTuple):
    """What the rankings on a page answer."""

    place: str
    text: str


class Model:
    """A checkpoint and, once they were asked for, the images that it embedded.

    Args:
        path: Of the checkpoint.
        config: Of the command.

    Raises:
        CheckpointError: If it is none.
        ValueError: If a gallery is no folder of images.
    """

    def __init__(self, path: str, config: DictConfig) -> None:
        _, data, self.module = load_checkpoint(path, config.data_dir)
        self.path = path
        self.name = model_name(self.module)
        self.example = data.image_set.example_queries[0]
        self.top_k = config.top_k
        self._device = config.device
        cache = Path(config.cache_dir)
        galleries = {folder: Gallery(Path(folder), data.image_set) for folder in config.galleries}
        self._open = {
            folder: partial(open_folder, gallery, self.module, cache, Path(path))
            for folder, gallery in galleries.items()
        } | {f"{split} split": partial(open_split, data, split, self.module) for split in SPLITS}
        self._images: dict[str, Images] = {}

    @property
    def places(self) -> list[str]:
        """What can be searched: galleries, then splits."""
        return list(self._open)

    @torch.inference_mode()
    def images(self, place: str) -> Images:
        """The images of a place, embedded at the first call."""
        if place not in self._images:
            try:
                self.module.to(self._device)
                self._images[place] = self._open[place]()
            finally:
                self.module.cpu()
        return self._images[place]

    @torch.inference_mode()
    def rank(self, asked: Asked) -> tuple[str, list[int]]:
        """The ranking that answers as HTML, and the positions of its images, best first.

        Raises:
            ValueError: If no minterm of the model satisfies the proposition.
        """
        query = read_query(asked.text, self.module)
        images = self.images(asked.place)
        scores, best = (column[:, 0] for column in rank([query], images, self.module, self.top_k))
        rows = describe(query, images, self.module, best, scores)
        result = f"{len(images.embeddings):,} images"
        if images.labels is not None:
            right = sum(row["answers"] for row in rows)
            answers = int(query.holds(images.labels).sum())
            result = f"{right} of {len(rows)} answer; in all {answers:,} of {result} do"
        heading = markup.model_heading(self.name, self.path, f"{asked.text}: {result}")
        positions = best.tolist()
        return heading + markup.ranking(rows, positions, images.pixels(best)), positions

    @torch.inference_mode()
    def explain(self, asked: Asked, position: int) -> str:
        """Probabilities of the literals and minterms of an image as HTML."""
        embedding = self.images(asked.place).embeddings[position : position + 1]
        readout, literals = self.module.readout, self.module.literals
        (holds,) = readout.masks([Proposition(asked.text, literals)])
        (of_literals,) = readout.literal_probabilities(embedding)
        (of_minterms,) = readout.minterm_probabilities(embedding)
        top = of_minterms.topk(min(SHOWN_MINTERMS, len(of_minterms)))
        bars = [
            markup.Bar(minterm_name(readout.minterms[index], literals), value, bool(holds[index]))
            for value, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
        named = zip(literals, of_literals.tolist(), strict=True)
        charts = {
            "p(literal | x)": [markup.Bar(name, value, False) for name, value in named],
            "p(m | x), in colour if m answers": bars,
        }
        return markup.charts(self.name, charts)


def explore(config: DictConfig) -> None:
    """Serve the page until it is interrupted."""
    check_top_k(config.top_k)
    check_device(config.device)
    if not isinstance(config.galleries, ListConfig):
        raise ValueError("galleries is a list: 'galleries=[FOLDER,...]'")
    listener = listen(config.host, config.port)
    paths = [config.ckpt_path] if config.beside is None else [config.ckpt_path, config.beside]
    models = [Model(path, config) for path in paths]
    check_same_literals({model.path: model.module for model in models})
    app = serve(page(models))
    host, port = listener.getsockname()
    Console().print(f"http://{host}:{port}/ (Ctrl-C ends it)")
    # Gradio reports faults itself; uvicorn would report every page that is open at the end.
    options = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # how it is meant to end
        uvicorn.Server(options).run(sockets=[listener])


def listen(host: str, port: Any) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        ValueError: If that is no port.
        OSError: If it is in use, or the host is not this machine.
    """
    if not isinstance(port, int) or not 0 <= port < 2**16:
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}")
    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address
        raise OSError(
            f"cannot listen at {host}:{port}: {reason}; port=0 takes any that is free"
        ) from error


def search(models: Sequence[Model], place: str, text: str) -> list[Any]:
    """What a page shows: a message, each model's ranking, the best image, and what was asked."""
    asked = Asked(place, text)
    try:
        Proposition(text, models[0].module.literals)
    except PropositionError as error:
        return [markup.message(str(error)), *[""] * len(models), "", asked]
    best: list[int] = []

    def ranking(model: Model) -> str:
        found, positions = model.rank(asked)
        best.extend(positions[:1])
        return found

    rankings = ask_each(models, asked, ranking)
    return ["", *rankings, explain(models, asked, best[0]) if best else "", asked]


def explain(models: Sequence[Model], asked: Asked, position: int) -> str:
    """An image, and what each model says of it, as HTML."""
    images = models[0].images(asked.place)
    caption = [images.names[position] if images.names else f"{asked.place}, image {position}"]
    if images.labels is not None:
        caption.append(minterm_name(images.labels[position], models[0].module.literals))
    (image,) = images.pixels(torch.tensor([position]))
    sections = ask_each(models, asked, lambda model: model.explain(asked, position))
    return markup.detail(image, position, caption, sections)


def ask_each(models: Sequence[Model], asked: Asked, tell: Callable[[Model], str]) -> list[str]:
    """What each model tells as HTML, or why it cannot."""
    told = []
    for model in models:
        try:
            first = models[0].images(asked.place)
            images = model.images(asked.place)
            check_same_images(asked.place, images, model.path, first, models[0].path)
            told.append(tell(model))
        except USER_ERRORS as error:
            heading = markup.model_heading(model.name, model.path, asked.text)
            told.append(heading + markup.message(describe_error(error)))
    return told


def page(models: Sequence[Model]) -> gr.Blocks:
    """The page for one model, or for several beside each other."""
    places, literals = models[0].places, models[0].module.literals

    def answer(place: str, text: str) -> list[Any]:
        return search(models, place, text)

    def look_at(asked: Asked, event: gr.EventData) -> str:
        return explain(models, asked, int(event.position))

    with gr.Blocks(
        title="Ask for images in logic", analytics_enabled=False, fill_width=True
    ) as blocks:
        gr.Markdown("# Ask for images in logic")
        with gr.Row(equal_height=True):
            place = gr.Dropdown(places, value=places[0], label="search in", scale=1)
            text = gr.Textbox(models[0].example, label="proposition", scale=4, elem_id="query")
            button = gr.Button(
                "Search", variant="primary", scale=0, min_width=120, elem_id="search"
            )
        with gr.Row(elem_id="tokens"):
            for name in literals:
                token_button(name, APPEND.replace("TOKEN", repr(name)), text, "literal")
            for name, token in OPERATORS.items():
                token_button(name, APPEND.replace("TOKEN", repr(token)), text, "operator")
            token_button("⌫", DROP_LAST, text, "operator")
            token_button("clear", "() => ''", text, "operator")
        message = gr.HTML(elem_id="message")
        with gr.Row():
            rankings = [
                gr.HTML(js_on_load=CLICK, elem_id=f"ranking-{number}")
                for number in range(len(models))
            ]
        detail = gr.HTML(elem_id="detail")
        asked = gr.State()
        # One at a time: the models are shared.
        gr.on(
            [blocks.load, text.submit, button.click, place.change],
            answer,
            [place, text],
            [message, *rankings, detail, asked],
            concurrency_id="models",
            show_progress="minimal",
        )
        gr.on(
            [ranking.click for ranking in rankings],
            look_at,
            asked,
            detail,
            concurrency_id="models",
            show_progress="hidden",
        )
    return blocks


def token_button(name: str, script: str, text: gr.Textbox, kind: str) -> None:
    """A button that changes the proposition, in the browser alone."""
    button = gr.Button(name, size="sm", scale=0, min_width=0, elem_classes=f"token {kind}")
    button.click(None, text, text, js=script)


def serve(blocks: gr.Blocks) -> ASGIApp:
    """The page and nothing else, without fonts, scripts or reports that leave the machine."""
    system = ("system-ui", "sans-serif")
    app = gr.mount_gradio_app(
        FastAPI(),
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        theme=gr.themes.Default(
            primary_hue="blue", font=system, font_mono=("ui-monospace", "monospace")
        ),
        css=markup.STYLE,
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not SERVED.match(scope["path"]):
            await PlainTextResponse("not part of the page", 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


main = command("explore", text_keys=["ckpt_path", "beside"])(explore)

if __name__ == "__main__":
    main()
