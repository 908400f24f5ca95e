"""Stochastic gradient descent and its momenta."""

from __future__ import annotations

from pytensor.tensor import eq, maximum, switch

from symupdates.core import astype, awaits, flag, prepare
from symupdates.core.ranges import BOUND, NON_NEGATIVE_RATE, REAL
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["asgd", "heavy_ball", "momentum", "nesterov_momentum", "optimistic_gradient", "qhm", "sgd"]


@awaits("loss_or_grads", "params")
def sgd(
    loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None, learning_rate: Hyper = 1e-3
) -> Updates:
    r"""Stochastic gradient descent.

    .. math:: p \leftarrow p - \eta\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. Lasagne and optax ask for it;
        the default is PyMC's and torch's, keras has 0.01.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Notes
    -----
    A *hyper-parameter*, here and in every rule, is a number, a scalar variable (shared, to be changed while training;
    of any float or int dtype), or a schedule: a callable that takes the number of updates made so far, an int64
    scalar variable, and returns the value.

    What a number may be: a rate, finite; it may be negative, to climb. The decay of an average (``beta``, ``rho``,
    ``decay``), at least 0 and below 1; a ``momentum``, or a ``dampening``, from 0 to 1. An ``epsilon``, a ``damping``,
    a ``temperature`` and the strength of a decay, at least 0 and finite. All else, finite. Where it is otherwise, it
    says so. Variables, and what schedules make of a variable, may have any value: they are yours.

    Called without `loss_or_grads` and `params`, every rule returns a :func:`functools.partial` of itself that awaits
    them. The errors are those of :func:`~symupdates.get_or_compute_grads`, a ValueError for a hyper-parameter that is
    not a scalar, or a number that it may not be, and a TypeError for one that is not a real number.

    References
    ----------
    .. [1] H. Robbins and S. Monro (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3).
    """
    step = prepare("sgd", loss_or_grads, params, learning_rate=learning_rate)
    for p, g, (eta,) in step:
        step[p] = p - eta * g
    return step.finish()


@awaits("loss_or_grads", "params")
def momentum(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    momentum: Hyper = 0.9,
) -> Updates:
    r"""Gradient descent with classical momentum (the heavy ball).

    .. math::
        v &\leftarrow \mu v - \eta\, g \\
        p &\leftarrow p + v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`. It enters the velocity, so a change of it takes effect gradually, over about
        :math:`1/(1-\mu)` steps (keras does so too; torch and optax multiply the velocity by it, which is the same
        only while it is constant). Lasagne asks for it; the default is PyMC's.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept. The default 0.9 makes a steady step ten times as long.

    Returns
    -------
    OrderedDict
        The next value of each parameter, then of each ``velocity``, in the order of the parameters.

    Notes
    -----
    It is keras' ``SGD`` with the same `learning_rate` and `momentum`, and that of torch and optax while the rate is
    constant; with a schedule, theirs is :func:`heavy_ball`.

    State: ``velocity``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as
    for :func:`sgd`.

    References
    ----------
    .. [1] B. T. Polyak (1964). Some methods of speeding up the convergence of iteration methods. USSR Computational
       Mathematics and Mathematical Physics 4(5).
    .. [2] I. Sutskever, J. Martens, G. Dahl and G. Hinton (2013). On the importance of initialization and momentum in
       deep learning. ICML.
    """
    step = prepare("momentum", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum)
    for p, g, (eta, mu) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v - eta * g
        step[p] = p + step[v]
    return step.finish(params_first=True)


@awaits("loss_or_grads", "params")
def nesterov_momentum(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    momentum: Hyper = 0.9,
) -> Updates:
    r"""Gradient descent with Nesterov momentum.

    .. math::
        v &\leftarrow \mu v - \eta\, g \\
        p &\leftarrow p + \mu v - \eta\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`; it enters the velocity. Lasagne asks for it; the default is PyMC's.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept.

    Returns
    -------
    OrderedDict
        The next value of each parameter, then of each ``velocity``, in the order of the parameters.

    Notes
    -----
    Nesterov's method takes the gradient at the point where the velocity leads to. Here the parameters *are* that point:
    they stand for :math:`\theta + \mu v` of the paper, so that the gradient is taken where they are [2]_.

    It is keras' ``SGD`` with ``nesterov=True`` and the same `learning_rate` and `momentum`, and that of torch and optax
    while the rate is constant; with a schedule, theirs is :func:`heavy_ball` with ``nesterov=True``.

    State: ``velocity``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as
    for :func:`sgd`.

    References
    ----------
    .. [1] Y. Nesterov (1983). A method of solving a convex programming problem with convergence rate O(1/k²). Soviet
       Mathematics Doklady 27(2).
    .. [2] Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu (2013). Advances in optimizing recurrent networks. ICASSP.
    """
    step = prepare("nesterov_momentum", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum)
    for p, g, (eta, mu) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v - eta * g
        step[p] = p + mu * step[v] - eta * g
    return step.finish(params_first=True)


