"""Line searches, a trial each update: for the directions of nonlinear conjugate gradients, and of any optimizer.

:mod:`symupdates.rules.lbfgs` searches with the same.
"""

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import and_, maximum, or_, sqrt, switch

from symupdates.core import (
    astype,
    awaits,
    called,
    check_optimizer,
    extend,
    get_or_compute_grads,
    inner,
    prepare,
    require_loss,
    whole_number,
)
from symupdates.core.parameters import whole_params
from symupdates.core.ranges import FRACTION, POSITIVE, in_order
from symupdates.core.state import Group, within
from symupdates.typing import Hyper, Loss, Optimizer, OptimizerLike, Parameters, Updates

__all__ = ["line_search", "nonlinear_cg"]


class Search:
    r"""Where a search along a direction stands, after the trial that the parameters are at.

    With :math:`\phi(a) = f(x + a d)`, it ends at a trial :math:`a` that satisfies the strong Wolfe conditions; without
    `c2`, the first of them. It is the pair of algorithms 3.5 and 3.6 of Nocedal and Wright, one trial each update, and
    its bracket is open while both ends are the same. With `most`, no trial is larger, and it ends there if the loss
    still falls.

    Attributes
    ----------
    begins : boolean scalar
        Nothing has been tried from here: the first update, or one after a search that was given up.
    arrives : boolean scalar
        The next direction starts here: the search ends, or `begins`.
    fails : boolean scalar
        The search is given up, and the best point is where it began.
    failed : boolean scalar
        The last search was, and this `begins`.
    phi, phi_0 : scalars
        The loss at the trial, and where the search began.
    """

    def __init__(self, step, loss, grads, d, c1, c2, max_trials, most=None):
        self.step = step
        self.search = step.state(None, "search", 0.0, (9,), step.dtype)
        self.trials = step.count("trials")
        self.evaluations = step.count("evaluations")
        a, phi_0, slope_0, *bracket = (self.search[i] for i in range(9))
        phi, slope = astype(loss, step.dtype), inner(grads, d)
        self.a, self.slope_0, self.phi_0, self.phi = a, slope_0, phi_0, phi
        self.begins = pt.eq(a, 0)
        self.failed = and_(self.begins, and_(pt.eq(bracket[0], 0), pt.neq(bracket[3], 0)))
        too_far = ~and_(phi <= phi_0 + c1 * a * slope_0, phi < bracket[1])
        is_last = self.trials + 1 >= max_trials
        is_end = ~too_far
        if c2 is not None:
            is_flat = or_(abs(slope) <= -c2 * slope_0, is_last)
            is_end = and_(is_end, is_flat if most is None else or_(is_flat, and_(a >= most, slope <= 0)))
        self.most = most
        self.arrives = or_(self.begins, is_end)
        self.gives_up = and_(~self.arrives, is_last)
        self.bracket = narrowed(bracket, a, phi, slope, too_far)
        self.fails = and_(self.gives_up, pt.eq(self.bracket[0], 0))

    def next(self, slope, first):
        """Set what is kept, and return how far the parameters go from the point along the direction.

        Parameters
        ----------
        slope, first : scalars
            Of the next direction, if this search `arrives`: the slope along it, and the first trial.
        """
        here = switch(self.gives_up, 0, trial_in(self.bracket, self.a, self.most))
        end = (pt.zeros_like(self.phi), self.phi, slope)
        there = pt.stack([first, self.phi, slope, *end, *end])
        kept = pt.stack([here, self.phi_0, self.slope_0, *self.bracket])
        step = self.step
        step[self.search] = switch(self.arrives, there, kept)
        step[self.trials] = switch(or_(self.arrives, self.gives_up), 0, self.trials + 1)
        step[self.evaluations] = self.evaluations + 1
        return switch(self.arrives, first, switch(self.gives_up, self.bracket[0], here))


