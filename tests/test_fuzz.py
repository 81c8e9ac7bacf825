"""Random queries, overrides and damage: never anything but an answer or a clean error."""

import random
from pathlib import Path

import pytest
from conftest import Run, run_command
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from src.config.groups import CONF_DIR
from src.runs.checkpoints import CheckpointError, read_checkpoint
from src.subspaces.propositions import Proposition, PropositionError

LITERALS = ("even", "prime", "square", "has_loop", "odd")
TOKENS = (
    *LITERALS,
    *"&|~()+*!-01.:;$%{} \t\n",
    "and",
    "or",
    "not",
    "TRUE",
    "FALSE",
    "true",
    "Even",
    "évén",
)
VALUES = (
    *("0", "1", "-1", "2", "1000", "0.5", "-0.1", "1e308", "nan", "inf", "-inf", "9" * 22, "0x10"),
    *("true", "false", "null", "", "''", "text", "'a b'", "☃", "1,2", "2026-01-01", "x" * 300),
    *("[]", "[1,2]", "[[1],[2]]", "{}", "{a:1}", "{a:{b:[1,{c:2}]}}", "{_target_:nowhere.X}"),
    *("???", "'${seed}'", "'${nope}'", "'${oc.env:NOPE}'", "'${'"),
)
# Sizes that would start processes, or go on for ever
BOUNDED = {
    "trainer.devices": ("0", "-1", "1", "a", "null", "[]", "[0]", "1.5", ""),
    "trainer.strategy": ("auto", "nope", "null", "3", "[]", "{}"),
    "trainer.max_epochs": ("0", "1", "a", "-5", "1.5", "[]"),
    "trainer.max_steps": ("0", "1", "a", "-5", "1.5", "[]"),
    "loader.workers": ("0", "-1", "1", "a", "1.5", "null"),
}
TARGETS = ("nowhere.X", "torch", "src.", "a b", "torch.nn.Linear", "src.losses.ole.OLELoss", "dict")
QUICK = [
    "logger=none",
    "debug=fast",
    "module.max_query_depth=1",
    "module.max_query_literals=2",
    "~callbacks.progress",
    "~callbacks.report",
    "test=false",
]


def random_query(generator: random.Random) -> str:
    kind, length = generator.random(), generator.randrange(1, 3000)
    if kind < 0.25:
        characters = ((32, 127), (0, 0x3000), (0xD800, 0x110000))
        return "".join(
            chr(generator.randrange(*generator.choice(characters)))
            for _ in range(generator.randrange(40))
        )
    if kind < 0.6:
        between = generator.choice(["", " "])
        return between.join(generator.choice(TOKENS) for _ in range(generator.randrange(30)))
    if kind < 0.9:
        return valid_query(generator, generator.randrange(8))
    name = generator.choice(LITERALS)
    if kind < 0.93:
        return "(" * length + name + ")" * generator.choice([length, length - 1])
    if kind < 0.96:
        return "~" * length + name
    return generator.choice([" & ", " | "]).join([name] * length)


def valid_query(generator: random.Random, depth: int) -> str:
    if depth == 0:
        return generator.choice(LITERALS)
    first, second = (valid_query(generator, generator.randrange(depth)) for _ in range(2))
    return generator.choice(["~", ""]) + f"({first}{generator.choice('&|')}{second})"


def test_random_queries_are_read_or_answered_in_a_line(pytestconfig: pytest.Config) -> None:
    generator = random.Random(0)
    number, messages = pytestconfig.getoption("queries"), []
    for _ in range(number):
        try:
            Proposition(random_query(generator), LITERALS)
        except PropositionError as error:
            messages.append(str(error))
    assert number / 5 < len(messages) < number * 4 / 5
    assert all(len(message) < 500 for message in messages)
    assert all(len(message.splitlines()) == 1 for message in messages)


def test_random_queries_reach_the_command(trained_run: Run) -> None:
    generator = random.Random(1)
    for _ in range(20):
        query = random_query(generator)
        arguments = [f"ckpt_path={trained_run.checkpoint}", f"query={query}", "top_k=1"]
        result = run_command("retrieve", *arguments)
        assert result.status == 0 or is_clean(result.message), query


def keys() -> list[str]:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["++output_dir=out"])
    # Files go nowhere else, and names of runs ask for the command that was given.
    apart = ("output_dir", "data_dir", "logger")
    found = [str(key) for key in config if key not in apart]
    for key in found:
        if key in ("name", "group"):  # which ask for the groups that were chosen
            continue
        value = OmegaConf.select(config, key, throw_on_missing=False)
        if OmegaConf.is_dict(value):
            found += [f"{key}.{name}" for name in value]
    return found


def random_override(generator: random.Random, known: list[str]) -> str:
    kind = generator.random()
    if kind < 0.1:
        return "".join(generator.choice("=+~.,[]{}()'\"\\$:@/ab1 é!*&|\t") for _ in range(10))
    if kind < 0.2:
        group = generator.choice(["loss", "encoder", "module", "method", "optimizer", "protocol"])
        names = [path.stem for path in (CONF_DIR / group).glob("*.yaml")]
        return generator.choice(["", "+", "++", "~"]) + f"{group}={generator.choice([*names, ''])}"
    key = generator.choice(known)
    values = TARGETS if key.endswith("_target_") else BOUNDED.get(key, VALUES)
    suffix = generator.choice(["x", ".x", ".0", " "]) if kind < 0.25 else ""
    prefix = generator.choice(["", "", "", "+", "++", "~"])
    if prefix == "~" and generator.random() < 0.5:
        return prefix + key
    return f"{prefix}{key}{suffix}={generator.choice(values)}"


def is_clean(message: str) -> bool:
    """Whether a message is meant for users: not of a fault in the program."""
    one_line = len(message.splitlines()) == 1
    return one_line and message.startswith("error: ") and "HYDRA_FULL_ERROR" not in message


def test_random_overrides_run_or_are_answered_in_a_line(pytestconfig: pytest.Config) -> None:
    generator, known = random.Random(2), keys()
    wrong = []
    for number in range(pytestconfig.getoption("overrides")):
        overrides = [random_override(generator, known) for _ in range(generator.randint(1, 2))]
        # A run takes less than the second that names its folder.
        folder = f"hydra.run.dir=run_{number}"
        result = run_command("train", *QUICK, folder, *overrides)
        if result.status and not is_clean(result.message):
            wrong.append((overrides, result.message))
    assert not wrong, "\n".join(map(str, wrong))


def test_damaged_checkpoints_are_refused_or_as_they_were(trained_run: Run, tmp_path: Path) -> None:
    good, generator = trained_run.checkpoint.read_bytes(), random.Random(3)
    path = tmp_path / "damaged.ckpt"
    refused = 0
    for _ in range(100):
        damaged = bytearray(good)
        damaged[generator.randrange(len(good))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged[: generator.choice([len(good), generator.randrange(len(good))])])
        try:
            read_checkpoint(str(path))
        except CheckpointError:
            refused += 1
    assert refused > 90  # bits between the files of the archive mean nothing
