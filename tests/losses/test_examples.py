"""The examples in the docstrings of losses run, and give a number."""

from collections.abc import Callable
from doctest import DocTestParser, DocTestRunner
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
import torch
from batches import random_classes, random_embeddings

import src.losses
from src.losses.relation import same_group

NUM, CLASSES, DIM = 40, 10, 25


def find_public() -> dict[str, Callable[..., Any]]:
    """Functions and classes of src.losses, by their names."""
    modules = [
        import_module(f"src.losses.{info.name}") for info in iter_modules(src.losses.__path__)
    ]
    return {
        name: member
        for module in modules
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", None) == module.__name__
    }


PUBLIC = find_public()
LOSSES = [name for name in PUBLIC if name.endswith(("_loss", "Loss"))]
WITH_EXAMPLE = [name for name, member in PUBLIC.items() if ">>>" in (member.__doc__ or "")]


def test_every_loss_has_an_example() -> None:
    assert len(LOSSES) == 47
    assert set(LOSSES) <= set(WITH_EXAMPLE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_example_runs_and_gives_a_number(name: str) -> None:
    torch.manual_seed(0)
    known = vars(import_module(PUBLIC[name].__module__)) | {
        "torch": torch,
        "embeddings": random_embeddings(NUM, DIM),
        "texts": random_embeddings(NUM, DIM, 1),
        "labels": random_classes(NUM, CLASSES),
        "relation": same_group(torch.arange(NUM) // 2),
    }
    example = DocTestParser().get_doctest(PUBLIC[name].__doc__ or "", known, name, None, None)
    complaints: list[str] = []
    results = DocTestRunner().run(example, out=complaints.append, clear_globs=False)
    assert results.attempted > 0
    assert not complaints
    if name in LOSSES:
        value = example.globs["value"]
        assert value.shape == ()
        assert value.isfinite()
