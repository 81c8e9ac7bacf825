"""Checkpoints from an attacker: nothing that they name is called, imported, written or deleted."""

import importlib
import json
import os
import pickle
import pkgutil
import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import Run, run_command
from omegaconf import OmegaConf

import src
from src.config.groups import CONF_DIR, PARTS
from src.runs.checkpoints import CheckpointError, SaveConfig, read_checkpoint
from src.runs.load import load_checkpoint
from src.runs.resume import check_resumable
from src.runs.trust import check_config, check_kept_paths

CANARY = "executed"
TOUCH = f"touch {CANARY}"
WRITE = f"open({CANARY!r}, 'w')"
ESCAPE = "\x1b]0;owned\x07"
MKDIR: dict[str, Any] = {"_target_": "os.mkdir", "path": CANARY}
CROSS_ENTROPY: dict[str, Any] = {"_target_": "torch.nn.CrossEntropyLoss"}
MNIST: dict[str, Any] = {
    "_target_": "src.data.mnist.Mnist",
    "root": "data",
    "validate_on": "held_out",
    "validation": 5,
    "split_seed": 0,
}
TWO_VIEWS: dict[str, Any] = {
    "_target_": "src.modules.two_views.TwoViewModule",
    "relation": None,
    "projection": [],
    "augmentation": {"_target_": "src.data.views.RandomViews", "min_area": 0.6},
    "score": None,
    "max_query_literals": 5,
    "max_query_depth": 4,
    "queries_per_depth": 40,
}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


