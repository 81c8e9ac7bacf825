"""Data sets of the `datasets` library, as its `save_to_disk` writes them."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from src.data.files import Pictures
from src.data.folder import SPLIT_FOLDERS
from src.data.missing import found_in
from src.data.own import Listed, OwnImages, Resize, literal_name
from src.data.pictures import read_picture
from src.data.text_files import nearest

if TYPE_CHECKING:  # importing it takes a second
    from datasets import Dataset

MEND = (
    "write it by python -c \"from datasets import load_dataset; load_dataset('NAME')"
    ".save_to_disk('FOLDER')\" and set dataset.images=FOLDER"
)


class SavedPictures(Pictures):
    """A column of pictures of a data set.

    Args:
        rows: The data set.
        column: The column, of encoded pictures.
        name: The name of the data set in messages.
        shape, decode: As in `Pictures`.
    """

    def __init__(
        self,
        rows: "Dataset",
        column: str,
        name: str,
        shape: tuple[int, int, int],
        decode: Callable[[Image.Image], np.ndarray],
    ) -> None:
        super().__init__(shape, decode)
        self.rows = rows
        self.column = column
        self.name = name

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sources(self) -> Sequence[Path]:
        return [Path(file["filename"]) for file in self.rows.cache_files]

    def read(self, position: int) -> np.ndarray:
        stored = self.rows[position][self.column] or {}
        content, path = stored.get("bytes"), stored.get("path")
        file = Path(path or "") if content is None else BytesIO(content)
        return read_picture(file, self.decode, f"{self.name}, row {position + 1}")


class SavedImages(OwnImages):
    """A folder that `save_to_disk` of the `datasets` library wrote, with or without splits.

    Every class of a column of class labels, or of lists of them, is a literal, and so is every
    column of truth values. With several columns of classes, the name of the column comes first.
    Spaces and signs in names become underscores.

    Args:
        image_column: Column of the images; None for the only one.
        label_columns: Columns that give literals; None for all that can.
        root, images, literals, image_size, resize, validation, test, split_seed, cache, mean, std:
            As in `OwnImages`.

    Raises:
        ValueError: If the folder is no such data set, or has no such columns.
        MissingDataError: If it is not there.
    """

    def __init__(
        self,
        image_column: str | None,
        label_columns: list[str] | None,
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
        self.image_column = image_column
        self.label_columns = label_columns
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

    def all_literals(self) -> list[str]:
        parts, _ = self._open()
        (rows, *_) = parts.values()
        return [name for names in self._literals_of(rows).values() for name in names]

    def read(self) -> Listed:
        from datasets import Image as ImageFeature
        from datasets import concatenate_datasets

        parts, notes = self._open()
        rows = concatenate_datasets(list(parts.values()))
        literals_of = self._literals_of(rows)
        known = [name for names in literals_of.values() for name in names]
        for name in self.literals:
            if name not in known:
                raise ValueError(f"{self.images} has no literal {name}; {nearest(name, known)}")
        columns = {name: self._labels(rows, name, len(of)) for name, of in literals_of.items()}
        labels = torch.cat(list(columns.values()), dim=1)
        labels = labels[:, [known.index(name) for name in self.literals]]
        column = self._image_column(rows)
        encoded = rows.select_columns([column]).cast_column(column, ImageFeature(decode=False))
        pictures = SavedPictures(encoded, column, str(self.images), self.stored_shape, self.decode)
        splits = None
        if list(parts) != ["train"]:
            splits = [name for name, part in parts.items() for _ in range(len(part))]
        return Listed(pictures, labels, splits, notes)

    def _open(self) -> tuple[Mapping[str, "Dataset"], list[str]]:
        """The data set by split, `train` for one without, and notes on splits left out."""
        from datasets import DatasetDict, load_from_disk

        folder = self.find(self.images)
        try:
            loaded = load_from_disk(str(folder))
        except Exception as error:  # what a damaged one raises can be anything
            raise ValueError(
                f"{folder} cannot be read as a data set of the datasets library "
                f"({type(error).__name__}; {found_in(folder)}): {MEND}"
            ) from error
        if not isinstance(loaded, DatasetDict):
            return {"train": loaded}, []
        parts = {
            split: loaded[name]
            for name in loaded
            if (split := SPLIT_FOLDERS.get(name.lower())) is not None
        }
        others = [name for name in loaded if name.lower() not in SPLIT_FOLDERS]
        if not parts:
            raise ValueError(f"{folder} has no split train, only {', '.join(loaded)}")
        return parts, [f"left out: splits {', '.join(others)}"] if others else []

    def _image_column(self, rows: "Dataset") -> str:
        from datasets import Image as ImageFeature

        columns = [name for name, kind in rows.features.items() if isinstance(kind, ImageFeature)]
        if self.image_column is None and len(columns) == 1:
            return columns[0]
        if self.image_column not in columns:
            wanted = "its columns of images are" if columns else "it has none of images, only"
            raise ValueError(
                f"{self.images} has no column {self.image_column or 'of images alone'}: {wanted} "
                f"{', '.join(columns or rows.column_names)}; set dataset.image_column"
            )
        return cast(str, self.image_column)

    def _literals_of(self, rows: "Dataset") -> dict[str, list[str]]:
        """The literals that each column of labels gives."""
        classes = {name: _classes(kind) for name, kind in rows.features.items()}
        wanted = [name for name, found in classes.items() if found is not None]
        if self.label_columns is not None:
            for name in self.label_columns:
                if name not in wanted:
                    raise ValueError(
                        f"{self.images} has no column {name} of labels; {nearest(name, wanted)}"
                    )
            wanted = self.label_columns
        several = sum(bool(classes[name]) for name in wanted) > 1
        found = {
            column: [
                literal_name(f"{column}_{name}" if several else name)
                for name in classes[column] or []
            ]
            or [literal_name(column)]
            for column in wanted
        }
        names = [name for of in found.values() for name in of]
        if not names or len({*names, ""}) <= len(names):
            raise ValueError(
                f"{self.images}: its columns name no literals, or one twice ({', '.join(names)}): "
                "choose some by dataset.label_columns"
            )
        return found

    def _labels(self, rows: "Dataset", column: str, number: int) -> Tensor:
        """Labels of the literals that a column gives: (N, number), bool."""
        labels = torch.zeros(len(rows), number, dtype=torch.bool)
        for position, value in enumerate(rows[column]):
            chosen = value if isinstance(value, list) else [value]
            if any(item is None or item < 0 for item in chosen) or value is None:
                raise ValueError(
                    f"{self.images}, row {position + 1}: {column} is unknown; leave such rows out "
                    "before save_to_disk"
                )
            if isinstance(value, bool):
                labels[position, 0] = value
            else:
                labels[position, chosen] = True
        return labels


def _classes(kind: Any) -> list[str] | None:
    """The classes of a column of labels, none for one of truth values; None for other columns."""
    from datasets import ClassLabel, List, Value

    if isinstance(kind, List):
        kind = kind.feature
        return kind.names if isinstance(kind, ClassLabel) else None
    if isinstance(kind, ClassLabel):
        return kind.names
    return [] if isinstance(kind, Value) and kind.dtype == "bool" else None
