"""Every measured number in prose comes from a file of results/.

A number with a decimal point, an exponent, or a unit of share, time or memory is a measurement: it
stands in a marker that `src.readme` fills, unless it is, without a unit, a value that conf/ or
experiments/ set. Whole numbers count things, or define them; code, equations, links and versions
say no result; and files of trials below results/ are records themselves.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from src.config.groups import CONF_DIR
from src.readme import BLOCK, COUNT, KEY, PAGES, SECTION, VALUE

ROOT = CONF_DIR.parent
NOTEBOOKS = sorted(path for path in ROOT.glob("notebooks/*.py") if "# %%" in path.read_text())
PLAIN = r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
UNIT = r"(?:%|(?:percent|per cent|minutes?|seconds?|hours?|ms|s|[kMG]i?B)\b)"
NUMBER = re.compile(rf"(?<![\w.])(?P<plain>{PLAIN})(?:\s*(?P<unit>{UNIT}))?(?![\w]|\.\d)")
NO_RESULTS = (
    r"^```.*?^```",
    r"`[^`]*`",
    r"\$\$.*?\$\$|\$[^$]*\$",
    r"\]\([^)]*\)|https?://\S+|arXiv:?\s?\d+\.\d+",
    r"\b(?:Python|PyTorch) \d[\d.]*\d",
    r"<!--.*?-->",
)


def prose(text: str) -> str:
    """What is left of a page without markers and what is in them, code, equations and links."""
    for marked in (BLOCK, SECTION, VALUE, COUNT, KEY):
        text = marked.sub(" ", text)
    for pattern in NO_RESULTS:
        text = re.sub(pattern, " ", text, flags=re.M | re.S)
    return text


def cells(path: Path) -> str:
    """The prose of a notebook: its cells of Markdown."""
    parts = re.split(r"^# %%", path.read_text(), flags=re.M)
    told = [part for part in parts if part.startswith(" [markdown]")]
    return "\n".join(re.sub(r"^# ?", "", part, flags=re.M) for part in told)


def values(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from values(child)
    else:
        yield node


def settings() -> set[float]:
    files = [*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("experiments/*.yaml")]
    files = [path for path in files if path.stem != "reference_numbers"]
    nodes = [OmegaConf.to_container(OmegaConf.load(path)) for path in files]
    texts = [str(value) for node in nodes for value in values(node)]
    return {
        float(found) for text in texts for found in re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", text)
    }


SETTINGS = settings()
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PAGES}
TEXTS |= {path.relative_to(ROOT).as_posix(): cells(path) for path in NOTEBOOKS}


def unbacked(text: str) -> list[str]:
    """The measurements of a text that no file of results/ backs."""
    found = []
    for match in NUMBER.finditer(prose(text)):
        plain, unit = match["plain"], match["unit"]
        measured = unit or "." in plain or "e" in plain
        if measured and (unit or float(plain.replace(",", "")) not in SETTINGS):
            found.append(" ".join(match[0].split()))
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_every_measurement_of_a_text_comes_from_results(name: str) -> None:
    assert unbacked(TEXTS[name]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "accuracy rose to 0.4321, by 12 percent, in 7 minutes",
            ["0.4321", "12 percent", "7 minutes"],
        ),
        ("a difference of 2e-13, or 4.25 %", ["2e-13", "4.25 %"]),
        ("| mAP | 0.4321 |", ["0.4321"]),
        ("768 MB and\n140 s.", ["768 MB", "140 s"]),
        ("<!-- value made/cpu; a=b: mAP -->0.4321 ± 0.0123<!-- end -->", []),
        ("<!-- table made/cpu: mAP -->\n\n| 0.4321 |\n\n<!-- end of table -->", []),
        ("alpha 0.99 and beta 0.05, 12 images in 2025", []),
        ("```\npython -m src.train loss.alpha=0.4321\n```\n`0.4321`, $0.4321$", []),
        ("PyTorch 2.12.1, Python 3.11, [there](https://arxiv.org/abs/2405.16213)", []),
    ],
)
def test_measurements_are_found(text: str, expected: list[str]) -> None:
    assert unbacked(text) == expected
