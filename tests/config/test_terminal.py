import pytest

from src.config.errors import describe_error
from src.config.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Bäume, 木, 🌲 and\u202fa narrow space", "Bäume, 木, 🌲 and\u202fa narrow space"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("caf\udce9", r"caf\udce9"),  # Latin-1, as Python reads the name of such a file
    ],
)
def test_nothing_of_a_text_is_acted_on(text: str, shown: str) -> None:
    assert visible(text) == shown
    shown.encode()


@pytest.mark.parametrize("kind", [ValueError, OSError, KeyError, RuntimeError])
def test_errors_name_files_without_acting_on_them(kind: type[Exception]) -> None:
    message = describe_error(kind("\x1b[2J.png is damaged"))
    assert "\x1b" not in message
    assert r"\x1b[2J.png is damaged" in message.replace(r"\\", "\\")
