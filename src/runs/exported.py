"""Models as safetensors [0], which can hold tensors and text alone, and as ONNX [1].

A file `model.safetensors` is read wherever a checkpoint is, by `src.runs.checkpoints`.

References:
    [0] https://huggingface.co/docs/safetensors
    [1] https://onnx.ai
"""

import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import save
from torch import Tensor, nn

from src.data.atomic import replacing
from src.modules.subspace import SubspaceModule
from src.runs.checkpoints import CONFIG_KEY, DIGEST, EXPORTED, digest
from src.runs.load import load_checkpoint

SAMPLE = 2  # images that an export is traced with; it takes any number


class Embedder(nn.Module):
    """Images as they are stored, uint8, to embeddings: normalisation and encoder."""

    def __init__(self, module: SubspaceModule) -> None:
        super().__init__()
        self.normalize, self.encoder = module.normalize, module.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, channels, height, width), uint8, to embeddings (N, D), float32."""
        return self.encoder(self.normalize(images))


def write_safetensors(path: str, data_dir: str | None, output_dir: Path) -> list[Path]:
    """Write `model.safetensors`: all weights, and the config as metadata.

    Args:
        path: The checkpoint.
        data_dir: The folder of the data sets now; None where they were in training.
        output_dir: The folder to write into.

    Returns:
        The file that was written.

    Raises:
        CheckpointError: If the file is missing, or no checkpoint of this project.
        OSError: If the disk is full.
    """
    config, _, module = load_checkpoint(path, data_dir)
    target = output_dir / f"model{EXPORTED}"
    _write(target, module.state_dict(), {CONFIG_KEY: OmegaConf.to_container(config)})
    return [target]


def write_onnx(path: str, data_dir: str | None, output_dir: Path) -> list[Path]:
    """Write `encoder.onnx`, and beside it `readouts.safetensors` with what readouts fitted, by the
    names of the readouts.

    Args:
        path, data_dir, output_dir: As in `write_safetensors`.

    Returns:
        The files that were written.

    Raises:
        CheckpointError: As `write_safetensors`.
        ValueError: If ONNX is not installed.
        OSError: If the disk is full.
    """
    if not all(map(find_spec, ("onnx", "onnxscript"))):
        raise ValueError("format=onnx needs two packages: pip install onnx onnxscript")
    config, data, module = load_checkpoint(path, data_dir)
    images = torch.zeros(SAMPLE, *data.image_set.stored_shape, dtype=torch.uint8)
    encoder, readouts = output_dir / "encoder.onnx", output_dir / f"readouts{EXPORTED}"
    with warnings.catch_warnings(), replacing(encoder) as partial:
        warnings.simplefilter("ignore")  # PyTorch's, of its own parts
        program = torch.onnx.export(
            Embedder(module).eval(),
            (images,),
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes={"images": {0: torch.export.Dim("number")}},
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(partial))
    fitted = {
        f"{readout.name}.{name}": value
        for readout in (module.readout, *module.beside)
        for name, value in readout.state_dict().items()
    }
    metadata = {
        "literals": module.literals,
        "readout": module.readout.name,
        "score": module.score_kind,
        CONFIG_KEY: OmegaConf.to_container(config),
    }
    _write(readouts, fitted, metadata)
    return [encoder, readouts]


def _write(target: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    # Readouts beside share tensors, which the format does not have
    tensors = {name: value.detach().contiguous().clone() for name, value in state.items()}
    texts = {name: json.dumps(value) for name, value in metadata.items()}
    with replacing(target) as partial:
        partial.write_bytes(save(tensors, texts | {DIGEST: digest(tensors)}))
