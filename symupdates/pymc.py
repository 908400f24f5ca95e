"""The door to PyMC: estimates by any rule, and what ``pm.fit`` leaves to its optimizer.

Any rule, chain or schedule goes into ``pm.fit(obj_optimizer=...)`` as it is. This module is for what lies beyond that:
:func:`map_estimate`, and :class:`MAP` with the run itself; :class:`Optimizer`, for the state of a fit, fits without a
score, and rules that take the loss; and the pieces, to build losses of your own: a model's value variables as shared
variables, its log-probability with these in it, and the updates of its random generators.

It needs PyMC, which nothing else in the package imports: ``import symupdates.pymc``.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.variable import TensorVariable

from symupdates.compose import merge
from symupdates.core import called, check_optimizer, flag, whole_number
from symupdates.core.checks import listed
from symupdates.core.state import stand_ins
from symupdates.random import checked_seed
from symupdates.rules.adam import adam
from symupdates.state import to_numpy
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

    Raises
    ------
    ValueError
        For discrete variables; for `vars` that are not free variables of the model; if the model has none.
    """
    model = in_context(model)
    chosen = chosen_values(model, vars)
    point = initial_point(model, start, checked_seed("shared_values", seed))
    return OrderedDict((v, new_shared(v, point[v.name])) for v in chosen)


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
    model = pm.modelcontext(model)
    if not isinstance(model, pm.Model):
        raise TypeError(f"model must be a pymc.Model, not {model!r}.")
    return model


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


def initial_point(model, start, seed):
    if start is not None:
        check_mapping("start", start)
    try:
        return make_initial_point_fn(model=model, overrides=dict(start or {}))(seed)
    except KeyError as error:
        raise ValueError(
            f"start: the model has no variable {error}; it has {', '.join(v.name for v in model.free_RVs)}."
        ) from error


