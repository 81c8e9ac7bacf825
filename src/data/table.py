"""Images of one's own, labelled by a table: a row for each image, a column for each literal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from src.data.labels import read_labels
from src.data.listed import locate
from src.data.own import Listed, OwnImages, Resize, literal_name
from src.data.text_files import Table, nearest, read_table

SPLIT = "split"  # column of the splits, if there is one

Unknown = Literal["refuse", "negative", "drop", "keep"]


class ImageTable(OwnImages):
    """Images in a folder, and a table that names them with their labels: CSV, TSV or Parquet.

    Every column is a literal, but for that of file names and one named `split` (train, val or
    test), if there is one. Spaces and signs in the names of literals become underscores.

    Args:
        labels: The table. If there is none, the one of that name in `root`.
        name_column: Column of file names, or paths below `images`; None for the first.
        unknown: Whether to `refuse` labels that are empty, to read them as `negative`, to `drop`
            their images, or to `keep` them unknown in training, and drop them elsewhere.
        root, images, literals, image_size, resize, validation, test, split_seed, cache, mean, std:
            As in `OwnImages`.

    Raises:
        ValueError: If the table cannot be read, or has no such columns.
        MissingDataError: If it is not there.
    """

    def __init__(
        self,
        labels: str,
        name_column: str | None,
        unknown: Unknown,
        root: str,
        images: str,
        literals: list[str] | None,
        image_size: int,
        resize: Resize,
        validation: float,
        test: float,
        split_seed: int,
        cache: bool,
        mean: list[float] | None,
        std: list[float] | None,
    ) -> None:
        self.labels = Path(labels).expanduser().absolute()
        self.name_column = name_column
        self.unknown = unknown
        super().__init__(
            root,
            images,
            literals,
            image_size,
            resize,
            validation,
            test,
            split_seed,
            cache,
            mean,
            std,
        )

    def settled(self) -> Mapping[str, Any]:
        return {**super().settled(), "labels": str(self.labels)}

    def all_literals(self) -> list[str]:
        table = self._open()
        literals = list(self._columns(table))
        if not literals:
            raise ValueError(f"{table.path} has no column of labels, only {table.columns[0]}")
        return literals

    def read(self) -> Listed:
        table = self._open()
        columns = self._columns(table)
        for name in self.literals:
            if name not in columns:
                raise ValueError(f"{table.path} has no column {name}; {nearest(name, columns)}")
        chosen = [columns[name] for name in self.literals]
        labels = read_labels(table, self._name_place(table), chosen, _split_place(table))
        kept = ~labels.unknown.any(dim=1)
        notes = []
        if not kept.all():
            number = f"{int(labels.unknown.sum()):,} labels of {int((~kept).sum()):,} images"
            if self.unknown == "refuse":
                row = int(labels.unknown.any(dim=1).int().argmax())
                name = self.literals[int(labels.unknown[row].int().argmax())]
                raise table.wrong(
                    labels.lines[row],
                    f"{name} is empty, one of {number}: set dataset.unknown=negative to read them "
                    "as false, drop to leave these images out, or keep to train on them",
                )
            notes = [f"{number} are empty: dataset.unknown={self.unknown}"]
            if self.unknown in ("negative", "keep"):
                kept[:] = True
        folder = self.find(self.images)
        rows = kept.nonzero().flatten().tolist()
        paths = locate(folder, labels.names, f"{table.path} lists them: mend it, or dataset.images")
        notes += self.count_others(folder, paths)
        splits = labels.splits and [labels.splits[row] for row in rows]
        files = self.image_files([paths[row] for row in rows])
        unknown = labels.unknown if self.unknown == "keep" else None
        return Listed(files, labels.values[kept], splits, notes, unknown)

    def _open(self) -> Table:
        return read_table(self.find(self.labels))

    def _name_place(self, table: Table) -> int:
        if self.name_column is not None:
            return table.find(self.name_column)
        if not table.columns[0]:
            raise ValueError(
                f"{table.path}: its first column has no name; say by dataset.name_column which one "
                f"holds the files: {', '.join(table.columns[1:])}"
            )
        return 0

    def _columns(self, table: Table) -> dict[str, int]:
        """Places of the columns of labels, by the names of their literals."""
        others = (self._name_place(table), _split_place(table))
        columns: dict[str, int] = {}
        for place, heading in enumerate(table.columns):
            name = literal_name(heading)
            if not heading or place in others:
                continue
            if not name or name in columns:
                raise ValueError(f"{table.path}: a column needs another name than {heading!r}")
            columns[name] = place
        return columns


def _split_place(table: Table) -> int | None:
    headings = [heading.lower() for heading in table.columns]
    return headings.index(SPLIT) if SPLIT in headings else None
