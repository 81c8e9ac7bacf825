"""The memory that training on the CPU frees and asks for at every step."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step.

    By default it returns large pieces to the system, which hands them out anew page by page, each
    filled with zeros: up to a third of the time of a small network. Other C libraries, and settings
    that the environment makes (MALLOC_TRIM_THRESHOLD_), stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        if not mallopt(MMAP_THRESHOLD, 2**30):
            mallopt(MMAP_THRESHOLD, 2**25)  # of which older versions take no more
