"""The files below a folder."""

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from src.data.printable import printable

SHOWN_ENDINGS = 8


class Listing(NamedTuple):
    """Files below a folder."""

    files: list[Path]  # by name
    left_out: Mapping[str, int]  # how many were left out, by reason


def list_files(folder: Path, endings: Collection[str]) -> Listing:
    """List the files of some formats in a folder and those below it, links to folders included.

    A folder that is reached by several ways is listed once, under its own name if it has one below
    the folder. What begins with a dot is left out.

    Args:
        folder: The folder; it may be hidden itself.
        endings: Endings of names in lower case, with their dot. Files may be spelt otherwise.

    Raises:
        ValueError: If there is no such folder.
        PermissionError: If it may not be read; folders below it are left out then.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {printable(folder)}")

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        left_out["folders that cannot be read"] += 1

    files: list[Path] = []
    left_out: Counter[str] = Counter()
    others: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    starts = [folder]
    for start in starts:  # which grows by links to folders, so that these come last
        for name, folders, names in os.walk(start, onerror=refuse):
            here = Path(name)
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            shown = sorted(child for child in folders if not child.startswith("."))
            visible = [child for child in names if not child.startswith(".")]
            left_out["hidden"] += len(folders) - len(shown) + len(names) - len(visible)
            starts += [here / child for child in shown if (here / child).is_symlink()]
            folders[:] = [child for child in shown if not (here / child).is_symlink()]
            for path in map(here.joinpath, visible):
                ending = path.suffix.lower()
                if ending not in endings:
                    others[ending or "none"] += 1
                elif os.path.isfile(path):  # noqa: PTH113, Path.is_file raises without permission
                    files.append(path)
                else:
                    left_out["broken links and what is no file"] += 1
    if others:
        most = [printable(ending) for ending, _ in others.most_common(SHOWN_ENDINGS)]
        dots = ", ..." if len(others) > len(most) else ""
        left_out[f"with other endings ({', '.join(most)}{dots})"] = others.total()
    return Listing(sorted(files), {reason: n for reason, n in left_out.items() if n})
