"""Test values, ``x.tag.test_value``: with them a graph is computed while it is built.

``theano.config.compute_test_value`` asks for it, so that errors come from the line that has them, and what is built can
be looked at. PyTensor 3 dropped it; with older ones, which have it, nothing here is in use but :func:`get_test_value`.
"""

from contextlib import contextmanager
from copy import copy
from functools import wraps

import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.op import HasInnerGraph
from pytensor.graph.traversal import toposort

from symupdates.theano.parts.config import DROPPED

__all__ = ["get_test_value"]


def get_test_value(v):
    """The test value of a variable; of a constant and of a shared variable, the value.

    Raises
    ------
    AttributeError
        If it has none.
    """
    v = v if isinstance(v, Variable) else pt.as_tensor_variable(v)
    if isinstance(v, Constant):
        return v.data
    if isinstance(v, SharedVariable):
        return v.get_value(borrow=True, return_internal_type=True)
    if not hasattr(v.tag, "test_value"):
        raise AttributeError(f"{v} has no test value; give it one: x.tag.test_value = value.")
    return v.type.filter(v.tag.test_value)


def with_test_values(call):
    """``Op.__call__``, which computes the test values of what it returns, if they are asked for."""

    @wraps(call)
    def calling(op, *inputs, **kwargs):
        result = call(op, *inputs, **kwargs)
        if DROPPED["compute_test_value"] != "off":
            compute(result[0].owner if isinstance(result, list | tuple) else result.owner)
        return result

    return calling


@contextmanager
def no_test_values():
    """A block, or a decorated function, in which none are computed."""
    before = DROPPED["compute_test_value"]
    DROPPED["compute_test_value"] = "off"
    try:
        yield
    finally:
        DROPPED["compute_test_value"] = before


def compute_behind(variables):
    """Compute the test values that variables, and what they are computed from, lack, if they are asked for."""
    if DROPPED["compute_test_value"] != "off":
        for node in toposort(variables):
            if not all(hasattr(x.tag, "test_value") for x in node.outputs):
                compute(node)


@no_test_values()
def compute(node):
    """Compute the test values of a node's outputs, if all its inputs have them: no other is missed.

    PyTensor builds graphs of its own, for gradients and loops, whose inputs have none.
    """
    try:
        values = {x: [get_test_value(x)] for x in node.inputs}
    except AttributeError:
        return
    for place in {place for places in node.op.destroy_map.values() for place in places}:
        values[node.inputs[place]] = [copy(*values[node.inputs[place]])]
    copied = node.clone()
    if isinstance(node.op, HasInnerGraph):
        copied.op = node.op.clone()  # compiling a loop changes what is in it
    values |= {x: [None] for x in copied.outputs}
    known = {x: [x in node.inputs] for x in values}
    copied.op.make_thunk(copied, values, known, [], impl="py")()
    for x, result in zip(node.outputs, copied.outputs, strict=True):
        x.tag.test_value = values[result][0]
