"""The pages of runs and sweeps, as a browser shows them."""

import base64
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from conftest import Run, run_command, train
from omegaconf import OmegaConf
from PIL import Image
from selenium.webdriver import Chrome

from src.reports.pages import (
    Facts,
    Heading,
    Link,
    Listing,
    PageTable,
    Picture,
    Section,
    Text,
    write_page,
)
from src.reports.run_page import write_run_page
from src.tables.sweeps import write_tables

ODD = """a & ~b <x> "q" 'r' {{ 7 * 7 }} &amp;"""
FACTS = {
    "minterm accuracy": "test/minterm_accuracy",
    "literal AUPRC": "test/literal_auprc",
    "mAP positive": "test/retrieval/map_positive",
    "mAP negated": "test/retrieval/map_negated",
    "P@10 positive": "test/retrieval/precision_at_10_positive",
    "P@10 negated": "test/retrieval/precision_at_10_negated",
    "calibration error": "test/calibration/probability_of_propositions",
    "after calibration": "test/calibration/calibrated_of_propositions",
    "accuracy by discriminants": "test/discriminant/minterm_accuracy",
    "literal AUPRC by discriminants": "test/discriminant/literal_auprc",
    "mAP positive by discriminants": "test/discriminant/map_positive",
    "mAP negated by discriminants": "test/discriminant/map_negated",
    "largest coherence": "test/spectral/max_coherence",
    "optimality gap": "test/spectral/optimality_gap",
}
FLOAT = re.compile(r"[\d.e-]*\.[\d.e-]*")
READ_TABLES = """return [...document.querySelectorAll('table')].map((table) =>
  [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim())))"""
READ_FACTS = """return Object.fromEntries([...document.querySelectorAll('.facts div')].map((fact) =>
  [fact.querySelector('dt').textContent, Number(fact.querySelector('data').value)]))"""
READ_PICTURES = """return [...document.images].map((image) =>
  [image.naturalWidth, image.src, image.alt, image.closest('figure').innerText])"""


def texts(browser: Chrome, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((part) => part.textContent)"
    return browser.execute_script(script, selector)


@pytest.fixture
def page(browser: Chrome, trained_run: Run, tmp_path: Path) -> Chrome:
    """The page of a run, all alone in a folder."""
    alone = shutil.copy(trained_run.folder / "report" / "index.html", tmp_path)
    browser.get_log("performance")
    browser.get(f"file://{alone}")
    return browser


def test_page_of_a_run_shows_every_picture_and_asks_for_nothing(
    page: Chrome, trained_run: Run
) -> None:
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith("data:")] == [page.current_url]
    pictures = page.execute_script(READ_PICTURES)
    shown = {base64.b64decode(source.partition(",")[2]) for _, source, _, _ in pictures}
    assert shown == {path.read_bytes() for path in (trained_run.folder / "report").glob("*.png")}
    assert len(pictures) == 4
    for width, _, alternative, caption in pictures:
        assert width > 300
        assert alternative == caption.strip()
        assert len(caption) > 80
    assert not page.execute_script("return document.querySelectorAll('script, link').length")


def test_nothing_could_be_fetched(page: Chrome) -> None:
    refused = """
    const done = arguments[arguments.length - 1];
    document.addEventListener('securitypolicyviolation', (event) => done(event.violatedDirective));
    document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/'}));
    """
    assert page.execute_async_script(refused) == "img-src"


def test_numbers_on_the_page_are_those_of_the_run(page: Chrome, trained_run: Run) -> None:
    metrics = trained_run.metrics
    facts = page.execute_script(READ_FACTS)
    assert {name: facts[name] for name in FACTS} == {
        name: metrics[key] for name, key in FACTS.items()
    }
    for name, shown in zip(texts(page, ".facts dt"), texts(page, ".facts dd"), strict=True):
        assert float(shown) == pytest.approx(facts[name], abs=6e-5)
    assert texts(page, "h1") == ["digits_nuclear"]
    scores, worst, best, every, conditions, parts = page.execute_script(READ_TABLES)
    assert scores[0][:4] == ["score", "mAP positive", "mAP negated", "mAP depth 2"]
    for name, *cells in scores[1:]:
        prefix = "test/retrieval" if name == "sum" else f"test/retrieval_{name}"
        measures = [f"map_{group}" for group in ("positive", "negated")]
        measures += [f"map_depth_{depth}" for depth in (2, 3, 4)]
        measures += [f"precision_at_10_{group}" for group in ("positive", "negated")]
        assert cells == [f"{metrics[f'{prefix}/{measure}']:.4f}" for measure in measures]
    assert [row[0] for row in scores[1:]] == ["sum", "calibrated", "probability", "projector"]

    with (trained_run.folder / "report" / "retrieval.csv").open() as file:
        queries = list(csv.DictReader(file))
    assert [row[0] for row in every[1:]] == [query["query"] for query in queries]
    for row, query in zip(every[1:], queries, strict=True):
        precision = float(query["average_precision"])
        assert row[4] == ("-" if np.isnan(precision) else f"{precision:.4f}")
        assert row[2] == ("yes" if "~" in query["query"] else "no")
    counted = sorted(
        float(query["average_precision"]) for query in queries if int(query["positives"]) >= 10
    )
    assert [row[4] for row in worst[1:]] == [f"{value:.4f}" for value in counted[:6]]
    assert [row[4] for row in best[1:]] == [f"{value:.4f}" for value in counted[:-7:-1]]

    told = dict(conditions)
    assert told["data"] == "Digits, a test split of 360"
    assert (told["protocol"], told["seed"], told["epochs"]) == ("clean", "13", "12")
    assert told["commit"] == metrics["run/commit"]
    assert told["hardware"] == metrics["run/hardware"]
    assert f"torch {metrics['run/version/torch']}" in told["versions"]
    assert dict(parts)["loss"] == "NuclearNormLoss(alpha=0.99, beta=0.05)"
    assert "weight_decay: 0.0001" in texts(page, "pre")[0]


