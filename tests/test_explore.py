"""The page, in a process of its own, asked by a browser and by plain HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from conftest import Run, run_command, train, write_idx_files
from omegaconf import DictConfig
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from src.data.digits import Digits
from src.search.answers import load_models
from src.search.page import search
from src.subspaces.propositions import Proposition

ROOT = Path(__file__).parent.parent
TOP_K = 12
ODD_NAMES = ('"><i>&amp;.png', "<script>alert(1).png", "<img src=x onerror=alert(1)>.png")
TEST_SPLIT = Digits(split_seed=0).splits["test"]


class Site(NamedTuple):
    """A page that is served."""

    url: str
    folder: Path  # a gallery


@pytest.fixture(scope="module")
def site(
    trained_run: Run, bce_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Two models beside each other, and a folder with one image of each digit class and more."""
    folder = tmp_path_factory.mktemp("explore")
    gallery = folder / "my scans"
    gallery.mkdir()
    for number, image in enumerate(TEST_SPLIT.images[:30]):
        name = ODD_NAMES[number] if number < len(ODD_NAMES) else f"{number}.png"
        Image.fromarray(image[0].numpy()).save(gallery / name)
    command = [
        *(sys.executable, "-m", "src.explore", "port=0", f"top_k={TOP_K}"),
        *(f"ckpt_path={trained_run.checkpoint}", f"beside={bce_run.checkpoint}"),
        *(f"galleries=['{gallery}']", f"cache_dir={folder / 'cache'}"),
    ]
    # Neither may open anything.
    loose = {"GRADIO_SHARE": "True", "GRADIO_ALLOWED_PATHS": "/", "GRADIO_SERVER_NAME": "0.0.0.0"}
    environment = os.environ | loose | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.]+:(\d+)/", process.stdout.readline())
            assert found is not None
            yield Site(f"http://127.0.0.1:{found[1]}/", gallery)
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    # Nothing is written but the embeddings of the folder, once it has been asked.
    assert {path.name for path in folder.iterdir()} - {"cache"} == {"my scans"}


