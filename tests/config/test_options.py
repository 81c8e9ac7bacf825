"""Arguments that other programs take are answered with those that are taken here."""

import re
from pathlib import Path

import pytest
from conftest import run_command

from src.config.options import HYDRAS, check_options, choose_groups, nearest_keys


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        ("--max_epochs 3", "trainer.max_epochs=3"),
        ("--max-epochs=3", "trainer.max_epochs=3"),
        ("--epochs 3", "trainer.max_epochs=3"),
        ("--trainer.max_epochs 3", "trainer.max_epochs=3"),
        ("-lr 0.1", "optimizer.lr=0.1"),
        ("--seed 1 loss.beta=0.1", "seed=1"),
        ("loss.beta=0.1 --batch-size", "loader.batch_size=..."),
        ("--alpha loss.beta=0.1", "loss.alpha=..."),
        ("loss=simclr --temperature 1", "loss.temperature=1"),
        ("loss=nothing --alpha 0.5", "loss.alpha=0.5"),
        ("--dataset celeba", "dataset=celeba"),
        ("--experiment celeba_subspace", "experiment=celeba_subspace"),
    ],
)
def test_option_is_answered_with_its_key(arguments: str, mend: str) -> None:
    written = re.findall(r"--?[a-z][^=]*?(?= \S+=|$)|--?\S+", arguments)[0]
    result = run_command("train", *arguments.split())
    assert result == (1, f"error: arguments are KEY=VALUE, not {written}: did you mean {mend}?")
    assert not list(Path().iterdir())


def test_option_that_is_like_no_key_is_answered_too() -> None:
    result = run_command("retrieve", "--frobnicate")
    assert result == (1, "error: arguments are KEY=VALUE, not --frobnicate (--help lists the keys)")


def test_options_of_hydra_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("train", "--hydra-help") == (0, "")
    listed = re.findall(r"^(--[\w-]+)(?:,(-\w+))? :", capsys.readouterr().out, re.M)
    assert len(listed) > 10
    assert {option for pair in listed for option in pair if option} == HYDRAS
    check_options(["--cfg", "job", "-m", "seed=1"], "train")


@pytest.mark.parametrize(
    ("argument", "mend"),
    [
        ("max_epochs=3", "trainer.max_epochs"),
        ("trainer.alpha=0.9", "loss.alpha"),
        ("sed=3", "seed"),
        ("trainer.max_epoch=3", "trainer.max_epochs"),
    ],
)
def test_key_is_found_where_it_is(argument: str, mend: str) -> None:
    key = argument.partition("=")[0]
    expected = f"error: there is no key {key}; did you mean {mend}?"
    assert run_command("train", argument) == (1, expected)


def test_nearest_keys_are_those_with_the_fewest_parts() -> None:
    known = ["a", "a.size", "b.size", "c.d.size", "c.width"]
    assert nearest_keys("size", known) == ["a.size", "b.size"]
    assert nearest_keys("c.d.size", known) == ["c.d.size"]
    assert nearest_keys("widht", known) == ["c.width"]
    assert nearest_keys("frobnicate", known) == []


def test_groups_are_chosen_with_a_plus_or_without() -> None:
    expected = ["+experiment=a,b", "method=bce", "loss.alpha=0.9", "+loss.gamma=1", "~method", "-m"]
    plus = ["+experiment=a,b", "+method=bce", *expected[2:]]
    bare = ["experiment=a,b", *expected[1:]]
    assert choose_groups(plus, "train", ["experiment"]) == expected
    assert choose_groups(bare, "train", ["experiment"]) == expected
