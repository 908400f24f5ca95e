"""How the elements of a large array are shared out among threads, in C and in numba alike."""

import os
from itertools import pairwise

import numpy as np

# A thread is started and awaited in 20 to 40 microseconds, in which a loop such as Adam's passes over fifty thousand
# elements: a thread with fewer than `ENOUGH` costs more than it saves.
ENOUGH = 2**17
# Threads take whole blocks, so that an element is computed by the same instructions, in the middle or the rest of a
# vectorised loop, however many there are.
BLOCK = 2**14
MOST = 64


def checked(threads):
    """The number of threads as it was given: None, for all that the process may use, or one at least."""
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


def shares(size, threads):
    """The slice of each thread that has some of so many elements to do."""
    number = min(size // ENOUGH, MOST)
    number = max(1, min(number, threads or usable()) if number > 1 else 1)
    blocks = -(-size // BLOCK)
    bounds = [min(size, blocks * k // number * BLOCK) for k in range(number + 1)]
    return [slice(*each) for each in pairwise(bounds)]
