"""Train a model: `python -m src.train`, then `key=value` for anything in conf/train.yaml."""

from typing import Any

from omegaconf import DictConfig

from src.cli import command
from src.instantiate import check_value, instantiate

PLAIN: dict[str, Any] = {
    "name": str,
    "ckpt_path": str | None,
    "test": bool,
    "data_dir": str,
    "output_dir": str,
}


def train(config: DictConfig) -> None:
    """Load the images, then fit and test."""
    if not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1, not {config.seed!r}")
    for key, hint in PLAIN.items():
        check_value(key, config[key], hint)
    check_value("protocol.name", config.protocol.name, str)
    image_set = instantiate(config.dataset)
    assert image_set.splits  # loaded before Lightning, which takes seconds: data may be missing
    from src.fit import fit_and_test

    fit_and_test(config, image_set)


main = command("train", text_keys=["ckpt_path"])(train)

if __name__ == "__main__":
    main()
