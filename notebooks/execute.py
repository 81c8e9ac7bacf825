"""Run the notebooks in place, and keep of each what is the same on every machine.

`make notebooks` calls it after `jupytext --sync`.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> None:
    """Run all cells from the top and write the outputs, without times or names of machines."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    client = NotebookClient(notebook, resources={"metadata": {"path": path.parent}})
    client.record_timing = False
    client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
    nbformat.write(notebook, path)


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm, with a path
    for name in sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.ipynb")):
        execute(HERE / f"{name}.ipynb")
