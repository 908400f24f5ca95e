"""The maximum a posteriori, by any rule."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import graph_inputs

from symupdates.compose import chain, merge
from symupdates.core import called, check_optimizer, flag, whole_number
from symupdates.core.awaits import in_words, offering
from symupdates.core.checks import listed
from symupdates.core.program import moved
from symupdates.core.state import (
    Call,
    advances,
    call_state,
    stand_ins,
)
from symupdates.pymc.curvature import in_draws, normal_fit, with_group
from symupdates.pymc.likelihoods import divergence, loss_of_outputs
from symupdates.pymc.values import (
    as_estimate,
    as_point,
    check_mapping,
    chosen_values,
    counts,
    in_context,
    initial_points,
    negative_logp,
    new_shared,
    random_updates,
)
from symupdates.random import checked_seed
from symupdates.rules.adam import adam
from symupdates.rules.lbfgs import lbfgs
from symupdates.state import to_numpy
from symupdates.transforms import apply_ema
from symupdates.typing import OptimizerLike

logger = logging.getLogger(__name__)


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
    outputs: Variable | str | Sequence[Variable | str] | None = None,
    return_inferencedata: bool = False,
    compute_hessian: bool = False,
) -> Any:
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
    outputs : str or variable, or list or tuple of them, optional
        For rules that know of the outputs of a model, :func:`~symupdates.gauss_newton` and
        :func:`~symupdates.levenberg_marquardt`: the variable that the observed ones are distributed around, or the name
        of it: of a ``pm.Deterministic``, or of an expression that has one. :func:`~symupdates.natural_gradient` needs
        none: the divergence is that of the likelihoods, Normal, Poisson, Bernoulli, Categorical, and Binomial and
        NegativeBinomial where their `n`, or `alpha`, is given, all observed data together.
    return_inferencedata, compute_hessian : bool
        Return what :meth:`MAP.to_inferencedata` does, with the covariance at the estimate if `compute_hessian`.

    Returns
    -------
    dict
        Names and NumPy arrays, as of ``pm.find_MAP``: value variables, variables and deterministics.

    Raises
    ------
    ValueError, TypeError
        For discrete variables and other arguments that cannot be, as for :func:`shared_values`. For `outputs` that are
        no variable of the model, or of which no likelihood is a function, or that no rule asks for; without, if one
        does; for likelihoods whose divergence is asked for, and not known.
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

    There is no ``maxiter``: scipy counts searches along a line, each of one evaluation or more, and a rule does not
    tell which of its steps ends one. `steps` is what scipy calls ``maxfun``. `tol` bounds the norm of the gradient,
    where that of ``find_MAP`` bounds its largest element, and what the loss still falls by, too.

    Of what the loss has beside the likelihoods of the `outputs`, such as priors, rules that take these know the
    gradient and no curvature: where data say little of a variable, they need more steps, or damping.

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
        outputs=outputs,
    ).fit(steps, callbacks=callbacks, progressbar=progressbar, tol=tol, patience=patience)
    if flag("map_estimate: return_inferencedata", return_inferencedata):
        return run.to_inferencedata(compute_hessian=compute_hessian, averages=averages)
    if flag("map_estimate: compute_hessian", compute_hessian):
        raise ValueError("map_estimate: compute_hessian is for return_inferencedata=True; give it as well.")
    return run.estimate(include_transformed=include_transformed, averages=averages)


class MAP:
    """A run of :func:`map_estimate`: to be continued, saved and looked into.

    Building it compiles the step. ``run.fit(steps)`` trains, any number of times; ``run.estimate()`` is the result.

    Parameters
    ----------
    model, optimizer, vars, start, initvals, jitter, jacobian, seed, compile_kwargs, outputs : optional
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
        outputs: Variable | str | Sequence[Variable | str] | None = None,
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
        self._every, self.values = every, OrderedDict((v, every[v]) for v in chosen)
        self.jacobian, self.compile_kwargs = jacobian, dict(compile_kwargs or {})
        self.params = list(self.values.values())
        if outputs is None:
            self.loss, zs = negative_logp(every, self.model, jacobian), None
        else:
            self.loss, zs = loss_of_outputs(self.model, every, flag("map_estimate: jacobian", jacobian), outputs)
        if jitter:
            self._jitter(draw, every, np.random.default_rng(seed))
        self._draws = bool(moved({}, [self.loss])) or any(map(advances, graph_inputs([self.loss])))
        if optimizer is None:
            averaged = chain(adam(learning_rate=0.01), apply_ema(decay=0.99))
            optimizer = averaged if self._draws else lbfgs()
        updates = self._updates(optimizer, zs)
        self._losses = call_state(Call("map"), "losses", 0.0, self.loss.dtype, shape=(None,))
        self.updates = merge(updates, random_updates(self.loss), {self._losses: self._losses})
        self.stopped = self.converged = None
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
                **self.compile_kwargs,
            )

    @property
    def losses(self):
        return self._losses.get_value(borrow=True)

    def _updates(self, optimizer, zs):
        """Those of the optimizer, which is told of the model's outputs and the divergence of its likelihoods."""
        asked = []

        def of_model():
            asked.append(zs)
            if zs is None:
                raise ValueError('map_estimate: name the outputs of the model, such as outputs="mu".')
            return zs

        with offering(outputs=of_model, divergence=lambda: divergence(self.model, self._every, self.params)):
            updates = called("map_estimate: optimizer", optimizer, self.loss, self.params)
        if zs is not None and not asked:
            raise ValueError(
                f"map_estimate: {in_words(optimizer)} asks for no outputs; they are for rules such as gauss_newton."
            )
        return updates

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
        return as_estimate(self._found(averages), self.model, include_transformed)

    def point(self, averages: bool | None = None) -> dict[str, np.ndarray]:
        """The same in the terms of the value variables: :func:`as_point` of what the optimizer has found."""
        return as_point(self._found(averages))

    def to_inferencedata(self, compute_hessian: bool = False, averages: bool | None = None) -> Any:
        """What ``find_MAP(return_inferencedata=True)`` returns: the estimate as the only draw of a posterior.

        Parameters
        ----------
        compute_hessian : bool
            Add the inverse of the Hessian of the loss at the estimate, of one product for each of its rows, as
            ``covariance_matrix`` to the group ``fit``.
        averages : bool, optional
            As for :meth:`estimate`.

        Returns
        -------
        InferenceData, or DataTree of ArviZ 1
            ``posterior``, of variables and deterministics, whose attributes say how the run ended: ``converged``,
            ``stopped``, ``steps`` and the last ``loss``; and ``fit``, with the value variables as ``mean_vector``.

        Raises
        ------
        ValueError
            If there is to be a Hessian, and the model draws in each step.
        """
        point = self.point(averages)
        attrs = {
            "converged": str(self.converged),
            "stopped": self.stopped or "",
            "steps": len(self.losses),
            "loss": float(self.losses[-1]) if len(self.losses) else np.nan,
        }
        data = in_draws(self.model, {name: value[None] for name, value in point.items()}, attrs)
        return with_group(data, "fit", normal_fit(self, point, flag("map_estimate: compute_hessian", compute_hessian)))

    def _found(self, averages):
        """For all value variables the shared variables that have what the optimizer has found."""
        wanted = averages is None or flag("map_estimate: averages", averages)
        kept = stand_ins(self.updates) if wanted else {}
        if averages and not kept:
            raise ValueError("map_estimate: these updates keep no averages; add apply_ema() by a chain.")
        return {v: kept.get(shared, shared) for v, shared in self._every.items()}

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
