"""Rules that divide each coordinate's step by a record of its own gradients."""

from __future__ import annotations

from functools import partial, reduce

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import sign, sqrt, switch

from symupdates.core import astype, awaits, prepare, total, whole_number
from symupdates.core.hyper import scalar
from symupdates.core.ranges import NON_NEGATIVE, NON_NEGATIVE_RATE, POSITIVE_RATE
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["adadelta", "adagrad", "adagrad_window", "centered_rmsprop", "ftrl", "madgrad", "rmsprop", "sm3"]


@awaits("loss_or_grads", "params")
def adagrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    epsilon: Hyper = 1e-6,
    initial_accumulator: float = 0.0,
) -> Updates:
    r"""AdaGrad: each coordinate's step is divided by the root of the sum of its squared gradients.

    .. math::
        G &\leftarrow G + g^2 \\
        p &\leftarrow p - \frac{\eta\, g}{\sqrt{G + \epsilon}}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the length of the first step of each coordinate (a little
        less, by `epsilon`). The default 1.0 is Lasagne's; 0.01 to 0.1 suits neural networks.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest instead of dividing zero by zero. In units of the squared
        gradient: it stands inside the root, as in Lasagne, optax and keras (torch adds its own outside). Gradients
        below its root, 0.001, take smaller steps; lower it if yours are.
    initial_accumulator : float
        The value that the sum begins with, in units of the squared gradient; a number, for it is that of the state. The
        larger it is, the shorter the first steps. The default 0 is the paper's, Lasagne's and torch's; optax and keras
        have 0.1. Finite and at least 0.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, then its own.

    Notes
    -----
    Rare features get long steps and frequent ones short steps. After :math:`t` steps on gradients of constant size, the
    step is :math:`\eta/\sqrt{t}`: the rate decays by itself and never recovers, which :func:`rmsprop` and
    :func:`adadelta` were made to avoid.

    optax and keras: ``initial_accumulator=0.1, epsilon=1e-7``, and the rate given; keras has 0.001. torch: the same
    without epsilons, ``epsilon=0``, which fails where a gradient is zero from the start; its ``lr_decay`` is the
    schedule ``learning_rate=symupdates.schedules.inverse_time_decay(lr, lr_decay)``, its `initial_accumulator_value` is
    ours.

    State: ``accu`` (:math:`G`), `initial_accumulator` at first, of the parameter's shape and dtype. Hyper-parameters,
    partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Duchi, E. Hazan and Y. Singer (2011). Adaptive subgradient methods for online learning and stochastic
       optimization. JMLR 12.
    """
    scalar("adagrad: initial_accumulator", initial_accumulator, NON_NEGATIVE)
    step = prepare("adagrad", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon)
    for p, g, (eta, eps) in step:
        accu = step.state(p, "accu", initial=initial_accumulator)
        step[accu] = accu + g**2
        step[p] = p - eta * g / sqrt(step[accu] + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def adagrad_window(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    epsilon: Hyper = 0.1,
    n_win: int = 10,
) -> Updates:
    r"""PyMC's AdaGrad over a window: the sum of squares is that of the last `n_win` gradients only.

    .. math::
        H_{(t-1) \bmod n} &\leftarrow g^2 \\
        p &\leftarrow p - \frac{\eta\, g}{\sqrt{\sum_{k=0}^{n-1} H_k + \epsilon}}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: no coordinate ever moves further in one step.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. In units of the squared gradient; PyMC's default 0.1 is large, so
        gradients well below 0.3 take steps in proportion to their size, as in :func:`~symupdates.sgd`.
    n_win : int
        The number :math:`n` of gradients in the window, at least 1. It is the length of a state variable, hence a
        number.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, of its ``i``, then its own.

    Raises
    ------
    ValueError
        If `n_win` is not a whole number of at least 1.

    Notes
    -----
    **It biases the standard deviations of ADVI upwards.** The current gradient stands in its own normaliser, so a
    large one is damped more than a small one, and the iterates settle where the mean of
    :math:`g/\sqrt{g^2 + \dots}` is zero rather than the mean of :math:`g`: a kind of median. The gradients of ADVI's
    scale parameters are skewed, the more so with few Monte Carlo draws a step: the rare, large ones ask for a smaller
    deviation, and they are the ones cut down. For the mean of a Gaussian with a Gaussian prior and one draw a step, the
    deviation comes out 8.7 % too large with the defaults, at rates of 0.0003 and 0.01 alike and however long the run;
    3.2 % with ``n_win=30`` and 1.1 % with 100; 1.6 % with five draws a step (``obj_n_mc=5``) and 0.4 % with twenty.
    The means are not affected: their gradients are symmetric there. A rule whose normaliser hardly depends on the
    current gradient is free of it: :func:`~symupdates.adam` stays within 0.1 % on this example. PyMC's users report the
    same [1]_.

    State: ``accu`` (:math:`H`), zero at first, of the parameter's shape with one axis of length `n_win` more, the last,
    and of its dtype; ``i``, an int64 scalar, the place of the next gradient. Hyper-parameters, partials and the other
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] https://github.com/pymc-devs/pymc/issues/8444
    """
    whole_number("adagrad_window: n_win", n_win)
    step = prepare("adagrad_window", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon)
    for p, g, (eta, eps) in step:
        accu = step.state(p, "accu", shape=(..., n_win))
        i = step.state(p, "i", shape=(), dtype="int64")
        step[accu] = pt.set_subtensor(accu[..., i], g**2)
        step[i] = (i + 1) % n_win
        step[p] = p - eta * g / sqrt(total(step[accu], axis=-1) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def rmsprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    rho: Hyper = 0.9,
    epsilon: Hyper = 1e-6,
) -> Updates:
    r"""RMSProp: each coordinate's step is divided by the root of a moving average of its squared gradients.

    .. math::
        v &\leftarrow \rho v + (1 - \rho)\, g^2 \\
        p &\leftarrow p - \frac{\eta\, g}{\sqrt{v + \epsilon}}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. The default 1.0 is Lasagne's and too large for most uses:
        steps have about this length all along. 0.001 to 0.01 suits neural networks.
    rho : hyper-parameter
        The decay :math:`\rho` of the average, which reaches back about :math:`1/(1-\rho)` steps: 10 by default.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. In units of the squared gradient: it stands inside the root, as in
        Lasagne, optax and keras (torch adds its own outside).

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, then its own.

    Notes
    -----
    The average starts at zero and is not corrected for that: the first steps are longer by :math:`1/\sqrt{1-\rho^t}`,
    3.2 times at the first with the default `rho`. The corrected form, optax's with ``bias_correction=True`` and
    ``eps_in_sqrt=False``, is :func:`~symupdates.adam` with ``beta1=0``.

    optax and keras: ``rmsprop(learning_rate, rho, epsilon)`` with their epsilons, 1e-8 and 1e-7; keras' rate is 0.001.
    torch: the same without epsilons; its ``alpha``, 0.99 by default, is `rho`, and its rate is 0.01. Their momentum is
    :func:`~symupdates.apply_momentum`, in optax with ``nesterov=True`` :func:`~symupdates.apply_nesterov_momentum`; in
    torch, a schedule of the rate then multiplies the velocity, which here it enters. Their centered form is
    :func:`centered_rmsprop`.

    State: ``accu`` (:math:`v`), zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] T. Tieleman and G. Hinton (2012). Lecture 6.5, rmsprop: divide the gradient by a running average of its
       recent magnitude. COURSERA: Neural Networks for Machine Learning.
    """
    step = prepare("rmsprop", loss_or_grads, params, learning_rate=learning_rate, rho=rho, epsilon=epsilon)
    for p, g, (eta, rho, eps) in step:
        accu = step.state(p, "accu")
        step[accu] = rho * accu + (1 - rho) * g**2
        step[p] = p - eta * g / sqrt(step[accu] + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def centered_rmsprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    rho: Hyper = 0.9,
    epsilon: Hyper = 1e-6,
) -> Updates:
    r"""Centered RMSProp: each coordinate's step is divided by the standard deviation of its recent gradients.

    .. math::
        s &\leftarrow \rho \left( s + (1 - \rho)\, (g - m)^2 \right) \\
        m &\leftarrow m + (1 - \rho)\, (g - m) \\
        p &\leftarrow p - \frac{\eta\, g}{\sqrt{s + \epsilon}}

    Here :math:`s = v - m^2`, with :math:`v` the moving average of :math:`g^2` in :func:`rmsprop`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the length of a step whose gradient is one standard
        deviation. The default is that of keras; the paper has 0.0001, torch 0.01.
    rho : hyper-parameter
        The decay :math:`\rho` of the averages, which reach back about :math:`1/(1-\rho)` steps. The default is that of
        :func:`rmsprop`; the paper has 0.95.
    epsilon : hyper-parameter
        Bounds the steps where the gradient hardly varies, in units of the squared gradient. It matters more than in
        :func:`rmsprop`: on a gradient that stays the same, the deviation vanishes, and steps grow to
        :math:`\eta\, g/\sqrt{\epsilon}`. Inside the root, as in the paper, optax and keras (torch adds its own
        outside); the default is that of :func:`rmsprop`, the paper has 0.0001.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``variance``, of its ``mean``, then its own.

    Notes
    -----
    Steps are long where gradients agree with each other and short where they are noise. The paper keeps :math:`v` and
    subtracts :math:`m^2`. That is the same number, but its rounding leaves nothing of a deviation that is small beside
    the mean, or less than nothing, and a NaN; the form here is a sum of squares and never below zero.

    optax and keras: ``rmsprop(centered=True)`` with the same values; torch: the same without epsilons, `rho` being its
    ``alpha``. Momentum, in the paper 0.9, is :func:`~symupdates.apply_momentum`, as for :func:`rmsprop`.

    State: ``variance`` (:math:`s`) and ``mean`` (:math:`m`), zero at first, of the parameter's shape and dtype.
    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Graves (2013). Generating sequences with recurrent neural networks, equations 38 to 41. arXiv:1308.0850.
    """
    step = prepare("centered_rmsprop", loss_or_grads, params, learning_rate=learning_rate, rho=rho, epsilon=epsilon)
    for p, g, (eta, rho, eps) in step:
        variance = step.state(p, "variance")
        mean = step.state(p, "mean")
        step[variance] = rho * (variance + (1 - rho) * (g - mean) ** 2)
        step[mean] = mean + (1 - rho) * (g - mean)
        step[p] = p - eta * g / sqrt(step[variance] + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def adadelta(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    rho: Hyper = 0.95,
    epsilon: Hyper = 1e-6,
) -> Updates:
    r"""AdaDelta: steps in the parameter's own units, from the ratio of two moving averages.

    .. math::
        a &\leftarrow \rho a + (1 - \rho)\, g^2 \\
        u &= g\, \frac{\sqrt{d + \epsilon}}{\sqrt{a + \epsilon}} \\
        p &\leftarrow p - \eta\, u \\
        d &\leftarrow \rho d + (1 - \rho)\, u^2

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        A factor :math:`\eta` on the step, without unit. The paper has none, hence the default 1.0.
    rho : hyper-parameter
        The decay :math:`\rho` of both averages; the paper uses 0.95.
    epsilon : hyper-parameter
        Starts the steps off: the first has about the length :math:`\sqrt{\epsilon/(1-\rho)}`. Added to averages of both
        squared gradients and squared steps; the paper uses 1e-6.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, its own, then that of its ``delta_accu``.

    Notes
    -----
    torch, optax and keras are the same with their values: torch and optax have ``rho=0.9``; keras has a rate of 0.001
    and an epsilon of 1e-7. optax's ``adadelta()`` without a rate steps uphill.

    State: ``accu`` (:math:`a`) and ``delta_accu`` (:math:`d`), zero at first, of the parameter's shape and dtype.
    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. D. Zeiler (2012). ADADELTA: an adaptive learning rate method. arXiv:1212.5701.
    """
    step = prepare("adadelta", loss_or_grads, params, learning_rate=learning_rate, rho=rho, epsilon=epsilon)
    for p, g, (eta, rho, eps) in step:
        accu = step.state(p, "accu")
        delta_accu = step.state(p, "delta_accu")
        step[accu] = rho * accu + (1 - rho) * g**2
        delta = g * sqrt(delta_accu + eps) / sqrt(step[accu] + eps)
        step[p] = p - eta * delta
        step[delta_accu] = rho * delta_accu + (1 - rho) * delta**2
    return step.finish()


@awaits("loss_or_grads", "params")
def ftrl(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.1,
    beta: Hyper = 1.0,
    l1: Hyper = 0.0,
    l2: Hyper = 0.0,
    initial_accumulator: float = 0.0,
) -> Updates:
    r"""FTRL-Proximal: AdaGrad's steps with penalties that keep unneeded coordinates at exactly zero.

    .. math::
        z &\leftarrow z + g - \frac{\sqrt{n + g^2} - \sqrt{n}}{\alpha}\, p \\
        n &\leftarrow n + g^2 \\
        p &\leftarrow \begin{cases}
            0 & \text{if } |z| \le \lambda_1 \\
            \displaystyle \frac{\lambda_1 \operatorname{sign}(z) - z}{(\beta + \sqrt{n})/\alpha + \lambda_2}
                & \text{else}
        \end{cases}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter, without the penalties.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\alpha`, in units of the parameter, as in :func:`adagrad`. The best depends on the data,
        says the paper, and gives none; the default is within the range that suits :func:`adagrad`. keras has 0.001.
        Finite and above 0.
    beta : hyper-parameter
        Shortens the first steps, in units of the gradient: it stands beside the root of the sum of squares. The default
        1 is the paper's; keras has 0. Finite and at least 0.
    l1 : hyper-parameter
        The strength :math:`\lambda_1` of the penalty :math:`\lambda_1 |p|`, in units of the gradient. It holds once,
        and not once a gradient: a coordinate is zero while the gradients it has met sum to no more. Finite and at least
        0.
    l2 : hyper-parameter
        The strength :math:`\lambda_2` of the penalty :math:`\lambda_2\, p^2/2`; it too holds once. Finite and at least
        0.
    initial_accumulator : float
        The value that :math:`n` begins with, in units of the squared gradient; a number, for it is that of the state.
        The default 0 is the paper's; keras has 0.1. Finite and at least 0.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``z``, of its ``n``, then its own.

    Notes
    -----
    For sparse linear models learned in one pass, such as click prediction: after each gradient, the parameter is the
    minimum of all gradients so far, linearised, of a penalty on distances from where it has been, and of the two
    penalties. Without the latter, it is :func:`adagrad` with `beta` outside of the root.

    **The initial value of a parameter does not count.** The rule begins at zero: that is where the first update puts
    every coordinate without a gradient. keras does so too. Do not use it where zeros are no starting point, as for the
    layers of a network.

    keras: ``Ftrl`` with ``beta=0, initial_accumulator=0.1``, and with `l2` twice its ``l2_regularization_strength``.
    Its ``learning_rate_power`` is here -0.5, its ``l2_shrinkage_regularization_strength`` 0. torch and optax do not
    have it.

    State: ``z``, zero at first, and ``n``, `initial_accumulator` at first, of the parameter's shape and dtype.
    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] H. B. McMahan et al. (2013). Ad click prediction: a view from the trenches, algorithm 1. KDD.
    """
    scalar("ftrl: initial_accumulator", initial_accumulator, NON_NEGATIVE)
    step = prepare(
        "ftrl",
        loss_or_grads,
        params,
        learning_rate=POSITIVE_RATE(learning_rate),
        beta=NON_NEGATIVE(beta),
        l1=NON_NEGATIVE(l1),
        l2=NON_NEGATIVE(l2),
    )
    for p, g, (alpha, beta, l1, l2) in step:
        z = step.state(p, "z")
        n = step.state(p, "n", initial=initial_accumulator)
        step[z] = z + g - (sqrt(n + g**2) - sqrt(n)) / alpha * p
        step[n] = n + g**2
        shrunk = (l1 * sign(step[z]) - step[z]) / ((beta + sqrt(step[n])) / alpha + l2)
        step[p] = switch(abs(step[z]) <= l1, 0, shrunk)
    return step.finish()


@awaits("loss_or_grads", "params")
def sm3(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.1,
    momentum: Hyper = 0.9,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""SM3: AdaGrad whose sums of squares are kept by row and by column only.

    With an accumulator :math:`\mu_a` for each axis :math:`a`, of its length, and :math:`i_a` the place on it of the
    element :math:`i`:

    .. math::
        \nu_i &= \min_a \mu_a(i_a) + g_i^2 \\
        \mu_a(j) &\leftarrow \max_{i:\, i_a = j} \nu_i \\
        m &\leftarrow \beta m + (1 - \beta) \frac{g}{\sqrt{\nu + \epsilon}} \\
        p &\leftarrow p - \eta\, m

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter, as in :func:`adagrad`; no coordinate moves further in one
        step. The paper's experiments warm up to some tenths; optax asks for it.
    momentum : hyper-parameter
        The decay :math:`\beta` of the average of steps, which reaches back about :math:`1/(1-\beta)` of them. The
        default is the paper's and optax's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. In units of the squared gradient, inside the root. The default is
        optax's; the paper has none, and takes 0/0 as 0.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next values of its ``accu_0``, ``accu_1`` …, one for each axis, of its
        ``m``, then its own.

    Notes
    -----
    For large embeddings and other matrices: of a matrix, the sums take a number for each row and each column in place
    of one for each element. They are at least those of :func:`adagrad`, so steps are shorter, but not by much where the
    large gradients of a row or column come together. Of a vector or a scalar, they are the same. The average of the
    steps has a number for each element all the same.

    optax: ``sm3(learning_rate, momentum)``; torch and keras do not have it. It is the paper's SM3-II.

    State: ``accu_0``, ``accu_1`` … (:math:`\mu`), zero at first, vectors of the length of each axis, ``accu_0`` a
    scalar for a scalar; ``m``, zero at first, of the parameter's shape; all of its dtype. Hyper-parameters, partials
    and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] R. Anil, V. Gupta, T. Koren and Y. Singer (2019). Memory-efficient adaptive optimization. NeurIPS.
       arXiv:1901.11150.
    """
    step = prepare("sm3", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum, epsilon=epsilon)
    for p, g, (eta, beta, eps) in step:
        axes = range(p.ndim)
        accus = [step.state(p, f"accu_{a}", shape=partial(of_axis, axis=a)) for a in axes or [0]]
        m = step.state(p, "m")
        spread = [accu.dimshuffle(*("x" if b != a else 0 for b in axes)) for a, accu in enumerate(accus)]
        nu = reduce(pt.minimum, spread) + g**2
        for a, accu in enumerate(accus):
            # Of nothing, there is no maximum.
            empty = 0 in step.shape(p)
            step[accu] = accu if empty else pt.max(nu, axis=[b for b in axes if b != a])
        step[m] = beta * m + (1 - beta) * g / sqrt(nu + eps)
        step[p] = p - eta * step[m]
    return step.finish()


@awaits("loss_or_grads", "params")
def madgrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    momentum: Hyper = 0.9,
    epsilon: Hyper = 1e-6,
) -> Updates:
    r"""MADGRAD: dual averaging with AdaGrad's idea and a cube root, and momentum.

    .. math::
        \lambda_t &= \eta \sqrt{t} \\
        s &\leftarrow s + \lambda_t\, g \\
        \nu &\leftarrow \nu + \lambda_t\, g^2 \\
        z &= x_0 - \frac{s}{\sqrt[3]{\nu} + \epsilon} \\
        p &\leftarrow \mu\, p + (1 - \mu)\, z

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`: the first step is one of :math:`(1 - \mu)\, \eta^{2/3} |g|^{1/3}`. Good values
        differ from those of other rules; the default is that of the authors' code, and optax asks for it. Finite and at
        least 0.
    momentum : hyper-parameter
        The weight :math:`\mu` of the last iterate beside the new point :math:`z`. The default is that of the paper's
        experiments.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; it stands beside the cube root. The default is the authors'.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``x0``, which is the same, of its ``s``, of its ``nu``, then
        its own; last, the count ``t``.

    Notes
    -----
    Each point :math:`z` is computed from the start and from the sums over all gradients, in which the later ones weigh
    more. The paper found it to need less weight decay than other rules, often none. The state takes three times the
    memory of the parameter.

    optax: ``contrib.madgrad(learning_rate, momentum, eps)``, which like the authors' code adds its epsilon to the rate
    as well: to step as they do, give ``learning_rate + epsilon``. It takes :math:`\sqrt t` in float32, so that in
    float64 its steps agree with these to seven digits. torch and keras do not have it.

    State: ``x0``, the parameter's value at first and for good; ``s`` and ``nu``, zero at first; all of the parameter's
    shape and dtype; ``t``, an int64 scalar, the number of updates made. Hyper-parameters, partials and errors are as
    for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Defazio and S. Jelassi (2022). Adaptivity without compromise: a momentumized, adaptive, dual averaged
       gradient method for stochastic optimization. JMLR 23. arXiv:2101.11075.
    """
    step = prepare(
        "madgrad",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        momentum=momentum,
        epsilon=epsilon,
    )
    for p, g, (eta, mu, eps) in step:
        x0 = step.state(p, "x0", initial=p)
        s = step.state(p, "s")
        nu = step.state(p, "nu")
        lambda_t = eta * sqrt(astype(step.t, p.dtype))
        step[x0] = x0
        step[s] = s + lambda_t * g
        step[nu] = nu + lambda_t * g**2
        z = x0 - step[s] / (step[nu] ** np.asarray(1 / 3, p.dtype) + eps)
        step[p] = mu * p + (1 - mu) * z
    return step.finish()


def of_axis(shape, axis):
    """The shape of a vector along an axis; of none, where there is none."""
    return shape[axis : axis + 1]
