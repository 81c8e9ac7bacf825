"""Checkpoints that are written whole or not at all."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a killed run leaves the checkpoint before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        partial = Path(path).with_suffix(".partial")
        super().save_checkpoint(checkpoint, partial, storage_options)
        partial.replace(path)
