"""The provenance of a number: commit, seed, versions and hardware."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("src", "conf", "experiments", "requirements.lock")  # what numbers depend on
DIRTY = "-dirty"
NO_CHECKOUT = 128  # what git returns outside one
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "torchmetrics", "wandb")


def provenance() -> dict[str, str]:
    """Flat record of commit, versions and hardware, keys under `run/`."""
    record = {
        "run/commit": _commit(),
        "run/hardware": hardware(),
        "run/python": platform.python_version(),
    }
    return record | {f"run/version/{name}": version(name) for name in PACKAGES}


def hardware() -> str:
    """The processor and threads in use, and the GPUs that torch sees."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join([f"{_processor()}, {torch.get_num_threads()} threads", *gpus])


def check_clean(path: Path, commit: str, dirty: bool) -> None:
    """Refuse to write numbers that are to be committed where no commit says what made them.

    Args:
        path: The file that holds the numbers. Files elsewhere than in the checkout of the project,
            or that git ignores there, may hold any.
        commit: The `run/commit` of the numbers.
        dirty: Whether to write them all the same.

    Raises:
        ValueError: If not, and files that the numbers depend on differ from the commit.
    """
    if DIRTY in commit and not dirty and _git("check-ignore", "-q", path).returncode == 1:
        raise ValueError(
            f"{path} is a file of the project, and its numbers are of {commit}, with changes that "
            "are not committed: commit them first, or set dirty=true"
        )


def _commit() -> str:
    """The checked-out commit, `-dirty` where what numbers depend on differs from it, or has files
    more; `unknown` outside a checkout.
    """
    commit = _git("rev-parse", "HEAD")
    if commit.returncode:
        return "unknown"
    changes = _git("--no-optional-locks", "status", "--porcelain", "--", *SOURCES).stdout
    return commit.stdout.strip() + (DIRTY if changes else "")


def _git(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run git in the project; where there is no git, as if there were no checkout."""
    command = ["git", *map(str, arguments)]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return subprocess.CompletedProcess(command, NO_CHECKOUT, "", "")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
