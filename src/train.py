"""Train a model: `python -m src.train`, then `key=value` for anything in conf/train.yaml."""

from pathlib import Path
from typing import Annotated, Any, TypedDict

from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from rich.console import Console

from src.config.command import command
from src.config.instantiate import check_keys, check_value, instantiate
from src.runs import naming  # noqa: F401  whose resolver goes to workers of a launcher from here


class Keys(TypedDict):
    """The root keys of conf/train.yaml that have plain values."""

    name: str
    group: str
    seed: Annotated[int, Field(ge=0, lt=2**32, description="a whole number from 0 to 2^32 - 1")]
    ckpt_path: str | None
    optimized_metric: str | None
    test: bool
    data_dir: str
    output_dir: str


def train(config: DictConfig) -> float | None:
    """Load the images, then fit and test; return what a search optimizes."""
    check_keys(config, Keys)
    check_value("protocol.name", config.protocol.name, str)
    if "model" in config.encoder and Path(str(config.encoder.model)).is_dir():
        # Named in full, so that the checkpoint is read from any other folder.
        config.encoder.model = str(Path(config.encoder.model).absolute())
    image_set = instantiate(config.dataset)
    config.dataset.update(image_set.settled())
    if config.ckpt_path == "auto" and not _go_on(config):
        return None
    assert image_set.splits  # loaded before Lightning, which takes seconds: data may be missing
    from src.runs.fit import fit_and_test

    metrics = fit_and_test(config, image_set)
    if config.optimized_metric is None:
        return None
    if config.optimized_metric not in metrics:
        raise ValueError(
            f"optimized_metric is one of {', '.join(sorted(metrics))}, "
            f"not {config.optimized_metric!r}"
        )
    return metrics[config.optimized_metric]


def _go_on(config: DictConfig) -> bool:
    """Set the checkpoint that the run of a folder goes on from; False if it is finished."""
    from src.runs.resume import find_finished, find_newest

    output_dir = Path(config.output_dir)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    if find_finished(output_dir, plain):
        Console().print(f"finished already: {output_dir}", soft_wrap=True)
        return False
    newest = find_newest(output_dir)
    config.ckpt_path = None if newest is None else str(newest)
    return True


main = command("train", text_keys=["ckpt_path", "hydra.run.dir", "hydra.sweep.dir"])(train)

if __name__ == "__main__":
    main()
