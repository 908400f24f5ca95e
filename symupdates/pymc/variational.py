"""Variational fits that end by themselves."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.variational import Inference
from pytensor.graph.replace import graph_replace

from symupdates.compose import chain
from symupdates.core import called, check_optimizer, whole_number
from symupdates.core.checks import listed
from symupdates.core.state import is_state
from symupdates.pymc.estimates import interrupts_held
from symupdates.pymc.fits import coordinates
from symupdates.pymc.stationary import Iterates, effective_size, split_rhat
from symupdates.rules.adam import adam
from symupdates.transforms import adjustable, apply_if_finite
from symupdates.typing import OptimizerLike

logger = logging.getLogger(__name__)

RHAT, LEAST_ESS = 1.1, 10
STARTS = (1 / 8, 1 / 4, 1 / 2)  # of the windows whose iterates may be stationary, as parts of a round
FALL = 1 / 4  # of the learning rate, from round to round


class Round(NamedTuple):
    r"""What a round of :func:`fit` came to. Of the parameters' elements, each number is that of the worst.

    Attributes
    ----------
    steps : int
        Those of the round.
    scale : float
        What the learning rate was multiplied by.
    averaged : int
        How many of the last steps have been averaged; 0 if none, for the iterates were not stationary.
    rhat, ess, mcse : float
        Their split :math:`\hat R`, their effective sample size, and the Monte Carlo standard error of their average,
        in standard deviations of the approximation; NaN where nothing was averaged.
    moved : float
        How far the average is from that of the round before, in the same unit; NaN in the first.
    """

    steps: int
    scale: float
    averaged: int
    rhat: float
    ess: float
    mcse: float
    moved: float


class Convergence(NamedTuple):
    """How a :func:`fit` ended.

    Attributes
    ----------
    converged : bool
        Whether it had reached what it was to reach.
    reason : str
        What it came to.
    stopped : str or None
        What a callback said that ended it, ``""`` if nothing, as of the interrupt key; None if none did.
    steps : int
        The number of steps made.
    rounds : list of Round
        What each round came to.
    mcse : dict
        By the names of the approximation's parameters, the standard errors of their averages, as arrays in the
        parameters' own units; empty if nothing was averaged.
    """

    converged: bool
    reason: str
    stopped: str | None
    steps: int
    rounds: list[Round]
    mcse: dict[str, np.ndarray]


def fit(
    n: int = 100_000,
    method: str | Inference = "advi",
    model: pm.Model | None = None,
    random_seed: Any = None,
    *,
    obj_optimizer: OptimizerLike | None = None,
    tol: float = 0.05,
    callbacks: Iterable[Callable[[Any, np.ndarray, int], object]] = (),
    **kwargs: Any,
) -> Any:
    r"""``pm.fit`` until the averaged parameters stand still: in rounds, of a learning rate that falls.

    At a constant rate, the iterates of an optimizer end as a Markov chain around the optimum. A round lasts until they
    are stationary, which is when for each element of the parameters

    .. math:: \hat R \le 1.1, \qquad \mathrm{ESS} \ge 10, \qquad \mathrm{MCSE} \le \mathrm{tol}

    in a window of the last seven eighths of the round, three quarters, or half, the longest that will do. The next one
    begins at their average, at a quarter of the rate. The error of an average that a constant rate leaves is in
    proportion to the rate, so that of it a third of what the average has moved remains. The fit has converged when
    that is no more than `tol`, or than the standard error of the difference. It ends there, and the approximation has
    that average as its parameters.

    Parameters
    ----------
    n : int
        The number of steps, at most.
    method : str or pymc.variational.inference.Inference
        ``"advi"``, ``"fullrank_advi"``, or an inference of such approximations, ``pm.ADVI()``, which goes on with the
        parameters it has.
    model : pymc.Model, optional
        By default the model of the context. Observed data may be ``pm.Minibatch``.
    random_seed : int, optional
        As for ``pm.fit``.
    obj_optimizer : callable, optional
        The optimizer, at a constant rate: a rule, a chain or PyMC's. The rates that fall are its arguments
        `learning_rate` that are numbers. If it has none, as with a schedule, or one of PyMC's, there is one round, and
        no look at what a smaller rate would change. By default ``chain(adam(learning_rate=0.05), apply_if_finite())``.
    tol : float
        The standard error that will do, in standard deviations of the approximation: of a coordinate of the
        unconstrained values, for its mean; for what gives its standard deviation, as much as moves a draw one
        deviation off. The steps needed grow as its inverse square.
    callbacks : iterable of callables
        As for ``pm.fit``: called after each step, ``callback(approx, losses, i)``. One that raises StopIteration ends
        the fit.
    **kwargs : optional
        All that ``pm.fit`` takes: ``obj_n_mc``, ``start``, ``progressbar``, ``compile_kwargs`` and so on.

    Returns
    -------
    pymc.variational.Approximation
        As of ``pm.fit``, and with how it ended as its attribute ``convergence``: a :class:`Convergence`. The parameters
        are the last average, of stationary iterates, even if it did not converge or was interrupted, or as the last
        step left them if there is none.

    Raises
    ------
    ValueError
        For methods whose parameters are not those of normal distributions, such as SVGD; for a `tol` that is not above
        zero.
    TypeError
        If `obj_optimizer` is not callable, or `callbacks` are not.

    Warns
    -----
    UserWarning
        If the fit did not converge, unless it was stopped.

    Notes
    -----
    This is the stopping rule of [1]_, with rates that fall as in [2]_. The diagnostics are of the means of up to 128
    blocks of iterates, so that memory does not grow with the steps.

    An interrupt waits for the end of the step, and leaves what has been found. A fit that ended too early goes on as
    ``fit(method=inference, ...)``.

    References
    ----------
    .. [1] A. K. Dhaka, A. Catalina, M. R. Andersen, M. Magnusson, J. H. Huggins and A. Vehtari (2020). Robust, accurate
       stochastic optimization for variational inference. NeurIPS. arXiv:2009.00666.
    .. [2] M. Welandawe, M. R. Andersen, A. Vehtari and J. H. Huggins (2024). A framework for improving the reliability
       of black-box variational inference. Journal of Machine Learning Research 25(219). arXiv:2203.15945.

    Examples
    --------
    >>> import numpy as np, pymc as pm, symupdates.pymc
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=np.linspace(0, 1, 10))
    ...     approx = symupdates.pymc.fit(random_seed=1, progressbar=False)
    >>> approx.convergence.converged
    True
    >>> bool(abs(approx.mean.eval()[0] - 5 / 11) < 4 * approx.convergence.mcse["mu"][0])
    True
    """
    whole_number("symupdates.pymc.fit: n", n)
    if not (isinstance(tol, int | float | np.number) and 0 < tol < np.inf):
        raise ValueError(f"symupdates.pymc.fit: tol must be a number above 0, not {tol!r}.")
    if obj_optimizer is None:
        obj_optimizer = chain(adam(learning_rate=0.05), apply_if_finite())
    check_optimizer("symupdates.pymc.fit: obj_optimizer", obj_optimizer)
    callbacks = listed("symupdates.pymc.fit: callbacks", callbacks or (), "functions")
    if strange := [f for f in callbacks if not callable(f)]:
        raise TypeError(f"symupdates.pymc.fit: callbacks must be functions, but {strange[0]!r} is not.")
    is_svgd = not method.objective.op.returns_loss if isinstance(method, Inference) else "svgd" in str(method).lower()
    if is_svgd:
        raise ValueError(
            f"symupdates.pymc.fit: {method} moves particles, whose deviations are not parameters; it is for ADVI and "
            "full-rank ADVI. Give pm.fit so many steps."
        )
    approx = None
    try:
        with ExitStack() as stack:
            rounds = Rounds(obj_optimizer, tol, callbacks, lambda: stack.enter_context(interrupts_held()))
            kwargs |= {"random_seed": random_seed, "obj_optimizer": rounds.optimizer, "callbacks": [rounds]}
            approx = pm.fit(n, method, model, **kwargs)
    except KeyboardInterrupt:
        if approx is None:  # while it compiled
            raise
    approx.convergence = end = rounds.finish(approx, n)
    if not end.converged and end.stopped is None:
        warnings.warn(
            f"symupdates.pymc.fit: not converged after {end.steps} steps: {end.reason}. Make more steps, with a larger "
            "n; give the tol that will do; or look at the model for what the data and the prior say nothing of.",
            stacklevel=2,
        )
    return approx


class Rounds:
    """An optimizer for ``pm.fit``, and the callback that ends its rounds, and the fit."""

    def __init__(self, optimizer, tol, callbacks, hold_interrupts):
        self.wrapped, self.tol, self.callbacks, self.hold_interrupts = optimizer, tol, callbacks, hold_interrupts
        self.scale, self.steps, self.rounds = 1.0, 0, []
        self.window = self.before = self.iterates = self.stopped = None
        self.converged, self.reason = False, "no step was made"

    def optimizer(self, loss_or_grads, params):
        updates = adjustable(called("symupdates.pymc.fit: obj_optimizer", self.wrapped, loss_or_grads, params))
        rates = [v for v in updates if is_state(v) and v.tag.symupdates.slot == "learning_rate"]
        self.rates = {v: v.get_value() for v in rates}
        return updates

    def __call__(self, approx, losses, i):
        if self.iterates is None:
            self.let_go = self.hold_interrupts()
            self.vectors = Vectors(approx)
            self.begin()
        self.steps += 1
        self.iterates.add(self.vectors.now())
        try:
            self.let_go()
            for callback in self.callbacks:
                callback(approx, losses, i)
        except (KeyboardInterrupt, StopIteration) as stop:
            self.stopped = str(stop)
            raise
        if len(self.iterates) >= self.next_look:
            self.next_look = int(1.2 * self.next_look)
            if self.is_known():
                self.end()

    def begin(self):
        self.iterates, self.next_look = Iterates(len(self.vectors.now())), 200

    def is_known(self):
        """Look for a window of stationary iterates, and whether its average is known well enough."""
        self.window = self.longest_window()
        if self.window is None:
            return False
        worst = np.argmax(self.window.mcse / self.window.unit)
        error, size = self.window.mcse[worst] / self.window.unit[worst], self.window.ess.min()
        self.reason = (
            f"the average of {self.vectors.name(worst)} is known to {error:.2g} standard deviations, tol is "
            f"{self.tol:g}, and the least effective sample size {size:.0f}"
        )
        return error <= self.tol and size >= LEAST_ESS

    def longest_window(self):
        blocks = self.iterates.blocks
        for start in STARTS:
            means = blocks[int(start * len(blocks)) :]
            if len(means) < 16:
                self.reason = "too few were made to tell"
                return None
            rhat = split_rhat(means)
            if rhat.max() <= RHAT:
                ess = effective_size(means)
                average = means.mean(axis=0)
                mcse = means.std(axis=0, ddof=1) / np.sqrt(ess)
                return Window(len(means) * self.iterates.length, average, rhat, ess, mcse, self.vectors.unit(average))
        self.reason = f"the iterates of {self.vectors.name(np.argmax(rhat))} are not stationary, R-hat {rhat.max():.2f}"
        return None

    def end(self):
        """End the round, and the fit if its average is where the one before was."""
        window, before = self.window, self.before
        self.add_round()
        past = self.rounds[-1]
        if before is not None:
            distance = abs(window.average - before.average)
            left = distance * FALL / (1 - FALL)
            excess = left / np.maximum(self.tol * window.unit, np.hypot(window.mcse, before.mcse))
            worst = np.argmax(excess)
            self.reason = (
                f"from round {len(self.rounds) - 1} to {len(self.rounds)}, the average of {self.vectors.name(worst)} "
                f"moved by {distance[worst] / window.unit[worst]:.2g} standard deviations"
            )
        self.converged = bool(not self.rates or (before is not None and excess[worst] <= 1))
        logger.info("Round %d: %d steps, %d averaged; %s.", len(self.rounds), past.steps, past.averaged, self.reason)
        if self.converged:
            raise StopIteration(f"Converged: {self.reason}.")
        self.vectors.put(window.average)
        self.scale *= FALL
        for v, rate in self.rates.items():
            v.set_value(rate * self.scale)
        self.before = window
        self.begin()

    def add_round(self):
        window, before = self.window, self.before
        averaged, numbers = 0, [np.nan] * 4
        if window is not None:
            averaged = window.steps
            moved = np.nan if before is None else abs(window.average - before.average) / window.unit
            numbers = [window.rhat.max(), window.ess.min(), np.max(window.mcse / window.unit), np.max(moved)]
        self.rounds.append(Round(len(self.iterates), self.scale, averaged, *map(float, numbers)))

    def finish(self, approx, n):
        """Put the best average in place, and tell how it ended."""
        if not self.converged:
            if self.iterates is not None and len(self.iterates):
                self.is_known()
                self.add_round()
            if self.steps < n and self.stopped is None:
                self.stopped = ""
        best = self.window or self.before
        if best is not None:
            self.vectors.put(best.average)
        mcse = {} if best is None else self.vectors.parts(best.mcse)
        return Convergence(self.converged, self.reason, self.stopped, self.steps, self.rounds, mcse)


class Window(NamedTuple):
    """Stationary iterates: their number; of each element, the average and the diagnostics; and what its unit is."""

    steps: int
    average: np.ndarray
    rhat: np.ndarray
    ess: np.ndarray
    mcse: np.ndarray
    unit: np.ndarray


class Vectors:
    """The parameters of an approximation, all of them vectors, as one."""

    def __init__(self, approx):
        self.groups, self.params = approx.groups, list(approx.params)
        self.ends = np.cumsum([len(p.get_value(borrow=True)) for p in self.params])
        self._units = units(self.groups, self.params)

    def now(self):
        return np.concatenate([p.get_value(borrow=True) for p in self.params])

    def split(self, vector):
        return [x.astype(p.dtype) for p, x in zip(self.params, np.split(vector, self.ends[:-1]), strict=True)]

    def parts(self, vector):
        return {p.name: x for p, x in zip(self.params, self.split(vector), strict=True)}

    def put(self, vector):
        for p, x in zip(self.params, self.split(vector), strict=True):
            p.set_value(x)

    def unit(self, vector):
        """What moves a draw of the coordinate that each element belongs to by one standard deviation."""
        return np.concatenate(self._units(*self.split(vector)))

    def name(self, i):
        """The parameter of an element, and the variable that it is of."""
        k = int(np.searchsorted(self.ends, i, side="right"))
        p = self.params[k]
        (group,) = (g for g in self.groups if p in g.params)
        coordinate = coordinates(p, group.ddim)[i - self.ends[k]]
        (variable,) = (name for name, place, *_ in group.ordering.values() if place.start <= coordinate < place.stop)
        return f"{p.name} of {variable}"


def units(groups, params):
    """A function of parameters, that gives the units of their elements.

    Draws are a function of the parameters and of noise, in which each element is of one coordinate. Where the noise is
    one, its derivative is what moves by an element, and multiplies the noise.
    """
    found = {}
    for group in groups:
        ones = pt.ones((1, group.ddim), dtype=group.symbolic_initial.dtype)
        [draw] = graph_replace([group.symbolic_random], {group.symbolic_initial: ones}, strict=True)
        for p, slope in zip(group.params, pytensor.grad(draw.sum(), group.params), strict=True):
            found[p] = group.std[coordinates(p, group.ddim)] / abs(slope)
    places = {p: p.type() for p in params}
    outputs = graph_replace([found[p] for p in params], places, strict=True)
    return pytensor.function(list(places.values()), outputs, mode="FAST_COMPILE")
