"""CIFAR-10 and CIFAR-100, through torchvision."""

from typing import ClassVar

import torch
from kornia.augmentation import AugmentationSequential, RandomCrop, RandomHorizontalFlip
from torch import nn
from torch.nn.functional import one_hot
from torchvision import datasets

from src.data.images import LabelledImages, OfficialSplits
from src.data.missing import MissingDataError


class Cifar10(OfficialSplits):
    """32 x 32 colour images: 50,000 for training, 10,000 for the test, one literal per class.

    Training images are cropped at random from a padding of 4 and flipped at random, each by itself.
    """

    literals: tuple[str, ...] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    example_queries: tuple[str, ...] = (
        "ship",
        "cat | dog",
        "~(automobile | truck) & ~bird",
    )
    image_shape = (3, 32, 32)
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2023, 0.1994, 0.2010)
    source: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR10

    def augmentation(self) -> nn.Module:
        return AugmentationSequential(
            RandomCrop((32, 32), padding=4), RandomHorizontalFlip(), data_keys=["input"]
        )

    def fetch(self) -> None:
        self.source(self.root, download=True)

    def read_split(self, name: str) -> LabelledImages:
        try:
            split = self.source(self.root, train=name == "train")
        except RuntimeError as error:
            raise MissingDataError(
                f"no {self.source.base_folder} with the published checksums in {self.root}",
                "python -m src.prepare with the same dataset and data_dir fetches it",
            ) from error
        images = torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous()
        return LabelledImages(images, one_hot(torch.tensor(split.targets), len(self.literals)))


class Cifar100(Cifar10):
    """32 x 32 colour images of a hundred classes, five hundred of each for training."""

    # Alphabetical, as in the published files.
    # fmt: off
    literals = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
        "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
        "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
        "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
        "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear",
        "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
        "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train",
        "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    )
    # fmt: on
    example_queries = (
        "rocket",
        "oak_tree | maple_tree | willow_tree",
        "~man & ~woman & ~baby",
    )
    source: ClassVar = datasets.CIFAR100
