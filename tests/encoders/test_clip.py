import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import save_align, save_clip, save_siglip
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, BertConfig, BertModel

from src.data.normalize import Normalize
from src.encoders.clip import Clip

ROOT = Path(__file__).parent.parent.parent
TEXTS = [
    "a picture of something that is male",
    "a picture of something that is bald and not male",
    "a picture of something that is both even and either prime or square",
]


def build(
    folder: Path | str, freeze: bool = False, channels: int = 3, embedding_dim: int | None = None
) -> Clip:
    shape = (channels, 32, 32)
    return Clip(shape, str(folder), freeze, embedding_dim, radius=None, batch_norm=False)


def embed(encoder: Clip, images: Tensor) -> Tensor:
    """Embeddings of stored pixels, as the module makes them."""
    assert encoder.normalization is not None
    return encoder(Normalize(*encoder.normalization)(images))


def pictures(size: int) -> list[Image.Image]:
    """Smooth random colours."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    return [
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in pixels
    ]


def stored(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def published(folder: Path, images: list[Image.Image], **padding: Any) -> Any:
    """Embeddings of images and texts by transformers' own pipeline."""
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", **padding)
    pixels = AutoImageProcessor.from_pretrained(folder)(images=images, return_tensors="pt")
    with torch.no_grad():
        return AutoModel.from_pretrained(folder)(**tokens, **pixels)


@pytest.mark.parametrize(
    ("save", "padding", "bias"),
    [
        (save_clip, {"padding": True}, 0),
        (save_siglip, {"padding": "max_length", "max_length": 64}, -3),
        (save_align, {"padding": True}, 0),
    ],
)
def test_similarities_are_those_of_transformers(
    save: Callable[[Path], Path], padding: dict[str, Any], bias: float, tmp_path: Path
) -> None:
    folder = save(tmp_path / "model")
    images = pictures(32)
    encoder = build(folder).eval()
    with torch.no_grad():
        embeddings, texts = embed(encoder, stored(images)), encoder.encode_texts(TEXTS)
    output = published(folder, images, **padding)
    assert embeddings.shape[1] == encoder.embedding_dim
    torch.testing.assert_close(normalize(embeddings), normalize(output.image_embeds))
    torch.testing.assert_close(normalize(texts), normalize(output.text_embeds))
    cosines = normalize(embeddings) @ normalize(texts).T
    logits = cosines * torch.tensor(encoder.log_scale).exp() + bias
    torch.testing.assert_close(logits, output.logits_per_image, rtol=1e-4, atol=1e-4)
    assert output.logits_per_image.std() > 0.05


@pytest.mark.parametrize("size", [20, 178])
def test_other_sizes_are_scaled_as_by_its_image_processor(size: int, clip_folder: Path) -> None:
    images = pictures(size)
    encoder = build(clip_folder).eval()
    scaled: list[Tensor] = []
    encoder.network.vision_model.register_forward_pre_hook(
        lambda module, inputs, named: scaled.append(named["pixel_values"]), with_kwargs=True
    )
    embed(encoder, stored(images))
    processor = AutoImageProcessor.from_pretrained(clip_folder)
    for resample, near in ((3, True), (2, False)):
        expected = processor(images=images, resample=resample, return_tensors="pt")["pixel_values"]
        assert (float((scaled[0] - expected).abs().mean()) < 0.006) == near  # it rounds to 1/255


def test_what_is_not_square_is_seen_as_a_whole(clip_folder: Path) -> None:
    encoder = build(clip_folder).eval()
    images = torch.rand(2, 3, 28, 42)
    ends = images.clone()
    ends[..., :5] = 0
    assert not torch.allclose(encoder(images), encoder(ends), atol=1e-3)


def test_grey_images_reach_it_in_three_equal_channels(clip_folder: Path) -> None:
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    encoder = build(clip_folder, channels=1).eval()
    assert torch.equal(embed(encoder, grey), embed(encoder, grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="not 5 channels"):
        build(clip_folder, channels=5)


@pytest.mark.parametrize("freeze", [False, True])
def test_frozen_image_tower_does_not_change_in_a_step(freeze: bool, tmp_path: Path) -> None:
    encoder = build(save_align(tmp_path / "model"), freeze)  # it has batch normalisation
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    (encoder(torch.rand(3, 3, 32, 32)) * encoder.encode_texts(TEXTS)).sum().backward()
    optimizer.step()
    changed = [
        name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])
    ]
    towers = {name.split(".")[1].split("_")[0] for name in changed}
    assert towers == ({"text"} if freeze else {"text", "vision"})
    assert any("running_mean" in name for name in changed) != freeze


def test_a_text_longer_than_the_context_is_refused(clip_folder: Path) -> None:
    encoder = build(clip_folder)
    fits = " ".join(["male"] * 75)  # and two tokens for its ends
    assert encoder.encode_texts([fits]).shape == (1, 16)
    for refused in (encoder.encode_texts, encoder.check_texts):
        with pytest.raises(ValueError, match="a text has 78 tokens and 77 fit"):
            refused([fits, fits + " male"])


def forget(*names: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return edit


def replace_by_bert(folder: Path) -> None:
    BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(folder)


def keep_only_its_config(folder: Path) -> None:
    config = (folder / "config.json").read_text()
    replace_by_bert(folder)
    (folder / "config.json").write_text(config)


def cut_off_its_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            forget("tokenizer.json", "tokenizer_config.json"),
            "no tokenizer in .*model: none of vocab",
        ),
        (forget("preprocessor_config.json"), "no dual encoder in .*image processor"),
        (forget("model.safetensors"), "no dual encoder in .*no file named model.safetensors"),
        (cut_off_its_weights, "no dual encoder in .*header"),
        (replace_by_bert, "holds a BertModel, which has no vision_model"),
        (
            keep_only_its_config,
            r"has no weights for \d+ parts of its CLIPModel, such as logit_scale",
        ),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(
    edit: Callable[[Path], None], message: str, clip_folder: Path, tmp_path: Path
) -> None:
    edit(Path(shutil.copytree(clip_folder, tmp_path / "model")))
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "model")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/nowhere/clip", "there is no folder /nowhere/clip; the model, its tokenizer"),
        ("models/no/clip", "there is no folder models/no/clip, and no such model from the hub"),
        ("nobody-0/no-clip", "there is no folder nobody-0/no-clip, and no such model from the hub"),
    ],
)
def test_a_model_that_is_nowhere_is_refused(model: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(model)


def test_dimensions_are_those_of_the_model(clip_folder: Path) -> None:
    own = build(clip_folder).embedding_dim
    assert build(clip_folder, embedding_dim=own).embedding_dim == own == 16
    with pytest.raises(ValueError, match="embeddings of 16 dimensions, not 64: set encoder"):
        build(clip_folder, embedding_dim=64)


def test_transformers_is_imported_only_where_it_is_used() -> None:
    check = (
        "import src.train, src.runs.fit, sys; "
        "assert 'transformers.modeling_utils' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
