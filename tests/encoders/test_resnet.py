import pytest
import torch
from torch import nn

from src.encoders.resnet import SmallResNet


@pytest.mark.parametrize(("depth", "millions"), [(18, 11.2), (34, 21.3)])
def test_is_the_network_of_that_depth(depth: int, millions: float) -> None:
    encoder = SmallResNet((3, 32, 32), depth, embedding_dim=25, radius=None, batch_norm=False)  # type: ignore[arg-type]
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.1)
    assert len([layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]) in (20, 36)


def test_keeps_the_resolution_of_small_images_and_is_leaky() -> None:
    encoder = SmallResNet((1, 28, 28), 18, embedding_dim=10, radius=None, batch_norm=False)
    assert encoder.network.conv1.stride == (1, 1)
    assert isinstance(encoder.network.maxpool, nn.Identity)
    assert not [layer for layer in encoder.modules() if isinstance(layer, nn.ReLU)]
    assert encoder(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_radius_fixes_the_length_of_embeddings_and_keeps_their_direction() -> None:
    free = SmallResNet((1, 8, 8), 18, embedding_dim=6, radius=None, batch_norm=False).eval()
    fixed = SmallResNet((1, 8, 8), 18, embedding_dim=6, radius=2.0, batch_norm=False).eval()
    fixed.load_state_dict(free.state_dict())
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(fixed(images).norm(dim=1), torch.full((3,), 2.0))
    cosines = nn.functional.cosine_similarity(fixed(images), free(images))
    torch.testing.assert_close(cosines, torch.ones(3))
