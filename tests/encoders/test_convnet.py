import pytest
import torch
from torch import nn

from src.encoders.convnet import ConvNet


@pytest.mark.parametrize(
    ("shape", "features"), [((1, 28, 28), 9216), ((1, 8, 8), 256), ((3, 32, 32), 64 * 14 * 14)]
)
def test_maps_images_to_embeddings(shape: tuple[int, int, int], features: int) -> None:
    encoder = ConvNet(shape, embedding_dim=10, standardize=False, radius=None)
    linear = [layer for layer in encoder.modules() if isinstance(layer, nn.Linear)]
    assert (linear[0].in_features, linear[0].out_features) == (features, 128)
    assert encoder(torch.rand(3, *shape)).shape == (3, 10)


def test_is_leaky_everywhere() -> None:
    kinds = {
        type(layer) for layer in ConvNet((1, 8, 8), 4, standardize=False, radius=None).modules()
    }
    assert nn.LeakyReLU in kinds
    assert nn.ReLU not in kinds


def test_refuses_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="at least 6 x 6"):
        ConvNet((1, 5, 28), 10, standardize=False, radius=None)


def test_standardized_dimensions_have_mean_zero_and_variance_one() -> None:
    torch.manual_seed(0)
    encoder = ConvNet((1, 8, 8), 4, standardize=True, radius=None)
    images = torch.rand(500, 1, 8, 8)
    embeddings = encoder(images)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(embeddings.var(dim=0, correction=0), torch.ones(4), atol=0.1, rtol=0)
    for _ in range(60):  # evaluation goes by what was seen, not by the batch
        encoder(images)
    alone = encoder.eval()(images[:1])
    torch.testing.assert_close(encoder(images)[:1], alone)
    assert encoder(images).mean(dim=0).abs().max() < 0.5
    assert not list(encoder.standardize.parameters())
