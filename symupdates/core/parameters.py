"""Parameters and their gradients: checked, named, differentiated."""

from __future__ import annotations

import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Variable
from pytensor.graph.null_type import NullType
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.variable import TensorVariable

from symupdates.core.checks import listed, tensor_of
from symupdates.core.depth import deep_graphs
from symupdates.core.names import parameter_names, refuse_unordered
from symupdates.core.places import Lookups, is_rows, whole
from symupdates.core.types import astype, describe_shape, in_brackets
from symupdates.typing import LossOrGrads, Parameters


class ParameterTag:
    """Says that a rule was given a shared variable as a parameter; found as ``variable.tag.symupdates``."""


def mark_as_parameters(params):
    """Let it be known of shared variables that they are parameters, and no state or other variables of the model."""
    for p in params:
        if not hasattr(p.tag, "symupdates"):
            p.tag.symupdates = ParameterTag()


def is_parameter(variable):
    """Whether a rule was ever given a shared variable as a parameter."""
    return isinstance(getattr(variable.tag, "symupdates", None), ParameterTag)


@deep_graphs()
def get_or_compute_grads(loss_or_grads: LossOrGrads | None, params: Parameters) -> list[TensorVariable]:
    """Return gradients as given, or the gradients of a loss.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        A loss to be differentiated, or one gradient per parameter, in the order of `params`.
    params : iterable of shared variables
        The parameters: float32 or float64, each once.

    Returns
    -------
    list of tensor variables
        One gradient per parameter. A list that was given is returned as it is, the same object; a tuple as a list.

    Raises
    ------
    ValueError
        For a parameter that is not a shared variable or stands there twice; no parameters, unless by an empty list or
        tuple, as of an iterator that was read before; a number of gradients that is not the number of parameters; a
        gradient that is None or cannot have its parameter's shape; a loss that is not a scalar; parameters that the
        loss does not depend on (all of them are named).
    TypeError
        For a parameter that is not a dense float32 or float64 tensor; a loss or gradient that is not real, or not a
        tensor variable.
    RecursionError
        For a loss of more operations in a row than Python nests calls, with a note of what to do.
    """
    params = check_params(params)
    grads = compute_grads(loss_or_grads, params)
    return grads if isinstance(loss_or_grads, list | tuple) else summed_by_row(params, grads)


def require_loss(rule, loss_or_grads):
    """The loss, after refusing gradients, which do not tell what a rule has to know of it."""
    if isinstance(loss_or_grads, list | tuple):
        raise TypeError(
            f"{rule} takes the loss, not gradients: it needs the loss itself, for its value, its curvature or its "
            "gradient at other points. Give the scalar loss; transforms of gradients go into the rule that makes the "
            "step, or into the loss. In PyMC's fit, symupdates.pymc.Optimizer has it."
        )
    return loss_or_grads


def check_params(params, argument="params"):
    """The parameters as a list, after refusing whatever cannot be trained, by name and with the way out."""
    given, params = params, listed(argument, params)
    for i, p in enumerate(params):
        if not (isinstance(p, SharedVariable) or (isinstance(p, Variable) and is_rows(p))):
            raise ValueError(
                f"{argument} must contain shared variables only, but params[{i}] is {p!r} ({type(p).__name__}). Make "
                "it one with pytensor.shared(value); for an expression, give the shared variables it is computed from, "
                "or take rows of one by symupdates.rows(table, index)."
            )
    names = parameter_names(params)
    refuse_unordered(argument, given, zip(params, names, strict=True))
    for name, p in zip(names, params, strict=True):
        if reason := untrainable(whole(p)):
            raise TypeError(f"parameter {name} cannot be trained: {reason}.")
    first = {p: i for i, p in reversed(list(enumerate(params)))}
    repeated = [f"params[{i}] is params[{first[p]}] ({p})" for i, p in enumerate(params) if first[p] < i]
    if repeated:
        raise ValueError(
            f"duplicate parameters: {', '.join(repeated)}; give each once, for instance as list(dict.fromkeys(params))."
        )
    if twice := [name for name, p in zip(names, params, strict=True) if is_rows(p) and whole(p) in first]:
        raise ValueError(
            f"both {twice[0]} and rows of it are among the parameters; give the rows alone, or {twice[0]} alone, whose "
            "gradient has what comes from the rows too."
        )
    for name, p in dict(zip(names, map(whole, params), strict=True)).items():
        warn_of_order(name, p)
    return params


