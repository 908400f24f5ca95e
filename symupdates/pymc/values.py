"""A model's value variables as shared variables, and its log-probability with these in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from numpy.typing import ArrayLike
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import collect_default_updates
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.variable import TensorVariable

from symupdates.core import flag, is_state
from symupdates.core.checks import listed
from symupdates.core.names import also_named
from symupdates.core.replace import replaced
from symupdates.core.state import is_of
from symupdates.core.types import in_brackets
from symupdates.random import checked_seed


def shared_values(
    model: pm.Model | None = None,
    vars: Iterable[Variable | str] | None = None,
    start: Mapping[Any, ArrayLike] | None = None,
    seed: int | None = None,
) -> OrderedDict[TensorVariable, TensorSharedVariable]:
    """A shared variable for each value variable of a model that is to be estimated.

    Parameters
    ----------
    model : pymc.Model, optional
        By default the model of the context.
    vars : iterable of variables or names, optional
        The free random variables, or their value variables: by default all.
    start : dict, optional
        Values to begin with, by name or random variable: ``{"sigma": 2.0}`` in the model's terms, or ``{"sigma_log__":
        0.7}`` in those of the value variable. What is not there begins at the model's initial point.
    seed : int, optional
        Seeds initial values that are drawn, of variables with ``initval="prior"``.

    Returns
    -------
    OrderedDict
        Value variables and shared variables of the same name and dtype, of known static shape, in the model's order.
        Patterns find them by the name of the variable as well: ``^sigma$`` is ``sigma_log__``.

    Raises
    ------
    ValueError
        For discrete variables; for `vars` that are not free variables of the model; if the model has none.
    """
    model = in_context(model)
    chosen = chosen_values(model, vars)
    point = initial_points(model, start)(checked_seed("shared_values", seed))
    return OrderedDict((v, new_shared(model, v, point[v.name])) for v in chosen)


def negative_logp(
    values: Mapping[TensorVariable, Variable], model: pm.Model | None = None, jacobian: bool = False
) -> TensorVariable:
    """The negative log-probability of a model as a loss of shared variables.

    Parameters
    ----------
    values : dict
        Every value variable of the model and what stands for it: what :func:`shared_values` returned, or expressions.
    model : pymc.Model, optional
        By default the model of the context.
    jacobian : bool
        Add the logarithms of the Jacobians of the transforms: the density of the unconstrained values. Without, as in
        ``find_MAP``, the density of the variables themselves, whose mode does not depend on the transforms.

    Returns
    -------
    scalar tensor variable
        The loss. It reads the model's data, minibatches included: :func:`random_updates` has them change.

    Raises
    ------
    ValueError
        If a value variable is not among `values`.
    """
    flag("negative_logp: jacobian", jacobian)
    model = in_context(model)
    check_complete(values, model)
    [loss] = replaced([-model.logp(jacobian=jacobian)], values)
    return loss


def as_point(values: Mapping[TensorVariable, SharedVariable]) -> dict[str, np.ndarray]:
    """The values of shared variables as a point of the model, in the terms of its value variables.

    Parameters
    ----------
    values : dict
        What :func:`shared_values` returned.

    Returns
    -------
    dict
        Names, such as ``sigma_log__``, and NumPy arrays: what ``model.compile_logp()`` and ``start`` take.
    """
    check_values(values)
    return {v.name: np.array(shared.get_value(), dtype=v.dtype) for v, shared in values.items()}


def as_estimate(
    values: Mapping[TensorVariable, SharedVariable], model: pm.Model | None = None, include_transformed: bool = True
) -> dict[str, np.ndarray]:
    """The values of shared variables in the model's terms: what ``find_MAP`` returns.

    Parameters
    ----------
    values : dict
        Every value variable of the model and the shared variable in its place: what :func:`shared_values` returned.
    model : pymc.Model, optional
        By default the model of the context.
    include_transformed : bool
        Return the value variables of transformed variables, such as ``sigma_log__``, too.

    Returns
    -------
    dict
        Names and NumPy arrays: value variables, variables and deterministics, in the order of ``find_MAP``.

    Raises
    ------
    ValueError
        If a value variable is not among `values`.
    """
    flag("as_estimate: include_transformed", include_transformed)
    model = in_context(model)
    check_complete(values, model)
    transformed = {v for v in model.value_vars if v.name != model.values_to_rvs[v].name}
    outputs = [v for v in model.unobserved_value_vars if include_transformed or v not in transformed]
    # Not pm.compile, which seeds the generators of minibatches anew.
    function = pytensor.function(list(values), outputs, mode="FAST_COMPILE", on_unused_input="ignore")
    return {v.name: np.asarray(x) for v, x in zip(outputs, function(*as_point(values).values()), strict=True)}


def random_updates(outputs: Variable | Iterable[Variable]) -> OrderedDict[SharedVariable, Variable]:
    """The updates of the random generators that expressions draw from: of minibatches, dropout, simulations.

    Parameters
    ----------
    outputs : variable, or iterable of variables
        The loss, or gradients.

    Returns
    -------
    OrderedDict
        Generators, as shared variables, and their next states: merge it into the updates, ``merge(updates,
        random_updates(loss))``, for another minibatch in every step under :func:`pytensor.function`, and for
        checkpoints that hold the generators.

    Notes
    -----
    ``pm.compile`` finds them by itself, but in the outputs of a function only, not in its updates. What
    :mod:`symupdates.random` draws needs none of it: every rule's dict advances that.
    """
    outputs = [outputs] if isinstance(outputs, Variable) else listed("random_updates: outputs", outputs, "variables")
    if strange := [x for x in outputs if not isinstance(x, Variable)]:
        raise TypeError(f"random_updates: outputs must be variables, but {strange[0]!r} is not.")
    return OrderedDict(collect_default_updates(outputs))


def in_context(model):
    """The model that is meant."""
    if model is not None and not isinstance(model, pm.Model):
        remedy = "; an optimizer is given by name, optimizer=..." if callable(model) else ""
        raise TypeError(f"model must be a pymc.Model, not {model!r}{remedy}.")
    return pm.modelcontext(model)


def check_mapping(name, given):
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a dict, not {given!r}.")


def chosen_values(model, vars):
    """The value variables to estimate, in the model's order, after refusing what cannot be."""
    if vars is None:
        chosen = model.value_vars
        remedy = "leave them where they are, with vars=[...] of the others, or marginalise them"
    else:
        if isinstance(vars, str | Variable):
            raise TypeError(f"vars must be a list of variables or names, not {vars!r}; write [{vars!r}].")
        given = [model.named_vars.get(v, v) if isinstance(v, str) else v for v in listed("vars", vars, "variables")]
        given = [model.rvs_to_values.get(v, v) for v in given]
        if strange := [str(getattr(v, "name", None) or v) for v in given if v not in model.value_vars]:
            raise ValueError(
                f"{', '.join(strange)} in vars: not free random variables of the model, which are "
                f"{', '.join(v.name for v in model.free_RVs)}."
            )
        chosen = [v for v in model.value_vars if v in given]
        remedy = "take them out of vars, which leaves them where they start"
    if not chosen:
        raise ValueError("there is nothing to estimate: the model has no free random variables, or vars is empty.")
    if discrete := [v.name for v in chosen if v in model.discrete_value_vars]:
        raise ValueError(f"{', '.join(discrete)} discrete, and gradients say nothing of discrete variables; {remedy}.")
    if other := [v.name for v in chosen if not isinstance(v.type, DenseTensorType)]:
        raise ValueError(
            f"{', '.join(other)} not a tensor: rules step on dense tensors; build it with pm, not pm.dims."
        )
    return chosen


