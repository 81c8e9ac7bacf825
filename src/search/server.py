"""Serves a page on one address, to those who ask for it by that address, and nothing else."""

import re
import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, NonNegativeInt, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

STYLE = Path(__file__).with_name("style.css")
# The requests that the page makes. Gradio also takes uploads, reads files and fetches addresses.
SERVED = re.compile(
    r"/($|config$|theme\.css$|favicon\.ico$|manifest\.json$|(assets|static)/"
    r"|gradio_api/(queue/(join|data)$|heartbeat/))"
)
QUESTION = "/queue/join"  # ends the path of what is asked
MAX_BYTES = 2**17  # of a question; the page says earlier that a query is too long
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
ANY = "0.0.0.0"  # listens at all addresses of this machine


class Click(BaseModel):
    """The image that was clicked on."""

    position: NonNegativeInt


class Question(BaseModel):
    """The body of a request that asks the page something."""

    fn_index: int
    session_hash: str
    data: list[str | None]
    event_data: Any = None


def listen(host: str, port: Any) -> socket.socket:
    """Open a socket that listens.

    Args:
        host: An address of this machine.
        port: A whole number; 0 takes any port that is free.

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


def serve(page: gr.Blocks, listener: socket.socket, host: str) -> None:
    """Serve a page until the process is interrupted.

    Args:
        page: The page.
        listener: As `listen` opened it.
        host: The host that it listens at, as it was asked for.
    """
    hosts = {host.lower(), listener.getsockname()[0]}
    # Gradio reports faults itself; uvicorn would report every page that is open at the end.
    options = uvicorn.Config(guard(page, hosts), log_level="critical", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # how it is meant to end
        uvicorn.Server(options).run(sockets=[listener])


def guard(page: gr.Blocks, hosts: Collection[str]) -> ASGIApp:
    """Make an application of a page that refuses all other requests, without fonts, scripts or
    reports that leave the machine.

    It answers to those who ask for the host that it listens at or for localhost. A page elsewhere
    that gives its own name the address of this machine, or asks from its own origin, gets 403.

    Args:
        page: The page.
        hosts: The names of the host that it listens at. With 0.0.0.0 among them any address will
            do, and the name of this machine: a page elsewhere has neither.
    """
    system = ("system-ui", "sans-serif")
    app = gr.mount_gradio_app(
        FastAPI(),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        theme=gr.themes.Default(
            primary_hue="blue", font=system, font_mono=("ui-monospace", "monospace")
        ),
        css_paths=STYLE,
        app_kwargs={"dependencies": [Depends(question_checker(page))]},
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        refused = refuse(scope, hosts)
        if refused is None:
            await app(scope, receive, send)
        else:
            await refused(scope, receive, send)

    return guarded


def refuse(scope: Scope, hosts: Collection[str]) -> PlainTextResponse | None:
    """Find out why a request is refused, HTTP or websocket: the answer, or None if it is not.

    Args:
        scope: The request.
        hosts: As in `guard`.
    """
    if scope["type"] not in ("http", "websocket"):
        return None
    headers = Headers(scope=scope)
    asked, origin = headers.get("host", ""), headers.get("origin")
    if not _is_own(asked, hosts):
        return PlainTextResponse("open the page by its address, or as localhost", 403)
    if origin not in (None, f"http://{asked}", f"https://{asked}"):
        return PlainTextResponse("asked by a page from elsewhere", 403)
    if not SERVED.match(scope["path"]):
        return PlainTextResponse("not part of the page", 403)
    if "transfer-encoding" in headers:
        return PlainTextResponse("the length must be given", 411)
    if int(headers.get("content-length", 0)) > MAX_BYTES:
        return PlainTextResponse(f"a question has at most {MAX_BYTES:,} bytes", 413)
    return None


def question_checker(page: gr.Blocks) -> Callable[[Request], Awaitable[None]]:
    """Make a check of requests that answers 422 to a question that the page would not ask, which
    Gradio would answer with a traceback.
    """

    async def check(request: Request) -> None:
        if not request.url.path.endswith(QUESTION):
            return
        try:
            question = Question.model_validate(await request.json(), strict=True)
        except (ValueError, ValidationError) as error:
            raise HTTPException(422, "this is no question") from error
        asked = page.fns.get(question.fn_index)
        if asked is None or asked.fn is None:
            raise HTTPException(422, f"there is no function {question.fn_index}")
        if len(question.data) != len(asked.inputs):
            raise HTTPException(422, f"the question has {len(asked.inputs)} parts")
        for part, value in zip(asked.inputs, question.data, strict=True):
            if isinstance(part, gr.State):  # kept here; it is asked for by a click
                _check_click(question.event_data)
            elif value is None:
                raise HTTPException(422, "a part of the question is missing")
            elif isinstance(part, gr.Dropdown) and value not in [name for _, name in part.choices]:
                raise HTTPException(422, "there is no such place")

    return check


def _is_own(asked: str, hosts: Collection[str]) -> bool:
    """Whether a request asks for this host, at any port: what forwards to here has its own."""
    try:
        name = urlsplit(f"//{asked}").hostname
    except ValueError:
        return False
    if name in LOOPBACK or name in hosts:
        return True
    return ANY in hosts and (_is_address(name) or name == socket.gethostname().lower())


def _check_click(event: Any) -> None:
    try:
        Click.model_validate(event, strict=True)
    except ValidationError as error:
        raise HTTPException(422, "no image was clicked on") from error


def _is_address(name: str | None) -> bool:
    try:
        ip_address(name or "")
    except ValueError:
        return False
    return True
