"""The small convolutional encoder of the paper."""

from collections.abc import Sequence

from torch import Tensor, nn

from src.encoders.encoder import Encoder


class ConvNet(Encoder):
    """Two 3 x 3 convolutions, max-pooling and two linear layers, with leaky ReLU and dropout.

    On 28 x 28 images the first linear layer is 9216 to 128, as in the authors' code.

    Args:
        image_shape: Channels, height and width, at least 6 x 6 pixels.
        embedding_dim: D, the size of the output.

    Raises:
        ValueError: If the images are too small or D is not positive.
    """

    def __init__(self, image_shape: Sequence[int], embedding_dim: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 6:
            raise ValueError(
                f"ConvNet needs images of at least 6 x 6 pixels, not {height} x {width}"
            )
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, not {embedding_dim}")
        self.embedding_dim = embedding_dim
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

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, height, width) to embeddings (N, D)."""
        return self.layers(images)