def narrowed(bracket, a, phi, slope, too_far):
    """The bracket ``(lo, its phi and slope, hi, its phi and slope)`` after a trial; it is open while hi is lo."""
    lo, phi_lo, slope_lo, hi, phi_hi, slope_hi = bracket
    is_open = pt.eq(lo, hi)
    turns = switch(is_open, slope >= 0, slope * (hi - lo) >= 0)
    unknown = or_(pt.isnan(phi + slope), pt.isinf(phi + slope))
    far = (a, switch(unknown, phi_lo, phi), switch(unknown, -slope_lo, slope))  # bisects
    near = (a, phi, slope)
    new_lo = [switch(too_far, old, new) for old, new in zip((lo, phi_lo, slope_lo), near, strict=True)]
    kept = [switch(is_open, new, old) for new, old in zip(near, (hi, phi_hi, slope_hi), strict=True)]
    new_hi = [
        switch(too_far, beyond, switch(turns, before, keep))
        for beyond, before, keep in zip(far, (lo, phi_lo, slope_lo), kept, strict=True)
    ]
    return [*new_lo, *new_hi]


def trial_in(bracket, a, most=None):
    """The minimum of the cubic, equation 3.59, kept off the ends of the bracket; four times as far if it is open."""
    farther = 4 * a if most is None else pt.minimum(4 * a, most)
    lo, phi_lo, slope_lo, hi, phi_hi, slope_hi = bracket
    width = hi - lo
    d1 = slope_lo + slope_hi - 3 * (phi_hi - phi_lo) / width
    d2 = pt.sign(width) * sqrt(pt.maximum(d1**2 - slope_lo * slope_hi, 0))
    part = 1 - (slope_hi + d2 - d1) / (slope_hi - slope_lo + 2 * d2)
    least, half = (np.asarray(number, a.dtype) for number in (0.1, 0.5))
    part = switch(pt.isnan(part), half, pt.clip(part, least, 1 - least))
    return switch(pt.eq(lo, hi), farther, lo + part * width)


def at_most_one(slope):
    """The first trial along the negative gradient, of the slope there, where nothing tells a length: one at most."""
    return 1 / sqrt(maximum(1, -slope))


# --- Nonlinear conjugate gradients ------------------------------------------------------------------------------------

METHODS = {
    "hestenes_stiefel": lambda g, y, g_old, d: inner(g, y) / inner(d, y),
    "polak_ribiere": lambda g, y, g_old, d: maximum(0, inner(g, y) / inner(g_old, g_old)),
    "dai_yuan": lambda g, y, g_old, d: inner(g, g) / inner(d, y),
}