def new_shared(v, value):
    value = np.array(value, dtype=v.dtype)
    return pytensor.shared(value, name=v.name, shape=value.shape)


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
    jacobian: bool = False,
    include_transformed: bool = True,
    averages: bool | None = None,
    callbacks: Iterable[Callable[[MAP, np.ndarray, int], object]] = (),
    progressbar: bool = True,
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
        by the names of their value variables. Rules that take the loss are welcome: ``lbfgs()`` for models on all
        data. By default ``adam(learning_rate=0.01)``.
    steps : int
        The number of steps, at most.
    vars : iterable of variables or names, optional
        The free random variables to estimate, by default all; others are held where they start.
    start : dict, optional
        Values to begin with, as for :func:`shared_values`.
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
    ...     estimate = map_estimate(optimizer=symupdates.lbfgs(), steps=20, progressbar=False)
    >>> {name: round(float(value), 4) for name, value in estimate.items()}  # 8/12, and its log odds
    {'p_logodds__': 0.6931, 'p': 0.6667}
    """
    run = MAP(
        model, optimizer, vars=vars, start=start, jacobian=jacobian, seed=seed, compile_kwargs=compile_kwargs
    ).fit(steps, callbacks=callbacks, progressbar=progressbar)
    return run.estimate(include_transformed=include_transformed, averages=averages)


class MAP:
    """A run of :func:`map_estimate`: to be continued, saved and looked into.

    Building it compiles the step. ``run.fit(steps)`` trains, any number of times; ``run.estimate()`` is the result.

    Parameters
    ----------
    model, optimizer, vars, start, jacobian, seed, compile_kwargs : optional
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
        What each step moves: parameters, state of the optimizer, counts, and the generators of minibatches.
        ``symupdates.save(file, run.updates)`` is a checkpoint, of which a run built alike goes on bit for bit after
        ``symupdates.load(file, run.updates)``. On JAX, this is not so of minibatches: its functions draw from copies
        of PyTensor's generators, which no checkpoint sees.
    losses : array
        The loss before each step made so far.
    stopped : str or None
        What a callback said that ended the last :meth:`fit`; ``""`` if nothing; None if it made all steps.

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates
    >>> with pm.Model():
    ...     p = pm.Beta("p", 2, 2)
    ...     k = pm.Binomial("k", 10, p, observed=7)
    ...     run = symupdates.pymc.MAP(optimizer=symupdates.momentum(learning_rate=0.01))
    >>> list(run.updates)
    [p_logodds__, p_logodds__/momentum/velocity]
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
        jacobian: bool = False,
        seed: int | None = None,
        compile_kwargs: Mapping[str, Any] | None = None,
    ):
        optimizer = adam(learning_rate=0.01) if optimizer is None else optimizer
        check_optimizer("map_estimate: optimizer", optimizer)
        if compile_kwargs is not None:
            check_mapping("map_estimate: compile_kwargs", compile_kwargs)
        self.model = in_context(model)
        chosen = chosen_values(self.model, vars)
        self._start = initial_point(self.model, start, checked_seed("map_estimate", seed))
        every = OrderedDict((v, new_shared(v, self._start[v.name])) for v in self.model.value_vars)
        self.values = OrderedDict((v, every[v]) for v in chosen)
        self.params = list(self.values.values())
        self.loss = negative_logp(every, self.model, jacobian)
        updates = called("map_estimate: optimizer", optimizer, self.loss, self.params)
        self.updates = merge(updates, random_updates(self.loss))
        self.losses = np.empty(0)
        self.stopped = None
        self._every = every
        # Where something is not finite, these tell what; the gradients are those of the rule, and computed once.
        suspects = [self.updates.get(p, p) for p in self.params] + pytensor.grad(self.loss, self.params)
        is_finite = pt.stack([~pt.any(pt.isnan(x) | pt.isinf(x)) for x in suspects])
        with self.model:  # which says whether parameters are checked
            self._step = pm.compile(
                [], [self.loss, is_finite], updates=self.updates, random_seed=seed, **(compile_kwargs or {})
            )

    def fit(
        self,
        steps: int = 10_000,
        callbacks: Iterable[Callable[[MAP, np.ndarray, int], object]] = (),
        progressbar: bool = True,
    ) -> MAP:
        """Make steps.

        Parameters
        ----------
        steps : int
            Their number, at most.
        callbacks : iterable of callables
            Called after each step as ``callback(run, losses, i)``, like those of ``pm.fit``: with this run, whose
            ``params`` are shared variables, all losses so far, and the number of steps made in all. One that raises
            StopIteration ends the run, and so does the interrupt key.
        progressbar : bool
            Show the progress.

        Returns
        -------
        MAP
            This run.

        Raises
        ------
        FloatingPointError
            If the loss is not finite at the first step of all: it names the terms of the log-probability that are
            not. If the next value of a variable is not finite: it names the variables, those whose gradient is at
            fault, and the remedies.
        """
        whole_number("map_estimate: steps", steps, least=0)
        flag("map_estimate: progressbar", progressbar)
        callbacks = listed("map_estimate: callbacks", callbacks, "functions")
        if strange := [f for f in callbacks if not callable(f)]:
            raise TypeError(f"map_estimate: callbacks must be functions, but {strange[0]!r} is not.")
        done = len(self.losses)
        losses = np.concatenate([self.losses, np.full(steps, np.nan)])
        self.stopped = None
        i = done
        try:
            with progress(steps, shown=progressbar) as report:
                for i in range(done, done + steps):
                    loss, is_finite = self._step()
                    losses[i] = loss
                    if i == 0 and not np.isfinite(losses[0]):
                        raise FloatingPointError(self._bad_start(losses[0]))
                    if not np.all(is_finite[: len(self.params)]):
                        raise FloatingPointError(self._not_finite(i + 1, losses[i], np.asarray(is_finite)))
                    self.losses = losses[: i + 1]
                    for callback in callbacks:
                        callback(self, self.losses, i + 1)
                    report(i + 1 - done, self.losses)
        except (KeyboardInterrupt, StopIteration) as stop:
            self.stopped = str(stop)
            logger.info("Stopped after %d steps. %s", len(self.losses), stop)
        finally:
            to_numpy(self.updates)
        if steps and not np.isfinite(self.losses[-1]):
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


