"""The page that asks for images: a proposition, each model's ranking, and one image in detail."""

import base64
import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import gradio as gr
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from src.config.errors import USER_ERRORS, describe_error
from src.search.answers import Answer, Explanation, Model, check_same_images, show
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition, PropositionError

OPERATORS = {"and": "&", "or": "|", "not": "~", "(": "(", ")": ")"}

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
MAX_QUERY = 5_000  # characters; a person writes a hundred
CONCURRENT = 8  # questions that are answered at a time: a slow one leaves room for others
DROP_LAST = r"(text) => text.replace(/\s*([^\s&|~()]+|[&|~()])\s*$/, '')"

T = TypeVar("T")


class Asked(NamedTuple):
    """The question that a page shows the answer to."""

    place: str
    text: str


class Told(NamedTuple, Generic[T]):
    """The answer of a model, or why it has none."""

    model: Model
    found: T | None
    fault: str


def search(models: Sequence[Model], place: str, text: str, k: int) -> list[Any]:
    """Answer a proposition: a message, each model's ranking and the best image, all as HTML, and
    what was asked, if it was answered.
    """
    asked = Asked(place, text)
    try:
        if len(text) > MAX_QUERY:
            raise PropositionError(
                f"a query has at most {MAX_QUERY:,} characters here, and this one {len(text):,}"
            )
        Proposition(text, models[0].literals)
    except PropositionError as error:
        return [render("problem", fault=str(error)), *[""] * len(models), "", None]

    def rank(model: Model) -> Answer:
        return model.search(text, place, k)

    told = ask_each(models, place, rank)
    best = [int(answer.positions[0]) for _, answer, _ in told if answer is not None]
    detail = explain(models, asked, best[0]) if best else ""
    rankings = [show_ranking(asked, *each) for each in told]
    return ["", *rankings, detail, asked if best else None]


def show_ranking(asked: Asked, model: Model, answer: Answer | None, fault: str) -> str:
    """Images to click on as HTML, best first, and a table of all that is known of them."""
    if answer is None:
        return render("ranking", model=model, text=asked.text, fault=fault)
    images, rows = model.images(asked.place), answer.rows
    result = "; ".join([f"{len(images.embeddings):,} {images.item}s", *images.left_out])
    if images.labels is not None:
        right = sum(row["answers"] for row in rows)
        answers = int(answer.query.holds(images.labels).sum())
        result = f"{right} of the best {len(rows)} are right; in all, {answers:,} of {result} are"
    return render(
        "ranking",
        model=model,
        text=asked.text,
        fault="",
        result=result,
        item=images.item,
        headings=[key for key in rows[0] if key != "query"],
        cards=list(
            zip(rows, answer.positions.tolist(), images.show(answer.positions), strict=True)
        ),
    )


def explain(models: Sequence[Model], asked: Asked, position: int) -> str:
    """Show an image, and the probabilities that each model gives it, as HTML."""
    images = models[0].images(asked.place)
    if position >= len(images.embeddings):
        return render("problem", fault=f"{asked.place} has no {images.item} {position}")
    (shown,) = images.show(torch.tensor([position]))
    caption = [f"{asked.place}, {images.item} {position}"]
    if images.names and not isinstance(shown, str):  # a text is its own name
        caption = [images.names[position]]
    if images.labels is not None:
        true = minterm_name(images.labels[position], models[0].literals)
        caption.append(f"true: {true}")

    def tell(model: Model) -> Explanation:
        return model.explain(asked.text, asked.place, position)

    return render(
        "detail",
        item=images.item,
        shown=shown,
        position=position,
        caption=caption,
        text=asked.text,
        sections=ask_each(models, asked.place, tell),
    )


def ask_each(models: Sequence[Model], place: str, ask: Callable[[Model], T]) -> list[Told[T]]:
    """Ask every model that searches the same images as the first; the others have a fault."""
    told = []
    for model in models:
        try:
            models[0].images(place)
            check_same_images(place, model, models[0])
            told.append(Told(model, ask(model), ""))
        except USER_ERRORS as error:
            told.append(Told(model, None, describe_error(error)))
    return told


def make_page(models: Sequence[Model], places: Sequence[str], k: int) -> gr.Blocks:
    """Make the page for one model, or for several beside each other.

    Args:
        models: With the same literals.
        places: The places to search, see `Model`.
        k: The most images of an answer.
    """

    def answer(place: str, text: str) -> list[Any]:
        return search(models, place, text, k)

    def look_at(asked: Asked | None, event: gr.EventData) -> str:
        return "" if asked is None else explain(models, asked, event.position)

    title = f"Ask for {models[0].item}s in logic"
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(f"# {title}")
        with gr.Row(equal_height=True, elem_id="ask"):
            place = gr.Dropdown(places, value=places[0], label="search in", scale=1)
            text = gr.Textbox(models[0].example, label="proposition", scale=4, elem_id="query")
            button = gr.Button(
                "Search", variant="primary", scale=0, min_width=120, elem_id="search"
            )
        with gr.Row(elem_id="tokens"):
            for name in models[0].literals:
                token_button(name, append(name), text, "literal")
            for name, token in OPERATORS.items():
                token_button(name, append(token), text, "operator")
            token_button("⌫", DROP_LAST, text, "operator")
            token_button("clear", "() => ''", text, "operator")
        message = gr.HTML(elem_id="message")
        with gr.Row(elem_id="rankings"):
            rankings = [
                gr.HTML(js_on_load=CLICK, elem_id=f"ranking-{number}")
                for number in range(len(models))
            ]
        detail = gr.HTML(elem_id="detail")
        asked = gr.State()
        gr.on(
            [blocks.load, text.submit, button.click, place.change],
            answer,
            [place, text],
            [message, *rankings, detail, asked],
            concurrency_id="models",
            concurrency_limit=CONCURRENT,
            show_progress="minimal",
        )
        gr.on(
            [ranking.click for ranking in rankings],
            look_at,
            asked,
            detail,
            concurrency_id="models",
            concurrency_limit=CONCURRENT,
            show_progress="hidden",
        )
    return blocks


def token_button(name: str, script: str, text: gr.Textbox, kind: str) -> None:
    """Add a button that changes the proposition, in the browser alone."""
    button = gr.Button(name, size="sm", scale=0, min_width=0, elem_classes=f"token {kind}")
    button.click(None, text, text, js=script)


def append(token: str) -> str:
    """Write the script that appends a token to the proposition."""
    return APPEND.replace("TOKEN", json.dumps(token))


def render(template: str, **values: Any) -> str:
    """Render a template; text in it is escaped, and images are in the page itself."""
    return _ENVIRONMENT.get_template(f"{template}.jinja").render(values)


def _png(image: Tensor) -> str:
    """An image (channels, height, width), uint8, as a PNG file in base 64."""
    array = image.permute(1, 2, 0).squeeze(2).numpy()  # grey images have no third axis
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"png": _png, "show": show}
