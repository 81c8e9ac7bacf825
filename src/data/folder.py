"""Images of one's own, a class a folder, as torchvision's ImageFolder takes them."""

from pathlib import Path

import torch

from src.data.folders import list_files
from src.data.listed import check_distinct
from src.data.own import Listed, OwnImages, literal_name
from src.data.pictures import picture_endings

# Names of the folders of splits; 0, 1 and 2 are those of classes.
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class ImageFolders(OwnImages):
    """Folders of classes, each with its images; or such folders in folders named as splits.

    Every class is a literal, true of its own images alone. Spaces and signs in the names of classes
    become underscores.

    Args:
        root, images, literals, image_size, resize, validation, test, split_seed, cache, mean, std:
            As in `OwnImages`.

    Raises:
        ValueError: If there are not two classes, a class without images, an image twice (by links),
            or folders of classes beside those of splits.
        MissingDataError: If the folder is not there.
    """

    def all_literals(self) -> list[str]:
        classes = sorted({folder.name for _, folder in self._folders()})
        names = [literal_name(name) for name in classes]
        for name, folder in zip(names, classes, strict=True):
            if not name or names.count(name) > 1:
                raise ValueError(f"{self.images}: a folder needs another name than {folder!r}")
        if len(names) < 2:
            raise ValueError(
                f"{self.images} has {len(names)} folders of images, where each class has one and "
                "there are at least two classes"
            )
        return names

    def read(self) -> Listed:
        paths: list[Path] = []
        classes: list[str] = []
        splits: list[str | None] = []
        for split, folder in self._folders():
            found = list_files(folder, picture_endings()).files
            if not found:
                raise ValueError(f"no images in {folder}, which names a class: remove it")
            paths += found
            classes += [literal_name(folder.name)] * len(found)
            splits += [split] * len(found)
        check_distinct(paths, paths)
        labels = torch.tensor([[name == literal for literal in self.literals] for name in classes])
        given = [split for split in splits if split is not None]
        notes = self.count_others(self.find(self.images), paths)
        return Listed(self.image_files(paths), labels, given or None, notes)

    def _folders(self) -> list[tuple[str | None, Path]]:
        """The folders of classes, each with its split if that is given."""
        inner = _folders_in(self.find(self.images))
        splits = {folder: SPLIT_FOLDERS.get(folder.name.lower()) for folder in inner}
        if not any(splits.values()):
            return [(None, folder) for folder in inner]
        beside = [folder.name for folder, split in splits.items() if split is None]
        if beside:
            raise ValueError(
                f"{self.images} has folders beside those of splits: {', '.join(beside)}; move each "
                "class into a split, or what is no class elsewhere"
            )
        return [(split, child) for folder, split in splits.items() for child in _folders_in(folder)]


def _folders_in(folder: Path) -> list[Path]:
    inner = (path for path in sorted(folder.iterdir()) if path.is_dir())
    return [path for path in inner if not path.name.startswith(".")]
