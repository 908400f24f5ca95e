"""Stacks: what a variable is in each of many steps, or of many runs, along a new first axis."""

from collections.abc import Mapping

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import DenseTensorType

from symupdates.core.checks import check_updates, listed, tensor_of
from symupdates.core.hyper import whole_number
from symupdates.core.program import moved
from symupdates.core.types import describe_shape, like


def is_generator(variable):
    return isinstance(variable.type, RandomType)


def checked_program(function, outputs, updates):
    """Outputs, in a list, and everything that a compiled function moves, each with a value of its type.

    Parameters
    ----------
    function : str
        The function that makes many of one, for the errors.
    outputs : variable, list, tuple or None
    updates : dict

    Raises
    ------
    TypeError
        For what is neither a dense tensor nor, among the keys, a random generator.
    """
    given = [outputs] if isinstance(outputs, Variable) else () if outputs is None else outputs
    outputs = listed(f"{function}: outputs", given, "tensor variables", ordered=True)
    for x in outputs:
        if not (isinstance(x, Variable) and isinstance(x.type, DenseTensorType)):
            raise TypeError(f"{function}: the outputs must be dense tensor variables, to be stacked, but {x!r} is not.")
    check_updates(function, updates)
    for v in updates:
        if not isinstance(v.type, DenseTensorType | RandomType):
            raise TypeError(
                f"{function}: {v.name or v} has type {v.type}, of which there cannot be many; dense tensors and random "
                "generators can."
            )
    updates = {v: x if is_generator(v) else like(v, x) for v, x in updates.items()}
    found = moved(updates, outputs).items()
    return outputs, {v: x for v, x in found if v in updates or v.default_update is not None}


def checked_stacks(name, stacks, each, read):
    """The stacks, as tensors, after refusing what is none of its variable.

    Parameters
    ----------
    name : str
        The function and its argument, for the errors.
    stacks : dict
        Variables, and for each what it is in all steps or runs.
    each : str
        What the first axis counts: ``"step"`` or ``"run"``.
    read : collection of variables
        What the outputs and updates are computed with.
    """
    if not isinstance(stacks, Mapping):
        raise TypeError(
            f"{name} must be a dict of variables and, for each, what it is in every {each}, such as {{x: xs}}, not "
            f"{stacks!r}."
        )
    checked = {}
    for x, xs in stacks.items():
        if not (isinstance(x, Variable) and isinstance(x.type, DenseTensorType)):
            raise TypeError(f"{name}: the keys must be tensor variables of one {each}, but {x!r} is not.")
        if x not in read:
            raise ValueError(
                f"{name}: neither outputs nor updates depend on {x}; give the variable that the loss was built with, "
                "or leave it out."
            )
        xs = checked[x] = tensor_of(f"{name}: what is given for {x}", xs)
        if xs.ndim != x.ndim + 1 or any(
            None not in (n, m) and n != m for n, m in zip(xs.type.shape[1:], x.type.shape, strict=True)
        ):
            raise ValueError(
                f"{name}: {x} has shape {describe_shape(x)}, and what is given for it {describe_shape(xs)}; give what "
                f"it is in each {each}, stacked along a new first axis."
            )
        if xs.dtype != x.dtype:
            raise TypeError(
                f"{name}: {x} has dtype {x.dtype}, and what is given for it {xs.dtype}; cast it with "
                f".astype({x.dtype!r})."
            )
    return checked


def number_of(name, stacks, given, argument, each):
    """The number of steps or runs, from the stacks and the argument that tells it: an int, or a variable.

    An int where it is known; else the variable that is given, or the length of the first stack.
    """
    lengths = {f"what is given for {x}": n for x, xs in stacks.items() if (n := xs.type.shape[0]) is not None}
    if isinstance(given, Variable):
        if getattr(given, "ndim", None) != 0 or not given.dtype.startswith(("int", "uint")):
            raise TypeError(
                f"{name}: {argument} must be a number or an integer scalar variable, not one of {given.type}."
            )
    elif given is not None:
        lengths[argument] = whole_number(f"{name}: {argument}", given)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{n} by {what}" for what, n in lengths.items())
        raise ValueError(f"{name}: how many {each}s? {told}; all must be the same.")
    if isinstance(given, Variable):
        return given
    if lengths:
        return whole_number(f"{name}: the number of {each}s", next(iter(lengths.values())))
    if stacks:
        return next(iter(stacks.values())).shape[0]
    raise ValueError(f"{name}: how many {each}s? Give {argument}, or for some variable what it is in each {each}.")


def of_length(n, x, xs):
    """A stack whose first axis is checked to have that length."""
    return pt.specify_shape(xs, (n, *[None] * x.ndim))
