"""State: the shared variables that rules keep beside the parameters, what each is for, and how it begins."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
import pytensor
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import graph_inputs

from symupdates.core.names import free_name
from symupdates.core.types import like

GROUPS = ContextVar("groups", default=())  # that the rule at hand is called for, the outermost first


class Group:
    """What calls are made for together: a group of parameters, or a chain of stages.

    Attributes
    ----------
    name : str or None
        Its name, with which the names of the calls begin.
    is_part : bool
        Whether it is a part of the step only, so that what it holds is no matter of the model as a whole.
    """

    def __init__(self, name=None, is_part=False):
        self.name = name
        self.is_part = is_part


@contextmanager
def within(group):
    """Let the calls that are made belong to a group of parameters."""
    token = GROUPS.set((*GROUPS.get(), group))
    try:
        yield
    finally:
        GROUPS.reset(token)


class Call:
    """A call of a rule, transform or schedule, to which state and hyper-parameters belong.

    Attributes
    ----------
    rule : str
        Its name.
    label : str
        The same with a number where the dict that it was given had state of others: what the own names of its variables
        begin with. The names of a dict have numbers of the dict.
    groups : tuple of Group
        The groups of parameters that it is made for, the outermost first.
    place : int
        Its place among all calls, by when they end: a stage stands behind those before it, also where these were
        unpickled, and what calls a rule, such as ``accumulate``, behind that rule.
    """

    last = 0  # of all places

    def __init__(self, rule, label=None):
        self.rule = rule
        self.label = label or rule
        self.groups = GROUPS.get()
        self.end()

    def end(self):
        """Take a place behind all calls until now; again where others were called within this one."""
        self.place = Call.last = Call.last + 1

    def __setstate__(self, state):
        vars(self).update(state)
        Call.last = max(Call.last, self.place)

    @property
    def name(self):
        """What the names begin with of all that belongs to it as a whole; a number where others have the same."""
        return self._in_groups(self.rule)

    @property
    def own_name(self):
        """What the own names of its variables begin with, of those that belong to it as a whole."""
        return self._in_groups(self.label)

    def _in_groups(self, name):
        return "/".join([*(group.name for group in self.groups if group.name), name])


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
        Its shape, in which an Ellipsis stands for the shape of the parameter, and None for a length that changes, 0 at
        first; or a function of that shape.
    next_value
        For state that advances by itself, such as a count or a random generator, the expression of its next value:
        every updates dict whose expressions read such state advances it. None for all other.
    call
        The call of the rule that made it.
    stands_in
        Whether it stands in for the parameter wherever the model is evaluated: an average of the parameters, the best
        point of a search; the rule that keeps it says so.
    """

    rule: str
    slot: str
    parameter: SharedVariable | None
    initial: float | np.ndarray | SharedVariable
    shape: tuple | Callable
    next_value: Variable | None = None
    call: Call | None = None
    stands_in: bool = False


def is_state(variable):
    """Whether a shared variable is optimizer state (made by a rule or transform), not a parameter."""
    return isinstance(getattr(variable.tag, "symupdates", None), StateTag)


def advances(variable):
    """Whether a variable is state that advances by itself."""
    return is_state(variable) and variable.tag.symupdates.next_value is not None


def closed(updates, taken):
    """An updates dict with all state that advances by itself, and that its expressions read: last, counts at the end.

    Parameters
    ----------
    updates : dict
    taken : set of str
        Names that are taken: of the state that is added, those that it has then are added.
    """
    updates = OrderedDict(updates)
    unread = updates.values()
    while found := [v for v in dict.fromkeys(graph_inputs(unread)) if advances(v) and v not in updates]:
        for variable in sorted(found, key=lambda v: v.tag.symupdates.slot == "t"):
            variable.name = free_name(variable.name, taken)
            updates[variable] = variable.tag.symupdates.next_value
        unread = [updates[variable] for variable in found]
    return updates


def mark_as_stand_in(variable, stands_in=True):
    """Let it be known of state that it stands in for its parameter, or no longer does."""
    variable.tag.symupdates = variable.tag.symupdates._replace(stands_in=stands_in)


def stand_ins(updates):
    """What stands in for parameters, by parameter; where several do, the one that was made last."""
    return OrderedDict((v.tag.symupdates.parameter, v) for v in updates if is_state(v) and v.tag.symupdates.stands_in)


def initial_value(tag, dtype):
    """The value that a state variable of that tag begins with, for the shape its parameter has now."""
    initial = tag.initial.get_value(borrow=True) if isinstance(tag.initial, SharedVariable) else tag.initial
    shape = tuple(n or 0 for n in shape_now(tag))
    try:
        return np.full(shape, initial, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{tag.rule}: {tag.slot}, of shape {shape}, must begin with real numbers, not {initial!r}."
        ) from error


def shape_now(tag):
    """The shape that a state variable of that tag has, for the shape its parameter has now."""
    return spelled_out(tag.shape, () if tag.parameter is None else tag.parameter.get_value(borrow=True).shape)


def check_size(variable):
    """Refuse state that does not have the size its parameter asks for, as after that was resized."""
    if not is_state(variable):
        return
    tag = variable.tag.symupdates
    shape, needed = variable.get_value(borrow=True).shape, shape_now(tag)
    if not is_of(shape, needed):
        of_parameter = "" if tag.parameter is None else f" for {tag.parameter} as it is now"
        raise ValueError(
            f"{variable} has shape {shape}, not {needed}{of_parameter}. When a parameter was resized, "
            "symupdates.reset(updates) makes its state anew."
        )


def is_of(shape, needed):
    """Whether a shape is the one that is needed, in which None stands for any length."""
    return len(shape) == len(needed) and all(n in (None, m) for n, m in zip(needed, shape, strict=True))


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


def call_state(call, slot, initial, dtype, shape=()):
    """State that belongs to a call as a whole."""
    tag = StateTag(call.label, slot, None, initial, shape, call=call)
    return new_state(f"{call.own_name}/{slot}", tag, dtype)


def advance(variable, next_value):
    """Let state advance by itself, to that next value, in every updates dict that reads it."""
    variable.tag.symupdates = variable.tag.symupdates._replace(next_value=like(variable, next_value))


def new_clock(call):
    """A count of the updates made: an int64 scalar, 0 at first, which every updates dict that reads it advances."""
    clock = call_state(call, "t", 0, "int64")
    advance(clock, clock + 1)
    return clock
