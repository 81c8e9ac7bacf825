"""The console that commands print to."""

import sys

from rich.console import Console


def make_console() -> Console:
    """Make a console of standard output that prints text as it is: brackets and colons in paths are
    no markup.
    """
    # The file says how it encodes, and with it, whether frames of tables are drawn or typed.
    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
