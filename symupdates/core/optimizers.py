"""Functions that users give for ours to call: optimizers, and the stages of a chain."""

from numbers import Number

import numpy as np
from pytensor.graph.basic import Variable

from symupdates.core.awaits import in_words
from symupdates.core.checks import check_updates, raised_by
from symupdates.core.state import closed


def check_optimizer(name, optimizer):
    """Refuse an argument that should be a rule, or whatever stands for one, and cannot be called."""
    if not callable(optimizer):
        raise TypeError(f"{name} must be a rule or another optimizer, not {optimizer!r}.")


def called(name, function, data, *args, kind="optimizer", **kwargs):
    """What a user's function returns, after refusing what none of its kind does.

    Parameters
    ----------
    name : str
        Which it is, for the errors: such as ``sam: optimizer``.
    function : callable
        The function.
    data, *args, **kwargs
        What it is called with: gradients, or whatever its kind takes first, and the rest.
    kind : str
        A ``gradient transform`` returns a gradient for each one in `data`; all others return a dict, which is closed
        here: one written by hand does not know what advances in the gradients that it was given.
    """
    with raised_by(f"{name}, {in_words(function)}"):
        result = function(data, *args, **kwargs)
    if kind == "gradient transform":
        is_right = isinstance(result, list | tuple) and len(result) == len(data) and all(map(is_tensor, result))
        right = f"a list of tensors, one for each of the {len(data)} gradients"
    else:
        is_right, right = isinstance(result, dict), "a dict of variables and their next values"
    if not is_right:
        raise TypeError(f"{name}, {in_words(function)}, returned {result!r}; the {kind} must return {right}.")
    if kind == "gradient transform":
        return result
    check_updates(f"{name}, {in_words(function)}", result)
    return closed(result, {v.name for v in result})


def is_tensor(x):
    return isinstance(x, Variable | np.ndarray | Number)
