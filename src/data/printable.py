"""Names of files as text that a terminal, a page and a file show and do not act on."""

import os
import re

# Control characters, ends of lines, what turns the direction of reading, and bytes that are no text
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
FIRST_BYTE, LAST_BYTE, BYTES_FROM = 0xDC80, 0xDCFF, 0xDC00  # as Python reads what is not UTF-8


def printable(text: str | os.PathLike[str]) -> str:
    """Escape what would not be seen of a text or path: ESC becomes `\\x1b`, the byte E9 `\\xe9`."""
    return HIDDEN.sub(_escape, os.fspath(text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if FIRST_BYTE <= code <= LAST_BYTE:
        return f"\\x{code - BYTES_FROM:02x}"
    return found[0].encode("unicode_escape").decode()
