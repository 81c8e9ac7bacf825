"""A clock that waits for the device, and the peak memory of this process."""

import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import TypeVar

import torch

Result = TypeVar("Result")


def now(device: str) -> float:
    """Seconds on the clock, once the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def busy(device: str) -> float:
    """Seconds that this process has computed, other processes left out; on a GPU, of its clock."""
    return now(device) if device == "cuda" else process_time()


def timed(run: Callable[[], Result], device: str, repeats: int) -> tuple[Result, list[float]]:
    """The last result of a function, and the seconds of each of its calls, (repeats,)."""
    seconds = []
    for _ in range(repeats):
        start = now(device)
        result = run()
        seconds.append(now(device) - start)
    return result, seconds


def processing(run: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a function, and the CPU seconds of all threads, which others do not change."""
    start = process_time()
    result = run()
    return result, process_time() - start


def peak_memory() -> float:
    """The largest resident set of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts the process that started this one, too
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
