"""What is text is taken as it stands, wherever Hydra's grammar would read something else."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import UNDRAWN, Run, run_command
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from src.config.overrides import expand_home, quote, quote_arguments
from src.explore import Keys as ExploreKeys
from src.train import Keys

ODD = "a=b (c) [d] {e} 'f' \"g\", #ü $h ~i\\j:k;l"  # a file name
SHORT_RUN = ["debug=fast", "logger=none", UNDRAWN, "test=false"]
# A key of every command and part that takes text, wherever its type is written down
TEXT_KEYS = (
    *("name", "group", "data_dir", "output_dir", "ckpt_path", "hydra.run.dir", "hydra.sweep.dir"),
    *("hydra.sweep.subdir", "hydra.job.name", "encoder.weights", "encoder.model", "dataset.root"),
    *("logger.project", "logger.save_dir", "logger.entity", "trainer.default_root_dir"),
    *("callbacks.checkpoint_best.dirpath", "callbacks.report.folder"),
)


def read(arguments: list[str], keys: type = Keys) -> Any:
    """The value of the first argument, as Hydra reads it."""
    override = OverridesParser.create().parse_override(quote_arguments(arguments, keys)[0])
    assert not override.is_sweep_override()
    return override.value()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_in_quotes_is_read_as_it_was(text: str) -> None:
    assert OverridesParser.create().parse_override(quote("key", text)).value() == text


@pytest.mark.parametrize("prefix", ["", "+", "++"])
@pytest.mark.parametrize("key", TEXT_KEYS)
def test_value_of_a_key_of_text_is_text(key: str, prefix: str) -> None:
    for text in (ODD, "a,b", "[a]", "{a:1}", "a=b", "'", "a b", "choice(a,b)", "'a' & 'b'"):
        assert read([f"{prefix}{key}={text}"]) == text
    assert read([f"{prefix}{key}=null"]) is None
    assert read([f"{prefix}{key}='a,b'"]) == "a,b"
    again = quote_arguments([f"{key}={ODD}"], Keys)
    assert quote_arguments(again, Keys) == again


def test_number_of_a_root_key_of_text_is_text() -> None:
    assert [read([f"name={text}"]) for text in ("5", "1e3", "true", "nan")] == [
        *("5", "1e3", "true", "nan")
    ]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("loss.alpha=0.9", 0.9),
        ("seed=3", 3),
        ("trainer.devices=[0,1]", [0, 1]),
        ("module.projection=[16,8]", [16, 8]),
        ("test=false", False),
        ("+study.losses=[a,b]", ["a", "b"]),
    ],
)
def test_value_of_another_key_is_what_hydra_reads(argument: str, expected: object) -> None:
    assert read([argument]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        ("[photos, /data/more photos]", ["photos", "/data/more photos"]),
        ("[a=b (c),d[1],7]", ["a=b (c)", "d[1]", "7"]),
        ("['a,b',\"c, d\",'it\\'s']", ["a,b", "c, d", "it's"]),
    ],
)
def test_items_of_a_list_of_texts_are_text(text: str, expected: list[str]) -> None:
    assert read([f"galleries={text}"], ExploreKeys) == expected


def test_commas_are_choices_in_a_sweep_and_other_characters_are_text() -> None:
    arguments = ["encoder.model=a,b", "name=choice(a,b)", "data_dir=/c=d (e)", "-m"]
    quoted = quote_arguments(arguments, Keys)
    assert quoted[:2] == arguments[:2]
    assert read(["data_dir=/c=d (e)", "-m"]) == "/c=d (e)"


def test_processes_that_lightning_starts_find_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert read([f'hydra.run.dir="/{ODD}"']) == f"/{ODD}"


def test_home_is_expanded_in_every_text_of_a_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA_DIR", "~/data")
    config = OmegaConf.create(
        {
            "data_dir": "${oc.env:DATA_DIR,data}",
            "cache_dir": "${oc.env:DATA_DIR,data}/cache",
            "dataset": {"root": "${data_dir}", "seed": 3, "attributes": None},
            "galleries": ["~", "~/a", "b/~/c", "~even", "~ even"],
            "missing": "???",
        }
    )
    expand_home(config)
    assert OmegaConf.to_container(config, resolve=True) == {
        "data_dir": "/home/me/data",
        "cache_dir": "/home/me/data/cache",
        "dataset": {"root": "/home/me/data", "seed": 3, "attributes": None},
        "galleries": ["/home/me", "/home/me/a", "b/~/c", "~even", "~ even"],
        "missing": "???",
    }


@pytest.mark.parametrize("key", ["output_dir", "hydra.run.dir", "name"])
def test_training_leaves_its_files_in_the_folder_that_was_named(key: str) -> None:
    assert run_command("train", *SHORT_RUN, f"{key}={ODD}") == (0, "")
    folders = [path.parent for path in Path().rglob("metrics.json")]
    assert len(folders) == 1
    assert ODD in folders[0].parts
    assert (folders[0] / "checkpoints" / "last.ckpt").exists()


def test_sweep_has_its_jobs_in_the_folder_that_was_named() -> None:
    assert run_command("train", "-m", *SHORT_RUN, f"hydra.sweep.dir={ODD}", "seed=1,2") == (0, "")
    assert {path.parent for path in Path().rglob("metrics.json")} == {Path(ODD, n) for n in "01"}


@pytest.mark.parametrize("home", [True, False])
def test_data_is_kept_in_the_folder_that_was_named(
    home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = ["dataset=faces", "dataset.number=30"]
    if home:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("DATA_DIR", f"~/{ODD}")
        assert run_command("prepare", *faces) == (0, "")
    else:
        assert run_command("prepare", *faces, f"data_dir=home/{ODD}") == (0, "")
    assert (tmp_path / "home" / ODD).is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"home", "outputs"}


def test_searching_reads_and_writes_the_paths_that_were_named(trained_run: Run) -> None:
    for folder in ("runs", "galleries", "queries"):
        Path(folder).mkdir()
    shutil.copy(trained_run.checkpoint, Path("runs", ODD))
    Path("galleries", ODD).mkdir()
    for number in range(2):
        Image.new("L", (8, 8), 99 * number).save(Path("galleries", ODD, f"{number}.png"))
    Path("queries", ODD).write_text("even\n")
    result = run_command(
        *("retrieve", f"ckpt_path=runs/{ODD}", f"beside=runs/{ODD}"),
        *(f"queries=queries/{ODD}", f"gallery=galleries/{ODD}"),
        *(f"cache_dir=caches/{ODD}", f"hydra.run.dir=outputs/{ODD}"),
    )
    assert result == (0, "")
    assert Path("outputs", ODD, "retrieval.csv").exists()
    assert list(Path("caches", ODD).iterdir())
    result = run_command("evaluate", f"ckpt_path=runs/{ODD}", f"output_dir=tests/{ODD}")
    assert result == (0, "")
    assert Path("tests", ODD, "metrics.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", f"ckpt_path={ODD}"),
        ("train", "encoder=imagenet_resnet18", f"encoder.weights={ODD}"),
        ("train", "encoder=clip", f"encoder.model=/{ODD}"),
        ("train", "dataset=mnist", f"dataset.root={ODD}"),
        ("retrieve", "ckpt_path={ckpt}", "query=even", f"gallery={ODD}"),
        ("explore", "ckpt_path={ckpt}", "port=0", "galleries=[a=b (c)]"),
    ],
    ids=" ".join,
)
def test_path_that_is_not_there_is_named_as_it_was(
    arguments: tuple[str, ...], trained_run: Run
) -> None:
    said = [argument.replace("{ckpt}", str(trained_run.checkpoint)) for argument in arguments]
    result = run_command(*said)
    assert result.status == 1
    wanted = "a=b (c)" if arguments[0] == "explore" else ODD
    assert wanted in result.message


def test_tables_are_kept_in_the_folders_that_were_named() -> None:
    places = [f"runs_dir=runs/{ODD}", f"results_dir=results/{ODD}"]
    assert run_command("reproduce", "table=synthetic", "scale=smoke", *places) == (0, "")
    assert Path("results", ODD, "synthetic", "smoke", "table.md").exists()
    assert Path("runs", ODD, "synthetic").is_dir()
