"""Write a trained model in a form to pass on: `python -m src.export ckpt_path=latest`."""

from pathlib import Path
from typing import TypedDict

from omegaconf import DictConfig

from src.config.command import command
from src.reports.console import make_console


class Keys(TypedDict):
    """The root keys of conf/export.yaml that have plain values."""

    ckpt_path: str
    format: str
    data_dir: str | None
    output_dir: str


def export(config: DictConfig) -> None:
    """Write the files of a format."""
    # Lightning takes seconds to import, which --help and many mistakes need not wait for.
    from src.runs.exported import write_onnx, write_safetensors
    from src.runs.latest import find_checkpoint

    formats = {"safetensors": write_safetensors, "onnx": write_onnx}
    if config.format not in formats:
        raise ValueError(f"format must be {' or '.join(formats)}, not {config.format!r}")
    path = find_checkpoint(config.ckpt_path)
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    files = formats[config.format](path, config.data_dir, output_dir)
    names = ", ".join(file.name for file in files)
    make_console().print(f"written to {output_dir}: {names}", soft_wrap=True)


main = command("export", Keys)(export)

if __name__ == "__main__":
    main()
