"""Variants of Adam that measure the size or the direction of the gradients in another way."""

from __future__ import annotations

import numpy as np
from pytensor.tensor import abs, arctan2, clip, cos, eq, ge, lt, maximum, minimum, sign, sqrt, switch

from symupdates.core import astype, awaits, prepare, total, whole_number
from symupdates.core.hyper import scalar
from symupdates.core.ranges import NON_NEGATIVE, PART
from symupdates.core.types import positive
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = [
    "adabelief",
    "adam_atan2",
    "adan",
    "ademamix",
    "adopt",
    "laprop",
    "novograd",
    "optimistic_adam",
    "qhadam",
    "simplified_ademamix",
    "spam",
    "yogi",
]


@awaits("loss_or_grads", "params")
def adabelief(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-16,
) -> Updates:
    r"""AdaBelief: Adam whose steps are divided by how far the gradients are from what was expected of them.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        s &\leftarrow \beta_2 s + (1 - \beta_2)\, (g - m)^2 + \epsilon \\
        p &\leftarrow p - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{s / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. Not a bound on the step of a coordinate: where gradients
        hardly change, steps are many times longer.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are the paper's.
    epsilon : hyper-parameter
        Added to :math:`s` at each step, where it gathers to :math:`\epsilon/(1-\beta_2)`, and to the divisor. It is
        what bounds the steps of constant gradients :math:`g`: they grow to
        :math:`\eta g \sqrt{(1 - \beta_2)/\epsilon}`. The default is that of the authors' code and of optax.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``s``, then its own; last, the count ``t``.

    Notes
    -----
    Where the gradients are noise, :math:`s` is their variance, and the steps are Adam's. Where they agree with their
    average, :math:`s` is small and the steps are long. The first step has the length :math:`\eta/\beta_1`.

    ``adabelief`` of optax is the same with its ``eps`` and its ``eps_root`` both at `epsilon`; with another
    ``eps_root`` it is not this.

    State: ``m`` and ``s``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Zhuang, T. Tang, Y. Ding, S. Tatikonda, N. Dvornek, X. Papademetris and J. S. Duncan (2020). AdaBelief
       optimizer: adapting stepsizes by the belief in observed gradients. NeurIPS. arXiv:2010.07468.
    """
    step = prepare(
        "adabelief", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        s = step.state(p, "s")
        step[m] = beta1 * m + (1 - beta1) * g
        step[s] = beta2 * s + (1 - beta2) * (g - step[m]) ** 2 + eps
        m_hat = step[m] / step.bias_correction(beta1)
        step[p] = p - eta * m_hat / (sqrt(step[s] / step.bias_correction(beta2)) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def yogi(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-3,
    initial_accumulator: float = 1e-6,
) -> Updates:
    r"""Yogi: Adam whose measure of the squared gradients moves by amounts that do not depend on itself.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow v - (1 - \beta_2)\, \operatorname{sign}(v - g^2)\, g^2 \\
        p &\leftarrow p - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. The default is the one that the paper found to do well,
        with its `epsilon`: ten times Adam's.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2`. The defaults are Adam's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest, and makes the steps of gradients well below it proportional to
        their size. The paper's default is as large as this on purpose.
    initial_accumulator : float
        What :math:`v` begins with, in units of the squared gradient; finite and at least 0. It is the initial value of
        a state variable, hence a number. The default is that of optax.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    When gradients become small, Adam forgets the large ones within :math:`1/(1-\beta_2)` steps, and its steps grow as
    fast. Here :math:`v` falls by no more than the small squares allow, while it grows to large ones as fast as Adam's.

    The paper has no bias corrections; optax has them, as here. optax lets :math:`m` begin with the same number as
    :math:`v`, so that a parameter moves before it has had a gradient; here it begins at zero, as in the paper. But for
    that, ``optax.yogi`` is the same.

    State: ``m``, zero at first, and ``v``, `initial_accumulator` at first, of the parameter's shape and dtype; ``t``,
    an int64 scalar, one for all parameters, the number of updates made. Hyper-parameters, partials and errors are as
    for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Zaheer, S. Reddi, D. Sachan, S. Kale and S. Kumar (2018). Adaptive methods for nonconvex optimization.
       NeurIPS.
    """
    scalar("yogi: initial_accumulator", initial_accumulator, NON_NEGATIVE)
    step = prepare(
        "yogi", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v", initial_accumulator)
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = v - (1 - beta2) * sign(v - g**2) * g**2
        m_hat = step[m] / step.bias_correction(beta1)
        step[p] = p - eta * m_hat / (sqrt(step[v] / step.bias_correction(beta2)) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def novograd(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    beta1: Hyper = 0.95,
    beta2: Hyper = 0.98,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""NovoGrad: momentum on gradients divided by a moving average of the norm of the whole tensor.

    .. math::
        v &\leftarrow \begin{cases} \lVert g \rVert^2 & \text{if } t = 1 \\
            \beta_2 v + (1 - \beta_2)\, \lVert g \rVert^2 & \text{otherwise} \end{cases} \\
        m &\leftarrow \beta_1 m + \frac{g}{\sqrt{v} + \epsilon} + \lambda\, p \\
        p &\leftarrow p - \eta\, m

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: about the norm of a tensor's first step, and, as the
        steps add up in :math:`m`, up to :math:`1/(1-\beta_1)` times as much later.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1` of the momentum and :math:`\beta_2` of the average. The defaults are the paper's;
        optax has 0.9 and 0.25.
    epsilon : hyper-parameter
        Keeps a tensor without gradients at rest.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which goes through the momentum: without gradients, a parameter falls
        by about the fraction :math:`\eta\lambda/(1-\beta_1)` a step.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``v``, of its ``m``, then its own; last, the count ``t``.

    Notes
    -----
    A step depends on the direction of the gradient, and hardly on its length: layers whose gradients differ in scale
    train alike, with half of Adam's memory. How the elements of a tensor compare is left as it is. Where one parameter
    holds several layers, split it.

    ``novograd`` of optax is the same, with these arguments.

    The state is the squared norm: after a gradient whose norm is above 1.8e19 in float32, or 1.3e154 in float64, it is
    infinite, and the tensor moves no more. Clip gradients before, or skip them by :func:`~symupdates.apply_if_finite`.

    State: ``m``, zero at first, of the parameter's shape and dtype; ``v``, a scalar of its dtype; ``t``, an int64
    scalar, one for all parameters, the number of updates made. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] B. Ginsburg, P. Castonguay, O. Hrinchuk, O. Kuchaiev, V. Lavrukhin, R. Leary, J. Li, H. Nguyen, Y. Zhang and
       J. M. Cohen (2019). Stochastic gradient methods with layer-wise adaptive moments for training of deep networks.
       arXiv:1905.11286.
    """
    step = prepare(
        "novograd",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, eps, decay) in step:
        v = step.state(p, "v", shape=())
        m = step.state(p, "m")
        step[v] = switch(eq(step.t, 1), total(g**2), beta2 * v + (1 - beta2) * total(g**2))
        step[m] = beta1 * m + g / (sqrt(step[v]) + eps) + decay * p
        step[p] = p - eta * step[m]
    return step.finish()


@awaits("loss_or_grads", "params")
def adan(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.98,
    beta2: Hyper = 0.92,
    beta3: Hyper = 0.99,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""Adan: Adam with Nesterov's momentum, made of the differences between gradients.

    .. math::
        d &= g - g' \qquad \text{(0 if } t = 1 \text{)} \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, d \\
        n &\leftarrow \beta_3 n + (1 - \beta_3)\, (g + \beta_2 d)^2 \\
        p &\leftarrow \frac{1}{1 + \eta\lambda} \left( p - \eta\,
            \frac{m / (1 - \beta_1^t) + \beta_2\, v / (1 - \beta_2^t)}{\sqrt{n / (1 - \beta_3^t)} + \epsilon} \right) \\
        g' &\leftarrow g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. The default is that of the authors' code; rates of
        several times Adam's are usual.
    beta1, beta2, beta3 : hyper-parameter
        The decays of the averages of the gradients, of their differences and of the squares. They are those of the
        authors' code, one minus the paper's :math:`\beta_1, \beta_2, \beta_3`; the defaults are the paper's 0.02, 0.08
        and 0.01.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. The default is that of the authors' code.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is proximal: without gradients, a parameter is divided by
        :math:`1 + \eta\lambda` in each step. The authors recommend 0.02.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``n``, its own, then that of its
        ``g``; last, the count ``t``.

    Notes
    -----
    The bias corrections are those of the authors' code; the paper lets the averages begin at the first gradient and
    its square.

    optax weighs the difference by :math:`1 - \beta_2` where the paper and the authors' code have :math:`\beta_2`, 0.08
    in place of 0.92: it takes the paper's :math:`\beta_2` for its own in that place only. It agrees with this for
    ``beta2=0.5``, where the two are the same, with its ``eps_root=0`` and without weight decay, which it subtracts as
    :func:`adamw` does.

    State: ``m``, ``v``, ``n`` and ``g``, the last gradient, zero at first, of the parameter's shape and dtype: four
    times the memory of the parameters; ``t``, an int64 scalar, one for all parameters, the number of updates made.
    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] X. Xie, P. Zhou, H. Li, Z. Lin and S. Yan (2024). Adan: adaptive Nesterov momentum algorithm for faster
       optimizing deep models. IEEE Transactions on Pattern Analysis and Machine Intelligence. arXiv:2208.06677.
    """
    step = prepare(
        "adan",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        beta3=beta3,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, beta3, eps, decay) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        n = step.state(p, "n")
        last = step.state(p, "g")
        d = switch(eq(step.t, 1), 0, g - last)
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * d
        step[n] = beta3 * n + (1 - beta3) * (g + beta2 * d) ** 2
        size = sqrt(step[n] / step.bias_correction(beta3)) + eps
        ratio = step[m] / step.bias_correction(beta1) / size + beta2 * step[v] / step.bias_correction(beta2) / size
        shrinking = astype(1 / (1 + eta * decay), p.dtype)  # a factor, lest only constants be turned into one
        step[p] = shrinking * (p - eta * ratio)
        step[last] = g
    return step.finish()


@awaits("loss_or_grads", "params")
def ademamix(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    beta3: Hyper = 0.9999,
    alpha: Hyper = 5.0,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""AdEMAMix: AdamW with a second, much slower average of the gradients beside the first.

    .. math::
        m_1 &\leftarrow \beta_1 m_1 + (1 - \beta_1)\, g \\
        m_2 &\leftarrow \beta_3 m_2 + (1 - \beta_3)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        p &\leftarrow p - \eta \left(
            \frac{m_1 / (1 - \beta_1^t) + \alpha\, m_2}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. It multiplies the decay too.
    beta1, beta2, beta3 : hyper-parameter
        The decays of the fast average, of the squares and of the slow average. The defaults are the paper's; a
        :math:`\beta_3` of 0.999 does better in runs of some thousand steps.
    alpha : hyper-parameter
        The weight :math:`\alpha` of the slow average, against 1 of the fast one. The default is the paper's. Finite and
        at least 0.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; added after correcting :math:`v`, as in the paper.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, as in :func:`adamw`.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m1``, of its ``m2``, of its ``v``, then its own; last, the
        count ``t``.

    Notes
    -----
    The slow average is not corrected for its start at zero: it comes in over :math:`1/(1-\beta_3)` steps. In long runs
    the paper lets both its weight and its memory grow over the first ``T`` steps, the memory as its half-life, from
    that of the fast average::

        memory = schedules.linear(np.log(0.5) / np.log(0.9), np.log(0.5) / np.log(0.9999), steps=T)
        ademamix(alpha=schedules.linear(0.0, 5.0, steps=T), beta3=lambda t: 0.5 ** (1 / memory(t)))

    ``optax.contrib.ademamix`` is the same, with these arguments.

    State: ``m1``, ``m2`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for
    all parameters, the number of updates made. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] M. Pagliardini, P. Ablin and D. Grangier (2024). The AdEMAMix optimizer: better, faster, older.
       arXiv:2409.03137.
    """
    step = prepare(
        "ademamix",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        beta3=beta3,
        alpha=NON_NEGATIVE(alpha),
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, beta3, alpha, eps, decay) in step:
        m1 = step.state(p, "m1")
        m2 = step.state(p, "m2")
        v = step.state(p, "v")
        step[m1] = beta1 * m1 + (1 - beta1) * g
        step[m2] = beta3 * m2 + (1 - beta3) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        mixed = step[m1] / step.bias_correction(beta1) + alpha * step[m2]
        step[p] = p - eta * (mixed / (sqrt(step[v] / step.bias_correction(beta2)) + eps) + decay * p)
    return step.finish()


@awaits("loss_or_grads", "params")
def simplified_ademamix(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.0001,
    beta1: Hyper = 0.99,
    beta2: Hyper = 0.95,
    alpha: Hyper = 0.0,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""Simplified AdEMAMix: one slow sum of the gradients, and the present gradient with a weight of its own.

    .. math::
        m &\leftarrow \beta_1 m + g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        p &\leftarrow p - \eta \left( \frac{m + \alpha\, g}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda\, p \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. The gradients add up in :math:`m`, to as much as
        :math:`1/(1-\beta_1)` times their size: with the defaults, steps grow to the size of Adam's at a rate of 0.01.
        The default is that of the authors' code.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1` of the sum and :math:`\beta_2` of the average of squares. The defaults are those of
        the authors' code and of optax.
    alpha : hyper-parameter
        The weight :math:`\alpha` of the present gradient. Where noise is small, as with large batches, it is to be
        small or zero, the default. Finite and at least 0.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, as in :func:`adamw`.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    It keeps what :func:`ademamix` does, a long memory together with a quick answer to the present gradient, with the
    memory of Adam. With ``alpha=0`` it is Adam at the rate :math:`\eta/(1-\beta_1)`, without the correction of
    :math:`m`.

    ``optax.contrib.simplified_ademamix`` is the same, with these arguments.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] D. Morwani, N. Vyas, H. Zhang and S. Kakade (2025). Connections between schedule-free optimizers, AdEMAMix,
       and accelerated SGD variants. arXiv:2502.02431.
    """
    step = prepare(
        "simplified_ademamix",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        alpha=NON_NEGATIVE(alpha),
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    for p, g, (eta, beta1, beta2, alpha, eps, decay) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        step[m] = beta1 * m + g
        step[v] = beta2 * v + (1 - beta2) * g**2
        mixed = step[m] + alpha * g
        step[p] = p - eta * (mixed / (sqrt(step[v] / step.bias_correction(beta2)) + eps) + decay * p)
    return step.finish()


@awaits("loss_or_grads", "params")
def adopt(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.9999,
    epsilon: Hyper = 1e-6,
) -> Updates:
    r"""ADOPT: Adam that divides each gradient by a measure it has no part in, and averages the ratios.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) \operatorname{clip} \left(
            \frac{g}{\max(\sqrt{v}, \epsilon)},\ \pm (t - 1)^{1/4} \right) \\
        p &\leftarrow p - \eta\, m \\
        v &\leftarrow \begin{cases} g^2 & \text{if } t = 1 \\
            \beta_2 v + (1 - \beta_2)\, g^2 & \text{otherwise} \end{cases}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are the paper's; it converges with any
        :math:`\beta_2`.
    epsilon : hyper-parameter
        The least that a gradient is divided by. The default is the paper's.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, its own, then that of its ``v``; last, the count
        ``t``.

    Notes
    -----
    Adam's ratio of two averages that share the present gradient is biased by what they share, and may not converge;
    here the expected step has the direction of the expected gradient. The first gradient does nothing but set
    :math:`v`; the parameters move from the second on. The bound :math:`(t-1)^{1/4}` is for coordinates whose first
    gradients are nearly zero. There are no bias corrections.

    ``optax.contrib.adopt`` is the same, with these arguments and its own defaults ``nesterov=False`` and
    ``use_clipping=True``.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] S. Taniguchi, K. Harada, G. Minegishi, Y. Oshima, S. C. Jeong, G. Nagahara, T. Iiyama, M. Suzuki, Y. Iwasawa
       and Y. Matsuo (2024). ADOPT: modified Adam can converge with any β₂ with the optimal rate. NeurIPS.
       arXiv:2411.02853.
    """
    step = prepare(
        "adopt", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        bound = astype(step.t - 1, p.dtype) ** 0.25
        step[m] = beta1 * m + (1 - beta1) * clip(g / maximum(sqrt(v), eps), -bound, bound)
        step[p] = p - eta * step[m]
        step[v] = switch(eq(step.t, 1), g**2, beta2 * v + (1 - beta2) * g**2)
    return step.finish()


@awaits("loss_or_grads", "params")
def qhadam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.995,
    beta2: Hyper = 0.999,
    nu1: Hyper = 0.7,
    nu2: Hyper = 1.0,
    epsilon: Hyper = 1e-8,
) -> Updates:
    r"""QHAdam: Adam with means of the averages and of what is averaged, quasi-hyperbolic momentum.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        p &\leftarrow p - \eta\, \frac{(1 - \nu_1)\, g + \nu_1\, m / (1 - \beta_1^t)}
            {\sqrt{(1 - \nu_2)\, g^2 + \nu_2\, v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are those that the paper recommends: the
        memory can be long, as the present gradient has a weight of its own.
    nu1, nu2 : hyper-parameter
        How much of the averages is taken, :math:`\nu_1` of that of the gradients and :math:`\nu_2` of that of their
        squares; the rest is the present gradient and its square. The defaults are those that the paper recommends.
        :math:`\nu_2` is from 0 to 1.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; added after correcting :math:`v`, as in the paper.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    With ``nu1=1`` and ``nu2=1`` it is Adam, and with ``nu1=0`` and ``nu2=1`` RMSProp with a correction. An average of a
    small weight :math:`\nu_1` and a long memory reduces the variance of the steps without making them late. In the
    paper, a :math:`\nu_2` a little below 1 makes unstable training stable: a sudden large gradient then counts in the
    divisor at once.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Ma and D. Yarats (2019). Quasi-hyperbolic momentum and Adam for deep learning. ICLR. arXiv:1810.06801.
    """
    step = prepare(
        "qhadam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        nu1=nu1,
        nu2=PART(nu2),
        epsilon=epsilon,
    )
    for p, g, (eta, beta1, beta2, nu1, nu2, eps) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        mean = (1 - nu1) * g + nu1 * step[m] / step.bias_correction(beta1)
        mean_square = (1 - nu2) * g**2 + nu2 * step[v] / step.bias_correction(beta2)
        step[p] = p - eta * mean / (sqrt(mean_square) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def optimistic_adam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    optimism: Hyper = 1.0,
) -> Updates:
    r"""Optimistic Adam: Adam that goes on by as much as its step has changed, for games of two players.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        r_t &= \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} \\
        p &\leftarrow p - \eta\, \left( r_t + \omega\, (r_t - r_{t-1}) \right), \qquad r_0 = r_1

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are Adam's; for adversarial networks, the
        paper has 0.5 and 0.9.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; added after correcting :math:`v`, as in the paper.
    optimism : hyper-parameter
        How much of the last change is expected to come again, :math:`\omega`. The default is the paper's; 0 is Adam.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, of its ``r``, then its own; last, the
        count ``t``.

    Notes
    -----
    Where one player minimises what another maximises, gradient descent circles around the solution; a step that
    anticipates the next change of the gradient spirals into it. The maximising player is given the gradients of the
    negative loss.

    In the paper :math:`r_0 = 0`, so that the first step is twice as long; here there is no change at first, as in
    optax. ``optax.optimistic_adam_v2`` is the same with its ``beta`` for `optimism`, its ``alpha=1`` and
    ``nesterov=False``, which is not its default: that is :func:`nadam` made optimistic. The ``optimism`` of the
    deprecated ``optax.optimistic_adam`` is an absolute rate, :math:`\eta\omega` here.

    State: ``m``, ``v`` and ``r``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for
    all parameters, the number of updates made. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] C. Daskalakis, A. Ilyas, V. Syrgkanis and H. Zeng (2018). Training GANs with optimism. ICLR.
       arXiv:1711.00141.
    """
    step = prepare(
        "optimistic_adam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        optimism=optimism,
    )
    for p, g, (eta, beta1, beta2, eps, omega) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        r = step.state(p, "r")
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        m_hat = step[m] / step.bias_correction(beta1)
        step[r] = m_hat / (sqrt(step[v] / step.bias_correction(beta2)) + eps)
        step[p] = p - eta * (step[r] + omega * switch(eq(step.t, 1), 0, step[r] - r))
    return step.finish()


@awaits("loss_or_grads", "params")
def laprop(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 4e-4,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-15,
) -> Updates:
    r"""LaProp: Adam that divides each gradient by the size of the gradients, and averages the ratios.

    .. math::
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, \frac{g}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} \\
        p &\leftarrow p - \eta\, \frac{m}{1 - \beta_1^t}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter, as for :func:`~symupdates.adam`. The default is the
        authors'.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. Any two go together: in Adam, :math:`\beta_2` is to be well
        above :math:`\beta_1`.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. It is added after :math:`v` has been corrected, as in the paper.
        The default is the authors'.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``v``, of its ``m``, then its own; last, the count ``t``.

    Notes
    -----
    A gradient that is far larger than those before it counts as much as they did, where in Adam the momentum of large
    gradients goes on to be divided by the sizes of later, smaller ones. No step is longer than
    :math:`\eta/\sqrt{1-\beta_2}` in any coordinate.

    The authors' program corrects :math:`m` by an average of the rates, which is the same where the rate is constant.
    Their ``amsgrad`` and ``centered`` are not here; decay beside the step is :func:`~symupdates.apply_weight_decay`.

    State: ``v`` and ``m``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] L. Ziyin, Z. T. Wang and M. Ueda (2020). LaProp: separating momentum and adaptivity in Adam.
       arXiv:2002.04839.
    """
    step = prepare(
        "laprop", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon
    )
    for p, g, (eta, beta1, beta2, eps) in step:
        v, m = step.state(p, "v"), step.state(p, "m")
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[m] = beta1 * m + (1 - beta1) * g / (sqrt(step[v] / step.bias_correction(beta2)) + eps)
        step[p] = p - eta * step[m] / step.bias_correction(beta1)
    return step.finish()


@awaits("loss_or_grads", "params")
def adam_atan2(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
) -> Updates:
    r"""Adam-atan2: Adam without an :math:`\epsilon`, by the arctangent of what it divides.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        u &\leftarrow \sqrt{\beta_2 u^2 + (1 - \beta_2)\, g^2} \\
        p &\leftarrow p - \eta \operatorname{atan2} \left(
            \frac{m}{1 - \beta_1^t},\ \frac{u}{\sqrt{1 - \beta_2^t}} \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the first step is :math:`\eta\pi/4` long in every
        coordinate that has a gradient, where that of :func:`~symupdates.adam` is :math:`\eta`, and none is longer than
        :math:`\eta\pi/2`.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages, as for :func:`~symupdates.adam`.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``u``, then its own; last, the count ``t``.

    Notes
    -----
    It is free of scale: gradients that are larger or smaller by any factor make the same steps, in float32 too, whose
    squares would be no numbers, for :math:`u` is kept and not its square. Steps are those of Adam where :math:`m` is
    small beside :math:`u`, and shorter elsewhere. Decay beside the step is :func:`~symupdates.apply_weight_decay`.

    The paper has no factors in the arctangent. Programs that multiply it by 1.27, which is about :math:`4/\pi`, have as
    long a first step as Adam: give them this as the rate.

    State: ``m`` and ``u``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] K. Everett, L. Xiao, M. Wortsman, A. A. Alemi, R. Novak, P. J. Liu, I. Gur, J. Sohl-Dickstein, L. P.
       Kaelbling, J. Lee and J. Pennington (2024). Scaling exponents across parameterizations and optimizers. ICML.
       arXiv:2407.05872.
    """
    step = prepare("adam_atan2", loss_or_grads, params, learning_rate=learning_rate, beta1=beta1, beta2=beta2)
    for p, g, (eta, beta1, beta2) in step:
        m, u = step.state(p, "m"), step.state(p, "u")
        step[m] = beta1 * m + (1 - beta1) * g
        step[u] = hypot(sqrt(beta2) * u, sqrt(1 - beta2) * g)
        m_hat, u_hat = step[m] / step.bias_correction(beta1), step[u] / sqrt(step.bias_correction(beta2))
        step[p] = p - eta * arctan2(m_hat, u_hat)
    return step.finish()


def hypot(x, y):
    """The root of the sum of two squares, which themselves may be no numbers."""
    largest = maximum(abs(x), abs(y))
    return largest * sqrt(sum((z / positive(largest)) ** 2 for z in (x, y)))


@awaits("loss_or_grads", "params")
def spam(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-6,
    threshold: Hyper = 5000.0,
    every: int = 500,
    warmup: int = 150,
    delay: int = 20,
) -> Updates:
    r"""SPAM: Adam that bounds gradients far larger than their average size, and forgets its averages now and then.

    With :math:`k = t \bmod K` the number of updates since the averages were forgotten, and :math:`m` and :math:`v`
    zero in place of what they were where :math:`k = 0`:

    .. math::
        \hat g &= \begin{cases}
            \operatorname{sign}(g) \min\left(|g|, \sqrt{\theta v}\right) & k \ge k_0 \\
            g & \text{otherwise} \end{cases} \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, \hat g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, \hat g^2 \\
        p &\leftarrow p - \eta\, w\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\, \frac{m}{\sqrt{v} + \epsilon} \\
        w &= 1 - 0.99\, \frac{1 + \cos(\pi k / (n + 1))}{2} \text{ where } t \ge K \text{ and } k < n,
            \text{ and 1 elsewhere}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, as :func:`~symupdates.adam`'s.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; as in :func:`~symupdates.adam`. The default is that of the
        authors' program.
    threshold : hyper-parameter
        How much larger than its average, :math:`\theta`, the square of a gradient may be. The default is the paper's.
        Finite and at least 0.
    every : int
        The number :math:`K` of updates after which the averages are forgotten. The default is the paper's.
    warmup : int
        The number :math:`n` of updates in which steps grow to their length again, by half of a cosine from a hundredth
        of it. The default is the paper's.
    delay : int
        The number :math:`k_0` of updates from which on gradients are bounded: before, there is no average of them. The
        default is that of the authors' program.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Raises
    ------
    ValueError
        If `every` or `delay` is not a whole number of at least 1, or `warmup` of at least 0.

    Notes
    -----
    For long runs with spikes in the loss. A single gradient a thousand times as large as usual is felt in Adam's
    :math:`m` for tens of updates, and in :math:`v` for thousands. The bounds compare each element with its own average;
    for a bound of whole gradients before any rule, see :func:`symupdates.gradients.clip_by_percentile`. The bias
    corrections go on with :math:`t`, as in the authors' program: after the averages were forgotten, it is the warmup
    that keeps steps short.

    An element whose gradients have all been zero has no average to be compared with, and is held until the averages
    are forgotten: rare features need another rule. The paper's option to train a random part of the elements at a time,
    to save memory, is not here.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and the other errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] T. Huang, Z. Zhu, G. Jin, L. Liu, Z. Wang and S. Liu (2025). SPAM: spike-aware Adam with momentum reset for
       stable LLM training. ICLR. arXiv:2501.06842.
    """
    for name, value, least in (("every", every, 1), ("warmup", warmup, 0), ("delay", delay, 1)):
        whole_number(f"spam: {name}", value, least)
    step = prepare(
        "spam",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        threshold=NON_NEGATIVE(threshold),
    )
    k = step.t % every
    for p, g, (eta, beta1, beta2, eps, theta) in step:
        m, v = step.state(p, "m"), step.state(p, "v")
        m_old, v_old = (switch(eq(k, 0), 0, x) for x in (m, v))
        bound = sqrt(theta) * sqrt(v_old)
        g = switch(ge(k, delay), sign(g) * minimum(abs(g), bound), g)
        step[m] = beta1 * m_old + (1 - beta1) * g
        step[v] = beta2 * v_old + (1 - beta2) * g**2
        falls = (1 + cos(astype(k, p.dtype) * np.asarray(np.pi / (warmup + 1), p.dtype))) / 2
        warm = 1 - switch(ge(step.t, every) & lt(k, warmup), np.asarray(0.99, p.dtype) * falls, 0)
        alpha = eta * warm * sqrt(step.bias_correction(beta2)) / step.bias_correction(beta1)
        step[p] = p - alpha * step[m] / (sqrt(step[v]) + eps)
    return step.finish()