@awaits("loss_or_grads", "params")
def heavy_ball(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    momentum: Hyper = 0.9,
    dampening: Hyper = 0.0,
    nesterov: bool = False,
) -> Updates:
    r"""Momentum in the form of torch and optax: the velocity is one of gradients, and the rate multiplies it.

    .. math::
        v &\leftarrow \mu v + (1 - d)\, g \\
        p &\leftarrow p - \eta\, v

    and in Nesterov's form

    .. math:: p \leftarrow p - \eta\, (g + \mu v)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. A change of it takes effect at
        once, in the whole velocity: this is how the rule differs from :func:`momentum`. The default is torch's.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept. The default 0.9 makes a steady step ten times as long, unless
        dampened; torch and optax have none by default.
    dampening : hyper-parameter
        The fraction :math:`d` of the gradient that does not enter the velocity. Equal to `momentum`, it makes of the
        velocity a moving average, and a steady step as long as that of :func:`sgd`. As in torch, the first gradient
        enters undampened: the average begins at it, not at zero.
    nesterov : bool
        Whether to step in Nesterov's form.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own; last, the count ``t``.

    Notes
    -----
    With a constant rate and without dampening, the parameters move as by :func:`momentum`, or
    :func:`nesterov_momentum`. Take this rule with a schedule that was tuned with torch or optax.

    torch's ``SGD`` has the same arguments; it refuses dampening with Nesterov's form. optax's ``sgd`` has no dampening.
    In keras' ``SGD`` the rate enters the velocity: that is :func:`momentum`.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, the
    number of updates made. Hyper-parameters, partials and errors are as for :func:`sgd`.

    References
    ----------
    .. [1] B. T. Polyak (1964). Some methods of speeding up the convergence of iteration methods. USSR Computational
       Mathematics and Mathematical Physics 4(5).
    .. [2] I. Sutskever, J. Martens, G. Dahl and G. Hinton (2013). On the importance of initialization and momentum in
       deep learning. ICML.
    """
    flag("heavy_ball: nesterov", nesterov)
    step = prepare(
        "heavy_ball", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum, dampening=dampening
    )
    for p, g, (eta, mu, d) in step:
        v = step.state(p, "velocity")
        step[v] = mu * v + switch(eq(step.t, 1), 1, 1 - d) * g
        step[p] = p - eta * (g + mu * step[v] if nesterov else step[v])
    return step.finish()


@awaits("loss_or_grads", "params")
def qhm(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    momentum: Hyper = 0.999,
    nu: Hyper = 0.7,
) -> Updates:
    r"""Quasi-hyperbolic momentum: a weighted mean of the gradient and its moving average.

    .. math::
        v &\leftarrow \beta v + (1 - \beta)\, g \\
        p &\leftarrow p - \eta \left( (1 - \nu)\, g + \nu v \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. A steady step is as long as that
        of :func:`sgd`, whatever the momentum: coming from :func:`momentum`, divide the rate by :math:`1 - \mu`.
    momentum : hyper-parameter
        The decay :math:`\beta` of the average, which reaches back about :math:`1/(1-\beta)` steps. The default 0.999 is
        the paper's advice, and longer than the usual momentum of 0.9.
    nu : hyper-parameter
        The weight :math:`\nu` of the average in the step, without unit: 0 is :func:`sgd`, 1 momentum. The default 0.7
        is the paper's advice.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own.

    Notes
    -----
    Several other methods are cases of it. With ``nu=momentum`` it is :func:`nesterov_momentum` at a rate of
    :math:`\eta (1 - \beta)`, which is ``SGD(nesterov=True)`` of torch, keras and optax; with ``nu=1``, :func:`momentum`
    at that rate. None of them has the rule itself.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and
    errors are as for :func:`sgd`.

    References
    ----------
    .. [1] J. Ma and D. Yarats (2019). Quasi-hyperbolic momentum and Adam for deep learning. ICLR. arXiv:1810.06801.
    """
    step = prepare("qhm", loss_or_grads, params, learning_rate=learning_rate, momentum=momentum, nu=nu)
    for p, g, (eta, beta, nu) in step:
        v = step.state(p, "velocity")
        step[v] = beta * v + (1 - beta) * g
        step[p] = p - eta * ((1 - nu) * g + nu * step[v])
    return step.finish()


