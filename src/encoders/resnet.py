"""Residual encoders for small images, built on torchvision's blocks."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from src.encoders.encoder import Encoder

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3]}


class SmallResNet(Encoder):
    """ResNet-18 or -34 as used on CIFAR: a 3 x 3 stem, no max-pooling, leaky ReLU throughout.

    Args:
        image_shape: Channels, height and width.
        depth: Number of layers, 18 or 34.
        embedding_dim, radius, batch_norm: As in `Encoder`.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        depth: Literal[18, 34],
        embedding_dim: int,
        radius: float | None,
        batch_norm: bool,
    ) -> None:
        super().__init__(embedding_dim, radius, batch_norm)
        self.network = ResNet(BasicBlock, BLOCKS[depth], num_classes=embedding_dim)
        self.network.conv1 = nn.Conv2d(image_shape[0], 64, kernel_size=3, padding=1, bias=False)
        self.network.maxpool = nn.Identity()
        for block in self.network.modules():
            if isinstance(block, ResNet | BasicBlock):
                block.relu = nn.LeakyReLU(inplace=True)

    def features(self, images: Tensor) -> Tensor:
        return self.network(images)
