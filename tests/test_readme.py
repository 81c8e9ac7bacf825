"""What the README shows exists, and works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from src.config.groups import CONF_DIR
from src.readme import BLOCK, SECTION, fill

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# Files that the guide adds: names and contents.
ADDED = re.findall(r"^```(?:python|yaml)\n# ((?:src|conf)/\S+)\n(.*?)^```", README, re.M | re.S)
SOURCES = set(re.findall(r"`?(src/[a-z_/]+(?:\.py)?)", README)) - dict(ADDED).keys()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_linked_files_exist(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z]+)`", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("path", sorted(SOURCES))
def test_named_sources_exist(path: str) -> None:
    assert (ROOT / path).exists()


COMMANDS = re.findall(r"^(?:\.venv/bin/)?python -m src\.(\w+) (.*?)(?:\s{2,}#.*)?$", README, re.M)


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_overrides_of_commands_compose(name: str, arguments: str) -> None:
    overrides = [
        part for part in arguments.rstrip("\\").split() if "=" in part and "RUN" not in part
    ]
    singles = [override.partition(",")[0] for override in overrides]
    if name == "prepare" or '"' in arguments:
        singles = [single for single in singles if single.startswith("dataset=")]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        compose(name, overrides=singles)


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the files that the guide adds."""
    copy = tmp_path_factory.mktemp("guided")
    for folder in ("src", "conf"):
        shutil.copytree(ROOT / folder, copy / folder)
    for name, content in ADDED:
        assert not (copy / name).exists()
        (copy / name).write_text(content)
    return copy


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=squared_cosine"],
        ["loss=prototypical", "readout=nearest_mean"],
        ["dataset=corners"],
    ],
)
def test_what_the_guide_adds_trains(overrides: list[str], guided: Path) -> None:
    run = overrides[0].replace("=", "_")
    for override in overrides:
        group, _, name = override.partition("=")
        assert f"conf/{group}/{name}.yaml" in dict(ADDED)
    assert f"python -m src.train {' '.join(overrides)}" in README
    command = [sys.executable, "-m", "src.train", *overrides, "trainer.max_epochs=12"]
    options = ["logger=none", f"hydra.run.dir={run}"]
    subprocess.run([*command, *options], cwd=guided, check=True)
    metrics = json.loads((guided / run / "metrics.json").read_text())
    assert metrics["test/minterm_accuracy"] > 0.9
    has_own_readout = len(overrides) > 1
    assert ("test/subspaces/map_negated" in metrics) == has_own_readout
    if not has_own_readout:
        return
    # A checkpoint may name what the files of the guide name.
    command = [sys.executable, "-m", "src.evaluate", f"hydra.run.dir={run}/again"]
    checkpoint = f"ckpt_path={run}/checkpoints/last.ckpt"
    subprocess.run([*command, checkpoint], cwd=guided, check=True)


def test_tables_are_those_of_the_results() -> None:
    assert BLOCK.findall(README)
    assert README.count("<!-- table ") == len(BLOCK.findall(README))
    assert README.count("<!-- section ") == len(SECTION.findall(README)) > 0
    assert fill(README) == README, "make readme writes them anew"


def test_tables_are_filled_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.readme.ROOT", tmp_path)
    folder = tmp_path / "results" / "made" / "cpu"
    folder.mkdir(parents=True)
    lines = ("data,setting,mAP,mAP std", "a,x,0.91234,0.00456", "a,y,0.5,", "b,x,,")
    (folder / "table.csv").write_text("\n".join(lines))
    block = "<!-- table made/cpu, data=a: setting, mAP as score -->\nold\n<!-- end of table -->"
    text = f"before\n{block}\nafter\n"
    expected = "| setting | score |\n| --- | --- |\n| x | 0.9123 ± 0.0046 |\n| y | 0.5000 |\n"
    assert f"-->\n\n{expected}\n<!-- end" in fill(text)
    assert fill(fill(text)) == fill(text)
    with pytest.raises(ValueError, match="no column 'seting'"):
        fill(text.replace("setting", "seting"))
    with pytest.raises(ValueError, match="no row with, data=c"):
        fill(text.replace("data=a", "data=c"))


def test_sections_are_those_of_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.readme.ROOT", tmp_path)
    folder = tmp_path / "results" / "made"
    folder.mkdir(parents=True)
    report = "# Made\n\nOn this.\n\n## One\n\n1\n\n![drawn](one.png)\n\n## Two\n\n2\n"
    (folder / "report.md").write_text(report)
    one, two = (
        f"<!-- section {title} of results/made/report.md -->\nold\n<!-- end of section -->"
        for title in ("One", "Two")
    )
    filled = fill(f"before\n{one}\nbetween\n{two}\nafter\n")
    assert "-->\n\n1\n\n![drawn](results/made/one.png)\n\n<!-- end of section -->\nbetw" in filled
    assert "-->\n\n2\n\n<!-- end of section -->\nafter" in filled
    assert fill(filled) == filled
    with pytest.raises(ValueError, match="no section 'Three'; there are One, Two"):
        fill(one.replace("One", "Three"))