def repeated(times: int, depth: int) -> list[Any]:
    """A list that takes little room, and holds `times ** depth` others."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value] * times
    return value


class Hiding:
    """Becomes a call that says that it is empty when it is asked for its items."""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), {"items": OrderedDict}, None, iter(MKDIR.items())


# What the attacker writes into a config, by dotted key; what `bait` makes is in the folder
PAYLOADS: dict[str, dict[str, Any]] = {
    # Functions and classes in the place of a part
    "own command caller": {
        "dataset": {
            "_target_": "src.config.command.call",
            "name": "prepare",
            "arguments": [
                "+dataset._target_=torch.utils.collect_env.run",
                f"+dataset.command='{TOUCH}'",
            ],
        }
    },
    "collect_env": {"dataset": {"_target_": "torch.utils.collect_env.run", "command": TOUCH}},
    "load_inline": {
        "dataset": {
            "_target_": "torch.utils.cpp_extension.load_inline",
            "name": CANARY,
            "cpp_sources": "",
            "build_directory": ".",
        }
    },
    "runstring": {
        "dataset": {
            "_target_": "numpy.testing.runstring",
            "_convert_": "all",
            "astr": WRITE,
            "dict": {},
        }
    },
    "exec": {"dataset": {"_target_": "builtins.exec", "_args_": [WRITE]}},
    "eval in an encoder": {"encoder": {"_target_": "builtins.eval", "_args_": [WRITE]}},
    "subprocess": {"dataset": {"_target_": "subprocess.run", "args": TOUCH, "shell": True}},
    "runpy": {"dataset": {"_target_": "runpy.run_path", "path_name": "script.py"}},
    "import_module": {"dataset": {"_target_": "importlib.import_module", "name": "script"}},
    "module of its own": {"dataset": {"_target_": "script.Anything"}},
    "unpickling": {"dataset": {"_target_": "torch.load", "f": "pickled.pt", "weights_only": False}},
    "numpy's pickles": {
        "dataset": {"_target_": "numpy.load", "file": "bare.pickle", "allow_pickle": True}
    },
    "torch.hub": {
        "dataset": {
            "_target_": "torch.hub.load",
            "repo_or_dir": ".",
            "model": "anything",
            "source": "local",
        }
    },
    "log file": {"dataset": {"_target_": "logging.FileHandler", "filename": CANARY}},
    "array file": {"dataset": {"_target_": "numpy.savetxt", "fname": CANARY, "X": [1.0]}},
    "archive": {"dataset": {"_target_": "zipfile.ZipFile", "file": CANARY, "mode": "w"}},
    "deletion": {"dataset": {"_target_": "shutil.rmtree", "path": "precious"}},
    "drawing": {
        "dataset": {
            "_target_": "src.data.faces.write_faces",
            "folder": {"_target_": "pathlib.Path", "_args_": [CANARY]},
            "number": 1,
            "seed": 0,
        }
    },
    "own writer": {
        "dataset": {
            "_target_": "src.reports.results.write_whole",
            "path": {"_target_": "pathlib.Path", "_args_": [CANARY]},
            "text": "",
        }
    },
    "through an import of ours": {
        "dataset": {"_target_": "src.data.mnist.gzip.open", "filename": CANARY, "mode": "wb"}
    },
    # Calls within a part that conf/ names
    "in a weight": {"loss": CROSS_ENTROPY | {"weight": MKDIR}},
    "in a list": {"loss": CROSS_ENTROPY | {"weight": [MKDIR]}},
    "in a tuple": {"loss": CROSS_ENTROPY | {"weight": (MKDIR,)}},
    "in an encoder": {"encoder.image_shape": MKDIR},
    "in an encoder's list": {"encoder.image_shape": [[MKDIR]]},
    "in a module": {"module.augmentation": MKDIR},
    "in the place of an augmentation": {"module": TWO_VIEWS | {"augmentation": MKDIR}},
    "in an augmentation": {"module": TWO_VIEWS, "module.augmentation.min_area": MKDIR},
    "in a loader": {"loader.batch_size": MKDIR},
    "in an optimizer": {"optimizer.lr": MKDIR},
    "in the place of an optimizer": {"optimizer": MKDIR | {"_partial_": True}},
    "call that hides its items": {"loss": CROSS_ENTROPY | {"weight": Hiding()}},
    # Targets that are none
    "list of targets": {"dataset._target_": ["os.mkdir"]},
    "target of targets": {"dataset._target_": MKDIR},
    "no target": {"dataset": {"split_seed": 0}},
    "spaced target": {"dataset._target_": " src.data.digits.Digits"},
    # Directives
    "_args_": {"dataset._args_": [0]},
    "_partial_": {"dataset._partial_": True},
    "_recursive_": {"module._recursive_": False},
    "_convert_": {"encoder._convert_": "all"},
    "_mode_": {"encoder._mode_": "anything"},
    "nested _args_": {"module": TWO_VIEWS, "module.augmentation._args_": [1]},
    # Interpolations
    "environment": {"dataset": MNIST | {"root": "${oc.env:HOME}"}},
    "decoded": {"dataset": MNIST | {"root": "${oc.decode:'1'}"}},
    "Hydra's": {"dataset": MNIST | {"root": "${hydra:runtime.cwd}"}},
    "own resolver": {"dataset": MNIST | {"root": "${run_name:a,1}"}},
    "own resolver elsewhere": {"name": "${project_dir:}"},
    "escaped": {"dataset": MNIST | {"root": "\\${oc.env:HOME}"}},
    "interpolated key": {"dataset": MNIST, "dataset.${oc.env:HOME}": 1},
    "interpolated target": {"dataset._target_": "${name}", "name": "src.data.digits.Digits"},
    # The run of W&B that a resumed one goes on with
    "run elsewhere": {"logger.id": "../../elsewhere"},
    "run of no name": {"logger.id": ""},
    "run that is a call": {"logger.id": MKDIR},
    # Names of one place in another
    "loss as a data set": {
        "dataset": {"_target_": "src.losses.nuclear.NuclearNormLoss", "alpha": 0.9, "beta": 1.0}
    },
    "loss of torch as a readout": {"readout": CROSS_ENTROPY},
    "data set as an augmentation": {"module": TWO_VIEWS | {"augmentation": MNIST}},
    "augmentation as a module": {"module": TWO_VIEWS["augmentation"]},
    "base of encoders": {"encoder": {"_target_": "src.encoders.encoder.Encoder"}},
    # Odd shapes
    "hidden root": {"dataset": {"": MKDIR, "_target_": "src.data.digits.Digits"}},
    "key that is not a string": {"dataset": {3: MKDIR, "_target_": "src.data.digits.Digits"}},
    "tensor": {"loss": CROSS_ENTROPY | {"weight": torch.ones(2)}},
    "tensor elsewhere": {"protocol.name": torch.ones(2)},
    "bytes": {"dataset": MNIST | {"root": bytearray(b"data")}},
    "set": {"logger": {"tags": {"a"}}},
    "nested 90 deep": {"dataset.deep": nested(90)},
    "nested 90 deep elsewhere": {"logger": nested(90)},
    "nested without end": {"logger": repeated(10, 19)},
    "long text": {"name": "long" * 100_000},
    "number of 10,000 digits": {"dataset.split_seed": 1 << 33_000},
    # Texts that a terminal acts on
    "terminal's title in a value": {"dataset": MNIST | {"root": ESCAPE}},
    "terminal's title in a name": {"name": ESCAPE},
    "terminal's title in a key": {f"dataset.{ESCAPE}": 1},
    "terminal's title in a target": {"dataset._target_": ESCAPE},
    "cursor of eight bits": {"name": "\x9b2J"},
    "two lines in a target": {"dataset._target_": "src.data.digits.Digits\nerror: run this"},
}
COMMANDS = {
    "resume": ("train", ["ckpt_path=hostile.ckpt", "logger=none"]),
    "evaluate": ("evaluate", ["ckpt_path=hostile.ckpt"]),
    "retrieve": ("retrieve", ["ckpt_path=hostile.ckpt", "query=even"]),
    "retrieve beside": ("retrieve", ["ckpt_path={good}", "query=even", "beside=hostile.ckpt"]),
    "explore": ("explore", ["ckpt_path=hostile.ckpt", "port=0"]),
    "explore beside": ("explore", ["ckpt_path={good}", "beside=hostile.ckpt", "port=0"]),
}
TRIED_BY_COMMANDS = (
    "own command caller",
    "collect_env",
    "in a tuple",
    "interpolated key",
    "nested 90 deep",
    "terminal's title in a value",
)


class Touch:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (TOUCH,)


@pytest.fixture
def write(trained_run: Run, tmp_path: Path) -> Callable[..., Path]:
    """Writes a good checkpoint with changes of its config, and other content."""

    def written(changes: dict[str, Any], **others: Any) -> Path:
        checkpoint = torch.load(trained_run.checkpoint, weights_only=True)
        for key, value in changes.items():
            *parents, name = key.split(".", 1 if "$" in key else -1)
            section = checkpoint["config"]
            for parent in parents:
                section[parent] = dict(section[parent])
                section = section[parent]
            section[name] = value
        torch.save(checkpoint | others, tmp_path / "hostile.ckpt")
        return tmp_path / "hostile.ckpt"

    return written


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What payloads run, load or delete."""
    for name in ("script.py", "hubconf.py"):
        (tmp_path / name).write_text(WRITE)
    (tmp_path / "precious").mkdir()
    torch.save(Touch(), tmp_path / "pickled.pt")
    (tmp_path / "bare.pickle").write_bytes(pickle.dumps(Touch()))
    monkeypatch.syspath_prepend(tmp_path)


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "outputs" not in path.parts}


