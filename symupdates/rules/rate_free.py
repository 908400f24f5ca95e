"""Rules that find the learning rate while they train."""

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import abs, clip, eq, maximum, minimum, sqrt, switch

from symupdates.core import (
    astype,
    awaits,
    called,
    check_optimizer,
    extend,
    flag,
    get_or_compute_grads,
    inner,
    norm,
    prepare,
    require_loss,
    rescaled,
    total,
    whole_number,
)
from symupdates.core.parameters import gradient_of, whole_params
from symupdates.core.ranges import BOUND, NON_NEGATIVE_RATE, POSITIVE, REAL, Range
from symupdates.core.types import positive
from symupdates.typing import Hyper, Loss, LossOrGrads, Optimizer, OptimizerLike, Parameters, Updates

__all__ = [
    "cocob",
    "dadapt_adam",
    "dog",
    "dowg",
    "hypergradient_adam",
    "hypergradient_sgd",
    "l_dog",
    "mechanic",
    "momo",
    "momo_adam",
    "polyak_step",
    "prodigy",
]


GROWTH = Range(low=1, has_low=True, has_high=True)


def corrected(step, eta, beta1, beta2):
    """The rate times the bias corrections of Adam."""
    return eta * sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)


# --- Estimates of the distance to the solution, from a lower bound ----------------------------------------------------


@awaits("loss_or_grads", "params")
def dadapt_adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    initial_distance: Hyper = 1e-6,
    bias_correction: bool = False,
) -> Updates:
    r"""D-Adaptation of Adam: its rate is an estimate of the distance to the solution, which grows with what is seen.

    With :math:`\lambda = d\,\eta`, :math:`\beta_3 = \sqrt{\beta_2}`, and sums over all elements of all parameters:

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, \lambda g \\
        r &\leftarrow \beta_3 r + (1 - \beta_3)\, \lambda \sum \frac{g\, s}{\sqrt{v} + \epsilon} \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        s &\leftarrow \beta_3 s + (1 - \beta_3)\, \lambda g \\
        p &\leftarrow p - \frac{m}{\sqrt{v} + \epsilon} - \lambda w\, p \\
        d &\leftarrow \max\left(d, \frac{r}{(1 - \beta_3) \sum |s|}\right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the rate that is found, without unit: 1, or a schedule that begins or peaks there.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages of the gradient and of its square. The defaults are Adam's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest.
    weight_decay : hyper-parameter
        The strength :math:`w` of a decay beside the step, as in :func:`~symupdates.adamw`; it follows the rate found.
    initial_distance : hyper-parameter
        The estimate :math:`d` to begin with, in units of the parameters: anything below the distance to the solution,
        measured by the coordinate that is farthest from it. The default is the paper's. Finite and above 0.
    bias_correction : bool
        Multiply :math:`\eta` by the bias corrections of Adam, :math:`\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)` in update
        :math:`t`, as optax does. The default is the paper's, which comes nearer on problems that are the same at every
        update; with it, large first gradients do less harm.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``s``, then its own; last, those
        of ``r`` and ``distance``; with `bias_correction`, the count.

    Notes
    -----
    The estimate never falls. In the paper, for descent without moving averages, it is a bound from below; here it may
    come out somewhat above the distance. :func:`prodigy` finds its rate in fewer steps.

    With `bias_correction` it is optax's ``contrib.dadapt_adamw``, whose estimate is not a number for good if the
    gradients of the first update are zero; here it waits.

    State: ``m``, ``v`` and ``s``, zero at first, of the parameter's shape and dtype; ``distance`` (:math:`d`) and
    ``r``, scalars, one for all parameters, of the widest of their dtypes, zero at first: `initial_distance` is a bound
    from below. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Defazio and K. Mishchenko (2023). Learning-rate-free learning by D-Adaptation. ICML. arXiv:2301.07733.
    """
    flag("dadapt_adam: bias_correction", bias_correction)
    step = prepare(
        "dadapt_adam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        initial_distance=POSITIVE(initial_distance),
    )
    eta, beta1, beta2, _, _, d0 = step.hyper(step.dtype)
    eta = corrected(step, eta, beta1, beta2) if bias_correction else eta
    distance, r = step.state(None, "distance"), step.state(None, "r")
    d, beta3 = maximum(distance, d0), sqrt(beta2)
    products, sums = [], []
    for p, g, (eta_p, beta1, beta2, eps, decay, _) in step:
        eta_p = corrected(step, eta_p, beta1, beta2) if bias_correction else eta_p
        m, v, s = (step.state(p, slot) for slot in "mvs")
        rate = step.rate(astype(d, p.dtype) * eta_p)
        products.append(g * astype(s / (sqrt(v) + eps), p.dtype))  # else rewritten to g s over the root, too large
        step[m] = beta1 * m + (1 - beta1) * rate * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[s] = sqrt(beta2) * s + (1 - sqrt(beta2)) * rate * g
        step[p] = p - step[m] / (sqrt(step[v]) + eps) - rate * decay * p
        sums.append(abs(step[s]))
    step[r] = beta3 * r + (1 - beta3) * d * eta * step.total(products)
    step[distance] = maximum(d, step[r] / positive((1 - beta3) * step.total(sums)))
    return step.finish()


