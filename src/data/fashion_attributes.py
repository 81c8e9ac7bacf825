"""FashionMNIST with six literals that its classes share."""

import torch
from torch import Tensor

from src.data.mnist import FashionMnist

CLASSES = FashionMnist.literals

# Judged by the typical image of a class; "opens" is fastened with buttons, a zip or laces.
CLASSES_WITH = {
    "upper_body": {"T_shirt", "Pullover", "Dress", "Coat", "Shirt"},
    "covers_legs": {"Trouser", "Dress"},
    "long_sleeves": {"Pullover", "Coat", "Shirt"},
    "opens": {"Coat", "Shirt", "Sneaker"},
    "footwear": {"Sandal", "Sneaker", "Ankle_boot"},
    "warm": {"Pullover", "Coat", "Ankle_boot"},
}


class FashionAttributes(FashionMnist):
    """All images of FashionMNIST; its ten classes are ten minterms of six overlapping literals."""

    literals = tuple(CLASSES_WITH)
    example_queries = (
        "upper_body & ~long_sleeves",
        "footwear | covers_legs",
        "warm & ~footwear",
    )

    def label(self, classes: Tensor) -> Tensor:
        has_literal = [[name in CLASSES_WITH[key] for key in self.literals] for name in CLASSES]
        return torch.tensor(has_literal)[classes]
