"""Serves a page on one address, and nothing else."""

import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

STYLE = Path(__file__).with_name("style.css")
# The requests that the page makes. Gradio also takes uploads, reads files and fetches addresses.
SERVED = re.compile(
    r"/($|config$|theme\.css$|favicon\.ico$|manifest\.json$|(assets|static)/"
    r"|gradio_api/(queue/(join|data)$|heartbeat/))"
)


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


def serve(page: gr.Blocks, listener: socket.socket) -> None:
    """Serve a page until the process is interrupted."""
    # Gradio reports faults itself; uvicorn would report every page that is open at the end.
    options = uvicorn.Config(guard(page), log_level="critical", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # how it is meant to end
        uvicorn.Server(options).run(sockets=[listener])


def guard(page: gr.Blocks) -> ASGIApp:
    """Make an application of a page that refuses all other requests, without fonts, scripts or
    reports that leave the machine.
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
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not SERVED.match(scope["path"]):
            await PlainTextResponse("not part of the page", 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