def whole_params(rule, params):
    """The parameters, checked, of a rule that takes no rows."""
    params = check_params(params)
    rows = [name for name, p in zip(parameter_names(params), params, strict=True) if is_rows(p)]
    if rows:
        raise only_whole(rule, rows, "it needs its parameters whole")
    return params


def untrainable(p):
    """Why a shared variable cannot be a parameter, and what to do about it; None if it can."""
    if isinstance(p.type, RandomType):
        return "it is a random generator, which is advanced and not trained; leave it out of params"
    if not isinstance(p.type, DenseTensorType):
        return (
            f"it has type {p.type}, not a dense tensor; for a sparse matrix, train the vector of its values and build "
            "the matrix in the loss (pytensor.sparse.CSR)"
        )
    if p.dtype == "float16":
        return (
            "its dtype is float16, which NUMBA lacks and in which an epsilon of 1e-8 is zero; keep it as float32 and "
            "cast to float16 in the model"
        )
    if p.dtype.startswith("complex"):
        return f"its dtype is {p.dtype}; train the real and the imaginary part as two parameters"
    if p.dtype not in ("float32", "float64"):
        return (
            f"its dtype is {p.dtype}, and steps on integers or booleans would be cut to zero; if it is a parameter, "
            "make it float: pytensor.shared(value.astype('float32'))"
        )
    return None


def only_whole(rule, tables, reason):
    """The error of a rule that cannot train rows of a table."""
    return TypeError(
        f"{rule} cannot train rows of {', '.join(dict.fromkeys(tables))}: {reason}. Give the table itself; or give the "
        "rows to a rule that goes element by element, such as sgd, adagrad or adam, and the other parameters to this "
        "one (symupdates.partition)."
    )


def warn_of_order(name, p):
    value = p.get_value(borrow=True)
    if isinstance(value, np.ndarray) and value.flags.fnc:
        warnings.warn(
            f"parameter {name} is in Fortran order, and each step on it takes several times as long as in C order: "
            f"{p}.set_value(np.ascontiguousarray({p}.get_value())).",
            stacklevel=2,
        )


def compute_grads(loss_or_grads, params):
    names = parameter_names(params)
    if isinstance(loss_or_grads, list | tuple):
        check_grads(loss_or_grads, params, names)
        return loss_or_grads if isinstance(loss_or_grads, list) else list(loss_or_grads)
    loss = loss_or_grads
    check_loss("the loss", loss, ", or give a list or tuple of gradients")
    if not params:
        return []
    grads = pytensor.grad(
        loss, params, disconnected_inputs="ignore", return_disconnected="disconnected", null_gradients="return"
    )
    unreached = [name for name, g in zip(names, grads, strict=True) if isinstance(g.type, DisconnectedType)]
    if unreached:
        raise ValueError(
            f"the loss does not depend on {', '.join(unreached)}: no gradient reaches there. Take them out of params, "
            "or look in the loss for another variable in their place, or for disconnected_grad, an integer cast or "
            "argmax."
        )
    for name, g in zip(names, grads, strict=True):
        if isinstance(g.type, NullType):
            raise ValueError(f"the gradient of the loss with respect to {name} is undefined: {g.type.why_null}")
    refuse_more_than_rows(loss, params, names)
    return grads


