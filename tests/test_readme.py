"""What the pages of the project show exists, and works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from src.config.groups import CONF_DIR
from src.config.options import choose_groups
from src.readme import BLOCK, COUNT, KEY, PAGES, SECTION, VALUE, fill

ROOT = Path(__file__).parent.parent
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
TEXT = "\n".join(TEXTS.values())
# Files that the guide adds: names and contents.
ADDED = re.findall(r"^```(?:python|yaml)\n# ((?:src|conf)/\S+)\n(.*?)^```", TEXT, re.M | re.S)
SOURCES = set(re.findall(r"`(src/[a-z_/]+(?:\.py)?)", TEXT)) - dict(ADDED).keys()
LINKS = sorted(
    {(name, link) for name in TEXTS for link in re.findall(r"\]\((?!http)([^)]+)\)", TEXTS[name])}
)


def test_every_page_is_one_of_them() -> None:
    listed = ["git", "ls-files", "README.md", "*/README.md"]
    tracked = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(tracked.split()) == set(TEXTS)


def test_first_page_can_be_read() -> None:
    first = TEXTS["README.md"]
    assert len(first.splitlines()) <= 250
    assert len(first.split()) <= 2600


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_links_resolve(name: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z]+)`", TEXT))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("path", sorted(SOURCES))
def test_named_sources_exist(path: str) -> None:
    assert (ROOT / path).exists()


COMMANDS = re.findall(r"^(?:\.venv/bin/)?python -m src\.(\w+) (.*?)(?:\s{2,}#.*)?$", TEXT, re.M)


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_overrides_of_commands_compose(name: str, arguments: str) -> None:
    overrides = [
        part for part in arguments.rstrip("\\").split() if "=" in part and "RUN" not in part
    ]
    singles = [override.partition(",")[0] for override in overrides]
    singles = choose_groups(singles, name, ["experiment"])
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
    assert f"python -m src.train {' '.join(overrides)}" in TEXT
    command = [sys.executable, "-m", "src.train", *overrides, "trainer.max_epochs=12"]
    options = ["logger=none", f"hydra.run.dir={run}"]
    subprocess.run([*command, *options], cwd=guided, check=True)
    metrics = json.loads((guided / run / "metrics.json").read_text())
    assert metrics["test/minterm_accuracy"] > 0.9
    has_own_readout = len(overrides) > 1
    assert ("test/discriminant/map_negated" in metrics) == has_own_readout
    if not has_own_readout:
        return
    # A checkpoint may name what the files of the guide name.
    command = [sys.executable, "-m", "src.evaluate", f"hydra.run.dir={run}/again"]
    checkpoint = f"ckpt_path={run}/checkpoints/last.ckpt"
    subprocess.run([*command, checkpoint], cwd=guided, check=True)


@pytest.mark.parametrize("group", ["dataset", "method", "encoder"])
def test_every_choice_is_in_the_page_of_groups(group: str) -> None:
    page = (CONF_DIR / "README.md").read_text()
    names = {path.stem for path in (CONF_DIR / group).glob("*.yaml")}
    assert names
    assert {name for name in names if not re.search(rf"[`=]{name}\b", page)} == set()


@pytest.mark.parametrize("name", TEXTS)
def test_pages_say_what_results_have(name: str) -> None:
    text = TEXTS[name]
    assert text.count("<!-- table ") == len(BLOCK.findall(text))
    assert text.count("<!-- value ") == len(VALUE.findall(text)) + len(KEY.findall(text))
    assert text.count("<!-- count ") == len(COUNT.findall(text))
    assert text.count("<!-- section ") == len(SECTION.findall(text))
    assert fill(text, (ROOT / name).parent) == text, "make readme writes them anew"


def test_tables_are_filled_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.readme.ROOT", tmp_path)
    folder = tmp_path / "results" / "made" / "cpu"
    folder.mkdir(parents=True)
    lines = (
        "data,setting,mAP,mAP std",
        "a,x,0.91234,0.00456",
        "a,y,0.5,",
        "b,x,,",
        '"c: x, 1",z,2.4e-05,',
    )
    (folder / "table.csv").write_text("\n".join(lines))
    block = "<!-- table made/cpu; data=a: setting, mAP as score -->\nold\n<!-- end of table -->"
    text = f"before\n{block}\nafter\n"
    expected = "| setting | score |\n| --- | --- |\n| x | 0.9123 ± 0.0046 |\n| y | 0.5000 |\n"
    assert f"-->\n\n{expected}\n<!-- end" in fill(text, tmp_path)
    assert fill(fill(text, tmp_path), tmp_path) == fill(text, tmp_path)
    marker = "<!-- value made/cpu; data=a; setting=x: mAP -->"
    assert fill(f"it is {marker}?<!-- end --> there", tmp_path) == (
        f"it is {marker}0.9123 ± 0.0046<!-- end --> there"
    )
    marker = '<!-- value made/cpu; data="c: x, 1"; setting=z: mAP, 1 figures -->'
    assert fill(f"{marker}?<!-- end -->", tmp_path) == f"{marker}2e-05<!-- end -->"
    marker = "<!-- count made/cpu; data=a -->"
    assert fill(f"{marker}1<!-- end -->", tmp_path) == f"{marker}2<!-- end -->"
    with pytest.raises(ValueError, match="2 rows of made/cpu have; data=a"):
        fill("<!-- value made/cpu; data=a: mAP -->?<!-- end -->", tmp_path)
    with pytest.raises(ValueError, match="no column 'seting'"):
        fill(text.replace("setting", "seting"), tmp_path)
    with pytest.raises(ValueError, match="no row with; data=d"):
        fill(text.replace("data=a", "data=d"), tmp_path)


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
    filled = fill(f"before\n{one}\nbetween\n{two}\nafter\n", tmp_path)
    assert "-->\n\n1\n\n![drawn](results/made/one.png)\n\n<!-- end of section -->\nbetw" in filled
    assert "-->\n\n2\n\n<!-- end of section -->\nafter" in filled
    assert fill(filled, tmp_path) == filled
    assert "![drawn](made/one.png)" in fill(one, tmp_path / "results")
    assert "![drawn](one.png)" in fill(one, folder)
    with pytest.raises(ValueError, match="no section 'Three'; there are One, Two"):
        fill(one.replace("One", "Three"), tmp_path)


def test_numbers_are_those_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.readme.ROOT", tmp_path)
    (tmp_path / "made.json").write_text('{"test/map": 0.98765}')
    marker = "<!-- value made.json: test/map, 3 digits -->"
    assert fill(f"{marker}0.1<!-- end -->", tmp_path) == f"{marker}0.988<!-- end -->"
    with pytest.raises(ValueError, match=r"made\.json has no key 'test/acc'"):
        fill(f"{marker}0.1<!-- end -->".replace("test/map", "test/acc"), tmp_path)
