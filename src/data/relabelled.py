"""An image set under other literals, which follow from its own."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from src.data.images import ImageSet, LabelledImages


class RelabelledSet(ImageSet):
    """The images and splits of another set, their labels mapped to those of other literals.

    Args:
        image_set: The other set.
        literals: (K,), the new names.
        relabel: Maps labels (N, C), bool, of the set to labels (N, K), bool; none of them becomes
            false as one of the set becomes true. A label is unknown where those that are unknown
            of the set would decide it.
    """

    def __init__(
        self,
        image_set: ImageSet,
        literals: Sequence[str],
        relabel: Callable[[Tensor], Tensor],
    ) -> None:
        self.image_set = image_set
        self.literals = tuple(literals)
        self.relabel = relabel
        self.example_queries = self.literals[:1]
        self.item = image_set.item  # type: ignore[misc]  # of the class elsewhere
        self.image_shape = image_set.image_shape
        self.mean = image_set.mean
        self.std = image_set.std

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        return self.image_set.stored_shape

    def augmentation(self) -> nn.Module:
        return self.image_set.augmentation()

    def load(self) -> Mapping[str, LabelledImages]:
        return {name: self._relabelled(split) for name, split in self.image_set.splits.items()}

    def _relabelled(self, split: LabelledImages) -> LabelledImages:
        relabelled = split.relabelled(self.relabel(split.labels))
        if split.unknown is not None:
            relabelled.unknown = self.relabel(split.labels | split.unknown) & ~relabelled.labels
        return relabelled


def without(image_set: ImageSet, literal: str) -> RelabelledSet:
    """The set without one of its literals.

    Raises:
        ValueError: If it has no such literal, or no other.
    """
    if literal not in image_set.literals:
        raise ValueError(f"{literal!r} is none of the literals {', '.join(image_set.literals)}")
    kept = [column for column, name in enumerate(image_set.literals) if name != literal]
    if not kept:
        raise ValueError(f"without {literal} no literal is left")
    names = [image_set.literals[column] for column in kept]
    return RelabelledSet(image_set, names, lambda labels: labels[:, kept])
