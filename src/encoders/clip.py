"""CLIP and its kind: encoders of images and of texts, trained together, from Hugging Face."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, logging

from src.encoders.encoder import DualEncoder, check_channels, first_line

logging.set_verbosity_error()
logging.disable_progress_bar()

TOWERS = ("vision_model", "get_image_features", "get_text_features")
IMAGE_TOWER = ("vision_model", "visual_projection")  # a model may lack the second
TEMPERATURE = ("logit_scale", "logit_bias", "temperature")
HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


class Clip(DualEncoder):
    """A dual encoder of transformers, as published: D and the size of images are the model's.

    Images are scaled to the model's square as a whole, with the interpolation of its own image
    processor. The processor itself would cut the ends off images that are not square.

    Args:
        image_shape: Channels, height and width of the images. Normalisation with the statistics of
            three channels makes grey ones three equal ones.
        model: A folder with the model, its tokenizer and its image processor; or the name of one on
            the hub, such as `openai/clip-vit-base-patch32`, which is downloaded once.
        freeze: Whether the image tower stays as it is, and the text tower alone is trained [0].
        embedding_dim: The model's D; None takes it.
        radius, batch_norm: As in `Encoder`.

    Raises:
        ValueError: If `model` is not a dual encoder, a part of it is missing, or its D is another.

    References:
        [0] Zhai et al., *LiT: Zero-Shot Transfer with Locked-image text Tuning*, CVPR 2022,
        https://arxiv.org/abs/2111.07991
    """

    network: Any  # transformers gives its models methods that nn.Module does not have

    def __init__(
        self,
        image_shape: Sequence[int],
        model: str,
        freeze: bool,
        embedding_dim: int | None,
        radius: float | None,
        batch_norm: bool,
    ) -> None:
        check_channels(image_shape)
        network, tokenizer, processor = _load(_find(model))
        # The processor is linear in a pixel, so that black and white tell its mean and deviation.
        extremes = [Image.new("RGB", (8, 8), color) for color in ("black", "white")]
        pixels = processor(images=extremes, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            features = network.get_image_features(pixels).pooler_output
        if embedding_dim not in (None, features.shape[1]):
            raise ValueError(
                f"{model} has embeddings of {features.shape[1]} dimensions, not {embedding_dim}: "
                "set encoder.embedding_dim=null, and no readout of logits"
            )
        super().__init__(features.shape[1], radius, batch_norm)
        black, white = pixels[:, :, 0, 0].double()
        std = 1 / (white - black)
        self.normalization = ((-black * std).tolist(), std.tolist())
        self.square = pixels.shape[2:]
        self.interpolation = Image.Resampling(processor.resample).name.lower()

        self.network = network
        self.tokenizer = tokenizer
        self.max_tokens = min(
            network.config.text_config.max_position_embeddings, tokenizer.model_max_length
        )
        if hasattr(network, "logit_scale"):
            self.log_scale = float(network.logit_scale.detach())
        else:  # ALIGN
            self.log_scale = -float(network.temperature.detach().log())

        self.freeze = freeze
        self.image_tower = [
            getattr(network, name) for name in IMAGE_TOWER if hasattr(network, name)
        ]
        for part in self.image_tower:
            part.requires_grad_(not freeze)
        for name in TEMPERATURE:  # the loss has its own, which starts at the model's
            if hasattr(network, name):
                getattr(network, name).requires_grad_(False)
        self.train()  # transformers loads for evaluation, and Lightning leaves modes as they are

    def train(self, mode: bool = True) -> "Clip":
        """Switch modes; a frozen image tower stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            for part in self.image_tower:
                part.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        scaled = interpolate(images, self.square, mode=self.interpolation, antialias=True)
        return self.network.get_image_features(scaled).pooler_output

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.check_texts(texts)
        # Models whose tokenizer gives no mask read the padding, and were trained with all of it.
        masked = "attention_mask" in self.tokenizer.model_input_names
        tokens = self.tokenizer(
            list(texts),
            padding="longest" if masked else "max_length",
            max_length=None if masked else self.max_tokens,
            return_tensors="pt",
        )
        return self.network.get_text_features(**tokens.to(self.network.device)).pooler_output

    def freeze_texts(self) -> None:
        if self.freeze:
            raise ValueError(
                "encoder.freeze=true keeps the image tower as it is, and without texts there is "
                "nothing else to train; trainer.max_epochs=0 trains nothing at all"
            )
        self.network.requires_grad_(False)
        for part in self.image_tower:
            part.requires_grad_(True)

    def check_texts(self, texts: Sequence[str]) -> None:
        for text, tokens in zip(texts, self.tokenizer(list(texts))["input_ids"], strict=True):
            if len(tokens) > self.max_tokens:
                raise ValueError(
                    f"a text has {len(tokens)} tokens and {self.max_tokens} fit into the encoder: "
                    f"{text[:60]!r}..."
                )


def _find(model: str) -> Path:
    """The folder of a model: `model` itself, or the one that keeps its files from the hub."""
    if Path(model).is_dir():
        return Path(model)
    if Path(model).is_absolute():
        raise ValueError(
            f"there is no folder {model}; the model, its tokenizer and its image processor are "
            "read from it whenever a checkpoint is"
        )
    try:
        folder = Path(snapshot_download(model, allow_patterns=HUB_FILES))
        if not list(folder.glob("model*.safetensors")):  # an older model
            snapshot_download(model, allow_patterns="pytorch_model*.bin")
    except Exception as error:  # the hub and the network have errors of their own
        raise ValueError(
            f"there is no folder {model}, and no such model from the hub ({first_line(error)})"
        ) from error
    return folder


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """The model, its tokenizer and its image processor."""
    try:
        network, loading = AutoModel.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # each file format has errors of its own
        raise ValueError(f"no dual encoder in {folder} ({first_line(error)})") from error
    missing = [name for name in TOWERS if not hasattr(network, name)]
    if missing:
        raise ValueError(
            f"{folder} holds a {type(network).__name__}, which has no {missing[0]}: a dual encoder "
            "of images and texts is needed, such as CLIPModel"
        )
    if loading["missing_keys"]:
        raise ValueError(
            f"{folder} has no weights for {len(loading['missing_keys'])} parts of its "
            f"{type(network).__name__}, such as {min(loading['missing_keys'])}"
        )
    # Without its files, transformers makes an empty tokenizer without a word.
    files = tokenizer.vocab_files_names.values()
    if not any((folder / name).is_file() for name in files):
        raise ValueError(f"no tokenizer in {folder}: none of {', '.join(files)}")
    return network, tokenizer, processor
