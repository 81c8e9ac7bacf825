"""Every config file composes, and what it names exists."""

from pathlib import Path

import hydra.utils
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.config.groups import CONF_DIR
from src.config.instantiate import check_values

ALL = sorted(path.relative_to(CONF_DIR).with_suffix("") for path in CONF_DIR.glob("*/*.yaml"))
COMPOSING = [path for path in ALL if path.parent.name in ("experiment", "method")]
GROUPS = [path for path in ALL if path not in COMPOSING]
COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose(name, ["++output_dir=out", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_group_file_composes_and_fits_its_class(path: Path) -> None:
    part = composed("train", f"{path.parent}={path.name}").get(path.parent.name, {})
    if "_target_" in part:
        check_values(part)


def test_every_callback_fits_its_class() -> None:
    for callback in composed("train").callbacks.values():
        check_values(callback)


@pytest.mark.parametrize("path", COMPOSING, ids=str)
def test_what_composes_groups_fits_their_classes(path: Path) -> None:
    config = composed("train", f"+{path.parent}={path.name}")
    if config.encoder.get("embedding_dim", 0) is None:
        assert config.module.readout in ("softmax", "sigmoid")
        config.encoder.embedding_dim = 2
    for group in ("dataset", "encoder", "loss", "optimizer", "module", "trainer"):
        check_values(config[group])
    assert path.parent.name == "method" or config.name == path.name


@pytest.mark.parametrize("name", COMMANDS)
def test_root_config_belongs_to_a_command(name: str) -> None:
    assert callable(hydra.utils.get_object(f"src.{name}.main"))
    config = composed(name)
    OmegaConf.to_container(config.hydra.help, resolve=False)
