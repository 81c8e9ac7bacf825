from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch.nn.functional import interpolate
from torchvision.models import resnet18

from src.data.normalize import Normalize
from src.encoders.pretrained import Pretrained

DINO = "vit_small_patch14_reg4_dinov2.lvd142m"


def build(model: str, weights: str | None, **settings: Any) -> Pretrained:
    sizes: dict[str, Any] = {"image_size": 64, "embedding_dim": 5}
    plain = {"freeze": False, "radius": None, "batch_norm": False}
    return Pretrained((3, 32, 32), model, weights, **(sizes | plain | settings)).eval()


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in a file as torchvision publishes them, though not trained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


def test_resnet_from_a_file_is_torchvisions(resnet_file: Path) -> None:
    encoder = build("resnet18.tv_in1k", str(resnet_file))
    reference = resnet18()
    reference.load_state_dict(torch.load(resnet_file, weights_only=True))
    reference.fc = torch.nn.Identity()
    head = encoder.network.get_classifier()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        larger = interpolate(images, (64, 64), mode="bilinear", antialias=True)
        expected = head(reference.eval()(larger))
        torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-5)
    assert encoder.normalization == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_dinov2_from_a_file_keeps_its_weights_at_another_image_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published: Any = timm.create_model(DINO, pretrained=False)
    torch.save(published.state_dict(), tmp_path / "dino.pth")
    encoder = build(DINO, str(tmp_path / "dino.pth"), image_size=56, embedding_dim=7)
    for name, weight in published.blocks.state_dict().items():
        assert torch.equal(encoder.network.blocks.state_dict()[name], weight)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_grey_images_reach_it_in_three_equal_channels(resnet_file: Path) -> None:
    encoder = Pretrained(
        (1, 32, 32), "resnet18.tv_in1k", str(resnet_file), False, 64, 5, None, False
    )
    assert encoder.normalization is not None
    normalize = Normalize(*encoder.normalization)
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    colour = grey.expand(-1, 3, -1, -1)
    assert torch.equal(encoder.eval()(normalize(grey)), encoder(normalize(colour)))
    with pytest.raises(ValueError, match="not 5 channels"):
        Pretrained((5, 32, 32), "resnet18.tv_in1k", None, False, 64, 5, None, False)


@pytest.mark.parametrize("switched", [False, True])
def test_frozen_backbone_changes_in_nothing_but_its_head(switched: bool, resnet_file: Path) -> None:
    encoder = Pretrained(
        (3, 32, 32), "resnet18.tv_in1k", str(resnet_file), True, 64, 5, None, False
    )
    if switched:
        encoder.eval().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    encoder(torch.rand(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    changed = {
        name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"network.fc.weight", "network.fc.bias"}


def test_weights_that_cannot_be_used_are_refused(resnet_file: Path, tmp_path: Path) -> None:
    (tmp_path / "note.pth").write_text("no weights")
    for model, weights, message in (
        ("resnet1800", None, "timm has no model 'resnet1800'"),
        ("resnet18.tv_in1k", "nowhere.pth", "no file of weights at nowhere.pth"),
        ("resnet34.tv_in1k", str(resnet_file), r"encoder\.weights=FILE"),
        ("resnet18.tv_in1k", str(tmp_path / "note.pth"), r"encoder\.weights=FILE"),
    ):
        with pytest.raises(ValueError, match=message):
            build(model, weights)