class progress:
    """A bar on the terminal, or nothing."""

    def __init__(self, steps, shown):
        self.steps, self.shown, self.last = steps, shown, 0.0

    def __enter__(self):
        if not self.shown:
            return lambda done, losses: None
        from rich.progress import MofNCompleteColumn, Progress, TextColumn  # PyMC needs it too

        columns = [*Progress.get_default_columns(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}")]
        self.bar = Progress(*columns)
        self.task = self.bar.add_task("MAP", total=self.steps, loss="")
        self.bar.start()
        return self.report

    def report(self, done, losses):
        now = time.perf_counter()
        if now - self.last > 0.1 or done == self.steps:
            self.last = now
            self.bar.update(self.task, completed=done, loss=f"loss {losses[-100:].mean():,.5g}")

    def __exit__(self, *exception):
        if self.shown:
            self.bar.stop()


# --- Variational inference --------------------------------------------------------------------------------------------


class Optimizer:
    """An optimizer for ``pm.fit(obj_optimizer=...)`` that one can look into, and that takes care of what PyMC does not.

    It goes there like the optimizer it is made of, and with the same numbers. After the call, ``updates`` is its dict:
    for checkpoints, averages and adjustable hyper-parameters.

    Parameters
    ----------
    optimizer : callable
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`.
    inference : pymc.variational.inference.Inference, optional
        What is to be fitted, such as ``pm.ADVI()``, for rules that take the loss, such as :func:`~symupdates.sam` and
        :func:`~symupdates.adahessian`. PyMC passes gradients only; with this, the rule is given the negative ELBO.
    n_mc : int
        With `inference`: the number of draws from the approximation for each evaluation of that loss; what
        ``obj_n_mc`` is else. ``more_replacements`` and ``total_grad_norm_constraint`` of ``pm.fit`` are not applied to
        it: for the latter, have a rule inside that takes gradients, such as the one of :func:`~symupdates.sam`, clip.
    fixed_draws : bool
        With `inference`: make all steps with the same draws, so that the loss is a function, with a minimum to be
        found to any accuracy by :func:`~symupdates.lbfgs` [1]_. `n_mc` should then be large, 30 say.
    seed : int, optional
        Seeds the generators that are advanced here and not by PyMC: without a score, or with `inference`.

    Attributes
    ----------
    updates : OrderedDict or None
        The updates of the last call: those of the optimizer, and of the generators that the gradients draw from.

    Raises
    ------
    TypeError
        If `optimizer` is not callable.
    ValueError
        When it is called: if `inference` has no loss (SVGD has gradients only); if `fixed_draws` are asked for where
        minibatches are drawn; if the parameters are of another inference.

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
        optimizer: OptimizerLike,
        inference: Any = None,
        n_mc: int = 1,
        fixed_draws: bool = False,
        seed: int | None = None,
    ):
        check_optimizer("symupdates.pymc.Optimizer: optimizer", optimizer)
        if not isinstance(inference, Inference | None):
            raise TypeError(
                f"symupdates.pymc.Optimizer: inference must be one of PyMC's, such as pm.ADVI(), not {inference!r}."
            )
        self.optimizer = optimizer
        self.inference = inference
        self.n_mc = whole_number("symupdates.pymc.Optimizer: n_mc", n_mc)
        self.fixed_draws = flag("symupdates.pymc.Optimizer: fixed_draws", fixed_draws)
        self.seed = checked_seed("symupdates.pymc.Optimizer", seed)
        self.updates = None
        if inference is None and fixed_draws:
            raise ValueError("symupdates.pymc.Optimizer: fixed_draws are those of an inference; give it as well.")

    def __call__(self, loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None) -> Updates:
        target = loss_or_grads if self.inference is None else self._loss(params)
        generators = {} if self.fixed_draws else random_updates(target)
        reseed(generators, self.seed)
        updates = called("symupdates.pymc.Optimizer: optimizer", self.optimizer, target, params)
        self.updates = merge(updates, generators)
        return self.updates

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
