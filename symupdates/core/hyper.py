"""Hyper-parameters: numbers, scalar variables and schedules, resolved to scalars of the dtype at hand.

And what the expressions of an updates dict tell of the rules that made them: hyper-parameters, rates, gradients.
"""

from copy import deepcopy
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.variable import TensorConstant

from symupdates.core.awaits import in_words
from symupdates.core.checks import raised_by
from symupdates.core.ranges import ranged
from symupdates.core.reading import unseen
from symupdates.core.state import Call, new_clock
from symupdates.core.types import astype


class HyperTag(NamedTuple):
    """What a hyper-parameter is, in the expressions of an updates dict; found as ``variable.tag.symupdates``.

    Attributes
    ----------
    rule, name
        Whose it is, and its name among the arguments.
    position
        Its position among them.
    value
        The scalar variable, before it was cast to the dtype of a parameter.
    given
        What was given for it, in words.
    call
        The call that it was given to.
    is_rate
        Whether it is the rate at which a rule moves its parameters.
    """

    rule: str
    name: str
    position: int
    value: Variable
    given: str
    call: Call
    is_rate: bool


class RateTag(NamedTuple):
    """Of the rate at which a rule moves a parameter, where that is not its `learning_rate`: see :func:`rate_of`."""

    rule: str


class GradientTag(NamedTuple):
    """Of a gradient as a rule was given it: that of which parameter. See :func:`gradient_in`."""

    parameter: Variable


class HyperConstant(TensorConstant):
    """A hyper-parameter that is a number. A copy of an updates dict has its tag, which PyTensor's constants lose."""

    def __deepcopy__(self, memo):
        x = super().__deepcopy__(memo)
        x.tag.symupdates = deepcopy(self.tag.symupdates, memo)
        return x


def resolve(function, hyper, call=None, clock=None):
    """The hyper-parameters of a function, checked: a function ``dtype -> tuple of scalars``, in the order given.

    They are tagged as those of the `call`, by default one of the function. Without a clock, they have one of their own,
    which the updates dict of whatever rule reads them advances.
    """
    call = call or Call(function)
    clock = clock or cache(partial(new_clock, call))
    tags = []
    for i, (name, given) in enumerate(hyper.items()):
        given, allowed = ranged(name, given)
        value = scalar(f"{function}: {name}", given, allowed, clock)
        tags.append(HyperTag(call.rule, name, i, value, in_words(given), call, allowed.is_rate))
    return cache(lambda dtype: tuple(hyper_parameter(tag, dtype) for tag in tags))


def scalars(function, hyper):
    """Hyper-parameters of a function that takes no schedules, as scalar tensor variables, checked."""
    return [scalar(f"{function}: {name}", *ranged(name, given)) for name, given in hyper.items()]


def scalar(name, value, allowed, clock=None):
    """A hyper-parameter as a scalar tensor variable, after refusing what cannot be one.

    Parameters
    ----------
    name : str
        Its name, for the errors.
    value : number, NumPy scalar, 0-d array, scalar variable, or callable
        The hyper-parameter. A callable is a schedule: it is called with the clock.
    allowed : Range
        What it may be, if it is a number.
    clock : callable, optional
        Makes the clock, at the first call, and returns it. Without it, schedules are refused.
    """
    if callable(value) and not isinstance(value, Variable):
        if clock is None:
            raise TypeError(f"{name} cannot be a schedule here: no updates dict advances its step.")
        with raised_by(f"the schedule of {name}, called with its step, an int64 scalar variable"):
            value = value(clock())
        return scalar(f"the value of the schedule of {name}", value, allowed)
    if isinstance(value, Variable):
        x = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be masked, but it is {value!r}.")
    else:
        try:
            x = np.asarray(float(value) if type(value) is int else value)  # of any size
        except (ValueError, OverflowError):
            x = np.asarray(value, dtype=object)
        x = pt.constant(x, name=name) if x.dtype.kind in "fiu" else x
    if getattr(x, "ndim", None) != 0:
        raise ValueError(
            f"{name} must be a scalar, but it is {value!r}; for rates that differ between parameters, call the rule "
            "once for each group and merge the dicts."
        )
    if not isinstance(x, Variable) or not isinstance(x.type, DenseTensorType) or np.dtype(x.dtype).kind not in "fiu":
        raise TypeError(
            f"{name} must be a real number, a scalar variable, or a schedule (a callable step -> value), not {value!r}."
        )
    if isinstance(x, Constant) and not allowed.has(x.data):
        raise ValueError(f"{name} must be {allowed}, but it is {x.data.item()!r}.")
    return x


def hyper_parameter(tag, dtype):
    """The scalar in that dtype, a variable of its own that carries the tag."""
    x = astype(tag.value, dtype)
    if isinstance(x, TensorConstant):
        x = HyperConstant(x.type, x.data, x.name)
    x.tag.symupdates = tag
    return x


def hyper_tags(updates):
    """The hyper-parameters in the expressions of an updates dict, each with its tag, in the order of the keys."""
    return {v: tag for of_key in hyper_tags_by_key(updates) for v, tag in of_key.items()}


def hyper_tags_by_key(updates):
    """For each key, the hyper-parameters that its next value is computed with, and that of no key before it."""
    seen = set()
    for value in updates.values():
        new = unseen([value], seen) if isinstance(value, Variable) else []
        yield {v: tag for v in new if isinstance(tag := getattr(v.tag, "symupdates", None), HyperTag)}


def rate_of(value):
    """The rate at which a rule moves a parameter, of its next value and in its dtype; None where nothing tells.

    It is the one nearest to the value in the expression: a hyper-parameter that is a rate, or what a rule has called so
    by :meth:`Step.rate`.
    """
    for v, tag in nearest(value):
        if isinstance(tag, RateTag):
            return astype(v, value.dtype)
        if isinstance(tag, HyperTag) and tag.is_rate:
            return hyper_parameter(tag, value.dtype)
    return None


def gradient_in(value, p):
    """The gradient of a parameter that a rule computes its next value with; None where nothing tells.

    It is the one nearest to the value in the expression: as the rule was given it, behind all transforms.
    """
    return next((v for v, tag in nearest(value) if isinstance(tag, GradientTag) and tag.parameter is p), None)


def nearest(value):
    """What an expression is computed with, each with its tag of ours: first what is nearest to the value."""
    layer, seen = [value], {value}
    while layer:
        yield from ((v, getattr(v.tag, "symupdates", None)) for v in layer)
        layer = list(dict.fromkeys(x for v in layer if v.owner for x in v.owner.inputs if x not in seen))
        seen.update(layer)


def whole_number(name, value, least=1):
    """A structural argument, after refusing what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if value > np.iinfo("int64").max:
        raise ValueError(f"{name} must fit into an int64, as counts do, but {value!r} is beyond 2**63 - 1.")
    return int(value)
