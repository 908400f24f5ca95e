"""Rules that take the gradient at another point than where the parameters are."""

from __future__ import annotations

from symupdates.core import awaits, called, check_optimizer, norm, prepare, require_loss, rescaled
from symupdates.core.ranges import NON_NEGATIVE
from symupdates.rules.sgd import sgd
from symupdates.typing import Hyper, Loss, OptimizerLike, Parameters, Updates

__all__ = ["asam", "extragradient", "nag", "sam"]


@awaits("loss_or_grads", "params")
def sam(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    rho: Hyper = 0.05,
    optimizer: OptimizerLike = sgd,
) -> Updates:
    r"""SAM: the step of any rule, with the gradient at the worst point of a neighbourhood.

    With :math:`n` the L2 norm of all gradients together:

    .. math::
        n &= \lVert \nabla f(p) \rVert_2 \\
        g &= \nabla f\left(p + \rho\, \frac{\nabla f(p)}{n}\right)

    and the step is that of `optimizer` with the gradients :math:`g`, from :math:`p`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`; not gradients, which cannot be taken elsewhere.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    rho : hyper-parameter
        The radius :math:`\rho` of the neighbourhood, a distance in the space of all parameters. The paper chooses among
        0.01 to 0.5; the default is its most frequent. Finite and at least 0.
    optimizer : callable
        The rule that makes the step: a rule or a partial of one, such as ``momentum(learning_rate=0.1)``, or a
        :func:`~symupdates.chain`.

    Returns
    -------
    OrderedDict
        That of `optimizer`. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `optimizer` is not callable.

    Notes
    -----
    For minima that are flat: of a loss in whose neighbourhood no point is much worse. A step takes two gradients, at
    twice the cost. Both are of the same minibatch, and of the same draws where the loss is random, as with dropout.
    Where all gradients are zero, the neighbourhood's centre is taken.

    State: that of `optimizer`. It is optax's ``contrib.sam`` in its opaque mode, with ``adv_optimizer`` the steps of
    normalised gradients and the default ``sync_period`` of 2. Hyper-parameters, partials and the other errors are as
    for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] P. Foret, A. Kleiner, H. Mobahi and B. Neyshabur (2021). Sharpness-aware minimization for efficiently
       improving generalization. ICLR. arXiv:2010.01412.
    """
    check_optimizer("sam: optimizer", optimizer)
    step = prepare("sam", require_loss("sam", loss_or_grads), params, rho=NON_NEGATIVE(rho))
    n = norm([g for _, g, _ in step]).or_one()
    worst = step.gradients_at({p: p + rescaled(g, n, rho) for p, g, (rho,) in step})
    return called("sam: optimizer", optimizer, list(worst.values()), step.params)


@awaits("loss_or_grads", "params")
def asam(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    rho: Hyper = 0.5,
    eta: Hyper = 0.01,
    optimizer: OptimizerLike = sgd,
) -> Updates:
    r"""ASAM: SAM in a neighbourhood that is as wide in each coordinate as the parameter is large.

    With :math:`n` the L2 norm over all parameters together:

    .. math::
        T &= |p| + \eta \\
        n &= \lVert T\, \nabla f(p) \rVert_2 \\
        g &= \nabla f\left(p + \rho\, \frac{T^2\, \nabla f(p)}{n}\right)

    and the step is that of `optimizer` with the gradients :math:`g`, from :math:`p`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`; not gradients, which cannot be taken elsewhere.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    rho : hyper-parameter
        The radius :math:`\rho` of the neighbourhood, without unit: relative to the parameters. About ten times that of
        :func:`sam`; 0.5 and 1 in the paper. Finite and at least 0.
    eta : hyper-parameter
        Keeps the neighbourhood open for parameters that are zero, in units of the parameter. The default is the
        paper's. Finite and at least 0.
    optimizer : callable
        The rule that makes the step, as in :func:`sam`.

    Returns
    -------
    OrderedDict
        That of `optimizer`. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `optimizer` is not callable.

    Notes
    -----
    The neighbourhood of :func:`sam` is a ball, so that scaling a layer up and the next one down, which changes nothing
    of the model, makes its minimum look sharper or flatter. This one is scaled along. Here it is so for all parameters;
    the authors' program leaves those without ``weight`` in their name, such as biases, with :math:`T = 1`.

    State: that of `optimizer`. Its cost, hyper-parameters, partials and the other errors are as for :func:`sam`.

    References
    ----------
    .. [1] J. Kwon, J. Kim, H. Park and I. K. Choi (2021). ASAM: adaptive sharpness-aware minimization for
       scale-invariant learning of deep neural networks. ICML. arXiv:2102.11600.
    """
    check_optimizer("asam: optimizer", optimizer)
    step = prepare("asam", require_loss("asam", loss_or_grads), params, rho=NON_NEGATIVE(rho), eta=NON_NEGATIVE(eta))
    T = {p: abs(p) + eta for p, _, (_, eta) in step}
    n = norm([T[p] * g for p, g, _ in step]).or_one()
    worst = step.gradients_at({p: p + T[p] * rescaled(T[p] * g, n, rho) for p, g, (rho, _) in step})
    return called("asam: optimizer", optimizer, list(worst.values()), step.params)


