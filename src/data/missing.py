"""The error for files of a data set that are not there."""

from pathlib import Path

SHOWN = 5  # names in a message


class MissingDataError(FileNotFoundError):
    """Files of a data set are missing.

    Args:
        problem: The files that are missing, and the folder where they should be.
        mend: The way to get them.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}; dataset=digits needs no files at all")


def found_in(folder: Path) -> str:
    """Say for a message what a folder holds, or that it is not there."""
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"it holds {', '.join(names[:SHOWN]) or 'nothing'}{more}"
