"""What may be given: tensors, lists of variables, updates dicts. All else is refused, by name and with the way out."""

from collections.abc import Iterable, Mapping, Set
from contextlib import contextmanager

import numpy as np
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import DenseTensorType

from symupdates.core.traces import traced_each


@contextmanager
def raised_by(what):
    """Add to what a user's function raises, when it is called here, which function it was."""
    try:
        with traced_each():
            yield
    except Exception as error:
        error.add_note(f"Raised by {what}.")
        raise


def flag(name, value):
    """A structural argument that is on or off, after refusing what is neither."""
    if not isinstance(value, bool | np.bool_) and not (isinstance(value, int) and value in (0, 1)):
        raise TypeError(f"{name} must be True or False, not {value!r}.")
    return bool(value)


def tensor_of(name, value, dtype=""):
    """What was given as a dense tensor variable, after refusing what is none, or is not of that kind of dtype."""
    try:
        x = pt.as_tensor_variable(value)
    except (TypeError, ValueError, NotImplementedError, OverflowError):
        x = None
    if x is None or not isinstance(x.type, DenseTensorType) or not x.dtype.startswith(dtype):
        kind = f" of {dtype} dtype" if dtype else ""
        raise TypeError(f"{name} must be a dense tensor variable{kind}, not {value!r} ({type(value).__name__}).")
    return x


def listed(name, given, of="shared variables", ordered=False):
    """The elements of a list or another iterable, in a list, after refusing one that was read before.

    Parameters
    ----------
    name : str
        The name of the argument, for the errors.
    given : iterable
        What was given. Empty is a list or tuple that was meant so; an iterator that is, was read before, or found
        nothing of what it was to find.
    of : str
        What the elements should be, for the errors.
    ordered : bool
        Whether their order counts, so that a set or a dict is no list of them.
    """
    if ordered and isinstance(given, Set | Mapping):
        raise TypeError(f"{name} must be a list (or tuple) of {of}, in order, not {given!r}.")
    if isinstance(given, Variable | np.ndarray | str) or not isinstance(given, Iterable):
        remedy = f"; write [{given}]" if isinstance(given, Variable) and given.name else ""
        raise TypeError(f"{name} must be a list (or any iterable) of {of}, not {given!r}{remedy}.")
    elements = list(given)
    if not elements and not isinstance(given, list | tuple):
        raise ValueError(
            f"{name} is empty: nothing is left in the {type(given).__name__} that was given. An iterator can be read "
            "once; where it is needed more often, make it a list first, list(...). If there are to be none, give []."
        )
    return elements


def float_tensors(name, given):
    """Gradients, or other tensors of float dtype, in a list."""
    tensors = listed(name, given, "tensor variables", ordered=True)
    return [tensor_of(f"{name}[{i}]", x, "float") for i, x in enumerate(tensors)]


def shared_variables(function, updates):
    """The keys of an updates dict, or the shared variables in another iterable, in a list."""
    if isinstance(updates, dict):
        variables = list(updates)
    else:
        variables = listed(f"{function}: updates", updates, "shared variables, or an updates dict")
    for variable in variables:
        if not isinstance(variable, SharedVariable):
            raise TypeError(f"{function}: the keys of updates must be shared variables, but {variable!r} is not.")
    return variables


def check_updates(function, updates, otherwise=""):
    """Refuse what is no dict of shared variables and expressions of their next values."""
    if not isinstance(updates, dict):
        raise TypeError(
            f"{function}: updates must be a dict of shared variables and their next values, as a rule returns, not "
            f"{updates!r}."
        )
    for variable in shared_variables(function, updates):
        if not isinstance(value := updates[variable], Variable):
            raise TypeError(
                f"{function}: the next value of {variable} must be a variable, not {value!r}: {variable} itself for "
                f"one that stays as it is; pytensor.tensor.constant(...) for a number or an array{otherwise}."
            )


def as_updates(function, updates):
    """An updates dict, checked; of shared variables in another iterable, one in which they stay as they are."""
    if not isinstance(updates, dict):
        return {variable: variable for variable in shared_variables(function, updates)}
    check_updates(function, updates, "; list(...) of the dict for its variables alone")
    return updates
