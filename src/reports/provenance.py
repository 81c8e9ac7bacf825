"""The provenance of a number: commit, seed, versions and hardware."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

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


def _commit() -> str:
    """The checked-out commit, `-dirty` with uncommitted changes; `unknown` outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    here = Path(__file__).resolve().parent
    try:
        result = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