@awaits("loss_or_grads", "params")
def prodigy(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
    initial_distance: Hyper = 1e-6,
    d_coef: Hyper = 1.0,
    bias_correction: bool = True,
    growth_rate: Hyper | None = None,
    safeguard_warmup: bool = False,
) -> Updates:
    r"""Prodigy: Adam whose rate is the estimated distance to the solution, found faster than by D-Adaptation.

    With :math:`p_0` the parameter at the start, :math:`\beta_3 = \sqrt{\beta_2}`, and sums over all elements of all
    parameters:

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, d\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, d^2 g^2 \\
        s &\leftarrow \beta_3 s + (1 - \beta_3)\, \eta\, d^2 g \\
        r &\leftarrow \beta_3 r + (1 - \beta_3)\, \eta\, d^2 \sum g\, (p_0 - p) \\
        p &\leftarrow p - \eta\, d \left( \frac{m}{\sqrt{v} + d\, \epsilon} + w\, p \right) \\
        d &\leftarrow \max\left(d, c\, \frac{r}{\sum |s|}\right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the rate that is found, without unit: 1, or a schedule that begins or peaks there, of
        which the authors recommend cosine annealing.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages of the gradient and of its square. The defaults are Adam's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest.
    weight_decay : hyper-parameter
        The strength :math:`w` of a decay beside the step, as in :func:`~symupdates.adamw`; it follows the rate found.
    initial_distance : hyper-parameter
        The estimate :math:`d` to begin with, in units of the parameters: anything below the distance to the solution,
        measured by the coordinate that is farthest from it. The default is the paper's. Finite and above 0.
    d_coef : hyper-parameter
        A factor :math:`c` on what is estimated, without unit: 0.5 or 2 where the rate that is found is too high or too
        low. The authors prefer it to :math:`\eta`. Finite and above 0.
    bias_correction : bool
        Multiply :math:`\eta` by the bias corrections of Adam, :math:`\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)` in update
        :math:`t`, as the authors' program can and optax does. Without, as in the paper, the first steps are up to three
        times as long. Where the first gradients are far larger than those later on, such steps may lead to where these
        do not lead back from, and the estimate never falls.
    growth_rate : hyper-parameter, optional
        The most that the estimate grows by in a step, as a factor of at least 1, infinite for none, once it is above
        :math:`d_0 =` `initial_distance`; the authors name 1.02 as a kind of warmup. By default it jumps. With it:

        .. math::
            b &\leftarrow \max\left(b, d, c\, \frac{r}{\sum |s|}\right) \\
            d &\leftarrow \begin{cases} b & \text{if } d = d_0 \\ \min(b, \gamma d) & \text{otherwise} \end{cases}
    safeguard_warmup : bool
        Leave :math:`\eta` out of :math:`s`, so that small rates do not make the estimate too large: for schedules with
        a warmup.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``s``, of its ``start``, then its
        own; last, those of ``r`` and ``distance``, with `growth_rate` that of ``best`` before it; with
        `bias_correction`, the count.

    Notes
    -----
    The estimate never falls. Four arrays are kept for each parameter, twice what Adam keeps.

    With `bias_correction`, and without `growth_rate`, it is optax's ``contrib.prodigy``, but for :math:`d\,\epsilon`,
    where that has, like the authors' program, the new estimate, which shows where gradients are not well above
    `epsilon`. Its estimate is not a number for good if the gradients of the first update are zero, or the rate, as in a
    warmup; here it waits.

    State: ``m``, ``v`` and ``s``, zero at first, and ``start`` (:math:`p_0`), the parameter when this is called, all
    of its shape and dtype; ``distance`` (:math:`d`) and ``r``, with `growth_rate` also ``best`` (:math:`b`), scalars,
    one for all parameters, of the widest of their dtypes, zero at first: `initial_distance` is a bound from below. If
    you set the parameters to other values before training, call :func:`symupdates.reset`. Hyper-parameters, partials
    and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] K. Mishchenko and A. Defazio (2024). Prodigy: an expeditiously adaptive parameter-free learner. ICML.
       arXiv:2306.06101.
    """
    flag("prodigy: bias_correction", bias_correction)
    flag("prodigy: safeguard_warmup", safeguard_warmup)
    step = prepare(
        "prodigy",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        initial_distance=POSITIVE(initial_distance),
        d_coef=POSITIVE(d_coef),
        **({} if growth_rate is None else {"growth_rate": GROWTH(growth_rate)}),
    )
    eta, beta1, beta2, _, _, d0, coef, *growth = step.hyper(step.dtype)
    eta = corrected(step, eta, beta1, beta2) if bias_correction else eta
    distance, r = step.state(None, "distance"), step.state(None, "r")
    d, beta3 = maximum(distance, d0), sqrt(beta2)
    products, sums = [], []
    for p, g, (eta_p, beta1, beta2, eps, decay, *_) in step:
        eta_p = corrected(step, eta_p, beta1, beta2) if bias_correction else eta_p
        m, v, s = (step.state(p, slot) for slot in "mvs")
        start = step.state(p, "start", initial=p)
        d_p = astype(d, p.dtype)
        products.append(g * (start - p))
        step[m] = beta1 * m + (1 - beta1) * d_p * g
        step[v] = beta2 * v + (1 - beta2) * (d_p * g) ** 2
        step[s] = sqrt(beta2) * s + (1 - sqrt(beta2)) * (1 if safeguard_warmup else eta_p) * d_p**2 * g
        step[start] = start
        step[p] = p - step.rate(eta_p * d_p) * (step[m] / (sqrt(step[v]) + d_p * eps) + decay * p)
        sums.append(abs(step[s]))
    step[r] = beta3 * r + (1 - beta3) * eta * d**2 * step.total(products)
    estimate = maximum(d, coef * step[r] / positive(step.total(sums)))
    if growth_rate is None:
        step[distance] = estimate
    else:
        best = step.state(None, "best")
        step[best] = maximum(best, estimate)
        step[distance] = switch(eq(d, d0), step[best], minimum(step[best], growth[0] * d))
    return step.finish()