@pytest.mark.usefixtures("bait")
@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_is_refused_in_one_line_and_does_nothing(
    name: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(PAYLOADS[name])
    before = everything(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(str(path), None)
    assert everything(tmp_path) == before
    message = str(refusal.value)
    assert message.isprintable()  # no line break, no control character
    assert len(message) < len(str(path)) + 300
    assert re.search("refused|nested|too large|no class|control|digits", message)


@pytest.mark.usefixtures("bait")
@pytest.mark.parametrize("name", TRIED_BY_COMMANDS)
@pytest.mark.parametrize("entry", COMMANDS)
def test_every_command_refuses(
    entry: str,
    name: str,
    trained_run: Run,
    write: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(PAYLOADS[name])
    before = everything(tmp_path)
    command, arguments = COMMANDS[entry]
    arguments = [argument.format(good=trained_run.checkpoint) for argument in arguments]
    result = run_command(command, *arguments)
    assert result.status == 1
    assert result.message.startswith("error: hostile.ckpt: the config ")
    assert result.message.isprintable()
    assert everything(tmp_path) == before
    assert "owned" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("logger", [None, [], {}, "wandb", {"id": None}, {"id": "1a-2_b"}])
def test_other_loggers_are_trusted(logger: Any, trained_run: Run) -> None:
    good = torch.load(trained_run.checkpoint, weights_only=True)["config"]
    check_config(good | {"logger": logger})


def test_sections_that_only_training_calls_are_ignored(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    sections = {
        "callbacks": {"own": MKDIR},
        "logger": MKDIR,
        "trainer": MKDIR | {"plugins": [MKDIR]},
        "plugins": [MKDIR],
        "hydra": {"callbacks": {"own": MKDIR}},
        "_target_": "os.mkdir",
        "path": CANARY,
        "output_dir": CANARY,
        "name": f"../{CANARY}",
    }
    path = write(sections)
    before = everything(tmp_path)
    _, data, module = load_checkpoint(str(path), None)
    assert module.literals == data.image_set.literals
    assert everything(tmp_path) == before
    for command, query in (("evaluate", []), ("retrieve", ["query=even"])):
        folder = tmp_path / command
        arguments = [f"ckpt_path={path}", f"hydra.run.dir={folder}", *query]
        assert run_command(command, *arguments) == (0, "")
        shutil.rmtree(folder)
    assert everything(tmp_path) == before
    assert not (tmp_path.parent / CANARY).exists()


def test_page_of_a_run_escapes_what_the_config_says(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write({"name": "<script>alert(1)</script>", "protocol.name": "<img onerror=alert(1)>"})
    assert run_command("evaluate", f"ckpt_path={path}", "hydra.run.dir=out") == (0, "")
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<img onerror" not in page


# What conf/ names


def test_every_choice_of_conf_is_trusted(trained_run: Run) -> None:
    good = torch.load(trained_run.checkpoint, weights_only=True)["config"]
    for part in PARTS:
        for target in named_by_conf(part):
            check_config(good | {part: good[part] | {"_target_": target}})
    check_config(good | {"module": TWO_VIEWS})


def named_by_conf(part: str) -> set[str]:
    texts = [path.read_text() for path in (CONF_DIR / part).glob("*.yaml")]
    own = re.compile(rf"^(?:{part}:\n  )?_target_: (\S+)", re.M)
    return {name for text in texts for name in own.findall(text)}


DANGEROUS = (
    *("asyncio", "atexit", "builtins", "code", "codeop", "compileall", "ctypes", "distutils"),
    *("ftplib", "glob", "gzip", "http.server", "imaplib", "importlib", "importlib.util", "io"),
    *("logging", "logging.config", "marshal", "mmap", "multiprocessing", "os", "os.path"),
    *("pathlib", "pdb", "pickle", "pickletools", "pkgutil", "platform", "pty", "runpy", "shelve"),
    *("shutil", "signal", "site", "smtplib", "socket", "sqlite3", "subprocess", "sys", "tarfile"),
    *("tempfile", "threading", "timeit", "trace", "types", "urllib.request", "venv", "webbrowser"),
    *("xmlrpc.client", "zipapp", "zipfile", "zipimport"),
    *("numpy", "numpy.f2py", "numpy.testing", "torch", "torch.compiler", "torch.distributed"),
    *("torch.hub", "torch.jit", "torch.nn", "torch.package", "torch.serialization"),
    *("torch.utils.collect_env", "torch.utils.cpp_extension", "torch.utils.model_zoo"),
    *("hydra.utils", "omegaconf", "pytorch_lightning", "pytorch_lightning.callbacks", "wandb"),
    *("timm", "transformers", "huggingface_hub", "PIL.Image", "sklearn.datasets", "joblib"),
)


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(src.__path__, "src."):
        yield importlib.import_module(found.name)
    for name in DANGEROUS:
        try:
            yield importlib.import_module(name)
        except ImportError:  # of another version of Python or without the package
            continue


@pytest.mark.filterwarnings("ignore")  # of modules that are old
def test_nothing_else_is_trusted_in_any_place(trained_run: Run) -> None:
    good = torch.load(trained_run.checkpoint, weights_only=True)["config"]
    # All but what is tried, as small as may be
    small = {part: {"_target_": good[part]["_target_"]} for part in PARTS}
    targets = {f"{module.__name__}.{name}" for module in modules() for name in dir(module)}
    assert len(targets) > 5000

    def trusts(part: str, **changes: Any) -> bool:
        try:
            check_config(small | {part: small[part] | changes})
        except ValueError as error:
            return "which is refused" not in str(error)
        return True

    for part in PARTS:
        assert {name for name in targets if trusts(part, _target_=name)} == named_by_conf(part)
    inside = {name for name in targets if trusts("module", augmentation={"_target_": name})}
    assert inside == {TWO_VIEWS["augmentation"]["_target_"]}
    assert not [name for name in targets if trusts("loss", weight={"_target_": name})]


def test_run_whose_checkpoints_could_not_be_read_again_is_not_begun(trained_run: Run) -> None:
    good: Any = OmegaConf.to_container(trained_run.config)
    SaveConfig(good)
    with pytest.raises(ValueError, match="no file of conf/loss names it there"):
        SaveConfig(good | {"loss": {"_target_": "torch.nn.MSELoss"}})


# Around the config


@pytest.mark.parametrize(
    "kept",
    [
        {"best_model_path": "local://{precious}"},
        {"best_model_path": "simplecache::file://{precious}"},
        {"kth_best_model_path": "checkpoints/../../precious"},
        {"last_model_path": "{folder}/checkpoints/../precious"},
        {"best_k_models": {"local://{precious}": torch.ones(())}},
        {"best_model_path": bytearray(b"local://precious")},
        {"best_k_models": ["local://{precious}"]},
    ],
    ids=str,
)
def test_resumed_run_deletes_nothing_that_a_checkpoint_names(
    kept: dict[str, Any], trained_run: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    states = torch.load(trained_run.checkpoint, weights_only=True)["callbacks"]
    precious = tmp_path / "precious"
    precious.mkdir()

    def place(value: Any) -> Any:
        if isinstance(value, str):
            return value.format(precious=precious, folder=tmp_path)
        if isinstance(value, dict):
            return {place(key): item for key, item in value.items()}
        return [place(item) for item in value] if isinstance(value, list) else value

    changed = {
        name: state | {key: place(value) for key, value in kept.items()}
        if name.startswith("ModelCheckpoint")
        else state
        for name, state in states.items()
    }
    path = write({"trainer.max_epochs": 14}, callbacks=changed)
    arguments = [f"ckpt_path={path}", "trainer.max_epochs=14", "hydra.run.dir=.", "logger=none"]
    result = run_command("train", *arguments)
    assert result.status == 1
    assert re.search("would delete|none of a callback", result.message)
    assert precious.exists()


def test_paths_that_training_keeps_are_trusted(trained_run: Run) -> None:
    states = torch.load(trained_run.checkpoint, weights_only=True)["callbacks"]
    assert any("best_model_path" in state for state in states.values())
    check_kept_paths(states)


@pytest.mark.parametrize("states", [[], OrderedDict(), {"ModelCheckpoint": OrderedDict()}], ids=str)
def test_states_of_callbacks_are_plain(states: Any) -> None:
    with pytest.raises(ValueError, match="callback"):
        check_kept_paths(states)


@pytest.mark.parametrize(
    "weights",
    [
        {ESCAPE: torch.ones(1)},
        {3: torch.ones(1)},
        {"encoder.layers.0.weight": MKDIR},
        {f"more.{number}": torch.ones(1) for number in range(1000)},
    ],
    ids=["terminal's title", "number", "values", "many"],
)
def test_odd_weights_are_refused_in_one_line(
    weights: dict[Any, Any], trained_run: Run, write: Callable[..., Path]
) -> None:
    state = torch.load(trained_run.checkpoint, weights_only=True)["state_dict"]
    path = write({}, state_dict=state | weights)
    with pytest.raises(CheckpointError, match="weights") as refusal:
        load_checkpoint(str(path), None)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < len(str(path)) + 1100


@pytest.mark.filterwarnings("ignore")  # that torch.jit.script is old
def test_script_of_torch_is_no_checkpoint(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "script.ckpt"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(str(tmp_path / "script.ckpt"))


def test_advice_is_quoted_for_a_shell(trained_run: Run, write: Callable[..., Path]) -> None:
    path = write({"module.score": "sum; touch executed", "encoder.radius": None})
    now: Any = OmegaConf.to_container(trained_run.config)
    now["encoder"]["radius"] = 2.0
    with pytest.raises(CheckpointError) as refusal:
        check_resumable(str(path), read_checkpoint(str(path)), now)
    advice = "'module.score=\"sum; touch executed\"' (not null)"
    assert f"resume it with encoder.radius=null (not 2.0), {advice}" in str(refusal.value)


# Allowed classes with hostile values


def clip(model: Path) -> dict[str, Any]:
    encoder = {
        "_target_": "src.encoders.clip.Clip",
        "model": str(model),
        "freeze": False,
        "embedding_dim": None,
        "radius": None,
        "batch_norm": False,
    }
    return {"encoder": encoder}


@pytest.mark.usefixtures("bait")
@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"]
)
def test_code_beside_a_model_is_not_run(
    file: str, clip_folder: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    shutil.copy("script.py", folder)
    classes = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor")
    content = json.loads((folder / file).read_text())
    content |= {"auto_map": dict.fromkeys(classes, "script.Anything"), "model_type": "own"}
    for key in ("tokenizer_class", "image_processor_type"):
        content.pop(key, None)
    (folder / file).write_text(json.dumps(content))
    path = write(clip(folder))
    before = everything(tmp_path)
    with pytest.raises(Exception, match=r"no dual encoder|weights do not fit"):
        load_checkpoint(str(path), None)
    assert everything(tmp_path) == before


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.usefixtures("bait")
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_of_a_model_are_not_executed(
    zipped: bool, clip_folder: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    if zipped:
        torch.save({"weight": Touch()}, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Touch()}))
    path = write(clip(folder))
    before = everything(tmp_path)
    with pytest.raises(Exception, match="no dual encoder"):
        load_checkpoint(str(path), None)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "model", ["hf-hub:nobody/model", "local-dir:.", "resnet18:local-dir:.", "resnet18.local-dir:."]
)
def test_backbones_come_from_timm_alone(
    model: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    encoder = {
        "_target_": "src.encoders.pretrained.Pretrained",
        "model": model,
        "weights": "hub",
        "freeze": False,
        "image_size": 32,
        "embedding_dim": 8,
        "radius": None,
        "batch_norm": False,
    }
    path = write({"encoder": encoder})
    with pytest.raises(Exception, match=r"timm has no model|no weights of"):
        load_checkpoint(str(path), None)
