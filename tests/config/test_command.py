"""Commands within commands."""

import pytest
from hydra import compose, initialize_config_dir

from src.config.command import call
from src.config.groups import CONF_DIR


def test_a_command_composes_after_another_that_ran_within_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert call("train", ["--cfg", "job", "seed=7"]) is None
        assert "seed: 7" in capsys.readouterr().out
        assert compose("train", ["seed=8"]).seed == 8
