"""Every config file composes, and what it names exists."""

import re
from functools import wraps
from pathlib import Path
from traceback import walk_stack
from typing import Any

import hydra.utils
import pytest
import torch
from conftest import run_command
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.groups import CONF_DIR, PARTS, known_targets
from src.config.instantiate import check_values, find_target
from src.readouts.readout import check_pairing
from src.runs.compose import build_loss

ROOT = CONF_DIR.parent
ALL = sorted(path.relative_to(CONF_DIR).with_suffix("") for path in CONF_DIR.glob("*/*.yaml"))
GROUPS = [path for path in ALL if path.parent.name not in ("experiment", "method")]
NAMES = {
    group: [path.name for path in ALL if path.parent.name == group]
    for group in ("dataset", "method", "experiment")
}
RECIPES = ("digits", "celeba", "cxr14", "fashion_sets")  # those that set different keys
COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))
PICTURE = (CONF_DIR / "README.md").read_text().split("```")[1]


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose(name, ["++output_dir=out", *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


def check_part(config: DictConfig, name: str) -> None:
    """A part fits its class, if it has one."""
    part = config.get(name, {})
    if name == "trainer":
        with open_dict(part):
            del part.threads  # which is no argument of Lightning's
    for key in OmegaConf.missing_keys(part):  # which a command has to give, such as dataset.images
        OmegaConf.update(config, key, "given")
    if "_target_" in part:
        check_values(part)


def check_parts(config: DictConfig) -> None:
    """Every part fits its class, and the loss its readout."""
    kind: Any = find_target(config.readout)
    if config.encoder.embedding_dim is None and not config.encoder._target_.endswith("Clip"):
        config.encoder.embedding_dim = kind.number_of_logits(torch.eye(4))
    for part in (*PARTS, "trainer"):
        check_part(config, part)
    loss = build_loss(
        config.loss,
        embedding_dim=16,
        num_classes=4,
        num_labels=4,
        class_counts=torch.ones(4),
    )
    check_pairing(loss, kind)
    assert config.module.get("label_coding") in (None, *kind.label_codings)


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_group_file_composes_and_fits_its_class(path: Path) -> None:
    check_part(composed("train", f"{path.parent}={path.name}"), path.parent.name)


def test_every_callback_fits_its_class() -> None:
    for callback in composed("train").callbacks.values():
        check_values(callback)


@pytest.mark.parametrize("method", NAMES["method"])
def test_every_method_goes_with_every_recipe(method: str) -> None:
    for dataset in RECIPES:
        if (dataset, method) == ("cxr14", "two_views"):
            continue  # its recipe codes labels, which two views have none of
        config = composed("train", f"dataset={dataset}", f"method={method}")
        check_parts(config)
        ending = "subspace" if method == "nuclear_discriminant" else method
        assert config.name == f"{dataset}_{ending}"


@pytest.mark.parametrize("name", NAMES["experiment"])
def test_experiment_is_a_data_set_and_a_method(name: str) -> None:
    config = composed("train", f"+experiment={name}")
    check_parts(config)
    assert config.name == (name if name != "authors" else "celeba_authors")


def resolved(*overrides: str) -> dict[str, Any]:
    config = composed("train", *overrides)
    parts = (*PARTS, "trainer", "protocol")
    plain: dict[str, Any] = {
        part: OmegaConf.to_container(config[part], resolve=True) for part in parts
    }
    return plain | {"name": config.name}


@pytest.mark.parametrize("dataset", NAMES["dataset"])
def test_recipe_is_the_same_by_every_name(dataset: str) -> None:
    recipe = resolved(f"dataset={dataset}")
    assert recipe == resolved(f"dataset={dataset}", "method=nuclear_discriminant")
    name = f"{dataset}_subspace"
    assert recipe["name"] == name
    if name in NAMES["experiment"]:
        assert recipe == resolved(f"+experiment={name}")


def test_fashion_mnist_has_its_recipe() -> None:
    encoder = resolved("+experiment=fashion_mnist_subspace")["encoder"]
    assert encoder == {
        "_target_": "src.encoders.convnet.ConvNet",
        "embedding_dim": 128,
        "radius": 1,
        "batch_norm": True,
    }


@pytest.mark.parametrize(
    "override",
    ["encoder=convnet", "loss=supcon", "trainer.max_epochs=1", "encoder.radius=2", "method=bce"],
)
def test_command_line_has_the_last_word(override: str) -> None:
    key, _, value = override.partition("=")
    config = composed("train", "+experiment=celeba_clip", override)
    choices = config.hydra.runtime.choices
    assert str(choices[key] if key in choices else OmegaConf.select(config, key)) == value


CHOSEN = {"optimizer": "sgd_step", "loss": "pca"}  # which belong to no method and no recipe


@pytest.mark.parametrize(
    "by", [f"{group}={name}" for group in ("dataset", "method") for name in NAMES[group]]
)
def test_what_is_chosen_by_hand_keeps_its_own_values(by: str) -> None:
    config = composed("train", by, *(f"{group}={name}" for group, name in CHOSEN.items()))
    for group, name in CHOSEN.items():
        assert config[group] == OmegaConf.load(CONF_DIR / group / f"{name}.yaml")


AUTHORS = {  # batch size, minterms in a batch, D, alpha, beta, momentum, step size, gamma, epochs
    "celeba": (510, 5, 25, 0.999, 0.01, 0.98, 100, 0.5, 1000),
    "faces": (510, 5, 25, 0.999, 0.01, 0.98, 100, 0.5, 1000),
    "cifar10": (512, None, 10, 0.999, 0.01, 0.98, 100, 0.1, 200),
    "cifar100": (500, 50, 100, 0.999, 0.01, 0.98, 100, 0.7, 200),
    "fashion_mnist": (512, None, 10, 0.997, 0.05, 0.99, 30, 0.5, 150),
    "mnist": (512, None, 10, 0.997, 0.05, 0.98, 20, 0.5, 150),
}


@pytest.mark.parametrize("dataset", AUTHORS)
def test_authors_have_their_hyperparameters_on_every_data_set(dataset: str) -> None:
    config = resolved("+experiment=authors", f"dataset={dataset}")
    loader, encoder, loss = config["loader"], config["encoder"], config["loss"]
    optimizer = config["optimizer"]
    found = (
        *(loader["batch_size"], loader["minterms_per_batch"], encoder["embedding_dim"]),
        *(loss["alpha"], loss["beta"]),
        *(optimizer["momentum"], optimizer["step_size"], optimizer["gamma"]),
        config["trainer"]["max_epochs"],
    )
    assert found == AUTHORS[dataset]
    assert encoder["radius"] is None
    assert not encoder["batch_norm"]
    assert optimizer["_target_"] == "src.optimizers.sgd_step"
    assert config["module"]["label_coding"] == "literals"
    assert config["protocol"]["name"] == "authors"


def test_files_of_a_group_name_their_own_class_alone() -> None:
    names = {target for key, target in known_targets("dataset") if not key}
    classes = {resolved(f"dataset={name}")["dataset"]["_target_"] for name in NAMES["dataset"]}
    assert names == classes == {target for _, target in known_targets("dataset")}
    assert len(names) == len(NAMES["dataset"])


@pytest.mark.parametrize("name", COMMANDS)
def test_root_config_belongs_to_a_command(name: str) -> None:
    assert callable(hydra.utils.get_object(f"src.{name}.main"))
    config = composed(name)
    OmegaConf.to_container(config.hydra.help, resolve=False)


def calls_to(target: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, Any]]:
    """The functions of src/ through which a run builds a class, each after its file; its values."""
    kind: Any = hydra.utils.get_object(target)
    original = kind.__init__
    found: list[str] = []
    given: dict[str, Any] = {}

    @wraps(original)
    def recorded(*arguments: Any, **values: Any) -> None:
        given.update(values)
        for frame, _ in walk_stack(None):
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(ROOT / "src"):
                found.append(f"{file.relative_to(ROOT)} {frame.f_code.co_name}")
        raise ValueError("seen")

    monkeypatch.setattr(kind, "__init__", recorded)
    assert "seen" in run_command("train", "logger=none", "loss.alpha=0.9").message
    calls = found[: found.index("src/train.py train") + 1][::-1]
    inner = "src/config/instantiate.py instantiate"  # instantiate_with goes through it
    return calls[:-1] if calls[-2:] == [f"{inner}_with", inner] else calls, given


def test_picture_shows_the_way_of_an_override(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = re.findall(r"^(src/\S+) +(.+?)(?:  .*|\(.*)?$", PICTURE, re.M)
    target = "src.losses.nuclear_discriminant.NuclearDiscriminantLoss"
    calls, values = calls_to(target, monkeypatch)
    shown = [f"{file} {name}" for file, names in drawn for name in names.split(", ")]
    assert shown == [*calls, "src/losses/nuclear_discriminant.py NuclearDiscriminantLoss"]
    assert (
        f"NuclearDiscriminantLoss(alpha={values['alpha']}, beta={values['beta']}, ...)" in PICTURE
    )
    assert len(shown) <= 6


@pytest.mark.parametrize("part", ["dataset", "encoder", "readout"])
def test_picture_shows_the_calls_to_every_part(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = composed("train")[part]._target_
    calls, _ = calls_to(target, monkeypatch)
    chain = [*(call.split()[1] for call in calls), target.rpartition(".")[2]]
    assert f"{part}: {' > '.join(chain)}\n" in PICTURE
