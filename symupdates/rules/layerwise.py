"""Rules whose step is measured by the norm of a layer: of the parameter, and of what moves it."""

from __future__ import annotations

from pytensor.tensor import maximum, sqrt

from symupdates.core import awaits, norm, prepare, rescaled
from symupdates.core.norms import trusted
from symupdates.core.ranges import NON_NEGATIVE, POSITIVE
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["fromage", "lamb", "lars"]


@awaits("loss_or_grads", "params")
def lars(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.1,
    momentum: Hyper = 0.9,
    weight_decay: Hyper = 0.0,
    trust_coefficient: Hyper = 0.001,
) -> Updates:
    r"""LARS: momentum whose rate in each layer is in proportion to the norm of its weights over that of its gradient.

    .. math::
        \gamma &= \frac{\eta_t \lVert p \rVert}{\lVert g \rVert + \lambda \lVert p \rVert} \\
        v &\leftarrow \mu v + \eta\, \gamma\, (g + \lambda p) \\
        p &\leftarrow p - v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64; each is a layer.
    learning_rate : hyper-parameter
        The rate :math:`\eta`, a number without unit. It enters the velocity, so a change of it takes effect gradually.
        Batches of thousands train with rates above 1, after a warm-up.
    momentum : hyper-parameter
        The fraction :math:`\mu` of the velocity kept.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay, which is part of what is normalised.
    trust_coefficient : hyper-parameter
        The part :math:`\eta_t` of its weights' norm that a layer moves by in a step without momentum, at a rate of 1.
        The default is the paper's. Finite and at least 0.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own.

    Notes
    -----
    For large batches. :math:`\gamma` is 1 where the weights are zero, which would else never move, and where nothing
    moves them; NaN, where a norm is. Biases and the parameters of normalisations are usually left to
    :func:`~symupdates.momentum`, by :func:`~symupdates.partition`, and spared the decay.

    optax divides by :math:`\lVert g + \lambda p \rVert`, which is the same only without decay. Its ``nesterov=True``
    is, again without decay, ``apply_nesterov_momentum(lars(..., momentum=0.0), momentum=0.9)``.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype. Hyper-parameters, partials and
    errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Y. You, I. Gitman and B. Ginsburg (2017). Large batch training of convolutional networks. arXiv:1708.03888.
    """
    step = prepare(
        "lars",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        trust_coefficient=NON_NEGATIVE(trust_coefficient),
    )
    for p, g, (eta, mu, decay, trust) in step:
        v = step.state(p, "velocity")
        p_norm = norm(p).value
        step[v] = mu * v + eta * trusted(g + decay * p, norm(g) + decay * p_norm, trust * p_norm)
        step[p] = p - step[v]
    return step.finish()


@awaits("loss_or_grads", "params")
def lamb(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.001,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-6,
    weight_decay: Hyper = 0.01,
) -> Updates:
    r"""LAMB: Adam's step with weight decay, scaled in each layer to the norm of its weights.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        u &= \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} + \lambda\, p \\
        p &\leftarrow p - \eta\, \frac{\lVert p \rVert}{\lVert u \rVert}\, u

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64; each is a layer.
    learning_rate : hyper-parameter
        The length :math:`\eta` of the step, as a fraction of the norm of the layer's weights.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages. The defaults are the paper's.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest. It is added after :math:`v` has been corrected, as in the paper.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of the decay. The default is the paper's for BERT; optax has 0.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the count ``t``.

    Notes
    -----
    For large batches of what :func:`~symupdates.adamw` trains. The ratio of the norms is 1 where one of them is zero,
    and NaN where one is. optax is the same. So is keras, without decay: its ``weight_decay`` is not part of :math:`u`,
    but shrinks the weights before the step.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, one for all
    parameters, the number of updates made. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Y. You, J. Li, S. Reddi, J. Hseu, S. Kumar, S. Bhojanapalli, X. Song, J. Demmel, K. Keutzer and C.-J. Hsieh
       (2020). Large batch optimization for deep learning: training BERT in 76 minutes. ICLR. arXiv:1904.00962.
    """
    step = prepare(
        "lamb",
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
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * g**2
        m_hat = step[m] / step.bias_correction(beta1)
        v_hat = step[v] / step.bias_correction(beta2)
        u = m_hat / (sqrt(v_hat) + eps) + decay * p
        step[p] = p - eta * trusted(u, norm(u), norm(p).value)
    return step.finish()


@awaits("loss_or_grads", "params")
def fromage(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    min_norm: Hyper = 1e-6,
) -> Updates:
    r"""Fromage: steps of a fixed length relative to the layer, which is then shrunk by what such a step adds.

    .. math::
        p \leftarrow \frac{1}{\sqrt{1 + \eta^2}}
            \left( p - \eta\, \frac{\max(\lVert p \rVert, c)}{\max(\lVert g \rVert, c)}\, g \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64; each is a layer.
    learning_rate : hyper-parameter
        The length :math:`\eta` of the step, as a fraction of the norm of the layer's weights. The default is the
        paper's, for all that it trains.
    min_norm : hyper-parameter
        The least value :math:`c` of either norm, which is not in the paper: it divides no zero by zero, and lets
        parameters begin at zero. The default is optax's. Finite and above 0.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order. With a schedule: last, its count.

    Notes
    -----
    A step at right angles to the weights leaves their norm as it is. A parameter that begins at zero grows by the
    factor :math:`1 + \eta` a step from `min_norm`, that is, slowly: leave biases to another rule, by
    :func:`~symupdates.partition`. optax is the same.

    There is no state. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Bernstein, A. Vahdat, Y. Yue and M.-Y. Liu (2020). On the distance between two neural networks and the
       stability of learning. NeurIPS. arXiv:2002.03432.
    """
    step = prepare("fromage", loss_or_grads, params, learning_rate=learning_rate, min_norm=POSITIVE(min_norm))
    for p, g, (eta, c) in step:
        u = rescaled(g, norm(g).at_least(c), maximum(norm(p).value, c))
        step[p] = (1 + eta**2) ** -0.5 * (p - eta * u)
    return step.finish()
