"""Rules that divide each coordinate's step by a record of its own gradients."""

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor import sqrt

from symupdates.core import awaits, prepare, total

__all__ = ["adadelta", "adagrad", "adagrad_window", "rmsprop"]


@awaits("loss_or_grads", "params")
def adagrad(loss_or_grads=None, params=None, learning_rate=1.0, epsilon=1e-6):
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

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, then its own.

    Notes
    -----
    Rare features get long steps and frequent ones short steps. After :math:`t` steps on gradients of constant size, the
    step is :math:`\eta/\sqrt{t}`: the rate decays by itself and never recovers, which :func:`rmsprop` and
    :func:`adadelta` were made to avoid.

    State: ``accu`` (:math:`G`), zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Duchi, E. Hazan and Y. Singer (2011). Adaptive subgradient methods for online learning and stochastic
       optimization. JMLR 12.
    """
    step = prepare("adagrad", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon)
    for p, g, (eta, eps) in step:
        accu = step.state(p, "accu")
        step[accu] = accu + g**2
        step[p] = p - eta * g / sqrt(step[accu] + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def adagrad_window(loss_or_grads=None, params=None, learning_rate=0.001, epsilon=0.1, n_win=10):
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
    if not isinstance(n_win, int | np.integer) or n_win < 1:
        raise ValueError(f"adagrad_window: n_win must be a whole number of at least 1, not {n_win!r}.")
    step = prepare("adagrad_window", loss_or_grads, params, learning_rate=learning_rate, epsilon=epsilon)
    for p, g, (eta, eps) in step:
        accu = step.state(p, "accu", shape=(..., n_win))
        i = step.state(p, "i", shape=(), dtype="int64")
        step[accu] = pt.set_subtensor(accu[..., i], g**2)
        step[i] = (i + 1) % n_win
        step[p] = p - eta * g / sqrt(total(step[accu], axis=-1) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def rmsprop(loss_or_grads=None, params=None, learning_rate=1.0, rho=0.9, epsilon=1e-6):
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
    3.2 times at the first with the default `rho`.

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
def adadelta(loss_or_grads=None, params=None, learning_rate=1.0, rho=0.95, epsilon=1e-6):
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
