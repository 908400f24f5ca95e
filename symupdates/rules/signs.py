"""Rules whose steps have the size of the rate: of the gradient, they take the signs."""

from __future__ import annotations

from pytensor.tensor import clip, eq, sign, switch

from symupdates.core import awaits, prepare
from symupdates.core.ranges import BOUND, NON_NEGATIVE, POSITIVE, Range, in_order
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["lion", "rprop", "sign_sgd", "signum"]


@awaits("loss_or_grads", "params")
def sign_sgd(
    loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None, learning_rate: Hyper = 1e-3
) -> Updates:
    r"""Sign descent: every coordinate moves by the same length, against the sign of its gradient.

    .. math:: p \leftarrow p - \eta \operatorname{sign}(g)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the length of every step of every coordinate. optax asks
        for it; the default is that of :func:`~symupdates.adam`, whose steps are about as long.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Notes
    -----
    The scale of the loss does not matter. A coordinate stands still only where its gradient is exactly zero: elsewhere
    it circles its goal at a distance of about :math:`\eta`, so let the rate fall. Signs of noisy gradients favour the
    median of the noise over its mean.

    optax: ``sign_sgd(learning_rate)``; torch and keras do not have it. For the signs of all gradients before another
    rule, there is :func:`symupdates.gradients.sign`.

    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Bernstein, Y.-X. Wang, K. Azizzadenesheli and A. Anandkumar (2018). signSGD: compressed optimisation for
       non-convex problems. ICML. arXiv:1802.04434.
    """
    step = prepare("sign_sgd", loss_or_grads, params, learning_rate=learning_rate)
    for p, g, (eta,) in step:
        step[p] = p - eta * sign(g)
    return step.finish()


@awaits("loss_or_grads", "params")
def signum(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta: Hyper = 0.9,
) -> Updates:
    r"""Signum: steps of equal length against the sign of a moving average of the gradient.

    .. math::
        m &\leftarrow \beta m + (1 - \beta)\, g \\
        p &\leftarrow p - \eta \operatorname{sign}(m)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the length of every step of every coordinate. optax asks
        for it; the default is that of :func:`sign_sgd`.
    beta : hyper-parameter
        The decay :math:`\beta` of the average, which reaches back about :math:`1/(1-\beta)` steps. The default is the
        paper's and optax's.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, then its own.

    Notes
    -----
    The average needs no correction for its start at zero, which does not change its sign.

    optax: ``signum(learning_rate, beta)``; torch and keras do not have it. The paper's weight decay is
    :func:`~symupdates.apply_weight_decay`.

    State: ``m``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Bernstein, Y.-X. Wang, K. Azizzadenesheli and A. Anandkumar (2018). signSGD: compressed optimisation for
       non-convex problems, algorithm 2. ICML. arXiv:1802.04434.
    """
    step = prepare("signum", loss_or_grads, params, learning_rate=learning_rate, beta=beta)
    for p, g, (eta, beta) in step:
        m = step.state(p, "m")
        step[m] = beta * m + (1 - beta) * g
        step[p] = p - eta * sign(step[m])
    return step.finish()


