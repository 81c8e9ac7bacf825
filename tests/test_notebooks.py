"""Notebooks are their text, were run as they are, from the top, and say nothing of a machine.

That they run at all is tested by nbmake, which pytest calls for each of them.
"""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from PIL import Image

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = ("retrieval", "tables", "theory")
MAX_BYTES = 1_500_000
# Paths of a machine, and addresses in memory.
PRIVATE = re.compile(r"/(?:home|root|tmp|usr|opt|mnt|var|work|Users)/|\bat 0x[0-9a-fA-F]+")


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", nbformat.NO_CONVERT)


def outputs_of(name: str) -> list[Any]:
    return [output for cell in read(name).cells for output in cell.get("outputs", [])]


def pictures_of(name: str) -> list[bytes]:
    found = [output.get("data", {}).get("image/png") for output in outputs_of(name)]
    return [b64decode(picture) for picture in found if picture]


def test_every_notebook_is_kept_twice() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(NAMES)
    assert {path.stem for path in FOLDER.glob("*.py")} == {*NAMES, "execute"}


@pytest.mark.parametrize("name", NAMES)
def test_text_and_notebook_hold_the_same_cells(name: str) -> None:
    text = jupytext.read(FOLDER / f"{name}.py")
    cells, expected = (
        [(cell.cell_type, cell.source) for cell in notebook.cells]
        for notebook in (read(name), text)
    )
    assert cells == expected, "run `make notebooks`, and commit both files"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_come_from_one_run_without_errors_or_warnings(name: str) -> None:
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for output in outputs_of(name)}
    assert kinds <= {"display_data", "execute_result"}  # no errors, nothing printed


@pytest.mark.parametrize("name", NAMES)
def test_outputs_hold_no_codes_of_a_terminal(name: str) -> None:
    assert "\\u001b" not in (FOLDER / f"{name}.ipynb").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_is_broken_into_quotations(name: str) -> None:
    texts = [cell.source for cell in read(name).cells if cell.cell_type == "markdown"]
    plain = re.sub(r"\$[^$]*\$|`[^`]*`", "", "\n".join(texts))  # without formulas and code
    assert not re.findall(r"^>.*|\w > \w.*", plain, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_there_and_small(name: str) -> None:
    pictures = pictures_of(name)
    assert pictures
    for picture in pictures:
        with Image.open(BytesIO(picture)) as image:
            colors = image.convert("RGB").getcolors(maxcolors=2**24)
            assert colors is not None
            assert len(colors) > 10
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MAX_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_a_machine(name: str) -> None:
    notebook = read(name)
    text = "\n".join(
        str(output.get("data", {}).get(kind, ""))
        for output in outputs_of(name)
        for kind in ("text/plain", "text/html", "text/markdown", "text/latex")
    )
    assert not PRIVATE.findall(text)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert all(cell.metadata == {} for cell in notebook.cells)
