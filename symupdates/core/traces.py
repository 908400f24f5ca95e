"""Traces: where an expression was made, as PyTensor tells when its computation fails."""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from pytensor.configdefaults import config
from pytensor.graph.basic import Variable
from pytensor.tensor import lscalar


class Trace(NamedTuple):
    """The trace of the user's call, and the limit that PyTensor keeps traces by."""

    of_call: list
    limit: int


TRACE: ContextVar[Trace | None] = ContextVar("TRACE", default=None)  # while functions of ours build


def traced_together(function, *args, **kwargs):
    """What a function returns, with one trace for all that it makes: that of the call, where the user's line is found.

    PyTensor takes one for each variable, which is a third of the time that building takes, of lines that are ours.
    """
    trace = TRACE.get() or Trace(lscalar().tag.trace, config.traceback__limit)
    token = TRACE.set(trace)
    try:
        with config.change_flags(traceback__limit=0):
            result = function(*args, **kwargs)
    finally:
        TRACE.reset(token)
    unread = [result] if trace.of_call else []
    while unread:
        x = unread.pop()
        if isinstance(x, Variable):
            if x.owner is not None and getattr(x.tag, "trace", None) == []:
                x.tag.trace = trace.of_call
                unread.extend(x.owner.inputs)
        elif isinstance(x, dict | list | tuple):
            unread.extend(x.values() if isinstance(x, dict) else x)
    return result


@contextmanager
def traced_each():
    """Let what a user's function makes have traces of its own."""
    trace = TRACE.get()
    with config.change_flags(traceback__limit=trace.limit if trace else config.traceback__limit):
        yield
