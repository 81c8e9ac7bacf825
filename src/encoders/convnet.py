"""The small convolutional encoder of the paper."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.encoders.encoder import Encoder


class ConvNet(Encoder):
    """Two 3 x 3 convolutions, max-pooling and two linear layers, with leaky ReLU and dropout.

    On 28 x 28 images the first linear layer is 9216 to 128, as in the authors' code.

    Args:
        image_shape: Channels, height and width, at least 6 x 6 pixels.
        embedding_dim, radius, batch_norm: As in `Encoder`.

    Raises:
        ValueError: If the images are too small, or D or the radius is not positive.
    """

    def __init__(
        self, image_shape: Sequence[int], embedding_dim: int, radius: float | None, batch_norm: bool
    ) -> None:
        super().__init__(embedding_dim, radius, batch_norm)
        channels, height, width = image_shape
        if min(height, width) < 6:
            raise ValueError(
                f"ConvNet needs images of at least 6 x 6 pixels, not {height} x {width}"
            )
        pooled = ((height - 4) // 2) * ((width - 4) // 2)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3),
            nn.LeakyReLU(),
            nn.Conv2d(32, 64, kernel_size=3),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(64 * pooled, 128),
            nn.LeakyReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, embedding_dim),
        )

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images)
