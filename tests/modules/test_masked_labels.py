"""Every method with labels that are unknown: it trains, or is refused before it does."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from src.config.groups import CONF_DIR
from src.config.instantiate import ConfigError, instantiate
from src.data.digits import Digits
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.compose import build_data, build_module, check_labels

METHODS = sorted(path.stem for path in (CONF_DIR / "method").glob("*.yaml"))
GROUPING = ["icon", "mcr2", "mmcr", "ole", "opl", "supcon"]  # images by their labels
OURS = {  # in place of networks that have to be downloaded
    "clip": ["encoder=convnet", "encoder.embedding_dim=32"],
    "probe": ["encoder.weights=null", "encoder.image_size=32", "loader.batch_size=16"],
}
MEND = "needs labels that are known: set module.completion=absent"


def build(method: str, *overrides: str) -> tuple[SubspaceModule, ImageDataModule]:
    """The module and the data of a method, as a run composes them."""
    settings = [f"method={method}", *OURS.get(method, []), *overrides]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["output_dir=.", "name=masked", *settings])
    image_set = instantiate(config.dataset)
    assert isinstance(image_set, Digits)
    data = build_data(config, image_set)
    module = build_module(
        config, image_set, data.minterms, data.minterm_counts, from_checkpoint=False
    )
    return module, data


def train_a_step(module: SubspaceModule, data: ImageDataModule) -> None:
    module.train()
    loss = module.batch_loss(next(iter(data.train_dataloader())))
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_or_is_refused(method: str) -> None:
    module, data = build(method, "loader.masked=0.3")
    if method in GROUPING:
        with pytest.raises(ConfigError, match=MEND):
            check_labels(module, data)
    else:
        check_labels(module, data)
        train_a_step(module, data)


@pytest.mark.parametrize("method", GROUPING)
def test_the_mend_lets_a_method_train(method: str) -> None:
    for mend in ("loader.masked=0", "module.completion=absent"):
        module, data = build(method, "loader.masked=0.3", mend)
        check_labels(module, data)
    train_a_step(module, data)


@pytest.mark.parametrize("completion", ["known", "posterior"])
def test_it_makes_no_difference_where_unknown_labels_come_from(completion: str) -> None:
    module, data = build("supcon", f"module.completion={completion}")
    check_labels(module, data)
    train = data.splits["train"]
    unknown = torch.zeros_like(train.labels)
    unknown[7, 0] = True
    data.splits = {**data.splits, "train": train.without(unknown)}
    with pytest.raises(ConfigError, match=MEND):
        check_labels(module, data)
