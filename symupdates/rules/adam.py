"""Adam and its variants: moving averages of the gradient and of its size."""

from __future__ import annotations

import numpy as np
from pytensor.tensor import maximum, sqrt, switch

from symupdates.core import astype, awaits, prepare
from symupdates.core.ranges import BOUND, Range
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["adam", "adamax", "adamaxw", "adamw", "amsgrad", "nadam", "nadamw", "radam"]


@awaits("loss_or_grads", "params")
def adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""Adam: moving averages of the gradient and of its square, corrected for their start at zero.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        p &\leftarrow p - \eta\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{v} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: about the largest step of any coordinate.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages, which reach back about :math:`1/(1-\beta)` steps. The
        defaults are the paper's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. It is the paper's :math:`\hat\epsilon`, of the more efficient
        form at the end of its section 2, as in Lasagne and keras. The paper's algorithm, torch and optax add it after
        correcting :math:`v`; to step as they do with :math:`\epsilon`, give :math:`\epsilon\sqrt{1 - \beta_2^t}`, a
        schedule: ``lambda t: 1e-8 * (1 - 0.999 ** (t + 1)) ** 0.5``.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    The first step has the length :math:`\eta` in every coordinate whose gradient is well above
    :math:`\epsilon/\sqrt{1-\beta_2}`.

    keras is the same with its own default ``epsilon=1e-7``; for torch and optax, see `epsilon`. The ``weight_decay`` of
    torch's Adam is a penalty, :func:`symupdates.gradients.add_l2`; that of keras' Adam is the one of :func:`adamw`.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. The bias corrections are exact to the dtype at any ``t``. Hyper-parameters,
    partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba (2015). Adam: a method for stochastic optimization. ICLR. arXiv:1412.6980.
    """
    step = prepare(
        "adam", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        alpha = eta * sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[p] = p - alpha * step[m] / (sqrt(step[v]) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def adamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.01,
) -> Updates:
    r"""AdamW: Adam with weight decay that its normaliser does not touch.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        p &\leftarrow p - \eta \left(
            \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{v} + \epsilon} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. It multiplies the decay too.
    beta1, beta2, epsilon : hyper-parameter
        As in :func:`adam`, of whose form the step is.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay: without gradients, a parameter falls by the fraction
        :math:`\eta\lambda` a step. The default is torch's; optax has 0.0001 and keras 0.004.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    All parameters decay. To spare some, such as biases, take :func:`adam` with
    :func:`~symupdates.apply_weight_decay`. To step as torch and optax do, see the `epsilon` of :func:`adam`; keras is
    the same with its own defaults, ``epsilon=1e-7`` and a `weight_decay` of 0.004.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. ICLR. arXiv:1711.05101.
    """
    step = prepare(
        "adamw",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, eps, decay) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        alpha = eta * sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[p] = p - alpha * step[m] / (sqrt(step[v]) + eps) - eta * decay * p
    return step.finish()


@awaits("loss_or_grads", "params")
def adamax(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.002,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""Adamax: Adam with the infinity norm, a decaying maximum in place of the average of squares.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        u &\leftarrow \max(\beta_2 u, |g|) \\
        p &\leftarrow p - \frac{\eta}{1 - \beta_1^t}\, \frac{m}{u + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: a bound on the step of any coordinate. The default is the
        paper's.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1` of the average and :math:`\beta_2` of the maximum. The defaults are the paper's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. The paper divides by :math:`u` alone; Lasagne and keras add
        `epsilon` in the division, as here, torch and optax to :math:`|g|` in the maximum.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``u``, then its own; last, the count ``t``.

    Notes
    -----
    keras is the same with its own defaults, ``learning_rate=0.001`` and ``epsilon=1e-7``. With ``epsilon=0`` here and
    there, so are torch and optax, for coordinates that have gradients; with theirs, :math:`u` cannot fall below
    :math:`\epsilon`, which differs from the division here only where the gradients are as small as that.

    State: ``m`` and ``u``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba (2015). Adam: a method for stochastic optimization, section 7.1. ICLR.
       arXiv:1412.6980.
    """
    step = prepare(
        "adamax", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        u = step.state(p, "u")
        step[m] = beta1 * m + (1 - beta1) * g
        step[u] = maximum(beta2 * u, abs(g))
        step[p] = p - eta / step.bias_correction(beta1) * step[m] / (step[u] + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def adamaxw(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.002,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.01,
) -> Updates:
    r"""AdamaxW: Adamax with weight decay that its normaliser does not touch.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        u &\leftarrow \max(\beta_2 u, |g|) \\
        p &\leftarrow p - \eta \left( \frac{1}{1 - \beta_1^t}\, \frac{m}{u + \epsilon} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. It multiplies the decay too.
    beta1, beta2, epsilon : hyper-parameter
        As in :func:`adamax`.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay: without gradients, a parameter falls by the fraction
        :math:`\eta\lambda` a step. The default is that of :func:`adamw`; optax has 0.0001.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``u``, then its own; last, the count ``t``.

    Notes
    -----
    All parameters decay. To spare some, such as biases, take :func:`adamax` with
    :func:`~symupdates.apply_weight_decay`. ``Adamax(weight_decay=...)`` of keras is the same, and so is ``adamaxw`` of
    optax with ``epsilon=0`` here and there, as said of :func:`adamax`. The weight decay of torch's Adamax is another: a
    penalty, that of :func:`symupdates.gradients.add_l2`.

    State: ``m`` and ``u``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba (2015). Adam: a method for stochastic optimization, section 7.1. ICLR.
       arXiv:1412.6980.
    .. [2] I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. ICLR. arXiv:1711.05101.
    """
    step = prepare(
        "adamaxw",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, eps, decay) in step:
        m = step.state(p, "m")
        u = step.state(p, "u")
        step[m] = beta1 * m + (1 - beta1) * g
        step[u] = maximum(beta2 * u, abs(g))
        step[p] = p - eta / step.bias_correction(beta1) * step[m] / (step[u] + eps) - eta * decay * p
    return step.finish()


@awaits("loss_or_grads", "params")
def amsgrad(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""AMSGrad: Adam whose average of squares never decreases.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        \hat v &\leftarrow \max(\hat v, v) \\
        p &\leftarrow p - \eta\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{\hat v} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are Adam's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; as in :func:`adam`.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``v_hat``, then its own; last,
        the count ``t``.

    Notes
    -----
    The paper leaves the bias corrections out. Lasagne, keras and torch apply them after the maximum, as here:
    ``Adam(amsgrad=True)`` of keras is the same with its own default ``epsilon=1e-7``, and for that of torch, see the
    `epsilon` of :func:`adam`. optax takes the maximum of the corrected averages, which never falls below the first
    squared gradient: another trajectory. Its ``bias_correction_nu=False`` leaves that correction out altogether, and is
    reproduced by the rate :math:`\eta/\sqrt{1 - \beta_2^t}`, a schedule:
    ``lambda t: 0.001 / (1 - 0.999 ** (t + 1)) ** 0.5``; with ``bias_correction_mu=False`` too, it is the paper's, and
    the rate is to be multiplied by :math:`1 - \beta_1^t`.

    State: ``m``, ``v`` and ``v_hat``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one
    for all parameters, the number of updates made. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] S. J. Reddi, S. Kale and S. Kumar (2018). On the convergence of Adam and beyond. ICLR. arXiv:1904.09237.
    """
    step = prepare(
        "amsgrad", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        v_hat = step.state(p, "v_hat")
        alpha = eta * sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[v_hat] = maximum(v_hat, step[v])
        step[p] = p - alpha * step[m] / (sqrt(step[v_hat]) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def nadam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.002,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    momentum_decay: Hyper = 0.004,
) -> Updates:
    r"""NAdam: Adam with Nesterov's momentum, and a momentum that grows during training.

    .. math::
        \mu_t &= \beta_1 \left( 1 - \tfrac12\, 0.96^{\psi t} \right) \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        \hat m &= \frac{\mu_{t+1}\, m}{1 - \prod_{i=1}^{t+1} \mu_i} + \frac{(1 - \mu_t)\, g}{1 - \prod_{i=1}^{t} \mu_i}
        \\
        p &\leftarrow p - \eta\, \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. The default is the paper's and torch's.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages; :math:`\beta_1` is also what the momentum :math:`\mu_t`
        grows to. The defaults are torch's; the paper's :math:`\beta_1` is 0.975.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. It is added after correcting :math:`v`, as in the paper and
        unlike in :func:`adam`.
    momentum_decay : hyper-parameter
        How soon the momentum grows from half of :math:`\beta_1` to all of it, :math:`\psi`: halfway after
        :math:`17/\psi` steps. The default is the paper's and torch's. At least 0; infinite, it has :math:`\mu_t =
        \beta_1` from the start.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``mu_product``, then its own;
        last, the count ``t``.

    Notes
    -----
    The step is Adam's, of the average as it will be after the next update if the gradient stays what it is: it answers
    to the present gradient more than Adam does. The first step is therefore longer than Adam's, by the factor
    :math:`1 + \mu_2 (1 - \beta_1) / (1 - \mu_1\mu_2)`.

    In the paper, the average decays by :math:`\mu_t` itself, so that the products are just what corrects it; torch and
    keras let it decay by :math:`\beta_1`, as here. The arguments of torch are these. keras has no `momentum_decay`:
    with ``momentum_decay=1`` this is the same, its own defaults being ``learning_rate=0.001`` and ``epsilon=1e-7``. The
    ``nadam`` of optax has a constant momentum, as here with ``momentum_decay=np.inf``, or any number so large that its
    power of 0.96 is nothing. torch keeps the product in its default dtype, hence in float32 for float64 parameters,
    unless it is told otherwise.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``mu_product``, a scalar of its dtype, 1
    at first; ``t``, an int64 scalar, one for all parameters, the number of updates made. Hyper-parameters, partials and
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] T. Dozat (2016). Incorporating Nesterov momentum into Adam. ICLR, workshop track.
       https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    """
    step = prepare(
        "nadam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        momentum_decay=BOUND(momentum_decay),
    )
    for p, g, (eta, beta1, beta2, eps, psi) in step:
        step[p] = p - eta * nesterov_ratio(step, p, g, beta1, beta2, eps, psi)
    return step.finish()


@awaits("loss_or_grads", "params")
def nadamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.002,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    momentum_decay: Hyper = 0.004,
    weight_decay: Hyper = 0.01,
) -> Updates:
    r"""NAdamW: NAdam with weight decay that its normaliser does not touch.

    .. math::
        p \leftarrow p - \eta \left( \frac{\hat m}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda\, p \right)

    with :math:`\hat m` and :math:`v` as in :func:`nadam`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. It multiplies the decay too.
    beta1, beta2, epsilon, momentum_decay : hyper-parameter
        As in :func:`nadam`.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay: without gradients, a parameter falls by the fraction
        :math:`\eta\lambda` a step. The default is that of :func:`adamw`; optax has 0.0001.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``mu_product``, then its own;
        last, the count ``t``.

    Notes
    -----
    All parameters decay. To spare some, such as biases, take :func:`nadam` with
    :func:`~symupdates.apply_weight_decay`. torch has it as ``NAdam(decoupled_weight_decay=True)``, keras as
    ``Nadam(weight_decay=...)``, optax as ``nadamw``; what makes them equal is said of :func:`nadam`.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``mu_product``, a scalar of its dtype, 1
    at first; ``t``, an int64 scalar, one for all parameters, the number of updates made. Hyper-parameters, partials and
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] T. Dozat (2016). Incorporating Nesterov momentum into Adam. ICLR, workshop track.
       https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    .. [2] I. Loshchilov and F. Hutter (2019). Decoupled weight decay regularization. ICLR. arXiv:1711.05101.
    """
    step = prepare(
        "nadamw",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        momentum_decay=BOUND(momentum_decay),
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, eps, psi, decay) in step:
        step[p] = p - eta * nesterov_ratio(step, p, g, beta1, beta2, eps, psi) - eta * decay * p
    return step.finish()


def nesterov_ratio(step, p, g, beta1, beta2, eps, psi):
    """The step of NAdam for the rate 1, after its state has been set."""
    m = step.state(p, "m")
    v = step.state(p, "v")
    mu_product = step.state(p, "mu_product", 1.0, ())
    t = astype(step.t, p.dtype)
    mu, mu_next = (beta1 * (1 - 0.5 * np.asarray(0.96, p.dtype) ** (psi * i)) for i in (t, t + 1))
    step[m] = beta1 * m + (1 - beta1) * g
    step[v] = beta2 * v + (1 - beta2) * g**2
    step[mu_product] = mu_product * mu
    m_hat = mu_next / (1 - step[mu_product] * mu_next) * step[m] + (1 - mu) / (1 - step[mu_product]) * g
    return m_hat / (sqrt(step[v] / step.bias_correction(beta2)) + eps)


@awaits("loss_or_grads", "params")
def radam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    threshold: Hyper = 5.0,
) -> Updates:
    r"""RAdam: Adam without its normaliser at first, and then with steps shortened as long as that is uncertain.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        \rho_\infty &= \frac{2}{1 - \beta_2} - 1, \qquad
        \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t} \\
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\, \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\, \rho_t}} \\
        p &\leftarrow p - \frac{\eta\, m}{1 - \beta_1^t} \cdot \begin{cases}
            r_t \sqrt{1 - \beta_2^t} / (\sqrt{v} + \epsilon) & \text{if } \rho_t > \rho_{\min} \\
            1 & \text{otherwise} \end{cases}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. During the first steps, it multiplies the average of the
        gradients as it is, as in :func:`~symupdates.sgd`.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are the paper's. With :math:`\beta_2` of 0.6
        or less, nothing is ever divided.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; added before correcting :math:`v`, as in :func:`adam`, in the
        authors' code and in torch.
    threshold : hyper-parameter
        :math:`\rho_{\min}`, at least 4: the number of steps of which :math:`v` must be an average before it is used,
        :math:`\rho_t` being about :math:`t` at first. The paper has 4; the authors' code, torch and optax have 5.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    An average of few squares is small by chance in some coordinates, and Adam's steps are then long: here they are not,
    without a warm-up of the rate. With the defaults, the first five steps are those of momentum, unbounded where
    gradients are large, and the factor :math:`r_t` is then 0.026 at step 6, 0.22 at step 100 and 0.65 at step 1000.

    The arguments of torch are these; with its ``weight_decay`` and ``decoupled_weight_decay=True``, it is this with
    :func:`~symupdates.apply_weight_decay`. The authors' code and optax go on with :math:`\rho_t` of just the threshold,
    which does not occur; optax adds `epsilon` after correcting :math:`v`, see :func:`adam` for the schedule that does
    the same. In float32, :math:`\rho_t` is known to about :math:`10^{-7}/(1-\beta_2)`: for :math:`\beta_2` of 0.9999
    and more, the first of these steps may come one too soon.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] L. Liu, H. Jiang, P. He, W. Chen, X. Liu, J. Gao and J. Han (2020). On the variance of the adaptive learning
       rate and beyond. ICLR. arXiv:1908.03265.
    """
    step = prepare(
        "radam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        threshold=Range(low=4, has_low=True, has_high=True)(threshold),
    )
    for p, g, (eta, beta1, beta2, eps, threshold) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        weights = step.bias_correction(beta2)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * astype(step.t, p.dtype) * (1 - weights) / weights
        known = rho > threshold
        r = sqrt(switch(known, (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho), 1))
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        normaliser = switch(known, r * sqrt(weights) / (sqrt(step[v]) + eps), 1)
        step[p] = p - eta / step.bias_correction(beta1) * step[m] * normaliser
    return step.finish()
