"""State: the shared variables that rules keep beside the parameters, what each is for, and how it begins."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytensor
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable

from symupdates.core.types import like


class StateTag(NamedTuple):
    """What a state variable is for; found as ``variable.tag.symupdates``.

    Attributes
    ----------
    rule
        The rule or transform that keeps it, as in the variable's name.
    slot
        Its role in that rule: ``"accu"``, ``"velocity"``, ``"m"``; ``"t"`` for the count of the updates made.
    parameter
        The parameter it belongs to; None for what belongs to the rule as a whole, such as the count.
    initial
        Its initial value: a number; an array, which is broadcast to the shape; or a shared variable, such as the
        parameter itself, whose value it begins with.
    shape
        Its shape, in which an Ellipsis stands for the shape of the parameter; or a function of that shape.
    next_value
        For state that advances by itself, such as a count or a random generator, the expression of its next value:
        every updates dict whose expressions read such state advances it. None for all other.
    """

    rule: str
    slot: str
    parameter: SharedVariable | None
    initial: float | np.ndarray | SharedVariable
    shape: tuple | Callable
    next_value: Variable | None = None


def is_state(variable):
    """Whether a shared variable is optimizer state (made by a rule or transform), not a parameter."""
    return isinstance(getattr(variable.tag, "symupdates", None), StateTag)


def advances(variable):
    """Whether a variable is state that advances by itself."""
    return is_state(variable) and variable.tag.symupdates.next_value is not None


def initial_value(tag, dtype):
    """The value that a state variable of that tag begins with, for the shape its parameter has now."""
    of_parameter = () if tag.parameter is None else tag.parameter.get_value(borrow=True).shape
    initial = tag.initial.get_value(borrow=True) if isinstance(tag.initial, SharedVariable) else tag.initial
    return np.full(spelled_out(tag.shape, of_parameter), initial, dtype=dtype)


def spelled_out(shape, of_parameter):
    """The shape with that of the parameter in the place of the Ellipsis, or computed from it."""
    if callable(shape):
        return shape(of_parameter)
    return tuple(n for part in shape for n in (of_parameter if part is ... else (part,)))


def new_state(name, tag, dtype):
    static = spelled_out(tag.shape, () if tag.parameter is None else tag.parameter.type.shape)
    variable = pytensor.shared(initial_value(tag, dtype), name=name, shape=static)
    variable.tag.symupdates = tag
    return variable


def rule_state(rule, slot, initial, dtype, shape=()):
    """State that belongs to a rule as a whole."""
    return new_state(f"{rule}/{slot}", StateTag(rule, slot, None, initial, shape), dtype)


def advance(variable, next_value):
    """Let state advance by itself, to that next value, in every updates dict that reads it."""
    variable.tag.symupdates = variable.tag.symupdates._replace(next_value=like(variable, next_value))


def new_clock(rule):
    """A count of the updates made: an int64 scalar, 0 at first, which every updates dict that reads it advances."""
    clock = rule_state(rule, "t", 0, "int64")
    advance(clock, clock + 1)
    return clock