# --- Distance over gradients ------------------------------------------------------------------------------------------


@awaits("loss_or_grads", "params")
def dog(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    relative_distance: Hyper = 1e-6,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""DoG: gradient descent at the rate of the distance covered over the root of the sum of squared gradients.

    With :math:`p_0` the parameters at the start, and norms over all of them together:

    .. math::
        r &\leftarrow \max\bigl(r,\; \lVert p - p_0 \rVert,\; \alpha\, (1 + \lVert p_0 \rVert)\bigr) \\
        G &\leftarrow G + \lVert g \rVert^2 \\
        p &\leftarrow p - \eta\, \frac{r}{\sqrt{G + \epsilon}}\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the rate that is found, without unit. The paper has none, hence the default 1.0.
    relative_distance : hyper-parameter
        The length :math:`\alpha` of the first step, as a fraction of one more than the norm of the parameters: small
        enough to do no harm. The default is the paper's; it uses 1e-4 for models with batch normalization. Finite and
        above 0.
    epsilon : hyper-parameter
        Keeps parameters without gradients at rest. In units of the squared gradient; the default is the paper's.

    Returns
    -------
    OrderedDict
        For each parameter in order: its ``start``, then its own next value; last, those of ``distance`` and ``accu``.

    Notes
    -----
    The step grows until the distance from the start is about that of the solution, and then shrinks as
    :func:`~symupdates.adagrad`'s. A first gradient that is far larger than those later on stays in the sum for good,
    and all steps are short for it; :func:`dowg` gives it less weight. The iterates go on to move about: the authors
    evaluate at an average of them, such as :func:`~symupdates.apply_polyak_average` keeps.

    It is optax's ``contrib.dog(init_step=("heuristic", relative_distance))``; for ``("distance", r)``, give
    `relative_distance` as :math:`r/(1 + \lVert p_0 \rVert)`.

    The sum of squared gradients is state: after one whose norm is above 1.8e19 in float32, or 1.3e154 in float64, it is
    infinite, and nothing moves any more. Clip gradients before, or skip them by :func:`~symupdates.apply_if_finite`.

    State: ``start`` (:math:`p_0`), the parameter when this is called, of its shape and dtype; ``distance`` (:math:`r`)
    and ``accu`` (:math:`G`), scalars, one for all parameters, of the widest of their dtypes, zero at first. If you set
    the parameters to other values before training, call :func:`symupdates.reset`. Hyper-parameters, partials and errors
    are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Ivgi, O. Hinder and Y. Carmon (2023). DoG is SGD's best friend: a parameter-free dynamic step size
       schedule. ICML. arXiv:2302.12022.
    """
    step = prepare(
        "dog",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        relative_distance=POSITIVE(relative_distance),
        epsilon=epsilon,
    )
    eta, alpha, eps = step.hyper(step.dtype)
    start = {p: step.state(p, "start", initial=p) for p in step.params}
    distance, accu = step.state(None, "distance"), step.state(None, "accu")
    first = alpha * (1 + norm(list(start.values()), dtype=step.dtype).value)
    covered = norm([p - start[p] for p in start], dtype=step.dtype).value
    step[distance] = maximum(maximum(distance, covered), first)
    step[accu] = accu + step.total(g**2 for _, g, _ in step)
    rate = step.rate(eta * step[distance] / sqrt(step[accu] + eps))
    for p, g, _ in step:
        step[start[p]] = start[p]
        step[p] = p - astype(rate, p.dtype) * g
    return step.finish()


@awaits("loss_or_grads", "params")
def l_dog(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    relative_distance: Hyper = 1e-6,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""L-DoG: :func:`dog` for each parameter by itself, with a distance and a sum of its own.

    With :math:`p_0` the parameter at the start:

    .. math::
        r &\leftarrow \max\bigl(r,\; \lVert p - p_0 \rVert,\; \alpha\, (1 + \lVert p_0 \rVert)\bigr) \\
        G &\leftarrow G + \lVert g \rVert^2 \\
        p &\leftarrow p - \eta\, \frac{r}{\sqrt{G + \epsilon}}\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the rate that is found, without unit.
    relative_distance : hyper-parameter
        The length :math:`\alpha` of the first step of a parameter, as a fraction of one more than its norm. Finite and
        above 0.
    epsilon : hyper-parameter
        Keeps a parameter without gradients at rest. In units of the squared gradient.

    Returns
    -------
    OrderedDict
        For each parameter in order: its ``start``, the next value of its ``distance``, of its ``accu``, then its own.

    Notes
    -----
    The authors find it ahead of :func:`dog` where it is stable, on Transformers above all. For a model whose layers
    are views of one parameter, the two are the same. What is said there of huge gradients holds for each parameter.

    State: ``start`` (:math:`p_0`), the parameter when this is called, of its shape and dtype; ``distance`` (:math:`r`)
    and ``accu`` (:math:`G`), scalars of its dtype, zero at first. If you set the parameters to other values before
    training, call :func:`symupdates.reset`. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Ivgi, O. Hinder and Y. Carmon (2023). DoG is SGD's best friend: a parameter-free dynamic step size
       schedule. ICML. arXiv:2302.12022.
    """
    step = prepare(
        "l_dog",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        relative_distance=POSITIVE(relative_distance),
        epsilon=epsilon,
    )
    for p, g, (eta, alpha, eps) in step:
        start = step.state(p, "start", initial=p)
        distance, accu = (step.state(p, slot, shape=()) for slot in ("distance", "accu"))
        first = alpha * (1 + norm(start).value)
        covered = norm(p - start).value
        step[start] = start
        step[distance] = maximum(maximum(distance, covered), first)
        step[accu] = accu + total(g**2)
        step[p] = p - step.rate(eta * step[distance] / sqrt(step[accu] + eps)) * g
    return step.finish()


@awaits("loss_or_grads", "params")
def dowg(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    initial_distance: Hyper = 1e-2,
    epsilon: Hyper = 1e-4,
) -> Updates:
    r"""DoWG: as :func:`dog`, with each gradient weighted by the distance covered when it was seen.

    With :math:`p_0` the parameters at the start, and norms over all of them together:

    .. math::
        r^2 &\leftarrow \max\bigl(r^2,\; \lVert p - p_0 \rVert^2,\; r_0^2\bigr) \\
        v &\leftarrow v + r^2 \lVert g \rVert^2 \\
        p &\leftarrow p - \eta\, \frac{r^2}{\sqrt{v} + \epsilon}\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the rate that is found, without unit. The paper has none, hence the default 1.0.
    initial_distance : hyper-parameter
        The estimate :math:`r_0` to begin with, in units of the parameters: the length of the first step, and best below
        the distance to the solution. The default is that of the authors' program. Finite and above 0.
    epsilon : hyper-parameter
        Keeps parameters without gradients at rest. In units of the parameters times the gradient: it is added to the
        root, which the paper leaves alone. The default is that of the authors' program, and of optax.

    Returns
    -------
    OrderedDict
        For each parameter in order: its ``start``, then its own next value; last, those of ``squared_distance`` and
        ``accu``.

    Notes
    -----
    Old gradients, seen near the start, weigh little: the rate recovers from large ones there, and follows the curvature
    where the loss is smooth, as :func:`dog`'s does not.

    It is optax's ``contrib.dowg``, whose ``init_estim_sq_dist`` is :math:`r_0^2`.

    Squares are state, of gradients and of the distance: what is said in :func:`dog` of huge ones holds for both.

    State: ``start`` (:math:`p_0`), the parameter when this is called, of its shape and dtype; ``squared_distance``
    (:math:`r^2`) and ``accu`` (:math:`v`), scalars, one for all parameters, of the widest of their dtypes, zero at
    first. If you set the parameters to other values before training, call :func:`symupdates.reset`. Hyper-parameters,
    partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Khaled, K. Mishchenko and C. Jin (2023). DoWG unleashed: an efficient universal parameter-free gradient
       descent method. NeurIPS. arXiv:2305.16284.
    """
    step = prepare(
        "dowg",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        initial_distance=POSITIVE(initial_distance),
        epsilon=epsilon,
    )
    eta, r0, eps = step.hyper(step.dtype)
    start = {p: step.state(p, "start", initial=p) for p in step.params}
    r2, accu = step.state(None, "squared_distance"), step.state(None, "accu")
    step[r2] = maximum(maximum(r2, step.total((p - start[p]) ** 2 for p in start)), r0**2)
    step[accu] = accu + step[r2] * step.total(g**2 for _, g, _ in step)
    rate = step.rate(eta * step[r2] / (sqrt(step[accu]) + eps))
    for p, g, _ in step:
        step[start[p]] = start[p]
        step[p] = p - astype(rate, p.dtype) * g
    return step.finish()


# --- Betting on coins -------------------------------------------------------------------------------------------------


@awaits("loss_or_grads", "params")
def cocob(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    alpha: Hyper = 100.0,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""COCOB-Backprop: each coordinate bets a fraction of what it has won on the sign of its gradients.

    With :math:`p_0` the parameter at the start:

    .. math::
        L &\leftarrow \max(L, |\eta g|) \\
        G &\leftarrow G + |\eta g| \\
        R &\leftarrow \max(R - \eta g\, (p - p_0), 0) \\
        \theta &\leftarrow \theta - \eta g \\
        p &\leftarrow p_0 + \frac{\theta\, (L + R)}{L \max(G + L, \alpha L)}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The weight :math:`\eta` of a gradient, which the paper does not have. Steps do not depend on the scale of the
        gradients, so a constant changes nothing; a schedule weighs gradients against those before.
    alpha : hyper-parameter
        Bounds the fraction bet: the first step of each coordinate is :math:`1/\alpha`, in units of the parameter. The
        default is the paper's. Finite and above 0.
    epsilon : hyper-parameter
        The least :math:`L`, for coordinates without gradients. In units of the gradient; the paper has none.

    Returns
    -------
    OrderedDict
        For each parameter in order: its ``start``, the next value of its ``largest``, of its ``accu``, of its
        ``reward``, of its ``theta``, then its own.

    Notes
    -----
    It was made for neural networks, trained from scratch for many epochs. Five arrays are kept for each parameter. The
    parameter is computed from the state: what is done to it after the step is seen by the next gradient, and then lost.

    It is optax's ``contrib.cocob``.

    State: ``start`` (:math:`p_0`), the parameter when this is called; ``largest`` (:math:`L`), ``accu`` (:math:`G`),
    ``reward`` (:math:`R`) and ``theta``, zero at first; all of the parameter's shape and dtype. If you set the
    parameters to other values before training, call :func:`symupdates.reset`. Hyper-parameters, partials and errors are
    as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] F. Orabona and T. Tommasi (2017). Training deep networks without learning rates through coin betting.
       NeurIPS. arXiv:1705.07795.
    """
    step = prepare(
        "cocob", loss_or_grads, params, learning_rate=REAL(learning_rate), alpha=POSITIVE(alpha), epsilon=epsilon
    )
    for p, g, (eta, alpha, eps) in step:
        start = step.state(p, "start", initial=p)
        largest, accu, reward, theta = (step.state(p, slot) for slot in ("largest", "accu", "reward", "theta"))
        step[start] = start
        step[largest] = L = maximum(maximum(largest, abs(eta * g)), eps)
        step[accu] = G = accu + abs(eta * g)
        step[reward] = R = maximum(reward - eta * g * (p - start), 0)
        step[theta] = theta - eta * g
        step[p] = start + step[theta] / L * (1 + R / L) / maximum(G / L + 1, alpha)  # no product of two gradients
    return step.finish()


# --- The loss over the gradient ---------------------------------------------------------------------------------------


@awaits("loss_or_grads", "params")
def polyak_step(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    max_learning_rate: Hyper = 1.0,
    minimum: Hyper = 0.0,
    c: Hyper = 1.0,
) -> Updates:
    r"""Polyak's step: gradient descent by the rate at which a loss as steep as this one reaches its minimum.

    With :math:`f` the loss, :math:`f^*` the least it can be, and the norm over all parameters together:

    .. math:: p \leftarrow p - \min\left(\frac{\max(f - f^*, 0)}{c \lVert g \rVert^2}, \eta_{\max}\right) g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss. Its value is needed, so gradients are refused.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    max_learning_rate : hyper-parameter
        The bound :math:`\eta_{\max}` of the rate, in units of the parameter per unit of the gradient, as optax has it;
        at least 0, and infinite for Polyak's rule. With minibatches, it bounds the noise at the end.
    minimum : hyper-parameter
        The least value :math:`f^*` of the loss: 0 for a model that can fit every minibatch. Set too high, training ends
        there; set too low, steps are too long.
    c : hyper-parameter
        Divides the rate below the bound. 1 is Polyak's; 1/2, for convex losses, makes twice the steps. Finite and above
        0.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given.

    Notes
    -----
    On :math:`\frac{a}{2} \lVert p - p^* \rVert^2`, each step goes half of the way to the solution, and with `c` 1/2 all
    of it, whatever :math:`a`. Where the loss is below `minimum`, parameters stay, as in optax's
    ``polyak_sgd(variant="sps+")``; its default variant then climbs. optax's ``scaling``, :math:`s`, multiplies the
    gradient before the step is computed, not the step, as its documentation has it: it is :math:`c = s` here, with the
    bound :math:`s\,\eta_{\max}`.

    No state. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] B. T. Polyak (1987). Introduction to optimization, section 5.3. Optimization Software.
    .. [2] N. Loizou, S. Vaswani, I. Laradji and S. Lacoste-Julien (2021). Stochastic Polyak step-size for SGD: an
       adaptive learning rate for fast convergence. AISTATS. arXiv:2002.10542.
    .. [3] G. Garrigos, R. M. Gower and F. Schaipp (2023). Function value learning: adaptive learning rates based on the
       Polyak stepsize and function splitting in ERM. arXiv:2307.14528.
    """
    loss = require_loss("polyak_step", loss_or_grads)
    step = prepare(
        "polyak_step", loss, params, max_learning_rate=BOUND(max_learning_rate), minimum=minimum, c=POSITIVE(c)
    )
    bound, f_min, c = step.hyper(step.dtype)
    # In this order: numba 0.65 compiles max(|x|, 0), of a loss |x|, to max(x, 0).
    gap = maximum(0, astype(loss, step.dtype) - f_min)
    n = norm([g for _, g, _ in step], dtype=step.dtype).or_one()
    length = pt.minimum(gap / (c * n.value), bound * n.value)
    for p, g, _ in step:
        step[p] = p - rescaled(g, n, length)
    return step.finish()


@awaits("loss_or_grads", "params")
def momo(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    beta: Hyper = 0.9,
    minimum: Hyper = 0.0,
) -> Updates:
    r"""MoMo: Polyak's step along the momentum, for the average of the linear models of the losses seen so far.

    With :math:`f` the loss, :math:`f^*` the least it can be, and products and norm over all parameters together:

    .. math::
        d &\leftarrow \beta d + (1 - \beta)\, g \\
        \bar f &\leftarrow \beta \bar f + (1 - \beta)\, f \\
        \gamma &\leftarrow \beta \gamma + (1 - \beta)\, g^\top p \\
        p &\leftarrow p - \min\left(\frac{\max(\bar f + d^\top p - \gamma - f^*, 0)}{\lVert d \rVert^2}, \eta\right) d

    where :math:`\beta = 0` in the first update: the averages begin at what it sees.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss. Its value is needed, so gradients are refused.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The largest rate :math:`\eta`, in units of the parameter per unit of the gradient; finite and at least 0. The
        default is the paper's. Where it is always reached, the rule is momentum with a dampening of :math:`\beta`.
    beta : hyper-parameter
        The decay :math:`\beta` of the averages. At 0, the rule is :func:`polyak_step` with this bound.
    minimum : hyper-parameter
        The least value :math:`f^*` of the loss: 0 for a model that can fit every minibatch. Set too high, training ends
        there; set too low, steps are too long.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``d``, then its own; last, those of ``loss`` and ``gamma``,
        and the count ``t``.

    Raises
    ------
    TypeError
        If gradients are given.

    Notes
    -----
    :math:`\bar f + d^\top p - \gamma` is the average, at :math:`p`, of the lines that touch the losses at the
    parameters of each update. It is a difference of numbers that may be larger.

    It is optax's ``contrib.momo``, with ``lower_bound`` for `minimum`, without decay and with a fixed bound. That rests
    where :math:`\lVert d \rVert^2` is below the machine epsilon.

    State: ``d``, zero at first, of the parameter's shape and dtype; ``loss`` (:math:`\bar f`) and ``gamma``, scalars,
    one for all parameters, of the widest of their dtypes, zero at first; ``t``, an int64 scalar, the number of updates
    made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] F. Schaipp, R. Ohana, M. Eickenberg, A. Defazio and R. M. Gower (2024). MoMo: momentum models for adaptive
       learning rates. ICML. arXiv:2305.07583.
    """
    loss = require_loss("momo", loss_or_grads)
    step = prepare("momo", loss, params, learning_rate=NON_NEGATIVE_RATE(learning_rate), beta=beta, minimum=minimum)
    d = {p: step.state(p, "d") for p in step.params}
    ds = []
    for p, g, (_, beta, _) in step:
        beta = switch(eq(step.t, 1), 0, beta)
        ds.append(beta * d[p] + (1 - beta) * g)
    eta, beta, f_min = step.hyper(step.dtype)
    gap = maximum(0, averaged_model(step, loss, ds, switch(eq(step.t, 1), 0, beta)) - f_min)
    n = norm(ds, dtype=step.dtype).or_one()
    length = pt.minimum(gap / n.value, eta * n.value)
    for p, d_next in zip(step.params, ds, strict=True):
        step[d[p]] = d_next
        step[p] = p - rescaled(step[d[p]], n, length)
    return step.finish()


@awaits("loss_or_grads", "params")
def momo_adam(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    minimum: Hyper = 0.0,
) -> Updates:
    r"""MoMo-Adam: :func:`momo` with Adam's step in the place of the momentum.

    With :math:`f` the loss, :math:`f^*` the least it can be, and products over all parameters together:

    .. math::
        d &\leftarrow \beta_1 d + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        \bar f &\leftarrow \beta_1 \bar f + (1 - \beta_1)\, f \\
        \gamma &\leftarrow \beta_1 \gamma + (1 - \beta_1)\, g^\top p \\
        u &= \frac{d}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} \\
        p &\leftarrow p - \min\left(\frac{\max\left(\bar f + d^\top p - \gamma - (1 - \beta_1^t) f^*, 0\right)}
            {d^\top u}, \frac{\eta}{1 - \beta_1^t}\right) u

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss. Its value is needed, so gradients are refused.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The largest rate :math:`\eta`, in units of the parameter, finite and at least 0. Where it is always reached, the
        rule is :func:`~symupdates.adam`. The default is the paper's, ten times Adam's.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages, as in :func:`~symupdates.adam`.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest, as in :func:`~symupdates.adam`.
    minimum : hyper-parameter
        The least value :math:`f^*` of the loss: 0 for a model that can fit every minibatch. Set too high, training ends
        there; set too low, steps are too long.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``d``, of its ``v``, then its own; last, those of ``loss``
        and ``gamma``, and the count ``t``.

    Raises
    ------
    TypeError
        If gradients are given.

    Notes
    -----
    It is optax's ``contrib.momo_adam``, with ``lower_bound`` for `minimum`, without decay and with a fixed bound. That
    rests where :math:`d^\top u` is below the machine epsilon; here, where it is too small for a number, the rate is the
    largest.

    State: ``d`` and ``v``, zero at first, of the parameter's shape and dtype; ``loss`` (:math:`\bar f`) and ``gamma``,
    scalars, one for all parameters, of the widest of their dtypes, zero at first; ``t``, an int64 scalar, the number of
    updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] F. Schaipp, R. Ohana, M. Eickenberg, A. Defazio and R. M. Gower (2024). MoMo: momentum models for adaptive
       learning rates. ICML. arXiv:2305.07583.
    """
    loss = require_loss("momo_adam", loss_or_grads)
    step = prepare(
        "momo_adam",
        loss,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        minimum=minimum,
    )
    d, v = ({p: step.state(p, slot) for p in step.params} for slot in "dv")
    ds, vs, us = [], [], []
    for p, g, (_, beta1, beta2, eps, _) in step:
        ds.append(beta1 * d[p] + (1 - beta1) * g)
        vs.append(beta2 * v[p] + (1 - beta2) * g**2)
        us.append(ds[-1] / (sqrt(vs[-1] / step.bias_correction(beta2)) + eps))
    eta, beta1, _, _, f_min = step.hyper(step.dtype)
    correction = step.bias_correction(beta1)
    gap = maximum(0, averaged_model(step, loss, ds, beta1) - correction * f_min)
    tau = pt.minimum(gap / positive(inner(ds, us)), eta / correction)
    for p, d_next, v_next, u in zip(step.params, ds, vs, us, strict=True):
        step[d[p]], step[v[p]] = d_next, v_next
        step[p] = p - astype(tau, p.dtype) * u
    return step.finish()


def averaged_model(step, loss, ds, beta):
    """The average of the linear models of the losses, at the parameters, where `ds` are that of the gradients."""
    f, gamma = step.state(None, "loss", shape=()), step.state(None, "gamma", shape=())
    step[f] = beta * f + (1 - beta) * astype(loss, step.dtype)
    step[gamma] = beta * gamma + (1 - beta) * inner([g for _, g, _ in step], step.params)
    return step[f] + inner(ds, step.params) - step[gamma]


# --- Descent of the learning rate -------------------------------------------------------------------------------------


@awaits("loss_or_grads", "params")
def hypergradient_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    hyper_learning_rate: Hyper = 1e-6,
) -> Updates:
    r"""Gradient descent whose learning rate descends the loss as well: by the gradient of the last step.

    With :math:`g'` the gradient of the update before, and the sum over all elements of all parameters:

    .. math::
        a &\leftarrow a + \kappa \sum g\, g' \\
        p &\leftarrow p - (\eta + a)\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta` to begin with, in units of the parameter per unit of the gradient, to which the
        learned :math:`a` is added. Of a schedule, the learned part is what is added to that.
    hyper_learning_rate : hyper-parameter
        The rate :math:`\kappa` at which the step size is learned, in units of the step size per squared gradient. The
        best is orders of magnitude apart for losses that are; the default is that of the authors' program.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``gradient``, then its own; last, that of ``learned``.

    Notes
    -----
    While successive gradients agree, steps get longer; when they oppose each other, shorter. Nothing keeps the rate
    from becoming negative where `hyper_learning_rate` is too large.

    State: ``gradient`` (:math:`g'`), zero at first, of the parameter's shape and dtype; ``learned`` (:math:`a`), a
    scalar, one for all parameters, of the widest of their dtypes, zero at first. Hyper-parameters, partials and errors
    are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. G. Baydin, R. Cornish, D. Martínez Rubio, M. Schmidt and F. Wood (2018). Online learning rate adaptation
       with hypergradient descent. ICLR. arXiv:1703.04782.
    """
    step = prepare(
        "hypergradient_sgd",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        hyper_learning_rate=hyper_learning_rate,
    )
    _, kappa = step.hyper(step.dtype)
    before = {p: step.state(p, "gradient") for p in step.params}
    learned = step.state(None, "learned")
    step[learned] = learned + kappa * step.total(g * before[p] for p, g, _ in step)
    for p, g, (eta, _) in step:
        step[before[p]] = g
        step[p] = p - step.rate(eta + astype(step[learned], p.dtype)) * g
    return step.finish()


@awaits("loss_or_grads", "params")
def hypergradient_adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    hyper_learning_rate: Hyper = 1e-8,
) -> Updates:
    r"""Adam whose learning rate descends the loss as well: by the gradient of the last step.

    With :math:`u'` the direction :math:`u` of the update before, and the sum over all elements of all parameters:

    .. math::
        a &\leftarrow a + \kappa \sum g\, u' \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        u &= \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{v} + \epsilon} \\
        p &\leftarrow p - (\eta + a)\, u

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta` to begin with, in units of the parameter, to which the learned :math:`a` is added.
    beta1, beta2, epsilon : hyper-parameter
        As in :func:`~symupdates.adam`, of whose form the step is.
    hyper_learning_rate : hyper-parameter
        The rate :math:`\kappa` at which the step size is learned, in units of the step size per unit of the gradient.
        The default is that of the authors' program.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``direction``, then its own;
        last, those of ``learned`` and of the count ``t``.

    Notes
    -----
    See :func:`hypergradient_sgd`.

    State: ``m``, ``v`` and ``direction`` (:math:`u'`), zero at first, of the parameter's shape and dtype; ``learned``
    (:math:`a`), a scalar, one for all parameters, of the widest of their dtypes, zero at first; ``t``, an int64 scalar,
    the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. G. Baydin, R. Cornish, D. Martínez Rubio, M. Schmidt and F. Wood (2018). Online learning rate adaptation
       with hypergradient descent. ICLR. arXiv:1703.04782.
    """
    step = prepare(
        "hypergradient_adam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        hyper_learning_rate=hyper_learning_rate,
    )
    *_, kappa = step.hyper(step.dtype)
    before = {p: step.state(p, "direction") for p in step.params}
    learned = step.state(None, "learned")
    step[learned] = learned + kappa * step.total(g * before[p] for p, g, _ in step)
    for p, g, (eta, beta1, beta2, eps, _) in step:
        m, v, direction = step.state(p, "m"), step.state(p, "v"), before[p]
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        correction = sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)
        step[direction] = correction * step[m] / (sqrt(step[v]) + eps)
        step[p] = p - step.rate(eta + astype(step[learned], p.dtype)) * step[direction]
    return step.finish()


# --- The scale of any rule's steps ------------------------------------------------------------------------------------


def mechanic(
    optimizer: OptimizerLike,
    initial_scale: Hyper = 1e-6,
    weight_decay: Hyper = 0.01,
    epsilon: Hyper = 1e-8,
    betas: int = 6,
) -> Optimizer:
    r"""Mechanic: find the factor on the steps of any optimizer while it trains.

    With :math:`u` the step that the optimizer makes from where the parameters are, :math:`p_0` where they were at the
    start, sums and norms over all of them together, and, for each of :math:`n` decays :math:`\beta_i = 1 - 10^{-i}`, an
    :math:`s_i` with its :math:`m_i, v_i, r_i`:

    .. math::
        h &= -\sum \Delta \left(g + \lambda\, \frac{\lVert g \rVert}{\lVert p \rVert + \epsilon}
            \textstyle\sum_i s_i\; p\right) \\
        r_i &\leftarrow \beta_i r_i + s_i \operatorname{clip}(h, -m_i, m_i) \\
        m_i &\leftarrow \max(\beta_i m_i, |h| + \epsilon) \\
        v_i &\leftarrow \beta_i^2 v_i + h^2 \\
        s_i &\leftarrow \frac{s_0 m_i / n + \max(r_i, 0)}{\sqrt{v_i} + \epsilon} \\
        \Delta &\leftarrow \Delta + u \\
        p &\leftarrow p_0 + \textstyle\sum_i s_i\; \Delta

    Parameters
    ----------
    optimizer : callable
        A rule, a partial of one, a :func:`~symupdates.chain` or :func:`~symupdates.partition`. Its learning rate hardly
        matters; a schedule of it is followed.
    initial_scale : hyper-parameter
        The factor :math:`s_0` to begin with, of which each decay has an :math:`n`-th: small enough to do no harm. The
        default is optax's; the paper has 1e-8. Finite and above 0.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of what draws the factor down while the parameters are large. The default is the
        paper's.
    epsilon : hyper-parameter
        Keeps the divisors from zero. In units of the loss, mostly.
    betas : int
        The number :math:`n` of decays: the six of the paper by default.

    Returns
    -------
    callable
        ``optimizer(loss_or_grads, params)``, as :func:`~symupdates.chain` returns it. Its dict has the keys of that of
        `optimizer`, then ``start`` and ``delta`` of each parameter, and ``m``, ``v``, ``r`` and ``s``.

    Raises
    ------
    TypeError
        If `optimizer` is not callable.
    ValueError
        If `betas` is not a whole number of at least 1. When it is called: if the optimizer leaves parameters out.

    Notes
    -----
    It is an optimizer of the factor, by bets on the gradient's agreement with what the steps have added up to. It
    therefore needs the gradients, and stands around the optimizer, not after it; what stands after it, such as
    :func:`~symupdates.apply_projection`, is seen by the next gradient and then lost, since the parameters are computed
    from the state.

    The clipped :math:`h` is of the authors' later program, as in optax's ``contrib.mechanize``. That one keeps no
    :math:`\Delta`: it recovers it from the parameters, as :math:`(p - p_0)/(\sum s + \epsilon)`, of which less is left
    in float32 than the first steps change. Where that rounding and :math:`\epsilon` are small, the two are the same.

    State: ``start`` (:math:`p_0`), the parameter when this is called, and ``delta`` (:math:`\Delta`), zero at first, of
    its shape and dtype; ``m``, ``v``, ``r`` and ``s``, vectors of length `betas`, of the widest dtype of all, zero at
    first. If you set the parameters to other values before training, call :func:`symupdates.reset`.

    References
    ----------
    .. [1] A. Cutkosky, A. Defazio and H. Mehta (2023). Mechanic: a learning rate tuner. NeurIPS. arXiv:2306.00144.
    """
    check_optimizer("mechanic: optimizer", optimizer)
    betas = whole_number("mechanic: betas", betas)
    return tuned(
        optimizer=optimizer, initial_scale=initial_scale, weight_decay=weight_decay, epsilon=epsilon, betas=betas
    )


@awaits("loss_or_grads", "params", name="mechanic")
def tuned(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    *,
    optimizer: OptimizerLike,
    initial_scale: Hyper,
    weight_decay: Hyper,
    epsilon: Hyper,
    betas: int,
) -> Updates:
    params = whole_params("mechanic", params)
    grads = get_or_compute_grads(loss_or_grads, params)
    step = extend(
        "mechanic",
        called("mechanic: optimizer", optimizer, grads, params),
        params,
        initial_scale=POSITIVE(initial_scale),
        weight_decay=weight_decay,
        epsilon=epsilon,
    )
    grads = [gradient_of(p, g) for p, g in zip(params, grads, strict=True)]
    deltas = [step.state(p, "delta") for p in params]
    m, v, r, s = (step.state(None, slot, shape=(betas,)) for slot in "mvrs")
    s0, decay, eps = step.hyper(step.dtype)
    beta = np.asarray(1 - 0.1 ** np.arange(1, betas + 1), step.dtype)
    norm_g, norm_p = (norm(xs, dtype=step.dtype).value for xs in (grads, params))
    with_g, with_p = (step.total(d * x for d, x in zip(deltas, xs, strict=True)) for xs in (grads, params))
    h = -(with_g + decay * norm_g / (norm_p + eps) * total(s) * with_p)
    step[r] = beta * r + s * clip(h, -m, m)
    step[m] = maximum(beta * m, abs(h) + eps)
    step[v] = beta**2 * v + h**2
    step[s] = (s0 * step[m] / betas + maximum(step[r], 0)) / (sqrt(step[v]) + eps)
    for (p, p_next, _), delta in zip(step, deltas, strict=True):
        start = step.state(p, "start", initial=p)
        step[start] = start
        step[delta] = delta + (p_next - p)
        step[p] = start + astype(total(step[s]), p.dtype) * step[delta]
    return step.finish()