@awaits("loss_or_grads", "params")
def nonlinear_cg(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    c1: Hyper = 1e-4,
    c2: Hyper = 0.4,
    method: str = "hestenes_stiefel",
    max_trials: int = 20,
) -> Updates:
    r"""Nonlinear conjugate gradients, with a line search; each update is one trial of it.

    All parameters together are one vector :math:`x`, with :math:`g` the gradient there. The search along the direction
    :math:`d` is that of :func:`~symupdates.lbfgs`. Where it ends, with the gradient :math:`g'` and :math:`y = g' - g`,
    the next direction is

    .. math::
        d &\leftarrow -g' + \beta\, d \\
        \beta &= \begin{cases}
            g'^\top y \,/\, d^\top y & \text{Hestenes and Stiefel} \\
            \max\left(0,\; g'^\top y \,/\, g^\top g\right) & \text{Polak and Ribière} \\
            g'^\top g' \,/\, d^\top y & \text{Dai and Yuan}
        \end{cases}

    and the first trial along it is the minimum of the parabola of its slope that falls as much as the loss just did.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, the same function at every update; not gradients, which do not tell its value.
    params : iterable of shared variables
        The parameters, float32 or float64.
    learning_rate : hyper-parameter
        A factor of the first trial of each search, without unit. Along the negative gradient, at the start, that is a
        step as long as the gradient, but at most one. Finite and above 0.
    c1, c2 : hyper-parameter
        The least decrease, and the largest slope that is left, as fractions of the slope at the beginning; :math:`0 <
        c_1 < c_2 < 1`. Directions stay conjugate by searches that are nearly exact, so `c2` is less than that of
        :func:`~symupdates.lbfgs`; 0.4 as in SciPy, where the book has 0.1.
    method : str
        The formula of :math:`\beta`: ``"hestenes_stiefel"``, ``"polak_ribiere"``, that is PR+, or ``"dai_yuan"``. The
        default is the one that needed the fewest evaluations, on functions of Rosenbrock, Beale and Powell, of
        logistic regression and of squares, from 44 points: 9 246, and PR+ 12 456, where SciPy's ``"CG"`` took 10 316.
    max_trials : int
        The number of trials after which a search is given up.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``x``, ``g`` and ``d``, then its own; last ``search``,
        ``trials`` and ``evaluations``.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.
    ValueError
        If `method` is none of the three; if `max_trials` is not a whole number of at least 1.

    Notes
    -----
    For what :func:`~symupdates.lbfgs` is for, with two vectors of memory in the place of twenty-two; that one needs
    fewer evaluations. What is said there of minibatches, of trials and of the point ``x`` that was reached holds here.

    A direction that does not descend, which a search that was not exact can leave, is replaced by the negative
    gradient; so is the one after a search that was given up. With a quadratic loss and exact searches, all three are
    the method of conjugate gradients.

    State: ``x``, ``g`` and ``d``, the point, its gradient and the direction, of the parameter's shape and dtype, at
    first its value and zeros; ``search``, ``trials`` and ``evaluations`` as of :func:`~symupdates.lbfgs`.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Nocedal and S. J. Wright (2006). Numerical optimization, second edition, section 5.2. Springer.
    .. [2] E. Polak and G. Ribière (1969). Note sur la convergence de méthodes de directions conjuguées. Revue française
       d'informatique et de recherche opérationnelle 3(16).
    .. [3] M. R. Hestenes and E. Stiefel (1952). Methods of conjugate gradients for solving linear systems. Journal of
       Research of the National Bureau of Standards 49(6).
    .. [4] Y. H. Dai and Y. Yuan (1999). A nonlinear conjugate gradient method with a strong global convergence
       property. SIAM Journal on Optimization 10(1).
    """
    whole_number("nonlinear_cg: max_trials", max_trials)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"nonlinear_cg: method must be {', '.join(map(repr, METHODS))}, not {method!r}.")
    loss = require_loss("nonlinear_cg", loss_or_grads)
    wolfe = {"c1": FRACTION(c1), "c2": FRACTION(c2)}
    step = prepare("nonlinear_cg", loss, params, learning_rate=POSITIVE(learning_rate), **wolfe)
    in_order("nonlinear_cg", c1=c1, c2=c2)
    params, grads = step.params, [g for _, g, _ in step]
    if not params:
        return step.finish()
    eta, c1, c2 = step.hyper(step.dtype)
    x = [step.stand_in(p, "x") for p in params]
    g, d = ([step.state(p, slot) for p in params] for slot in "gd")
    search = Search(step, loss, grads, d, c1, c2, max_trials)

    y = [g_p - old for g_p, old in zip(grads, g, strict=True)]
    beta = METHODS[method](grads, y, g, d)
    conjugate = [-g_p + astype(beta, g_p.dtype) * d_p for g_p, d_p in zip(grads, d, strict=True)]
    goes_on = and_(~search.begins, inner(grads, conjugate) < 0)
    direction = [switch(goes_on, way, -g_p) for way, g_p in zip(conjugate, grads, strict=True)]
    slope = inner(grads, direction)
    a = search.next(slope, eta * switch(goes_on, 2 * (search.phi - search.phi_0) / slope, at_most_one(slope)))
    for i, (p, g_p, _) in enumerate(step):
        step[x[i]] = switch(search.arrives, p, x[i])
        step[g[i]] = switch(search.arrives, g_p, g[i])
        step[d[i]] = switch(search.arrives, direction[i], d[i])
        step[p] = step[x[i]] + astype(a, p.dtype) * step[d[i]]
    return step.finish()


# --- Any direction ----------------------------------------------------------------------------------------------------


