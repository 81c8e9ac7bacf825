"""Write a trained model in a form to pass on: `python -m src.export ckpt_path=latest`."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from src.config.command import command


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
    Console().print(f"written to {output_dir}: {names}", soft_wrap=True, markup=False)


main = command("export", text_keys=["ckpt_path"])(export)

if __name__ == "__main__":
    main()
