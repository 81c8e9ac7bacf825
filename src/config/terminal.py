"""Text that a terminal shows and does not act on."""

import re

# Control characters, ends of lines, what turns the direction of reading, and bytes that are no text
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Escape what would not be seen of a text, such as the name of a file: ESC becomes `\\x1b`."""
    return HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