class Visit:
    """What a person does on the page."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.wait_for(lambda: self.all(".card"))

    def wait_for(self, done: Callable[[], object]) -> None:
        WebDriverWait(self.browser, 30, 0.1).until(lambda _: done())

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def cards(self, model: int) -> list[WebElement]:
        return self.all(f"#ranking-{model} .card")

    def positions(self, model: int) -> list[int]:
        return [int(card.get_attribute("data-position") or "") for card in self.cards(model)]

    @property
    def box(self) -> WebElement:
        return self.all("#query textarea, #query input")[0]

    def click(self, name: str) -> None:
        self.browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']").click()

    def until_answered(self, act: Callable[[], None]) -> None:
        """Act, and wait until the page has answered it."""
        before = self.outcome()
        act()
        self.wait_for(lambda: self.outcome() not in ([], before))
        time.sleep(0.3)  # for all parts of the answer

    def until_detailed(self, name: str) -> None:
        """Wait until the page shows the image of a name in detail."""
        self.wait_for(lambda: name in self.all("#detail")[0].text)

    def outcome(self) -> list[str]:
        """All that changes with an answer, read at one moment."""
        parts = "document.querySelectorAll('#message .problem, .model')"
        return self.browser.execute_script(f"return [...{parts}].map((part) => part.innerText)")

    def choose(self, place: str) -> None:
        def act() -> None:
            self.wait_for(options)
            options()[0].click()

        def options() -> list[WebElement]:
            """The offered places of this name; a list that is not there yet is opened."""
            found = [item for item in self.all("[role=option]") if place in item.text]
            if not found:
                box = self.all("input[role=combobox]")[0]
                self.browser.execute_script("arguments[0].blur()", box)
                box.click()
                time.sleep(0.3)
            return found

        self.until_answered(act)

    def ask(self, text: str) -> None:
        self.box.send_keys(Keys.CONTROL, "a", Keys.CONTROL, Keys.DELETE)
        self.until_answered(lambda: self.box.send_keys(text, Keys.ENTER))


@pytest.fixture
def visit(browser: Chrome, site: Site) -> Visit:
    return Visit(browser, site.url)


def answers(query: str) -> list[bool]:
    return Proposition(query, Digits.literals).holds(TEST_SPLIT.labels).tolist()


def test_typed_negation_ranks_images_that_satisfy_it(visit: Visit) -> None:
    visit.choose("test split")
    visit.ask("even & ~prime")
    truth = answers("even & ~prime")
    for model in (0, 1):
        positions = visit.positions(model)
        assert len(positions) == len(set(positions)) == TOP_K
        assert sum(truth[position] for position in positions) >= TOP_K - 1
        for card, position in zip(visit.cards(model), positions, strict=True):
            assert ("✓" in card.text) == truth[position]
            assert ("✗" in card.text) != truth[position]
        scores = [float(card.text.split()[3]) for card in visit.cards(model)]
        assert scores == sorted(scores, reverse=True)
    assert f"in all, {sum(truth)} of 360 images are" in visit.all("#ranking-0")[0].text


def test_clicks_build_a_proposition(visit: Visit) -> None:
    visit.choose("test split")
    visit.click("clear")
    for token in ("(", "even", "or", "prime", ")", "and", "not", "square", "⌫"):
        visit.click(token)
    assert visit.box.get_attribute("value") == "(even | prime) & ~"
    visit.click("has_loop")
    assert visit.box.get_attribute("value") == "(even | prime) & ~has_loop"
    visit.until_answered(lambda: visit.click("Search"))
    truth = answers("(even | prime) & ~has_loop")
    assert all(truth[position] for position in visit.positions(0)[:5])
    assert f"in all, {sum(truth)} of 360 images are" in visit.all("#ranking-0")[0].text


def test_mistakes_are_explained_and_the_page_goes_on(visit: Visit) -> None:
    for text, expected in {
        "even &": "syntax error in 'even &' at position 6",
        "even & primes": "did you mean prime?",
        "": "it is empty: name a literal",
        "<i>even</i>": "'<' is not part of the syntax",
        "~" * 1500 + "even": "nested too deeply",
    }.items():
        visit.ask(text)
        assert expected in visit.all("#message")[0].text
        assert not visit.all(".card, #message i")
    visit.ask("even & ~even")
    assert [message.text for message in visit.all(".model + .problem")] == [
        "no minterm that the model knows satisfies 'even & ~even'"
    ] * 2
    visit.ask("even")
    assert len(visit.cards(0)) == len(visit.cards(1)) == TOP_K
    assert not visit.all(".problem")


def test_an_image_shows_its_minterms(visit: Visit) -> None:
    visit.choose("test split")
    visit.ask("prime | square")
    card, position = visit.cards(1)[3], visit.positions(1)[3]
    card.click()
    visit.until_detailed(f"image {position}\n")
    sections = visit.all("#detail section")
    for section in sections:
        literals, minterms = section.find_elements(By.CSS_SELECTOR, ".bars")
        named = literals.text.split("\n")
        assert tuple(named[::2]) == Digits.literals
        lines = minterms.text.split("\n")
        colours = [
            bar.get_attribute("class") == "counts"
            for bar in minterms.find_elements(By.CSS_SELECTOR, ".bar i")
        ]
        for name, coloured in zip(lines[::2], colours, strict=True):
            assert coloured == bool({"prime", "square"} & set(name.split(" & ")))
        assert 0.98 < sum(map(float, lines[1::2])) < 1.01
    lines = sections[1].find_elements(By.CSS_SELECTOR, ".bars")[1].text.split("\n")
    of_query = sum(
        float(value)
        for name, value in zip(lines[::2], lines[1::2], strict=True)
        if {"prime", "square"} & set(name.split(" & "))
    )
    assert of_query == pytest.approx(float(card.text.split()[-1]), abs=0.02)


def test_a_phone_shows_the_best_images_of_every_model_at_once(browser: Chrome, site: Site) -> None:
    screen = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        visit = Visit(browser, site.url)
        seen = """const place = arguments[0].getBoundingClientRect();
            return arguments[0].contains(
              document.elementFromPoint(place.left + place.width / 2, place.bottom - 5))"""
        for model in (0, 1):  # whole, and under nothing
            assert browser.execute_script(seen, visit.cards(model)[0])
        cut = "return [...document.querySelectorAll('.bars span')].filter(%s).length"
        assert browser.execute_script(cut % "(name) => name.scrollWidth > name.clientWidth") == 0
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= screen["width"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_models_answer_beside_each_other(visit: Visit) -> None:
    visit.ask("even & prime & square")  # of no digit: only independent literals allow for it
    first, second = visit.all("#ranking-0, #ranking-1")
    assert "NuclearNormLoss" in first.text
    assert "no minterm that the model knows satisfies" in first.text
    assert "BCEWithLogitsLoss" in second.text
    assert len(visit.cards(1)) == TOP_K


def test_a_folder_is_searched(visit: Visit, site: Site) -> None:
    visit.ask("even | ~even")
    names = [card.get_attribute("title") for card in visit.cards(0)]
    assert len(set(names)) == TOP_K
    assert set(names) <= {str(path) for path in site.folder.iterdir()}
    visit.ask("prime & ~even")
    truth, positions = answers("prime & ~even"), []
    for card in visit.cards(0)[:5]:
        path = Path(card.get_attribute("title") or "")
        odd = path.name in ODD_NAMES
        positions.append(ODD_NAMES.index(path.name) if odd else int(path.stem))
    assert all(truth[position] for position in positions)


def test_names_of_files_are_text(visit: Visit) -> None:
    for name, labels in zip(ODD_NAMES, TEST_SPLIT.labels, strict=False):
        signs = zip(Digits.literals, labels.tolist(), strict=True)
        visit.ask(" & ".join(literal if holds else f"~{literal}" for literal, holds in signs))
        titles = [card.get_attribute("title") or "" for card in visit.cards(0)]
        (shown,) = (place for place, title in enumerate(titles) if Path(title).name == name)
        visit.browser.execute_script("arguments[0].click()", visit.cards(0)[shown])
        visit.until_detailed(name)
        parts = ".model, .card, .rows, .detail"
        assert len(visit.all(f":is({parts}) :is(.pixels, .caption, td)")) > 3 * TOP_K
        assert not visit.all(f":is({parts}) :is(script, img:not(.pixels), i:not(.bar i))")


def test_nothing_leaves_the_machine(visit: Visit, site: Site) -> None:
    visit.browser.get_log("performance")
    visit = Visit(visit.browser, site.url)
    visit.ask("even")
    events = [
        json.loads(entry["message"])["message"] for entry in visit.browser.get_log("performance")
    ]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert len(urls) > 10
    assert {urlsplit(url).hostname for url in urls if not url.startswith("data:")} == {"127.0.0.1"}


def request(url: str, method: str = "GET") -> tuple[int, bytes]:
    try:
        with build_opener(ProxyHandler({})).open(Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file/etc/passwd",
        f"gradio_api/file={ROOT / 'README.md'}",
        "gradio_api/file=README.md",
        "gradio_api/file={folder}/1.png",
        "gradio_api/file={url}",
        "file=/etc/passwd",
        "static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "static/%2fetc/passwd",
        "gradio_api/proxy={url}",
        "gradio_api/info",
        "gradio_api/runs",
        "monitoring",
        "docs",
        "openapi.json",
    ],
)
def test_nothing_but_the_page_is_served(path: str, site: Site) -> None:
    assert request(site.url)[0] == 200
    path = path.format(folder=str(site.folder).replace(" ", "%20"), url=site.url)
    status, body = request(site.url + path)
    assert status in (403, 404)
    assert len(body) < 200


def test_uploads_are_refused(site: Site) -> None:
    assert request(f"{site.url}gradio_api/upload", "POST") == (403, b"not part of the page")


def test_listens_on_loopback_alone(site: Site) -> None:
    port = urlsplit(site.url).port
    assert port is not None
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_port_in_use_is_said(trained_run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_command("explore", f"ckpt_path={trained_run.checkpoint}", f"port={port}")
    assert result.status == 1
    assert result.message == (
        f"error: cannot listen at 127.0.0.1:{port}: Address already in use; "
        "port=0 takes any that is free"
    )


def test_models_of_other_literals_are_refused(trained_run: Run, tmp_path: Path) -> None:
    write_idx_files(tmp_path, "MNIST", zipped=False)
    other = train(
        tmp_path / "other",
        *("dataset=mnist", f"data_dir={tmp_path}", "dataset.validation=10", "trainer.max_epochs=1"),
        *("encoder=convnet", "encoder.embedding_dim=16", "loader.batch_size=20"),
        *("module.max_query_literals=1", "module.max_query_depth=1", "logger=none"),
    )
    result = run_command(
        "explore", f"ckpt_path={trained_run.checkpoint}", f"beside={other.checkpoint}", "port=0"
    )
    assert result.status == 1
    assert "models beside each other need the same literals" in result.message
    assert len(result.message.splitlines()) == 1


def test_splits_of_other_images_are_not_compared(trained_run: Run, tmp_path: Path) -> None:
    other = train(tmp_path / "other", "dataset.split_seed=1", "trainer.max_epochs=1", "logger=none")
    config = DictConfig(
        {
            "ckpt_path": str(trained_run.checkpoint),
            "beside": str(other.checkpoint),
            "data_dir": None,
            "device": "cpu",
            "top_k": 3,
            "index": "exact",
            "candidates": 3,
            "cache_dir": "",
            "strict": False,
        }
    )
    models = load_models(config, ["test split"])
    _, first, second, detail, _ = search(models, "test split", "even", k=3)
    assert "3 of the best 3 are right" in first
    assert "holds other images" in second
    assert detail.count("likeliest minterms") == 1
    assert models[0].images("test split") is models[0].images("test split")


def test_the_page_says_what_of_a_folder_is_left_out(trained_run: Run, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for number, image in enumerate(TEST_SPLIT.images[:4]):
        name = os.fsdecode(b"%d \xe9\x1b.png" % number)
        Image.fromarray(image[0].numpy()).save(tmp_path / "scans" / name)
    (tmp_path / "scans" / "broken.png").touch()
    (tmp_path / "scans" / ".hidden.png").touch()
    folder = str(tmp_path / "scans")
    config = DictConfig(
        {
            "ckpt_path": str(trained_run.checkpoint),
            "beside": None,
            "data_dir": None,
            "device": "cpu",
            "top_k": 3,
            "index": "exact",
            "candidates": 3,
            "cache_dir": str(tmp_path / "cache"),
            "strict": False,
        }
    )
    (before,) = load_models(config, [folder])
    fault, ranking, detail, _ = search([before], folder, "even", k=3)
    assert not fault
    assert "4 images; left out: hidden: 1, cannot be decoded: 1; " in ranking
    assert f"{folder}/broken.png is damaged" in ranking
    assert r"\xe9\x1b.png" in detail
    (ranking + detail).encode()

    Image.new("L", (8, 8)).save(tmp_path / "scans" / "more.png")
    (after,) = load_models(config, [folder])
    _, _, second, *_ = search([before, after], folder, "even", k=3)
    assert "holds other images" in second
