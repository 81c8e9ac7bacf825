"""Train a model: `python -m src.train`, then `key=value` for anything in conf/train.yaml."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from src.config.command import command
from src.config.instantiate import check_value, instantiate
from src.metrics.names import MAP, PRECISION, QUERIES, SKIPPED, retrieval_name
from src.metrics.retrieval import TOP_K
from src.reports.console import make_console
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
    value = metrics[config.optimized_metric]
    if math.isnan(value):  # which a search could not compare: it leaves the trial out
        raise ValueError(
            f"optimized_metric={config.optimized_metric} is NaN"
            f"{_why_nan(config.optimized_metric, metrics)}"
        )
    return value


def _why_nan(name: str, metrics: Mapping[str, float]) -> str:
    """Say why a metric of retrieval is NaN, if its queries are the reason."""
    measured = re.fullmatch(rf"(\w+)/\w+/({MAP}|{PRECISION})_?(\w*)", name)
    if measured is None:
        return ""
    stage, _, group = measured.groups()
    counted, left_out = (
        metrics.get(f"{stage}/{retrieval_name(measure, group)}") for measure in (QUERIES, SKIPPED)
    )
    if counted != 0:
        return ""
    images = f"{'validation' if stage == 'val' else stage} images"
    return f": all {left_out:.0f} queries have fewer than {TOP_K} answers among the {images}"


def _go_on(config: DictConfig) -> bool:
    """Set the checkpoint that the run of a folder goes on from; False if it is finished."""
    from src.runs.resume import find_finished, find_newest

    output_dir = Path(config.output_dir)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    if find_finished(output_dir, plain):
        make_console().print(f"finished already: {output_dir}", soft_wrap=True)
        return False
    newest = find_newest(output_dir)
    config.ckpt_path = None if newest is None else str(newest)
    return True


main = command("train", Keys, groups=["experiment"])(train)

if __name__ == "__main__":
    main()
