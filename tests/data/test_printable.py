import os
from pathlib import Path

import pytest

from src.config.errors import describe_error
from src.data.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Bäume, 木, 🌲 and\u202fa narrow space", "Bäume, 木, 🌲 and\u202fa narrow space"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("caf\udce9", r"caf\xe9"),  # Latin-1, as Python reads the name of such a file
    ],
)
def test_nothing_of_a_text_is_acted_on(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain name [1].png", "plain name [1].png"),
        ("Übung_画像\u3000é.png".encode(), "Übung_画像\u3000é.png"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        (b"red\x1b[31m.png", r"red\x1b[31m.png"),
        (b"two\nlines\t.png", r"two\nlines\t.png"),
        (b"\xc2\x9b1.png", r"\x9b1.png"),
    ],
)
def test_names_become_text_that_everything_takes(name: bytes, text: str) -> None:
    assert printable(Path(os.fsdecode(name))) == text
    text.encode()


@pytest.mark.parametrize("kind", [ValueError, OSError, KeyError, RuntimeError])
def test_errors_name_files_without_acting_on_them(kind: type[Exception]) -> None:
    message = describe_error(kind("\x1b[2J.png is damaged"))
    assert "\x1b" not in message
    assert r"\x1b[2J.png is damaged" in message.replace(r"\\", "\\")
