"""What all measurements of time share."""

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

import torch

Result = TypeVar("Result")


def now(device: str) -> float:
    """Seconds on the clock once all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


def timed(run: Callable[[], Result], device: str, repeats: int) -> tuple[Result, list[float]]:
    """What it returns, and its seconds, (repeats,)."""
    seconds = []
    for _ in range(repeats):
        start = now(device)
        result = run()
        seconds.append(now(device) - start)
    return result, seconds
