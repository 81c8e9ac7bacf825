"""The images that tables and lists name: each once, and where they are."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from src.data.folders import list_files
from src.data.missing import MissingDataError
from src.data.pictures import picture_endings

SHOWN = 3  # names in a message


def check_once(named: Iterable[tuple[str, str]]) -> None:
    """Refuse an image that is named more than once, in one split or in two.

    Args:
        named: Names of images, each with the place that names it, such as a file and a line.

    Raises:
        ValueError: If a name comes again. The message has the first ones.
    """
    first: dict[str, str] = {}
    again: dict[str, str] = {}
    for name, place in named:
        if first.setdefault(name, place) != place:
            again.setdefault(name, place)
    if again:
        twice = [f"{name} ({first[name]}, and {again[name]})" for name in again]
        raise ValueError(
            f"{len(again)} images are listed more than once: {_some(twice)}; keep each once, in "
            "one split"
        )


def check_same(listed: Iterable[str], source: str, others: Iterable[str], of: str) -> None:
    """Refuse a list that does not name the images of another.

    Args:
        listed: The names in a list.
        source: The file of the list, for the message.
        others: The names in another.
        of: The file of that one.

    Raises:
        ValueError: If a name is in one of them alone. The message has the first ones.
    """
    first, second = dict.fromkeys(listed), dict.fromkeys(others)
    for names, there, here in (
        ([name for name in second if name not in first], of, source),
        ([name for name in first if name not in second], source, of),
    ):
        if names:
            raise ValueError(
                f"{len(names)} images of {there} are not in {here}: {_some(names)}; both must "
                "name the same"
            )


def locate(folder: Path, names: Sequence[str], mend: str) -> list[Path]:
    """Find the images that are named: at their path below a folder, or else anywhere below it,
    with that ending or another, such as `.png` for `.jpg`.

    Args:
        folder: The folder of all images.
        names: File names, or paths below the folder; (N,).
        mend: The way to get images that are missing, for the message.

    Returns:
        Paths, (N,).

    Raises:
        MissingDataError: If images are not there. The message has the first names.
        ValueError: If a name fits several files, or two names fit one, by links or not.
    """
    places = [folder / name for name in names]
    elsewhere = [position for position, path in enumerate(places) if not path.is_file()]
    if elsewhere:
        search = _Search(folder)
        found = [search.find(names[position]) for position in elsewhere]
        missing = [names[p] for p, path in zip(elsewhere, found, strict=True) if path is None]
        if missing:
            raise MissingDataError(
                f"{len(missing)} of {len(names)} images are not in {folder}: {_some(missing)}",
                mend,
            )
        for position, path in zip(elsewhere, found, strict=True):
            assert path is not None
            places[position] = path
    check_distinct(places, names)
    return places


def check_distinct(paths: Sequence[Path], names: Iterable[object]) -> None:
    """Refuse a file that is there under two names, such as its own and that of a link to it.

    Args:
        paths: The files, (N,).
        names: Their names for the message, (N,).

    Raises:
        ValueError: If there is one. The message has the first ones.
        OSError: If a file is not there.
    """
    first: dict[tuple[int, int], Path] = {}
    files = ((path, path.stat()) for path in paths)
    found = (first.setdefault((status.st_dev, status.st_ino), path) for path, status in files)
    check_once((str(path), f"as {name}") for path, name in zip(found, names, strict=True))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


class _Search:
    """The images below a folder, by the ends of their paths."""

    def __init__(self, folder: Path) -> None:
        self._paths: dict[str, list[Path]] = defaultdict(list)
        for path in list_files(folder, picture_endings()).files:
            for name in (path.name, path.stem):
                self._paths[name].append(path)

    def find(self, name: str) -> Path | None:
        """The file of a name, if there is one.

        Raises:
            ValueError: If there are several.
        """
        wanted = PurePath(name.replace("\\", "/"))  # as written on Windows
        for end in (wanted, wanted.with_suffix("")):
            fitting = [path for path in self._paths[end.name] if _ends(path, end)]
            if len(fitting) > 1:
                raise ValueError(
                    f"{name} may be {fitting[0]} or {fitting[1]}: keep one of them, or list the "
                    "image with its folder"
                )
            if fitting:
                return fitting[0]
        return None


def _ends(path: Path, end: PurePath) -> bool:
    """Whether a path ends with another, which may leave out the suffix."""
    size = len(end.parts)
    return end.parts in (path.parts[-size:], path.with_suffix("").parts[-size:])
