"""Pretrained backbones: ImageNet ResNets, DINOv2 and whatever else timm has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from torch import Tensor
from torch.nn.functional import interpolate

from src.encoders.encoder import Encoder, check_channels, first_line

HUB = "hub"


class Pretrained(Encoder):
    """A backbone of timm with a new linear head.

    Args:
        image_shape: Channels, height and width of the images. Normalisation with the statistics of
            three channels makes grey ones three equal ones.
        model: Name of the backbone in timm, such as `resnet18.tv_in1k`, which is torchvision's.
        weights: `hub` for the published weights, downloaded once; a local file of weights, as
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
        if weights not in (None, HUB) and not Path(str(weights)).is_file():
            raise ValueError(f"no file of weights at {weights}")
        try:
            # The head comes with the weights, so that a file of another model is refused.
            self.network = timm.create_model(
                model,
                pretrained=weights is not None,
                pretrained_cfg_overlay=None if weights in (None, HUB) else {"file": weights},
            )
        except Exception as error:  # each hub and file format has errors of its own
            raise ValueError(
                f"no weights of {model} from {weights} ({first_line(error)}): give a file of them "
                "(encoder.weights=FILE), or null for random ones"
            ) from error
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
