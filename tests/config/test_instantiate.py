import pytest
from omegaconf import DictConfig, OmegaConf

from src.config.instantiate import ConfigError, instantiate


class Target:
    def __init__(self, size: int, rate: float | None, flag: bool = False, **rest: object) -> None:
        self.size, self.rate = size, rate


def config(**values: object) -> DictConfig:
    return OmegaConf.create({"part": {"_target_": f"{__name__}.Target", **values}}).part


@pytest.mark.parametrize("rate", [1, 0.5, None])
def test_fitting_values_pass(rate: float | None) -> None:
    assert instantiate(config(size=3, rate=rate, more="anything")).rate == rate


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "3", "rate": 1}, "part.size must be a whole number, not '3'"),
        ({"size": 3.5, "rate": 1}, "part.size must be a whole number, not 3.5"),
        ({"size": True, "rate": 1}, "part.size must be a whole number, not True"),
        ({"size": 3, "rate": "fast"}, "part.rate must be a number or null, not 'fast'"),
        ({"size": 3, "rate": 1, "flag": "yes"}, "part.flag must be true or false, not 'yes'"),
    ],
)
def test_other_values_are_named_with_their_key(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        instantiate(config(**values))
