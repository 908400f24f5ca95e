"""The number of threads that may share a loop."""

import os

import numpy as np


def checked(threads):
    """The number as it was given: None, for all that the process may use, or one at least."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer):
        raise TypeError(f"threads is a number of threads, or None for all that the process may use, not {threads!r}.")
    if threads < 1:
        raise ValueError(f"threads is at least 1, or None for all that the process may use, not {threads}.")
    return int(threads)


def usable():
    """The number of cores that this process may use now."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
