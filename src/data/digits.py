"""The 1,797 handwritten digits that scikit-learn ships, with five literals or ten classes."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from src.data.images import ImageSet, LabelledImages

# has_loop follows the printed figure. A 4 is written open as often as closed and counts as open.
DIGITS_WITH = {
    "even": {0, 2, 4, 6, 8},
    "prime": {2, 3, 5, 7},
    "at_least_five": {5, 6, 7, 8, 9},
    "has_loop": {0, 6, 8, 9},
    "square": {0, 1, 4, 9},
}
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(ImageSet):
    """8 x 8 grey digits, split 70 / 10 / 20 percent into train, val and test, minterm by minterm.

    The ten digits make eight minterms: 5 and 7 agree in all five literals, and so do 6 and 8.

    Args:
        split_seed: Seed of the splits.
    """

    digits_with: ClassVar[Mapping[str, set[int]]] = DIGITS_WITH
    literals = tuple(DIGITS_WITH)
    example_queries = ("prime & ~even", "square | (even & has_loop)", "at_least_five")
    image_shape = (1, 8, 8)
    mean = (0.3053,)
    std = (0.3760,)

    def __init__(self, split_seed: int) -> None:
        self.split_seed = split_seed

    def load(self) -> Mapping[str, LabelledImages]:
        digits = load_digits()
        # Grey levels are 0 to 16.
        images = torch.from_numpy(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(1)
        has_literal = [
            [digit in self.digits_with[name] for name in self.literals] for digit in range(10)
        ]
        labels = torch.tensor(has_literal)[digits.target]

        minterm = labels.unique(dim=0, return_inverse=True)[1]
        train, rest = train_test_split(
            torch.arange(len(labels)), test_size=0.3, stratify=minterm, random_state=self.split_seed
        )
        val, test = train_test_split(
            rest, test_size=2 / 3, stratify=minterm[rest], random_state=self.split_seed
        )
        splits = {"train": train, "val": val, "test": test}
        return {name: LabelledImages(images, labels, chosen) for name, chosen in splits.items()}


class DigitClasses(Digits):
    """The same images, each digit a literal and a minterm."""

    digits_with: ClassVar = {name: {digit} for digit, name in enumerate(NAMES)}
    literals = NAMES
    example_queries = ("three", "four | nine", "~zero & ~one")