def test_page_fits_a_phone_and_the_dark(page: Chrome) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    colour = "return getComputedStyle(document.body).backgroundColor"
    bright = page.execute_script(colour)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    try:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
        assert page.execute_script("return document.documentElement.scrollWidth") == 390
        assert bright == "rgb(255, 255, 255)"
        assert page.execute_script(colour) == "rgb(21, 24, 27)"
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_evaluation_leaves_the_same_page(page: Chrome, trained_run: Run, tmp_path: Path) -> None:
    facts = page.execute_script(READ_FACTS)
    out = tmp_path / "out"
    arguments = [f"ckpt_path={trained_run.checkpoint}", f"hydra.run.dir={out}"]
    assert run_command("evaluate", *arguments) == (0, "")
    page.get(f"file://{out / 'report' / 'index.html'}")
    again = page.execute_script(READ_FACTS)
    assert {name: again[name] for name in FACTS} == {name: facts[name] for name in FACTS}
    tables = page.execute_script(READ_TABLES)
    assert dict(tables[4])["checkpoint"] == str(trained_run.checkpoint)


def test_run_without_test_or_report_has_a_page_of_its_validation(
    browser: Chrome, tmp_path: Path
) -> None:
    silent = ["logger=none", "~callbacks.report", "~callbacks.spectra"]
    run = train(tmp_path / "run", "debug=fast", "test=false", *silent)
    browser.get(f"file://{run.folder / 'report' / 'index.html'}")
    assert texts(browser, "h2")[0] == "Results, validation split"
    facts = browser.execute_script(READ_FACTS)
    assert facts["minterm accuracy"] == run.metrics["val/minterm_accuracy"]
    assert not browser.execute_script(READ_PICTURES)