def line_search(
    optimizer: OptimizerLike,
    learning_rate: Hyper = 1.0,
    c1: Hyper = 1e-4,
    c2: Hyper | None = 0.9,
    max_trials: int = 20,
) -> Optimizer:
    r"""Search along the step of any optimizer, for the strong Wolfe conditions or by backtracking; a trial each update.

    With :math:`u` the step that `optimizer` makes from the point :math:`x`, of which all parameters together are one
    vector, and :math:`\phi(a) = f(x + a u)`, the next trial :math:`a` is searched for until

    .. math::
        \phi(a) &\le \phi(0) + c_1 a\, \phi'(0) \\
        |\phi'(a)| &\le c_2\, |\phi'(0)|

    Then the point moves there, and the optimizer makes its next step from it.

    Parameters
    ----------
    optimizer : callable
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`, which updates every
        parameter.
    learning_rate : hyper-parameter
        The first trial of each search, without unit: 1 is the optimizer's own step. Finite and above 0.
    c1, c2 : hyper-parameter
        The least decrease, and the largest slope that is left, as fractions of the slope at the beginning; :math:`0 <
        c_1 < c_2 < 1`. With None for `c2`, the first condition is enough: that is backtracking, by cubics.
    max_trials : int
        The number of trials after which a search is given up.

    Returns
    -------
    callable
        ``optimizer(loss, params)``, as :func:`~symupdates.chain` returns it. Its dict has the keys of that of
        `optimizer`, then ``x`` and ``d`` of each parameter, and ``search``, ``trials`` and ``evaluations``.

    Raises
    ------
    TypeError
        If `optimizer` is not callable. When it is called: if gradients are given in the place of the loss.
    ValueError
        If `max_trials` is not a whole number of at least 1. When it is called: if the optimizer leaves parameters out.

    Notes
    -----
    For a loss that is the same at every update, and steps whose direction is good and whose length is not known: those
    of :func:`~symupdates.sgd`, :func:`~symupdates.natural_gradient` or :func:`~symupdates.gauss_newton` ::

        line_search(gauss_newton(outputs=[y]), c2=None)

    The optimizer's state and counts stand still while a search goes on, so they count the steps that were made. If a
    step does not descend, or nothing lower is found along it, the search is along the negative gradient. What is said
    of :func:`~symupdates.lbfgs` about trials, and of the point ``x`` that was reached, holds here; what stands after
    this in a chain is not known to the search. In optax, ``scale_by_zoom_linesearch`` and
    ``scale_by_backtracking_linesearch`` make the whole search in one update, of several evaluations.

    State: ``x`` and ``d``, the point and the step, of the parameter's shape and dtype, at first its value and zeros;
    ``search``, ``trials`` and ``evaluations`` as of :func:`~symupdates.lbfgs`. It keeps nothing else.

    References
    ----------
    .. [1] J. Nocedal and S. J. Wright (2006). Numerical optimization, second edition, algorithms 3.1, 3.5 and 3.6.
       Springer.
    """
    check_optimizer("line_search: optimizer", optimizer)
    whole_number("line_search: max_trials", max_trials)
    return searched(optimizer=optimizer, learning_rate=learning_rate, c1=c1, c2=c2, max_trials=max_trials)


@awaits("loss_or_grads", "params", name="line_search")
def searched(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    *,
    optimizer: OptimizerLike,
    learning_rate: Hyper,
    c1: Hyper,
    c2: Hyper | None,
    max_trials: int,
) -> Updates:
    params = whole_params("line_search", params)
    loss = require_loss("line_search", loss_or_grads)
    grads = get_or_compute_grads(loss, params)
    with within(Group(is_part=True)):
        updates = called("line_search: optimizer", optimizer, loss, params)
    wolfe = {"c1": FRACTION(c1)} if c2 is None else {"c1": FRACTION(c1), "c2": FRACTION(c2)}
    step = extend("line_search", updates, params, learning_rate=POSITIVE(learning_rate), **wolfe)
    if c2 is not None:
        in_order("line_search", c1=c1, c2=c2)
    if not params:
        return step.finish()
    eta, c1, *c2 = step.hyper(step.dtype)
    x, d = [step.stand_in(p, "x") for p in params], [step.state(p, "d") for p in params]
    search = Search(step, loss, grads, d, c1, c2[0] if c2 else None, max_trials)
    step.hold(search.arrives)

    steps = [p_next - p for p, p_next, _ in step]
    descends = and_(~search.failed, inner(grads, steps) < 0)
    direction = [switch(descends, u, -g) for u, g in zip(steps, grads, strict=True)]
    slope = inner(grads, direction)
    a = search.next(slope, eta * switch(descends, 1, at_most_one(slope)))
    for i, p in enumerate(params):
        step[x[i]] = switch(search.arrives, p, x[i])
        step[d[i]] = switch(search.arrives, direction[i], d[i])
        step[p] = step[x[i]] + astype(a, p.dtype) * step[d[i]]
    return step.finish()