def check_loss(name, loss, otherwise="", differentiable=True):
    """Refuse what cannot be differentiated; or, unless that is asked for, what has no value to go by."""
    if not (isinstance(loss, Variable) and isinstance(loss.type, DenseTensorType)):
        raise TypeError(f"{name} must be a scalar tensor variable{otherwise}; got {loss!r}.")
    if loss.ndim != 0:
        raise ValueError(
            f"{name} must be a scalar, but {loss} has {loss.ndim} dimension(s); reduce it, with loss.mean() or "
            f"loss.sum(){otherwise}."
        )
    kinds, right = ("f", "real and continuous") if differentiable else ("fiub", "real")
    if np.dtype(loss.dtype).kind not in kinds:
        raise TypeError(f"{name} must be {right}, but {loss} has dtype {loss.dtype}.")


def check_reaches(loss, params):
    """Refuse parameters that no value of the loss is computed from."""
    read = set(ancestors([loss]))
    unread = [name for name, p in zip(parameter_names(params), params, strict=True) if p not in read]
    if unread:
        raise ValueError(
            f"the loss does not depend on {', '.join(unread)}: take them out of params, or look in the loss for "
            "another variable in their place."
        )


def check_grads(grads, params, names):
    """Refuse gradients that are not those of the parameters."""
    if len(grads) != len(params):
        raise ValueError(
            f"got {len(grads)} gradient expressions for {len(params)} parameters ({', '.join(names)}); "
            "give one for each, in the same order."
        )
    for name, p, g in zip(names, params, grads, strict=True):
        if g is None:
            raise ValueError(
                f"the gradient of {name} is None: the loss does not depend on it. Take it out of params, or give "
                f"pt.zeros_like({name})."
            )
        g = tensor_of(f"the gradient of {name}", g)
        if g.dtype.startswith("complex"):
            raise TypeError(f"the gradient of {name} is complex ({g.dtype}); give its real part.")
        if g.dtype == "bool":
            raise TypeError(f"the gradient of {name} is boolean; a gradient has real numbers.")
        shape = p.type.shape if is_rows(p) else p.get_value(borrow=True).shape
        if g.ndim != p.ndim or any(None not in (n, m) and n != m for n, m in zip(g.type.shape, shape, strict=True)):
            raise ValueError(
                f"the gradient of {name} has shape {describe_shape(g)}, but {name} has shape {in_brackets(shape)}: "
                "they must be equal, without broadcasting. Are gradients and params in the same order?"
            )


def refuse_more_than_rows(loss, params, names):
    """Refuse a loss whose gradient reaches a table by another way than the rows that are given."""
    given = [p for p in params if is_rows(p)]
    tables = {whole(p): name for name, p in zip(names, params, strict=True) if is_rows(p)}
    if not tables.keys() & set(ancestors([loss], blockers=given)):
        return
    rest = pytensor.grad(
        loss,
        list(tables),
        consider_constant=given,
        disconnected_inputs="ignore",
        return_disconnected="disconnected",
        null_gradients="return",
    )
    more = [name for name, g in zip(tables.values(), rest, strict=True) if not isinstance(g.type, DisconnectedType)]
    if more:
        raise ValueError(
            f"the loss depends on {', '.join(more)} by more than the rows given, and the gradient of these is not that "
            "of the table. Look up all rows by symupdates.rows, and give every lookup; or give the table itself; or "
            "put disconnected_grad around what is not to be trained."
        )


def lookups_of(params):
    """The rows among the parameters: for each table, which of them."""
    tables = {}
    for p in filter(is_rows, params):
        tables.setdefault(whole(p), []).append(p)
    return tables


def summed_by_row(params, grads):
    """The gradients, those of rows that were looked up several times in one place, and zero in the others."""
    grads = dict(zip(params, grads, strict=True))
    for several in lookups_of(params).values():
        lookups = Lookups(several)
        grads.update(zip(several, lookups.summed_once([grads[p] for p in several]), strict=True))
    return list(grads.values())


def gradient_of(p, g):
    """`g` in the dtype of `p`, and with its axes of length one: those that the arithmetic would take as unknown."""
    g = astype(pt.as_tensor_variable(g), p.dtype)
    axes = [i for i, n in enumerate(p.type.shape) if n == 1 and g.type.shape[i] is None]
    return pt.specify_broadcastable(g, *axes) if axes else g