@awaits("loss_or_grads", "params")
def lion(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.99,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""Lion: the sign of a mean of the gradient and its moving average, with decoupled weight decay.

    .. math::
        p &\leftarrow p - \eta \left( \operatorname{sign}(\beta_1 m + (1 - \beta_1)\, g) + \lambda\, p \right) \\
        m &\leftarrow \beta_2 m + (1 - \beta_2)\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the length of every step of every coordinate, before the
        decay. The paper advises a third to a tenth of AdamW's; the default is that of its authors' code, keras has
        0.001, and optax asks for it.
    beta1 : hyper-parameter
        The weight :math:`\beta_1` of the average in the step, where the gradient has the rest. The default is the
        paper's.
    beta2 : hyper-parameter
        The decay :math:`\beta_2` of the average, which reaches back about :math:`1/(1-\beta_2)` steps. The default is
        the paper's.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay: it takes the fraction :math:`\eta\lambda` of the parameter a step.
        The rate being smaller, the paper advises three to ten times AdamW's. The default 0 is that of the authors' code
        and of keras; optax has 0.001.

    Returns
    -------
    OrderedDict
        For each parameter in order: its next value, then that of its ``m``.

    Notes
    -----
    Half the state of Adam. As all steps have the same length, the noise of small batches does not average out at small
    gradients: it does best with large batches.

    optax's ``lion`` and keras' ``Lion`` are the same with the same values; torch does not have it.

    State: ``m``, zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] X. Chen, C. Liang, D. Huang, E. Real, K. Wang, Y. Liu, H. Pham, X. Dong, T. Luong, C.-J. Hsieh, Y. Lu and
       Q. V. Le (2023). Symbolic discovery of optimization algorithms. NeurIPS. arXiv:2302.06675.
    """
    step = prepare(
        "lion",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, decay) in step:
        m = step.state(p, "m")
        step[p] = p - eta * (sign(beta1 * m + (1 - beta1) * g) + decay * p)
        step[m] = beta2 * m + (1 - beta2) * g
    return step.finish()


@awaits("loss_or_grads", "params")
def rprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    eta_minus: Hyper = 0.5,
    eta_plus: Hyper = 1.2,
    min_step_size: Hyper = 1e-6,
    max_step_size: Hyper = 50.0,
) -> Updates:
    r"""Rprop: each coordinate has a step size of its own, which grows while its gradient keeps its sign.

    .. math::
        \Delta &\leftarrow \operatorname{clip}(\Delta\, c,\, \Delta_{\min},\, \Delta_{\max}), \qquad
            c = \begin{cases}
                \eta_+ & \text{if } s \operatorname{sign}(g) > 0 \\
                \eta_- & \text{if } s \operatorname{sign}(g) < 0 \\
                1 & \text{else}
            \end{cases} \\
        s &\leftarrow \begin{cases} 0 & \text{if } s \operatorname{sign}(g) < 0 \\
            \operatorname{sign}(g) & \text{else} \end{cases} \\
        p &\leftarrow p - \Delta\, s

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\Delta` of every coordinate at the first update, in units of the parameter. Later values,
        as of a schedule, do not matter: the steps find their size themselves. The default is torch's. Finite and above
        0.
    eta_minus, eta_plus : hyper-parameter
        The factors :math:`0 < \eta_- \le 1` and :math:`\eta_+ \ge 1` by which a step size shrinks and grows. The
        defaults are the paper's.
    min_step_size, max_step_size : hyper-parameter
        The bounds :math:`0 \le \Delta_{\min} \le \Delta_{\max}` of the step sizes, in units of the parameter. The
        defaults are the paper's.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``step_size``, of its ``sign``, then its own.

    Notes
    -----
    For gradients without noise, of the whole of the data: a sign that changes stands for a minimum that was passed, and
    the sizes of gradients do not matter at all. With minibatches it fails; :func:`~symupdates.rmsprop` was made for
    them.

    This is the variant iRprop- [2]_: where the sign has changed, the coordinate stands still for one step, and then
    goes on with its smaller step size in either direction. torch's ``Rprop`` is the same with ``etas=(eta_minus,
    eta_plus)`` and ``step_sizes=(min_step_size, max_step_size)``, except that its products of tiny gradients can
    underflow. optax's ``rprop`` makes each step one update late: at the first update nothing moves, and then the steps
    are those that the gradients before asked for, unless the sign has changed since. keras does not have it.

    A gradient that is NaN makes its coordinate NaN for good, as in all rules here. torch takes its sign for zero, and
    goes on: so does this rule behind :func:`symupdates.gradients.zero_nans`.

    State: ``step_size`` (:math:`\Delta`), zero before the first update, which sets it to `learning_rate`; ``sign``
    (:math:`s`), zero at first; both of the parameter's shape and dtype. Hyper-parameters, partials and errors are as
    for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Riedmiller and H. Braun (1993). A direct adaptive method for faster backpropagation learning: the RPROP
       algorithm. IEEE International Conference on Neural Networks.
    .. [2] C. Igel and M. Hüsken (2003). Empirical evaluation of the improved Rprop learning algorithms. Neurocomputing
       50.
    """
    step = prepare(
        "rprop",
        loss_or_grads,
        params,
        learning_rate=POSITIVE(learning_rate),
        eta_minus=Range(low=0, high=1, has_high=True)(eta_minus),
        eta_plus=Range(low=1, has_low=True)(eta_plus),
        min_step_size=NON_NEGATIVE(min_step_size),
        max_step_size=BOUND(max_step_size),
    )
    in_order("rprop", min_step_size=min_step_size, max_step_size=max_step_size)
    for p, g, (eta, eta_minus, eta_plus, delta_min, delta_max) in step:
        delta = step.state(p, "step_size")
        s = step.state(p, "sign")
        agreement = s * sign(g)
        factor = switch(agreement > 0, eta_plus, switch(agreement < 0, eta_minus, 1))
        step[delta] = clip(switch(eq(delta, 0), eta, delta) * factor, delta_min, delta_max)
        step[s] = switch(agreement < 0, 0, sign(g))
        step[p] = p - step[delta] * step[s]
    return step.finish()
