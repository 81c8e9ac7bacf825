"""Canvases that hold several garments of FashionMNIST, five kinds of which are the literals."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from src.data.images import LabelledImages
from src.data.mnist import FashionMnist

ALL_CLASSES = FashionMnist.literals

# The share of canvases with each literal, as uneven as the attributes of CelebA
FREQUENCIES = {"Sneaker": 0.5, "Trouser": 0.35, "Bag": 0.2, "Dress": 0.12, "Sandal": 0.07}
DISTRACTOR = 0.3  # share of the other cells that hold a garment of another kind
ROWS, COLUMNS, CELL = 2, 3, 14


class FashionSets(FashionMnist):
    """28 x 42 canvases of six cells, each empty or holding a FashionMNIST image at half size.

    The literals say which of five classes occur, so that there are up to 32 minterms, the rarest in
    one of some 10,000 canvases. Canvases are made from `split_seed`, each split from images of its
    own; those for the test from official test images.

    Args:
        canvases, validation, test_canvases: Number of canvases in each split.
        root, split_seed: As in `FashionMnist`.
    """

    literals = tuple(FREQUENCIES)
    example_queries = (
        "Bag & ~Sneaker",
        "Dress | Sandal",
        "Trouser & Sneaker & ~Bag",
    )
    image_shape = (1, ROWS * CELL, COLUMNS * CELL)
    mean = (0.12,)
    std = (0.25,)

    def __init__(
        self,
        canvases: int,
        test_canvases: int,
        root: str,
        validation: int,
        split_seed: int,
    ) -> None:
        super().__init__(root, "held_out", validation, split_seed)
        self.canvases = canvases
        self.test_canvases = test_canvases

    def label(self, classes: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(classes, len(ALL_CLASSES))

    def load(self) -> Mapping[str, LabelledImages]:
        train, test = self.read_split("train"), self.read_split("test")
        # Garments of validation canvases are held out, too: a twelfth of the training images.
        train, val = train.split(len(train) // 12, self.split_seed)
        sources = {"train": train, "val": val, "test": test}
        numbers = {"train": self.canvases, "val": self.validation, "test": self.test_canvases}
        return {
            name: draw_canvases(
                sources[name],
                numbers[name],
                torch.Generator().manual_seed(3 * self.split_seed + place),
            )
            for place, name in enumerate(sources)
        }


def draw_canvases(
    source: LabelledImages, number: int, generator: torch.Generator
) -> LabelledImages:
    """Compose canvases from FashionMNIST images with one-hot labels.

    Args:
        source: Images (N, 1, 28, 28) with labels (N, 10).
        number: Number of canvases to make.
        generator: Generator of the garments that occur, the image of each, and its place.
    """
    cells = ROWS * COLUMNS
    thumbnails = avg_pool2d(source.images.float(), 2).round().to(torch.uint8).squeeze(1)
    classes = source.labels.int().argmax(dim=1)
    frequencies = torch.tensor(list(FREQUENCIES.values()))
    present = torch.rand(number, len(frequencies), generator=generator) < frequencies

    # Column c of `kinds` holds the class in the c-th garment of a canvas, -1 for none.
    named = torch.tensor([ALL_CLASSES.index(name) for name in FREQUENCIES])
    others = torch.tensor([c for c in range(len(ALL_CLASSES)) if c not in named.tolist()])
    kinds = torch.full((number, cells), -1)
    kinds[:, : len(named)] = torch.where(present, named, -1)
    distracted = torch.rand(number, cells, generator=generator) < DISTRACTOR
    distractors = others[torch.randint(len(others), (number, cells), generator=generator)]
    kinds = torch.where((kinds < 0) & distracted, distractors, kinds)
    places = torch.rand(number, cells, generator=generator).argsort(dim=1)
    kinds = kinds.gather(1, places)

    garments = torch.zeros(number, cells, CELL, CELL, dtype=torch.uint8)
    for kind in range(len(ALL_CLASSES)):
        wanted = kinds == kind
        members = (classes == kind).nonzero().flatten()
        chosen = torch.randint(len(members), (int(wanted.sum()),), generator=generator)
        garments[wanted] = thumbnails[members[chosen]]
    canvases = garments.view(number, ROWS, COLUMNS, CELL, CELL).transpose(2, 3)
    return LabelledImages(canvases.reshape(number, 1, ROWS * CELL, COLUMNS * CELL), present)
