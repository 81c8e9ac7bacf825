"""Keys of the config in words."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.config.groups import CONF_DIR
from src.reports.words import WORDS, in_words


@pytest.mark.parametrize("key", WORDS)
def test_keys_with_words_of_their_own_are_keys_of_the_config(key: str) -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["++output_dir=out"])
    assert OmegaConf.select(config, key, default="missing") != "missing"


def test_other_keys_are_read_out() -> None:
    assert in_words("loss.alpha") == "loss alpha"
    assert in_words("loader.batch_size") == "loader batch size"
