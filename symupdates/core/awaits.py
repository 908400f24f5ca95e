"""Functions that wait for their data: called without it, they return a partial of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from inspect import signature
from types import MappingProxyType
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

import numpy as np
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from symupdates.core.arguments import explained
from symupdates.core.depth import deep_graphs
from symupdates.core.traces import traced_together
from symupdates.typing import Gradients, OfGradients, OfTensor, OfUpdates, Parameters, Rule, Updates, UpdatesLike

Given = TypeVar("Given")
Others = ParamSpec("Others")
OFFERS: ContextVar[Mapping[str, Callable[[], Any]]] = ContextVar("OFFERS", default=MappingProxyType({}))


@contextmanager
def offering(**arguments):
    """Let functions that are called, wherever, take arguments that they were not given from what is offered here.

    Parameters
    ----------
    **arguments : callable
        By the name of an argument whose default is None: what makes its value. It is called when a function asks.
    """
    token = OFFERS.set({**OFFERS.get(), **arguments})
    try:
        yield
    finally:
        OFFERS.reset(token)


@overload
def awaits(
    loss: Literal["loss_or_grads"], params: Literal["params"], /, *, name: str | None = None
) -> Callable[[Callable[Concatenate[Given | None, Parameters | None, Others], Updates]], Rule[Given, Others]]: ...
@overload
def awaits(
    data: Literal["grads"], /, *, name: str | None = None
) -> Callable[[Callable[Concatenate[Gradients | None, Others], list[TensorVariable]]], OfGradients[Others]]: ...
@overload
def awaits(
    data: Literal["updates"], /, *, name: str | None = None
) -> Callable[[Callable[Concatenate[UpdatesLike | None, Others], Updates]], OfUpdates[Others]]: ...
@overload
def awaits(
    data: Literal["x"], /, *, name: str | None = None
) -> Callable[[Callable[Concatenate[Variable | None, Others], TensorVariable]], OfTensor[Others]]: ...
@overload
def awaits(*data: str, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def awaits(*data, name=None):
    """Decorate a function so that it waits for its data arguments.

    Called without any of them, the function returns an :class:`Awaiting`, a :func:`functools.partial` of itself that
    holds every other argument in ``.keywords``, defaults included; called with only some of them, it raises a
    ValueError that says which are missing. Arguments that it does not have are a TypeError that says which it has, and
    where it is done what they ask for.

    Parameters
    ----------
    *data : str
        The names of the data arguments.
    name : str, optional
        The name to show, of a function that another one hands out.
    """

    def decorate(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            if not hasattr(wrapper, "__signature__"):  # when it is first called: a hundred of them at import are slow
                wrapper.__signature__ = signature(function)
            own = signature(wrapper)
            try:
                bound = own.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(explained(error, wrapper.__name__, own, kwargs)) from None
            bound.apply_defaults()
            missing = [argument for argument in data if bound.arguments[argument] is None]
            if not missing:
                for argument, make in OFFERS.get().items():
                    if argument in bound.arguments and bound.arguments[argument] is None:
                        bound.arguments[argument] = make()
                with deep_graphs():
                    return traced_together(function, *bound.args, **bound.kwargs)
            others = {argument: value for argument, value in bound.arguments.items() if argument not in data}
            if len(missing) == len(data):
                return Awaiting(wrapper, **others)
            optional = [argument for argument in others if own.parameters[argument].default is not own.empty]
            raise ValueError(
                f"{wrapper.__name__}: {' and '.join(missing)} missing. Give {' and '.join(data)} together for the "
                "updates; or none of them, and the others by keyword, for a partial that waits for them: "
                f"{wrapper.__name__}({', '.join(f'{argument}=...' for argument in optional)})."
            )

        wrapper.__name__ = name or function.__name__  # pickle goes by __qualname__
        return wrapper

    return decorate


class Awaiting(partial):
    """A partial of a function that waits for its data; it shows itself as the call that makes it."""

    def __repr__(self):
        arguments = [*map(in_words, self.args), *(f"{name}={in_words(x)}" for name, x in self.keywords.items())]
        return f"{self.func.__name__}({', '.join(arguments)})"


def in_words(x):
    """What was given for an argument, in short: variables and functions by their names."""
    if isinstance(x, list | tuple):
        items = ", ".join(map(in_words, x))
        return f"[{items}]" if isinstance(x, list) else f"({items}{',' * (len(x) == 1)})"
    if isinstance(x, Variable | np.ndarray | np.generic):
        return str(x)
    return getattr(x, "__name__", None) or repr(x)
