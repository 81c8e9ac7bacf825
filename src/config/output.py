"""Output on the terminal, which never costs a result."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO

# What progress bars draw, for terminals that have no such characters
PLAIN = str.maketrans({"━": "-", "╸": "-", "╺": "-", "•": "*"})


@contextmanager
def unfailing_output() -> Iterator[None]:
    """Within, printing never raises: a character that a stream cannot encode is replaced, and a
    stream that cannot be written to any more, such as a pipe that was closed, a file on a full disk
    or a lost terminal, is given up.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_wrap, before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def write_whole_lines() -> None:
    """Let each line reach standard error in one piece, in an unbuffered Python too, so that what
    several processes say does not mix within a line.
    """
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(line_buffering=True, write_through=False)


class Unfailing:
    """A text stream whose `write` and `flush` do not raise.

    Args:
        stream: Where the text goes; all else is asked of it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError as error:
                plain = text.translate(PLAIN).encode(error.encoding, "replace")
                self._stream.write(plain.decode(error.encoding))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let the stream lead nowhere: what it has kept back would raise at the end, too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if sys.stderr is not None and sys.stderr is not self:
            sys.stderr.write(
                f"warning: output cannot be written ({error.strerror}): going on without it\n"
            )


def _wrap(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, Unfailing) else Unfailing(stream)