@awaits("loss_or_grads", "params")
def optimistic_gradient(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    alpha: Hyper = 1.0,
    beta: Hyper = 1.0,
) -> Updates:
    r"""Optimistic gradient descent: the gradient, and how it changed since the last step.

    .. math:: p \leftarrow p - \eta \left( \alpha\, g_t + \beta\, (g_t - g_{t-1}) \right), \qquad g_0 = g_1

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. optax asks for it; the default
        is that of :func:`sgd`.
    alpha : hyper-parameter
        The weight :math:`\alpha` of the gradient, without unit. The default 1 is the paper's method.
    beta : hyper-parameter
        The weight :math:`\beta` of its change, without unit. The default 1 is the paper's method; 0 makes it
        :func:`sgd`.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``previous``, then its own; last, the count ``t``.

    Notes
    -----
    For games, where one player's parameters descend a loss that another's ascend: on :math:`xy`, plain gradient steps
    spiral outwards and these inwards. The change foretells the next gradient, as the extra-gradient method does by
    computing it. Give the gradients as a list, those of the ascending player negated.

    optax: ``optimistic_gradient_descent(learning_rate, alpha, beta)``; torch and keras do not have it.

    State: ``previous`` (:math:`g_{t-1}`), zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar,
    the number of updates made. Hyper-parameters, partials and errors are as for :func:`sgd`.

    References
    ----------
    .. [1] L. D. Popov (1980). A modification of the Arrow-Hurwicz method for search of saddle points. Mathematical
       Notes 28(5).
    .. [2] A. Mokhtari, A. Ozdaglar and S. Pattathil (2020). A unified analysis of extra-gradient and optimistic
       gradient methods for saddle point problems: proximal point approach. AISTATS. arXiv:1901.08511.
    """
    step = prepare(
        "optimistic_gradient", loss_or_grads, params, learning_rate=learning_rate, alpha=alpha, beta=REAL(beta)
    )
    for p, g, (eta, alpha, beta) in step:
        previous = step.state(p, "previous")
        step[previous] = g
        step[p] = p - eta * (alpha * g + switch(eq(step.t, 1), 0, beta) * (g - previous))
    return step.finish()


@awaits("loss_or_grads", "params")
def asgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    weight_decay: Hyper = 1e-4,
    power: Hyper = 0.75,
    begin: Hyper = 0,
) -> Updates:
    r"""Averaged stochastic gradient descent: a rate that falls slowly, and the average of the parameters.

    .. math::
        \eta_t &= \frac{\eta}{(1 + \lambda \eta (t - 1))^\kappa} \\
        p &\leftarrow p - \eta_t\, (g + \lambda p) \\
        a &\leftarrow a + \frac{p - a}{\max(t - b, 1)}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The first step size :math:`\eta`, in units of the parameter per unit of the gradient. The default is torch's.
        Finite and at least 0.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is the gradient of :math:`\lambda p^2/2`. It also sets the pace
        at which the rate falls: the method is made for losses with such a term, whose curvature is then at least
        :math:`\lambda`. The default is torch's (``lambd``).
    power : hyper-parameter
        The power :math:`\kappa` by which the rate falls, without unit. Between 1/2 and 1, averages reach the best
        possible rate of convergence; the default 3/4 is torch's (``alpha``).
    begin : hyper-parameter
        The number :math:`b` of updates before those that are averaged; until then, the average is the parameter itself.
        The default 0 averages all, as in the papers; the updates of one epoch are a good choice.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its own, then of its ``average``; last, the count ``t``.

    Notes
    -----
    The loss is evaluated at the averages: :func:`~symupdates.averages` and :func:`~symupdates.swap_averages` give them.
    To average the steps of another rule, there is :func:`~symupdates.apply_polyak_average`.

    torch's ``ASGD`` is the same for constant hyper-parameters; its ``t0``, 1e6 by default, is ``begin - 1``. With a
    schedule, its rate lags one step behind. Its rates are float32, whatever the parameter, unless torch's default
    dtype is float64. optax and keras do not have it.

    State: ``average`` (:math:`a`), of the parameter's shape and dtype, with the parameter's value at first; ``t``, an
    int64 scalar, the number of updates made. Hyper-parameters, partials and errors are as for :func:`sgd`.

    References
    ----------
    .. [1] B. T. Polyak and A. B. Juditsky (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
       on Control and Optimization 30(4).
    .. [2] W. Xu (2011). Towards optimal one pass large scale learning with averaged stochastic gradient descent.
       arXiv:1107.2490.
    """
    step = prepare(
        "asgd",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        weight_decay=weight_decay,
        power=power,
        begin=BOUND(begin),
    )
    for p, g, (eta, decay, power, begin) in step:
        average = step.stand_in(p, "average")
        t = astype(step.t, p.dtype)
        eta_t = step.rate(eta / (1 + decay * eta * (t - 1)) ** power)
        step[p] = p - eta_t * (g + decay * p)
        step[average] = average + (step[p] - average) / maximum(t - begin, 1)
    return step.finish()