def sweep_folder(folder: Path, metrics: dict[str, Any]) -> Path:
    """Jobs of a sweep over alpha and seeds, one of them unfinished."""
    for number, (alpha, seed) in enumerate(
        (alpha, seed) for alpha in ("0.5", "0.9", "0.99") for seed in (1, 2)
    ):
        job = folder / str(number)
        (job / ".hydra").mkdir(parents=True)
        overrides = [f"loss.alpha={alpha}", f"seed={seed}", "name=a <x> & b"]
        (job / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
        if number == 5:
            continue
        changed = {
            key: value * (1 - 0.01 * number) if isinstance(value, float) else value
            for key, value in metrics.items()
        }
        (job / "metrics.json").write_text(json.dumps(changed | {"run/seed": seed}))
        write_page(job / "report" / "index.html", "a run", [])
    return folder


def test_page_of_a_sweep_holds_every_cell_of_its_tables(
    browser: Chrome, trained_run: Run, tmp_path: Path
) -> None:
    folder = sweep_folder(tmp_path / "study" / "sweep", trained_run.metrics)
    write_tables(folder, "val/retrieval/map", pictures=True)
    browser.get(f"file://{folder / 'index.html'}")
    ranked, sweep, retrieval, runs = browser.execute_script(READ_TABLES)
    assert ranked[0][:3] == ["loss.alpha", "n", "val mAP"]
    assert [row[:2] for row in ranked[1:]] == [["0.5", "2"], ["0.9", "2"], ["0.99", "1 of 2"]]
    assert [row[-1] for row in ranked[1:]] == ["*", "", ""]
    width = (
        "return [document.documentElement.scrollWidth, document.querySelector('table').offsetWidth]"
    )
    browser.set_window_size(1280, 1000)
    page, table = browser.execute_script(width)
    assert table < page <= 1280
    for shown, name in ((sweep, "sweep"), (retrieval, "retrieval")):
        with (folder / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(shown) - 1 > 2
        for row, cells in zip(rows, shown[1:], strict=True):
            on_page = dict(zip(shown[0], cells, strict=True))
            for heading, cell in row.items():
                whole, _, deviation = on_page[heading.removesuffix(" std")].partition(" ± ")
                expected = f"{float(cell):.4f}" if FLOAT.fullmatch(cell) else cell
                assert (deviation if heading.endswith(" std") else whole) == expected
    assert browser.execute_script(READ_PICTURES)[0][0] > 300
    assert len(browser.execute_script(READ_PICTURES)) == 2
    said = "".join(texts(browser, "p"))
    assert "name=a <x> & b" in said
    for key in ("run/hardware", "run/version/torch", "run/commit"):
        assert trained_run.metrics[key] in said
    assert [row[0] for row in runs[1:]] == ["0", "1", "2", "3", "4", "5"]
    script = "return [...document.links].map((link) => link.href)"
    links = [Path(urlsplit(link).path) for link in browser.execute_script(script)]
    assert links == [folder / str(job) / "report" / "index.html" for job in range(5)]


def test_text_of_any_kind_is_shown_as_it_is(browser: Chrome, tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "picture.png")
    script = "</pre></details><script>document.title = 'taken'</script>"
    sections: list[Section] = [
        Heading(ODD),
        Text(ODD),
        Facts({ODD: ODD}),
        PageTable((ODD, "n"), [(ODD, 1), (Link(ODD, f"{ODD}.html"), 2)], caption=ODD, folded=ODD),
        Listing(ODD, script),
        Picture(tmp_path / "picture.png", ODD),
    ]
    write_page(tmp_path / "page.html", ODD, sections, subtitle=ODD)
    browser.get(f"file://{tmp_path / 'page.html'}")
    assert browser.title == ODD
    for selector, number in {
        "h1": 1, ".subtitle": 1, "h2": 1, "p": 2, "dt": 1, "dd": 1, "caption": 1, "summary": 2,
        "tbody td:first-child": 2, "figcaption": 1, "th:first-child": 1,
    }.items():  # fmt: skip
        assert [text.strip() for text in texts(browser, selector)] == [ODD] * number, selector
    assert texts(browser, "pre") == [script]
    assert not texts(browser, "x")
    assert browser.execute_script(READ_PICTURES)[0][2] == ODD


def test_numbers_are_aligned_and_text_is_not(browser: Chrome, tmp_path: Path) -> None:
    columns = ("query", "share", "mean", "count", "answers", "mixed", "missing")
    rows = [
        ("even", 0.5, "0.9906 ± 0.0025", 10_000, True, "1", None),
        ("3 of 4", float("nan"), "", 7, False, "one", None),
        ("prime", 0.00034, "1.5e-05", 0, False, 2, None),
    ]
    write_page(
        tmp_path / "page.html", "numbers", [PageTable(columns, rows), PageTable(columns, [])]
    )
    browser.get(f"file://{tmp_path / 'page.html'}")
    cells = browser.execute_script(READ_TABLES)[0][1:]
    assert cells[0] == ["even", "0.5000", "0.9906 ± 0.0025", "10,000", "yes", "1", "-"]
    assert cells[1] == ["3 of 4", "-", "", "7", "no", "one", "-"]
    assert cells[2] == ["prime", "3.4e-04", "1.5e-05", "0", "no", "2", "-"]
    script = """return [...document.querySelectorAll('tbody tr:first-child td')].map((cell) =>
      getComputedStyle(cell).textAlign === 'right')"""
    assert browser.execute_script(script) == [False, True, True, True, False, False, False]


def test_figures_calibrated_on_the_test_split_are_marked(trained_run: Run, tmp_path: Path) -> None:
    config: Any = OmegaConf.to_container(trained_run.config, resolve=True)
    for split in ("validation", "test"):
        metrics = trained_run.metrics | {"run/calibrated_on": split}
        page = write_run_page(tmp_path / split, config, metrics, ()).read_text()
        marked = set(re.findall(r"[\w@ ]+(?= †)", page))
        headings = {"calibrated accuracy", "after calibration", "calibrated"}
        of_discriminants = {said for said in FACTS if "by discriminants" in said}
        assert headings | of_discriminants <= marked if split == "test" else not marked
        assert not {"minterm accuracy", "mAP negated", "sum"} & marked
        assert ("Calibrated on the test images" in page) == (split == "test")
    assert trained_run.metrics["run/calibrated_on"] == "validation"
