"""Small dual encoders of transformers with random weights, saved as published ones are."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AlignConfig,
    AlignModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    EfficientNetImageProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    logging,
)

from src.readouts.prompts import vocabulary

logging.set_verbosity_error()
logging.disable_progress_bar()

LITERALS = ["bald", "eyeglasses", "wearing necktie", "wearing hat", "male", "even", "prime"]
WORDS = vocabulary([*LITERALS, "at least five", "has loop", "square"])
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
SQUARE = {"height": 32, "width": 32}


def save_clip(folder: Path) -> Path:
    """A CLIP, D = 16, for images of 32 x 32 pixels and up to 77 tokens, of which a word is one."""
    pieces: dict[str, None] = {}
    merges: dict[Any, None] = {}
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        pieces |= dict.fromkeys(parts)
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts[:2] = [parts[0] + parts[1]]
            pieces[parts[0]] = None
    names = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    numbers = {piece: number for number, piece in enumerate(names)}
    end = len(names) - 1
    text = TOWER | {
        "vocab_size": len(names),
        "max_position_embeddings": 77,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    torch.manual_seed(0)
    model: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
    with torch.no_grad():
        model.logit_scale.fill_(3)  # not where the loss starts by itself
    tokenizer = CLIPTokenizer(vocab=numbers, merges=list(merges))
    return save(folder, model, tokenizer, CLIPImageProcessor(size=SQUARE, crop_size=SQUARE))


def save_siglip(folder: Path) -> Path:
    """A SigLIP, D = 32: no projections, a bias, and texts padded to all of their 64 tokens."""
    text = TOWER | {"vocab_size": len(WORDS) + 2, "max_position_embeddings": 64}
    torch.manual_seed(0)
    model: Any = SiglipModel(SiglipConfig(text_config=text, vision_config=VISION))
    with torch.no_grad():
        model.logit_scale.fill_(4.77)  # as published ones, above CLIP's limit
        model.logit_bias.fill_(-3)
    tokenizer = word_tokenizer(["input_ids"])
    return save(folder, model, tokenizer, SiglipImageProcessor(size=SQUARE, resample=2))


def save_align(folder: Path) -> Path:
    """An ALIGN, D = 80: a convolutional image tower and a temperature that is no logarithm."""
    text = TOWER | {"vocab_size": len(WORDS) + 2, "max_position_embeddings": 40}
    vision = {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1}
    torch.manual_seed(0)
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=80)
    model: Any = AlignModel(config)
    with torch.no_grad():
        model.temperature.fill_(0.2)
        for weight in model.vision_model.parameters():
            if weight.ndim == 4:  # else features vanish in its many layers
                torch.nn.init.kaiming_normal_(weight)
    tokenizer = word_tokenizer(["input_ids", "attention_mask"])
    return save(folder, model, tokenizer, EfficientNetImageProcessor(size=SQUARE))


def word_tokenizer(inputs: list[str]) -> PreTrainedTokenizerFast:
    numbers = {word: number for number, word in enumerate(["<pad>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", model_input_names=inputs
    )


def save(folder: Path, *parts: Any) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    return folder