def check_values(values):
    check_mapping("values", values)
    if strange := [v for v in values if not isinstance(v, Variable)]:
        raise TypeError(f"the keys of values must be value variables of the model, but {strange[0]!r} is not.")


def check_complete(values, model):
    check_values(values)
    if absent := [v.name for v in model.value_vars if v not in values]:
        raise ValueError(f"values lack {', '.join(absent)}; give every value variable of the model one.")


def initial_points(model, start, jittered=()):
    """A function of a seed, which returns a point to begin at, where some value variables are anywhere near."""
    jittered = {model.values_to_rvs[v] for v in jittered}
    if start is not None:
        check_mapping("start", start)
        check_shapes(model, start)
    try:
        return make_initial_point_fn(model=model, overrides=dict(start or {}), jitter_rvs=jittered)
    except KeyError as error:
        raise ValueError(
            f"start: the model has no variable {error}; it has {', '.join(v.name for v in model.free_RVs)}."
        ) from error


def check_shapes(model, start):
    variables = {v.name: v for v in (*model.free_RVs, *model.value_vars)}
    for key, value in start.items():
        v = variables.get(getattr(key, "name", key))
        if v is None or isinstance(value, str | Variable):  # "prior" is of any shape
            continue
        shape, needed = np.shape(value), v.type.shape
        if not is_of(shape, needed):
            raise ValueError(f"start: {v.name} has shape {shape}, but that of the model has {in_brackets(needed)}.")


def new_shared(model, v, value):
    value = np.array(value, dtype=v.dtype)
    shared = pytensor.shared(value, name=v.name, shape=value.shape)
    if (name := model.values_to_rvs[v].name) != v.name:
        also_named(shared, name)
    return shared


def reseed(generators, seed):
    for rng, child in zip(generators, np.random.SeedSequence(seed).spawn(len(generators)), strict=True):
        rng.set_value(np.random.Generator(type(rng.get_value(borrow=True).bit_generator)(child)), borrow=True)


def counts(updates, slot):
    """What gates count: steps "skipped", or those skipped "in_a_row" until now."""
    return [v for v in updates if is_state(v) and v.tag.symupdates.slot == slot]
