"""Arguments as other programs take them, such as `--key value`, and choices of groups."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.config.groups import CONF_DIR

HYDRAS = {
    *("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p"),
    *("--run", "-r", "--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp"),
    *("--config-name", "-cn", "--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
}
MOST = 3  # keys that a message names
ALIKE = 0.75  # as epochs and max_epochs


def check_options(arguments: Sequence[str], config_name: str) -> None:
    """Raise ValueError, with KEY=VALUE instead, for the first option that Hydra does not have.

    Args:
        arguments: Those of a command line.
        config_name: The root config of the command.
    """
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if not option.startswith("-") or option in HYDRAS:
            continue
        written = argument
        following = arguments[place + 1] if place + 1 < len(arguments) else "-"
        if not equals and not following.startswith("-") and "=" not in following:
            value, written = following, f"{argument} {following}"
        name = option.lstrip("-").replace("-", "_")
        known = _known_keys(
            config_name, [other for other in arguments if other[0] not in "-~" and "=" in other]
        )
        meant = [f"{key}={value or '...'}" for key in nearest_keys(name, known)]
        mend = f": did you mean {' or '.join(meant)}?" if meant else " (--help lists the keys)"
        raise ValueError(f"arguments are KEY=VALUE, not {written}{mend}")


def nearest_keys(key: str, known: Collection[str]) -> list[str]:
    """The known keys that a key may stand for: itself, or those with its last part, or with the
    last part that is most like it. Of several, those with the fewest parts.
    """
    if key in known:
        return [key]
    lasts = {other: other.rpartition(".")[2] for other in known}
    name = key.rpartition(".")[2]
    alike = [name] if name in lasts.values() else get_close_matches(name, lasts.values(), 1, ALIKE)
    meant = [other for other, last in lasts.items() if last in alike]
    fewest = min((other.count(".") for other in meant), default=0)
    return [other for other in meant if other.count(".") == fewest][:MOST]


def dotted_keys(content: Any, above: str = "") -> Iterator[str]:
    """The keys of plain mappings in each other, those of the outer ones first."""
    if isinstance(content, dict):
        yield from (f"{above}{key}" for key in content)
        for key, value in content.items():
            yield from dotted_keys(value, f"{above}{key}.")


def choose_groups(
    arguments: Iterable[str], config_name: str, added: Collection[str] = ()
) -> list[str]:
    """Give choices of groups the plus that Hydra asks for where the root config chooses none, and
    take it from the others.

    Args:
        arguments: Those of a command line.
        config_name: The root config of the command.
        added: The groups that it chooses none of.
    """
    root = OmegaConf.select(OmegaConf.load(CONF_DIR / f"{config_name}.yaml"), "defaults")
    chosen = {key for entry in root or [] if not isinstance(entry, str) for key in entry}
    written = []
    for argument in arguments:
        group, equals, name = argument.partition("=")
        bare = group.removeprefix("+")
        if bare in chosen:
            group = bare
        elif bare in added:
            group = f"+{bare}"
        written.append(f"{group}{equals}{name}")
    return written


def _known_keys(config_name: str, overrides: list[str]) -> list[str]:
    """The keys of a config with overrides, if it takes them, and the groups."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        try:
            config = compose(config_name, overrides)
        except (HydraException, OmegaConfBaseException):
            config = compose(config_name)
    content = OmegaConf.to_container(config, resolve=False)
    groups = [path.parent.name for path in CONF_DIR.glob("*/*.yaml")]
    return [*dotted_keys(content), *groups]
