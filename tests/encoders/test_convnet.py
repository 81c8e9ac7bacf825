import pytest
import torch
from torch import nn

from src.encoders.convnet import ConvNet


@pytest.mark.parametrize(
    ("shape", "features"), [((1, 28, 28), 9216), ((1, 8, 8), 256), ((3, 32, 32), 64 * 14 * 14)]
)
def test_maps_images_to_embeddings(shape: tuple[int, int, int], features: int) -> None:
    encoder = ConvNet(shape, embedding_dim=10, radius=None, batch_norm=False)
    linear = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    assert (linear[0].in_features, linear[0].out_features) == (features, 128)
    assert encoder(torch.rand(3, *shape)).shape == (3, 10)


def test_is_leaky_everywhere() -> None:
    kinds = {
        type(layer) for layer in ConvNet((1, 8, 8), 4, radius=None, batch_norm=False).modules()
    }
    assert nn.LeakyReLU in kinds
    assert nn.ReLU not in kinds


def test_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="at least 6 x 6"):
        ConvNet((1, 5, 28), 10, radius=None, batch_norm=False)
