import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from src.runs.memory import keep_freed_memory
{prepare}
torch.set_num_threads(1)
def step():
    kept = [torch.ones(10_000_000) for _ in range(3)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(prepare: str) -> int:
    """Count the pages that the system hands out in ten steps which free all they ask for, in pieces
    above 32 MiB: glibc gives these back by default, and of smaller ones what happens to lie last.
    """
    command = [sys.executable, "-c", FAULTS.format(prepare=prepare)]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_memory_of_a_step_serves_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    few = count_faults("keep_freed_memory()")
    assert 10 * few < count_faults("")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert 10 * few < count_faults("keep_freed_memory()")  # what the environment says holds