@awaits("loss_or_grads", "params")
def nag(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    momentum: Hyper = 0.9,
) -> Updates:
    r"""Nesterov's accelerated gradient in its original form: the gradient where the velocity leads to.

    .. math::
        v &\leftarrow \mu v - \eta\, \nabla f(p + \mu v) \\
        p &\leftarrow p + v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`; not gradients, which cannot be taken elsewhere.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`; it enters the velocity. The default is that of
        :func:`~symupdates.nesterov_momentum`.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.

    Notes
    -----
    The parameters are the :math:`\theta` of the papers. Those of :func:`~symupdates.nesterov_momentum`, which is given
    the gradient where they are, are :math:`\theta + \mu v`: the same method with constant hyper-parameters, and the
    same points :math:`\theta` once the velocity has come to rest. This form takes the loss at the parameters for the
    loss of the model, wherever training stops, and schedules of the momentum as the papers do.

    State: ``velocity``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and the other
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Y. Nesterov (1983). A method of solving a convex programming problem with convergence rate O(1/k²). Soviet
       Mathematics Doklady 27(2).
    .. [2] I. Sutskever, J. Martens, G. Dahl and G. Hinton (2013). On the importance of initialization and momentum in
       deep learning. ICML.
    """
    step = prepare("nag", require_loss("nag", loss_or_grads), params, learning_rate=learning_rate, momentum=momentum)
    v = {p: step.state(p, "velocity") for p in step.params}
    ahead = step.gradients_at({p: p + mu * v[p] for p, _, (_, mu) in step})
    for p, _, (eta, mu) in step:
        step[v[p]] = mu * v[p] - eta * ahead[p]
        step[p] = p + step[v[p]]
    return step.finish()


@awaits("loss_or_grads", "params")
def extragradient(
    loss_or_grads: Loss | None = None, params: Parameters | None = None, learning_rate: Hyper = 1e-3
) -> Updates:
    r"""The extragradient method: a step with the gradient that stands at the end of a gradient step.

    .. math::
        \bar p &= p - \eta\, \nabla f(p) \\
        p &\leftarrow p - \eta\, \nabla f(\bar p)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`; not gradients, which cannot be taken elsewhere.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient; less than the reciprocal of the
        gradient's Lipschitz constant.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.

    Notes
    -----
    For saddle points: for what one player minimises and the other maximises, as in adversarial training. Gradient
    descent circles around them, outwards; this converges where the loss is convex for the one and concave for the
    other. The gradients of the second player are turned in the loss: ``grad_scale(q, -1.0)`` of
    :mod:`pytensor.gradient` in the place of the parameter ``q`` in it. A step takes two gradients.

    No state. Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] G. M. Korpelevich (1976). The extragradient method for finding saddle points and other problems. Ekonomika i
       Matematicheskie Metody 12(4).
    """
    step = prepare("extragradient", require_loss("extragradient", loss_or_grads), params, learning_rate=learning_rate)
    ahead = step.gradients_at({p: p - eta * g for p, g, (eta,) in step})
    for p, _, (eta,) in step:
        step[p] = p - eta * ahead[p]
    return step.finish()
