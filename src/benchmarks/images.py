"""Random images of the size of FashionMNIST's: speed does not depend on what they show."""

from collections.abc import Mapping

import torch
from torch.nn.functional import one_hot

from src.data.images import ImageSet, LabelledImages
from src.data.mnist import Mnist

VAL_IMAGES = 100


class RandomImages(ImageSet):
    """Grey noise in ten classes, the classes in turn.

    Args:
        images: Number of images in the training split.
    """

    literals = Mnist.literals
    example_queries = Mnist.example_queries
    image_shape = Mnist.image_shape
    mean, std = (0.5,), (0.3,)

    def __init__(self, images: int) -> None:
        self.images = images

    def load(self) -> Mapping[str, LabelledImages]:
        generator = torch.Generator().manual_seed(0)
        return {
            name: LabelledImages(
                torch.randint(
                    256, (size, *self.image_shape), generator=generator, dtype=torch.uint8
                ),
                one_hot(torch.arange(size) % len(self.literals), len(self.literals)),
            )
            for name, size in (("train", self.images), ("val", VAL_IMAGES), ("test", VAL_IMAGES))
        }
