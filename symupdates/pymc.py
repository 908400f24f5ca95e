"""The door to PyMC: estimates by any rule, and what ``pm.fit`` leaves to its optimizer.

Any rule, chain or schedule goes into ``pm.fit(obj_optimizer=...)`` as it is. This module is for what lies beyond that:
:func:`map_estimate`, and :class:`MAP` with the run itself; :class:`Optimizer`, for the state of a fit, fits without a
score, and rules that take the loss; and the pieces, to build losses of your own: a model's value variables as shared
variables, its log-probability with these in it, and the updates of its random generators.

It needs PyMC, which nothing else in the package imports: ``import symupdates.pymc``.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.variable import TensorVariable

from symupdates.compose import chain, divided, merge, merging
from symupdates.core import called, check_optimizer, flag, is_state, whole_number
from symupdates.core.checks import listed
from symupdates.core.names import also_named
from symupdates.core.parameters import check_params, get_or_compute_grads, mark_as_parameters
from symupdates.core.program import moved
from symupdates.core.state import (
    Call,
    Group,
    StateTag,
    advances,
    call_state,
    is_of,
    mark_as_stand_in,
    new_state,
    stand_ins,
    within,
)
from symupdates.core.types import in_brackets
from symupdates.random import checked_seed
from symupdates.rules.adam import adam
from symupdates.rules.lbfgs import lbfgs
from symupdates.state import to_numpy
from symupdates.transforms import apply_ema
from symupdates.typing import LossOrGrads, OptimizerLike, Parameters, Updates

try:
    import pymc as pm
except ModuleNotFoundError as error:
    if error.name != "pymc":
        raise
    raise ModuleNotFoundError(
        "symupdates.pymc needs PyMC, an optional extra: pip install pymc, or pip install symupdates[pymc].", name="pymc"
    ) from error
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import collect_default_updates
from pymc.variational import Inference

__all__ = [
    "MAP",
    "Optimizer",
    "as_estimate",
    "as_point",
    "map_estimate",
    "negative_logp",
    "random_updates",
    "shared_values",
]

logger = logging.getLogger(__name__)

# --- The pieces -------------------------------------------------------------------------------------------------------


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
    return graph_replace(-model.logp(jacobian=jacobian), values, strict=False)


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


# --- The maximum a posteriori -----------------------------------------------------------------------------------------


def map_estimate(
    model: pm.Model | None = None,
    optimizer: OptimizerLike | None = None,
    steps: int = 10_000,
    *,
    vars: Iterable[Variable | str] | None = None,
    start: Mapping[Any, ArrayLike] | None = None,
    initvals: Mapping[Any, ArrayLike] | None = None,
    jitter: bool = False,
    jacobian: bool = False,
    include_transformed: bool = True,
    averages: bool | None = None,
    callbacks: Iterable[Callable[[MAP, np.ndarray, int], object]] = (),
    progressbar: bool = True,
    tol: float | None = 1e-8,
    patience: int | None = None,
    seed: int | None = None,
    compile_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """The maximum a posteriori estimate of a model, by any rule, of all data or in minibatches.

    Parameters
    ----------
    model : pymc.Model, optional
        By default the model of the context. Observed data may be ``pm.Minibatch``; each step then sees another.
    optimizer : callable, optional
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`, which selects variables
        by their names or those of their value variables: ``^sigma$`` or ``sigma_log__``. Rules that take the loss are
        welcome. By default ``lbfgs()``; for
        models that draw in each step, such as minibatches, ``chain(adam(learning_rate=0.01), apply_ema(decay=0.99))``.
    steps : int
        The number of steps, at most. A step is one evaluation of the gradient.
    vars : iterable of variables or names, optional
        The free random variables to estimate, by default all; others are held where they start.
    start : dict, optional
        Values to begin with, as for :func:`shared_values`.
    initvals : dict, optional
        The same, by the name that ``find_MAP`` has for it.
    jitter : bool
        Begin anywhere within 1 of there, in each coordinate of the value variables that are estimated, uniformly; where
        the loss is not finite, the numbers are drawn anew, up to ten times. It is off the saddle that products of
        variables have at zero, which no rule leaves. As in ``find_MAP`` and ``pm.sample``.
    jacobian : bool
        Find the mode of the density of the unconstrained values, as for :func:`negative_logp`; by default that of the
        variables, as ``find_MAP`` does.
    include_transformed : bool
        Return the value variables of transformed variables too.
    averages : bool, optional
        Estimate by what the optimizer keeps in the place of the parameters, as for :meth:`MAP.estimate`.
    callbacks : iterable of callables
        Called after each step, as for :meth:`MAP.fit`: ``callback(run, losses, i)``. One that raises StopIteration
        ends the run; PyMC's do, such as ``pymc.variational.callbacks.CheckParametersConvergence()``.
    progressbar : bool
        Show the progress.
    tol, patience : optional
        When to stop, as for :meth:`MAP.fit`.
    seed : int, optional
        Seeds the minibatches, whose generators belong to the model, and initial values that are drawn.
    compile_kwargs : dict, optional
        For ``pm.compile``: ``{"mode": "CVM"}``, ``"NUMBA"`` or ``"JAX"``.

    Returns
    -------
    dict
        Names and NumPy arrays, as of ``pm.find_MAP``: value variables, variables and deterministics.

    Raises
    ------
    ValueError, TypeError
        For discrete variables and other arguments that cannot be, as for :func:`shared_values`.
    FloatingPointError
        If the log-probability is not finite where the run starts, or the next value of a variable is not, as for
        :meth:`MAP.fit`.

    Warns
    -----
    UserWarning
        If the run did not converge.

    Notes
    -----
    The estimate is what the optimizer has found when it ends: the parameters, or what it keeps in their place. For
    ``find_MAP``'s accuracy take ``lbfgs()``, or let the learning rate fall to zero. To save a run, resume it, or look
    into it, there is :class:`MAP`, which this is a call of. ``find_MAP`` leaves discrete variables at their start
    without a word; here `vars` has to say so.

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates
    >>> from symupdates.pymc import map_estimate
    >>> with pm.Model():
    ...     p = pm.Beta("p", 2, 2)
    ...     k = pm.Binomial("k", 10, p, observed=7)
    ...     estimate = map_estimate(progressbar=False)
    >>> {name: round(float(value), 4) for name, value in estimate.items()}  # 8/12, and its log odds
    {'p_logodds__': 0.6931, 'p': 0.6667}
    """
    run = MAP(
        model,
        optimizer,
        vars=vars,
        start=start,
        initvals=initvals,
        jitter=jitter,
        jacobian=jacobian,
        seed=seed,
        compile_kwargs=compile_kwargs,
    ).fit(steps, callbacks=callbacks, progressbar=progressbar, tol=tol, patience=patience)
    return run.estimate(include_transformed=include_transformed, averages=averages)


class MAP:
    """A run of :func:`map_estimate`: to be continued, saved and looked into.

    Building it compiles the step. ``run.fit(steps)`` trains, any number of times; ``run.estimate()`` is the result.

    Parameters
    ----------
    model, optimizer, vars, start, initvals, jitter, jacobian, seed, compile_kwargs : optional
        As for :func:`map_estimate`.

    Attributes
    ----------
    model : pymc.Model
    values : OrderedDict
        Value variables and the shared variables in their place.
    params : list of shared variables
        The latter.
    loss : scalar tensor variable
        The negative log-probability.
    updates : OrderedDict
        What each step moves: parameters, state of the optimizer, counts, the generators of minibatches; and, as
        ``map/losses``, the losses so far, to which :meth:`fit` adds. ``symupdates.save(file, run.updates)`` is a
        checkpoint, of which a run built alike goes on bit for bit, losses and counts of steps too, after
        ``symupdates.load(file, run.updates)``. On JAX, this is not so of minibatches: its functions draw from copies
        of PyTensor's generators, which no checkpoint sees.
    losses : array
        The loss before each step made so far, of a run that was resumed those before too.
    stopped : str or None
        What ended the last :meth:`fit`: what it had reached, or what a callback said, ``""`` if nothing; None if it
        made all steps.
    converged : bool or None
        Whether the last :meth:`fit` had reached what it was to reach; None if nothing was asked for.

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates
    >>> with pm.Model():
    ...     p = pm.Beta("p", 2, 2)
    ...     k = pm.Binomial("k", 10, p, observed=7)
    ...     run = symupdates.pymc.MAP(optimizer=symupdates.momentum(learning_rate=0.01))
    >>> list(run.updates)
    [p_logodds__, p_logodds__/momentum/velocity, map/losses]
    >>> round(float(run.fit(500, progressbar=False).estimate()["p"]), 3), len(run.losses)
    (0.667, 500)
    """

    def __init__(
        self,
        model: pm.Model | None = None,
        optimizer: OptimizerLike | None = None,
        *,
        vars: Iterable[Variable | str] | None = None,
        start: Mapping[Any, ArrayLike] | None = None,
        initvals: Mapping[Any, ArrayLike] | None = None,
        jitter: bool = False,
        jacobian: bool = False,
        seed: int | None = None,
        compile_kwargs: Mapping[str, Any] | None = None,
    ):
        if optimizer is not None:
            check_optimizer("map_estimate: optimizer", optimizer)
        if compile_kwargs is not None:
            check_mapping("map_estimate: compile_kwargs", compile_kwargs)
        self.model = in_context(model)
        chosen = chosen_values(self.model, vars)
        if start is not None and initvals is not None:
            raise ValueError("map_estimate: start and initvals are the same; give one of them.")
        draw = initial_points(
            self.model, initvals if start is None else start, chosen if flag("map_estimate: jitter", jitter) else ()
        )
        self._start = draw(checked_seed("map_estimate", seed))
        every = OrderedDict((v, new_shared(self.model, v, self._start[v.name])) for v in self.model.value_vars)
        self.values = OrderedDict((v, every[v]) for v in chosen)
        self.params = list(self.values.values())
        self.loss = negative_logp(every, self.model, jacobian)
        if jitter:
            self._jitter(draw, every, np.random.default_rng(seed))
        self._draws = bool(moved({}, [self.loss])) or any(map(advances, graph_inputs([self.loss])))
        if optimizer is None:
            averaged = chain(adam(learning_rate=0.01), apply_ema(decay=0.99))
            optimizer = averaged if self._draws else lbfgs()
        updates = called("map_estimate: optimizer", optimizer, self.loss, self.params)
        self._losses = call_state(Call("map"), "losses", 0.0, self.loss.dtype, shape=(None,))
        self.updates = merge(updates, random_updates(self.loss), {self._losses: self._losses})
        self.stopped = self.converged = None
        self._every = every
        # Where something is not finite, these tell what; the gradients are those of the rule, and computed once.
        grads = pytensor.grad(self.loss, self.params)
        suspects = [self.updates.get(p, p) for p in self.params] + grads
        is_finite = pt.stack([~pt.any(pt.isnan(x) | pt.isinf(x)) for x in suspects])
        norm = pt.sqrt(sum((g**2).sum() for g in grads))
        with self.model:  # which says whether parameters are checked
            self._step = pm.compile(
                [],
                [self.loss, norm, is_finite],
                updates={v: x for v, x in self.updates.items() if v is not self._losses},
                random_seed=seed,
                **(compile_kwargs or {}),
            )

    @property
    def losses(self):
        return self._losses.get_value(borrow=True)

    def fit(
        self,
        steps: int = 10_000,
        callbacks: Iterable[Callable[[MAP, np.ndarray, int], object]] = (),
        progressbar: bool = True,
        tol: float | None = None,
        patience: int | None = None,
    ) -> MAP:
        """Make steps.

        Parameters
        ----------
        steps : int
            Their number, at most.
        callbacks : iterable of callables
            Called after each step as ``callback(run, losses, i)``, like those of ``pm.fit``: with this run, whose
            ``params`` are shared variables, all losses so far, and the number of steps made in all. One that raises
            StopIteration ends the run, and so does the interrupt key, when the step is made.
        progressbar : bool
            Show the progress.
        tol : float, optional
            The norm of the gradient at the parameters, of all value variables that are estimated, at which the run has
            converged and ends. It then ends as well when the loss no longer falls, and has converged if the gradient is
            at the height of the rounding, and cannot be less. Of models that draw in each step, whose gradient does not
            become small, it asks nothing. An average that the optimizer keeps may be behind the parameters.
        patience : int, optional
            The number of steps without a lower loss, by more than its rounding, after which it no longer falls: by
            default 50. For models that draw in each step it is the mean of so many losses that is to be lower than that
            of those before; else the run has converged and ends. Such a run makes all steps by default.

        Returns
        -------
        MAP
            This run.

        Raises
        ------
        FloatingPointError
            If the loss is not finite at the first step of all: it names the terms of the log-probability that are
            not. If the next value of a variable is not finite: it names the variables, those whose gradient is at
            fault, and the remedies. If a gate, such as :func:`~symupdates.apply_if_finite`, has skipped all steps of
            the run; of fewer, a line of the log says how many.

        Warns
        -----
        UserWarning
            If there is a `tol` and the run did not converge, unless it was stopped.
        """
        whole_number("map_estimate: steps", steps, least=0)
        flag("map_estimate: progressbar", progressbar)
        if tol is not None and not (isinstance(tol, int | float | np.number) and 0 <= tol < np.inf):
            raise ValueError(f"map_estimate: tol must be a number of at least 0, or None, not {tol!r}.")
        if patience is not None:
            whole_number("map_estimate: patience", patience)
        rule = Noisy(patience) if self._draws else Exact(tol, patience or 50, np.finfo(self.loss.dtype).eps)
        callbacks = listed("map_estimate: callbacks", callbacks, "functions")
        if strange := [f for f in callbacks if not callable(f)]:
            raise TypeError(f"map_estimate: callbacks must be functions, but {strange[0]!r} is not.")
        done, self.stopped, self.converged = len(self.losses), None, None
        try:
            with interrupts_held() as let_go, progress(steps, shown=progressbar) as report:
                losses = np.concatenate([self.losses, np.full(steps, np.nan, self.loss.dtype)])
                for i in range(done, done + steps):
                    loss, norm, is_finite = self._step()
                    losses[i] = loss
                    self._losses.set_value(losses[: i + 1], borrow=True)
                    let_go()
                    if i == 0 and not np.isfinite(losses[0]):
                        raise FloatingPointError(self._bad_start(losses[0]))
                    if not np.all(is_finite[: len(self.params)]):
                        raise FloatingPointError(self._not_finite(i + 1, losses[i], np.asarray(is_finite)))
                    for callback in callbacks:
                        callback(self, self.losses, i + 1)
                    report(i + 1 - done, self.losses, norm)
                    if rule.ends(float(losses[i]), float(norm)):
                        self.converged, self.stopped = rule.converged, rule.reason
                        break
                else:
                    self.converged = rule.converged
        except (KeyboardInterrupt, StopIteration) as stop:
            self.converged, self.stopped = rule.converged, str(stop)
            logger.info("Stopped after %d steps. %s", len(self.losses), stop)
        else:
            if self.converged is False and steps:
                warnings.warn(
                    f"map_estimate: not converged after {len(self.losses)} steps: {rule.reason}. Make more steps, with "
                    "a learning rate that falls where it is not that of a search; or give the tol that will do.",
                    stacklevel=2,
                )
        finally:
            to_numpy(self.updates)
        if skipped := max((int(v.get_value()) for v in counts(self.updates, "skipped")), default=0):
            told = f"{skipped} of {len(self.losses)} steps were skipped."
            if skipped == len(self.losses):
                raise FloatingPointError(f"map_estimate: {told} Look, without the gate, for what is not finite.")
            logger.warning(told)
        if len(self.losses) > done and not np.isfinite(self.losses[-1]) and not stand_ins(self.updates):
            warnings.warn(
                f"the negative log-probability was {self.losses[-1]} in the last step, and the estimate is where it is "
                "not finite, or near: take a smaller learning rate, or another start.",
                stacklevel=2,
            )
        return self

    def estimate(self, include_transformed: bool = True, averages: bool | None = None) -> dict[str, np.ndarray]:
        """What ``find_MAP`` returns, of what the optimizer has found.

        Parameters
        ----------
        include_transformed : bool
            Return the value variables of transformed variables too.
        averages : bool, optional
            Take what :func:`~symupdates.averages` gives: the point that :func:`~symupdates.lbfgs` has reached, the
            average of :func:`~symupdates.apply_ema`. By default, where the optimizer keeps such; without, the
            parameters as they are.

        Returns
        -------
        dict
            Names and NumPy arrays: value variables, variables and deterministics.

        Raises
        ------
        ValueError
            If there are to be averages, and there are none.
        """
        wanted = averages is None or flag("map_estimate: averages", averages)
        kept = stand_ins(self.updates) if wanted else {}
        if averages and not kept:
            raise ValueError("map_estimate: these updates keep no averages; add apply_ema() by a chain.")
        values = {v: kept.get(shared, shared) for v, shared in self._every.items()}
        return as_estimate(values, self.model, include_transformed)

    def _jitter(self, draw, every, rng):
        """Draw starts until the loss is finite there, or for long enough."""
        height = pytensor.function([], self.loss, mode="FAST_COMPILE")
        for _ in range(10):
            if np.isfinite(height()):
                break
            self._start = draw(int(rng.integers(2**30)))
            for v, shared in every.items():
                shared.set_value(np.asarray(self._start[v.name], dtype=v.dtype))

    def _bad_start(self, loss):
        terms = {name: value for name, value in self.model.point_logps(self._start).items() if not np.isfinite(value)}
        named = f": of {', '.join(f'{name}, {value}' for name, value in terms.items())}" if terms else ""
        return (
            f"map_estimate: the negative log-probability is {loss} at the start{named}. Give start={{name: value}} "
            "where the data are possible, or look for data outside of the support of their distribution, or missing."
        )

    def _not_finite(self, step, loss, is_finite):
        of_value, of_gradient = np.split(is_finite, 2)
        values, gradients = (
            ", ".join(v.name for v, good in zip(self.values, flags, strict=True) if not good)
            for flags in (of_value, of_gradient)
        )
        if gradients:
            cause = (
                f"The gradient of {gradients} is not finite, and the loss {loss:g}. If the run diverges, take a "
                "smaller learning rate or clip the gradients (symupdates.gradients.clip_by_total_norm); if it happens "
                "seldom, let symupdates.apply_if_finite() skip such steps, as the last stage of a chain; if at once, "
                "look in what is made of it for a division by zero, the logarithm or root of zero, or an overflow."
            )
        else:
            cause = (
                f"The gradients are finite, and the loss is {loss:g}: the step was too large. Take a smaller learning "
                "rate, or a larger epsilon."
            )
        return f"map_estimate: the next value of {values} in step {step} is not finite. {cause}"


class Exact:
    """When to end, by losses and norms of gradients that are those of all data.

    Attributes
    ----------
    converged : bool or None
        Whether it has; None where nothing is asked for.
    reason : str
        What it has come to.
    """

    def __init__(self, tol, patience, eps):
        self.tol, self.patience, self.eps = tol, patience, eps
        self.converged = None if tol is None else False
        self.reason = "no step was made"
        self.lowest, self.norm, self.waited = np.inf, np.inf, 0

    def ends(self, loss, norm):
        """Whether to end, after a step at that loss."""
        if self.tol is None:
            return False
        self.waited += 1
        size = max(1, abs(loss))
        if loss < self.lowest:
            if self.lowest - loss > 10 * self.eps * size:
                self.waited = 0
            self.lowest, self.norm = loss, norm
        is_small = norm <= self.tol
        self.reason = f"the norm of the gradient is {norm if is_small else self.norm:.2g}, and tol {self.tol:g}"
        no_longer_falls = self.waited >= self.patience
        if no_longer_falls:
            self.reason = f"the loss no longer falls; {self.reason}"
        # At a distance e from the mode, with a curvature c, the loss is higher by ce²/2 and the gradient ce.
        is_as_small_as_can_be = self.norm <= np.sqrt(max(self.tol, 10 * self.eps) * size)
        self.converged = bool(is_small or (no_longer_falls and is_as_small_as_can_be))
        return is_small or no_longer_falls


class Noisy:
    """When to end, by losses that are drawn; as :class:`Exact`."""

    reason = "fewer were made than are to be compared"

    def __init__(self, patience):
        self.patience, self.converged = patience, None if patience is None else False
        self.losses, self.lowest = [], np.inf

    def ends(self, loss, norm):
        """Whether to end, after a step at that loss."""
        self.losses.append(loss)
        if len(self.losses) != self.patience:
            return False
        mean = np.mean(self.losses)
        self.converged = not mean < self.lowest
        falls = "no longer" if self.converged else "still"
        self.reason = f"the mean of {self.patience} losses {falls} falls, from {self.lowest:.5g} to {mean:.5g}"
        self.losses, self.lowest = [], mean
        return self.converged


@contextmanager
def interrupts_held():
    """Hold the interrupt key back until the function that this gives is called, or the end; a second time, it is not.

    So it comes between two steps: within one, some variables would have been moved and others not.
    """
    handler, held = signal.getsignal(signal.SIGINT), []

    def hold(*arguments):
        if held:
            handler(*arguments)
        held.append(arguments)

    def let_go():
        if held:
            handler(*held.pop())

    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield let_go
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield let_go
    finally:
        signal.signal(signal.SIGINT, handler)
    let_go()


class progress:
    """A bar on the terminal, or nothing."""

    def __init__(self, steps, shown):
        self.steps, self.shown, self.last = steps, shown, 0.0

    def __enter__(self):
        if not self.shown:
            return lambda done, losses, norm: None
        from rich.progress import MofNCompleteColumn, Progress, TextColumn  # PyMC needs it too

        columns = [*Progress.get_default_columns(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}")]
        self.bar = Progress(*columns)
        self.task = self.bar.add_task("MAP", total=self.steps, loss="")
        self.begun, self.words = time.perf_counter(), None
        self.bar.start()
        return self.report

    def report(self, done, losses, norm):
        now = time.perf_counter()
        self.words = {"completed": done, "losses": losses, "norm": norm, "seconds": now - self.begun}
        if now - self.last > 0.1:
            self.last = now
            self.show(**self.words)

    def show(self, completed, losses, norm, seconds):
        loss = f"loss {losses[-1]:,.6g}, lowest {np.nanmin(losses):,.6g}, |g| {norm:.2g}, {completed / seconds:,.0f}/s"
        self.bar.update(self.task, completed=completed, loss=loss)

    def __exit__(self, *exception):
        if self.shown:
            if self.words:
                self.show(**self.words)
            self.bar.stop()


# --- Variational inference --------------------------------------------------------------------------------------------


@merging
def by_variables(loss_or_grads, params, groups, model):
    """Updates of vectors of all variables of a model, in parts: the variables of each group, by its optimizer.

    A part is a shared variable, for rules that take any, with the numbers that are in the vector. It is the vector that
    counts: what is computed of a part reads it, so that it may be set, or swapped for an average, from outside.
    """
    params = check_params(params)
    grads = get_or_compute_grads(loss_or_grads, params)
    variables = list(shared_values(model).values())
    members = divided("symupdates.pymc.Optimizer", variables, {key: key for key in groups})
    number = np.repeat(np.arange(len(variables)), [v.get_value().size for v in variables])
    after = {p: p for p in params}
    averages, dicts = dict(after), []
    for key, optimizer in groups.items():
        if optimizer is None or not members[key]:
            continue
        index = [np.flatnonzero(np.isin(number[coordinates(p, len(number))], members[key])) for p in params]
        label = "..." if key is ... else key
        parts = [
            pytensor.shared(
                np.take(p.get_value(), i, -1), name=f"{p.name}[{label}]", shape=(*p.type.shape[:-1], len(i))
            )
            for p, i in zip(params, index, strict=True)
        ]
        with within(Group(is_part=True)):
            name = f"symupdates.pymc.Optimizer: the optimizer of {label}"
            updates = called(name, optimizer, [g[..., i] for g, i in zip(grads, index, strict=True)], parts)
        of_vector = {part: p[..., i] for part, p, i in zip(parts, params, index, strict=True)}
        values = graph_replace(list(updates.values()), of_vector, strict=False)
        updates = OrderedDict(zip(updates, values, strict=True))
        kept = stand_ins(updates)
        for p, part, i in zip(params, parts, index, strict=True):
            averages[p] = pt.set_subtensor(averages[p][..., i], updates[kept.get(part, part)])
            after[p] = pt.set_subtensor(after[p][..., i], updates[part])
        for x in kept.values():
            mark_as_stand_in(x, False)
        dicts.append((updates, kept))
    if any(kept for _, kept in dicts):
        call = Call("groups")
        for p in params:
            tag = StateTag(call.rule, "average", p, p, (...,), call=call, stands_in=True)
            after[new_state(f"{p.name}/{call.rule}/average", tag, p.dtype)] = averages[p]
    mark_as_parameters(params)
    return [*(updates for updates, _ in dicts), after]


def coordinates(p, n):
    """Of n coordinates, the one that each element on the last axis of a parameter belongs to."""
    size = p.get_value(borrow=True).shape[-1]
    if size == n:
        return np.arange(n)
    if p.name == "L_tril" and size == n * (n + 1) // 2:
        return np.tril_indices(n)[0]
    raise ValueError(
        f"symupdates.pymc.Optimizer: {p} has {size} elements, of which it is not known which belong to which of the "
        f"{n} coordinates of the model's variables; give one optimizer, such as a symupdates.partition of the parameters."
    )


ALL_SKIPPED = (
    "more than {} steps in a row were skipped (by {}): nothing moves any more. Look, without the gate, for what is not "
    "finite; take a smaller learning rate, or clip the gradients."
)


def counts(updates, slot):
    """What gates count: steps "skipped", or those skipped "in_a_row" until now."""
    return [v for v in updates if is_state(v) and v.tag.symupdates.slot == slot]


class Optimizer:
    """An optimizer for ``pm.fit(obj_optimizer=...)`` that one can look into, and that takes care of what PyMC does not.

    It goes there like the optimizer it is made of, and with the same numbers. After the call, ``updates`` is its dict:
    for checkpoints, averages and adjustable hyper-parameters.

    Parameters
    ----------
    optimizer : callable, or dict of them
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`. Or one for each group of
        the model's variables, by patterns of their names, as :func:`~symupdates.partition` has them: ``{"^sigma":
        adam(learning_rate=0.01), ...: adam(learning_rate=0.1)}``; None leaves a group as it is. For ADVI, full-rank
        ADVI and SVGD, whose parameters are vectors of all variables; of full-rank ADVI's matrix, a variable has rows.
        Each optimizer sees parameters of its own, the parts ``mu[^sigma]`` and ``rho[^sigma]``.
    inference : pymc.variational.inference.Inference, optional
        What is to be fitted, such as ``pm.ADVI()``, for rules that take the loss, such as :func:`~symupdates.sam` and
        :func:`~symupdates.adahessian`. PyMC passes gradients only; with this, the rule is given the negative ELBO. So
        is a function of your own, for a schedule that watches it: ``lambda loss, params: adam(loss, params,
        learning_rate=reduce_on_plateau(0.05, loss, every=100))``.
    n_mc : int
        With `inference`: the number of draws from the approximation for each evaluation of that loss; what
        ``obj_n_mc`` is else. ``more_replacements`` and ``total_grad_norm_constraint`` of ``pm.fit`` are not applied to
        it: for the latter, have a rule inside that takes gradients, such as the one of :func:`~symupdates.sam`, clip.
    fixed_draws : bool
        With `inference`: make all steps with the same draws, so that the loss is a function, with a minimum to be
        found to any accuracy by :func:`~symupdates.lbfgs` [1]_. `n_mc` should then be large, 30 say.
    seed : int, optional
        Seeds the generators that are advanced here and not by PyMC: without a score, or with `inference`.
    max_skipped : int, optional
        How many steps in a row a gate of the optimizer, such as :func:`~symupdates.apply_if_finite`, may skip. At one
        more the fit ends by an error, as nothing moves any more; PyMC would go to the end without a word. With None it
        may skip all. JAX, which compiles no such checks, knows none.

    Attributes
    ----------
    updates : OrderedDict or None
        The updates of the last call: those of the optimizer, and of the generators that the gradients draw from.
    skipped : int
        The number of steps that gates have skipped since.

    Raises
    ------
    TypeError
        If `optimizer` is not callable.
    ValueError
        When it is called: if a pattern fits no variable, or a variable is in no group; if `inference` has no loss (SVGD
        has gradients only); if `fixed_draws` are asked for where minibatches are drawn; if the parameters are of
        another inference.
    FloatingPointError
        During the fit, if a gate skips more than `max_skipped` steps in a row.

    Notes
    -----
    Without a score, ``score=False``, PyMC advances no generator: every step has the same draws from the approximation,
    and the same minibatch. With this optimizer every step has its own, score or not.

    A fit is saved and resumed bit for bit by ``inference.fit(0, obj_optimizer=optimizer)``, which makes the dict and
    no step, ``symupdates.load(file, optimizer.updates)`` and ``inference.refine(n)``. On JAX, whose functions draw from
    copies of the generators, it is the optimizer that goes on, with other draws.

    References
    ----------
    .. [1] R. Giordano, M. Ingram and T. Broderick (2024). Black box variational inference with a deterministic
       objective: faster, more accurate, and even more black box. Journal of Machine Learning Research 25(18).

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10))
    ...     optimizer = symupdates.pymc.Optimizer(
    ...         symupdates.chain(symupdates.adam(learning_rate=0.05), symupdates.apply_ema(decay=0.99)), seed=1
    ...     )
    ...     approx = pm.fit(1000, obj_optimizer=optimizer, score=False, random_seed=1, progressbar=False)
    >>> symupdates.swap_averages(optimizer.updates)  # approx has the averages now
    >>> bool(abs(approx.mean.eval()[0] - 5 / 11) < 0.05)
    True
    """

    def __init__(
        self,
        optimizer: OptimizerLike | Mapping[Any, OptimizerLike | None],
        inference: Any = None,
        n_mc: int = 1,
        fixed_draws: bool = False,
        seed: int | None = None,
        max_skipped: int | None = 100,
    ):
        for one in optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]:
            if one is not None or one is optimizer:
                check_optimizer("symupdates.pymc.Optimizer: optimizer", one)
        if not isinstance(inference, Inference | None):
            raise TypeError(
                f"symupdates.pymc.Optimizer: inference must be one of PyMC's, such as pm.ADVI(), not {inference!r}."
            )
        self.optimizer = optimizer
        self.inference = inference
        self.n_mc = whole_number("symupdates.pymc.Optimizer: n_mc", n_mc)
        self.fixed_draws = flag("symupdates.pymc.Optimizer: fixed_draws", fixed_draws)
        self.seed = checked_seed("symupdates.pymc.Optimizer", seed)
        self.max_skipped = max_skipped
        if max_skipped is not None:
            whole_number("symupdates.pymc.Optimizer: max_skipped", max_skipped)
        self.updates = None
        if inference is None and fixed_draws:
            raise ValueError("symupdates.pymc.Optimizer: fixed_draws are those of an inference; give it as well.")

    def __call__(self, loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None) -> Updates:
        target = loss_or_grads if self.inference is None else self._loss(params)
        generators = {} if self.fixed_draws else random_updates(target)
        reseed(generators, self.seed)
        if isinstance(self.optimizer, Mapping):
            model = None if self.inference is None else self.inference.approx.model
            updates = by_variables(target, params, self.optimizer, model)
        else:
            updates = called("symupdates.pymc.Optimizer: optimizer", self.optimizer, target, params)
        self.updates = merge(updates, generators)
        if self.max_skipped is not None:
            for count in counts(self.updates, "in_a_row"):
                self.updates[count] = CheckAndRaise(FloatingPointError, ALL_SKIPPED.format(self.max_skipped, count))(
                    self.updates[count], self.updates[count] <= self.max_skipped
                )
        return self.updates

    @property
    def skipped(self):
        return sum(int(count.get_value()) for count in counts(self.updates or (), "skipped"))

    def _loss(self, params):
        objective = self.inference.objective
        kind = type(self.inference).__name__
        if not objective.op.returns_loss:
            raise ValueError(
                f"symupdates.pymc.Optimizer: {kind} has no loss, only gradients, for rules that take these; rules that "
                "take the loss are for ADVI, full-rank ADVI and other inferences with an ELBO."
            )
        loss = objective(self.n_mc)
        read = set(graph_inputs([loss]))
        if strange := [str(p) for p in params if isinstance(p, SharedVariable) and p not in read]:
            raise ValueError(
                f"symupdates.pymc.Optimizer: the loss of this {kind} does not depend on {', '.join(strange)}; give "
                "pm.fit, as method, the very inference that the optimizer was given."
            )
        if self.fixed_draws and any(
            isinstance(v.type, RandomType) for v in graph_inputs([self.inference.approx.model.logp()])
        ):
            raise ValueError(
                "symupdates.pymc.Optimizer: fixed_draws with minibatches would fit the first one; give the model all "
                "data, or draw anew in each step."
            )
        return loss
