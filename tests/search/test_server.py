"""Requests that the page does not make, and several that it makes at once."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from starlette.testclient import TestClient, WebSocketDenialResponse

from src.search.answers import Answer
from src.search.images import Images
from src.search.page import MAX_QUERY, make_page
from src.search.server import MAX_BYTES, guard
from src.subspaces.propositions import Proposition

LITERALS = ("even", "prime")
PLACE = "photos"
JOIN = "/gradio_api/queue/join"
SLOW = "prime & prime"


class Answering:
    """A model of two literals, in the place of a trained one, that takes its time for one query."""

    name, path, example, literals, item = "Answering", "last.ckpt", "even", LITERALS, "image"

    def __init__(self) -> None:
        self.asked, self.may_end = Event(), Event()
        pixels = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
        self.found = Images(torch.zeros(1, 3), lambda chosen: pixels, ["1.png"], None, [])

    def images(self, place: str) -> Images:
        assert place == PLACE
        return self.found

    def search(self, text: str, place: str, k: int) -> Answer:
        if text == SLOW:
            self.asked.set()
            assert self.may_end.wait(30)
        row = {"rank": 1, "image": "1.png", "score": 0.5, "probability": 0.25}
        return Answer(Proposition(text, LITERALS), torch.tensor([0]), [row])

    def explain(self, text: str, place: str, position: int) -> Any:
        return SimpleNamespace(literals=[], minterms=[])


@pytest.fixture(scope="module")
def model() -> Answering:
    return Answering()


@pytest.fixture(scope="module")
def page(model: Any) -> gr.Blocks:
    return make_page([model], [PLACE], 3)


@pytest.fixture(scope="module")
def client(page: gr.Blocks) -> Iterator[TestClient]:
    with TestClient(guard(page, ["192.0.2.7", "gallery"]), "http://localhost:7860") as client:
        yield client


@pytest.fixture(scope="module")
def functions(page: gr.Blocks) -> list[int]:
    """The numbers of the function that searches, and of the one that shows an image."""
    return [number for number, function in page.fns.items() if function.fn is not None]


def ask(client: TestClient, session: str, function: int, **body: Any) -> list[Any]:
    """Ask as the page does; the parts of the answer."""
    asked = client.post(JOIN, json={"session_hash": session, "fn_index": function, **body})
    assert asked.status_code == 200, asked.text
    told = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
    messages = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    (done,) = (message for message in messages if message["msg"] == "process_completed")
    assert done["success"], done
    return done["output"]["data"]


OWN = ("localhost", "LOCALHOST:1", "127.0.0.1:7860", "[::1]:7860", "192.0.2.7", "gallery:8888")
FOREIGN = (
    "evil.com",
    "evil.com:7860",
    "localhost.evil.com",
    "evil.com@",
    "192.0.2.8",
    "",
    "[::",
    "::",
)


@pytest.mark.parametrize("host", OWN)
def test_the_bound_host_and_localhost_are_answered(client: TestClient, host: str) -> None:
    same = {"host": host, "origin": f"http://{host}"}
    for headers in ({"host": host}, same):
        assert client.get("/config", headers=headers).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/gradio_api/heartbeat/1", JOIN])
def test_other_hosts_are_refused(client: TestClient, host: str, path: str) -> None:
    refused = client.get(path, headers={"host": host, "origin": f"http://{host}"})
    assert refused.status_code == 403
    assert len(refused.text) < 100
    assert not any(name.startswith("access-control") for name in refused.headers)


@pytest.mark.parametrize(
    "origin", ["http://evil.com", "null", "http://localhost:3000", "file://", "http://[", ""]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_from_elsewhere_are_refused(client: TestClient, origin: str, method: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    for host in ("localhost:7860", "192.0.2.7:7860"):
        refused = client.request(method, JOIN, headers={"host": host, **headers})
        assert refused.status_code == 403
        assert not any(name.startswith("access-control") for name in refused.headers)


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.com"}, {"host": "localhost:7860", "origin": "http://evil.com"}, {}],
    ids=["other host", "page from elsewhere", "own host"],
)
def test_websockets_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("ws://localhost:7860/gradio_api/stream", headers=headers),
    ):
        pass
    assert denied.value.status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("10.1.2.3:7860", 200), ("[fe80::1]", 200), (socket.gethostname(), 200), ("evil.com", 403)],
)
def test_at_all_addresses_names_from_elsewhere_are_refused(
    page: gr.Blocks, host: str, status: int
) -> None:
    client = TestClient(guard(page, ["0.0.0.0"]), "http://0.0.0.0:7860")
    assert client.get("/config").status_code == 200
    assert client.get("/config", headers={"host": host}).status_code == status


def test_questions_are_answered(client: TestClient, functions: list[int]) -> None:
    search, look_at = functions
    message, ranking, detail, _ = ask(client, "one", search, data=[PLACE, "even"])
    assert not message
    assert "1.png" in ranking
    assert "likeliest minterms" in detail
    shown = ask(client, "one", look_at, data=[None], event_data={"position": 0})
    assert "likeliest minterms" in shown[0]
    (shown,) = ask(client, "one", look_at, data=[None], event_data={"position": 1})
    assert f"{PLACE} has no image 1" in shown
    assert ask(client, "two", look_at, data=[None], event_data={"position": 0}) == [""]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": [PLACE, None]},
        {"data": [None, "even"]},
        {"data": ["/etc", "even"]},
        {"data": [PLACE, 3]},
        {"data": [PLACE, ["even"]]},
        {"data": [PLACE, {"path": "/etc/passwd"}]},
        {"data": [PLACE]},
        {"data": [PLACE, "even", "even"]},
        {"data": PLACE},
        {"data": None},
        {"fn_index": 999},
        {"fn_index": -1},
        {"fn_index": None},
        {"fn_index": "search"},
        {"fn_index": 0},
        {"session_hash": None},
        {"session_hash": 3},
    ],
    ids=repr,
)
def test_questions_that_the_page_would_not_ask_are_refused(
    client: TestClient,
    functions: list[int],
    changes: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    question = {"session_hash": "one", "fn_index": functions[0], "data": [PLACE, "even"]}
    assert client.post(JOIN, json=question | changes).status_code == 422
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "event", [None, {}, {"position": None}, {"position": "0"}, {"position": -1}, [0], "x"], ids=repr
)
def test_clicks_on_no_image_are_refused(
    client: TestClient, functions: list[int], event: Any
) -> None:
    question = {"session_hash": "one", "fn_index": functions[1], "data": [None]}
    assert client.post(JOIN, json=question | {"event_data": event}).status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_bodies_that_are_no_questions_are_refused(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert client.post(JOIN, content=body, headers=headers).status_code in (400, 422)


def test_long_queries_are_refused(client: TestClient, functions: list[int]) -> None:
    query = "even" + " & even" * (MAX_QUERY // 7)
    message, *others, _ = ask(client, "one", functions[0], data=[PLACE, query])
    assert f"at most {MAX_QUERY:,} characters here, and this one {len(query):,}" in message
    assert others == ["", ""]
    question = {"session_hash": "one", "fn_index": functions[0], "data": [PLACE, "e" * MAX_BYTES]}
    assert client.post(JOIN, json=question).status_code == 413
    chunks = (b"{" for _ in range(3))
    assert client.post(JOIN, content=chunks).status_code == 411


def test_a_slow_question_leaves_others_their_turn(
    client: TestClient, model: Answering, functions: list[int]
) -> None:
    search = functions[0]
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(ask, client, "slow", search, data=[PLACE, SLOW])
        try:
            assert model.asked.wait(30)
            quick = threads.submit(ask, client, "quick", search, data=[PLACE, "even"])
            assert "1.png" in quick.result(30)[1]
            assert not slow.done()
        finally:
            model.may_end.set()
        assert "1.png" in slow.result(30)[1]
