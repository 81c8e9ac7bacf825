"""Names of any kind on the page."""

from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from src.search.answers import Explanation, Probability
from src.search.page import append, make_page, render
from src.search.server import guard

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; & \\ ` ${x}",
)
TAGS = {
    "b",
    "button",
    "details",
    "div",
    "figure",
    "i",
    "img",
    "section",
    "span",
    "style",
    "summary",
}
TAGS |= {"table", "td", "th", "tr"}
ATTRIBUTES = {"alt", "class", "data-position", "role", "src", "style", "title"}


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def pages(name: str) -> dict[str, dict[str, Any]]:
    """The values of every template, with a name wherever there is text."""
    model = SimpleNamespace(name=name, path=name)
    image = torch.zeros(1, 2, 2, dtype=torch.uint8)
    row = {"query": name, "rank": 1, "image": name, "score": 0.5, "probability": 0.25}
    row |= {"answers": True, "literals": name, f"p({name})": 0.125}
    shown = {
        "result": "1 image",
        "item": "image",
        "headings": [key for key in row if key != "query"],
        "cards": [(row, 7, image), (row, 8, name)],
    }
    probabilities = [Probability(name, 0.12345, True)]
    sections = [(model, Explanation(probabilities, probabilities), ""), (model, None, name)]
    return {
        "problem": {"fault": name},
        "ranking": {"model": model, "text": name, "fault": "", **shown},
        "ranking of none": {"model": model, "text": name, "fault": name},
        "detail": {
            "item": "image",
            "shown": image,
            "position": 7,
            "caption": [name],
            "text": name,
            "sections": sections,
        },
    }


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("part", pages(""))
def test_names_with_markup_are_text(part: str, name: str) -> None:
    read = Reader(render(part.split()[0], **pages(name)[part]))
    assert set(read.tags) <= TAGS
    assert {key for key, _ in read.attributes} <= ATTRIBUTES
    assert any(name in text for text in read.text)
    titles = [value for key, value in read.attributes if key == "title"]
    assert titles == [name] * len(titles)
    assert bool(titles) == (part != "problem")


def test_numbers_are_rounded() -> None:
    row = Reader(render("ranking", **pages("even")["ranking"])).text
    assert {"0.500", "0.250"} <= {text.strip() for text in row}  # on the card
    assert {"0.5000", "0.2500", "0.1250", "yes"} <= set(row)  # in the table
    detail = Reader(render("detail", **pages("even")["detail"]))
    assert "0.123" in detail.text
    assert ("style", "width: 12.3%") in detail.attributes


def test_literals_and_places_with_markup_are_text() -> None:
    model: Any = SimpleNamespace(literals=HOSTILE, example=HOSTILE[0], item="image")
    page = make_page([model], HOSTILE, 3)
    served = TestClient(guard(page, []), "http://localhost").get("/").text
    assert "gradio_config" in served
    assert not any(name in served for name in HOSTILE[:4])


def test_a_token_is_a_literal_string_of_javascript() -> None:
    assert "text + (joined ? '' : ' ') + \"a\\\"'\\\\n\"" in append("a\"'\\n")
