"""Graphs deeper than Python lets functions call each other."""

import sys
from contextlib import contextmanager


@contextmanager
def deep_graphs():
    """Add to a RecursionError what to do about it: PyTensor goes through a graph by functions that call themselves."""
    try:
        yield
    except RecursionError as error:
        note = (
            f"The graph is deeper than Python's limit of {sys.getrecursionlimit()} nested calls. Raise it before the "
            "graph is differentiated and compiled, sys.setrecursionlimit(100_000); or write what repeats, such as the "
            "steps of a sequence or layers of one size, as a loop: pytensor.scan."
        )
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
