"""Adam and its variants: moving averages of the gradient and of its size."""

from pytensor.tensor import maximum, sqrt

from symupdates.core import awaits, prepare

__all__ = ["adam", "adamax", "adamw", "amsgrad"]


@awaits("loss_or_grads", "params")
def adam(loss_or_grads=None, params=None, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
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
    loss_or_grads=None,
    params=None,
    learning_rate=0.001,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.01,
):
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
    the same.

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
def adamax(loss_or_grads=None, params=None, learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8):
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
def amsgrad(loss_or_grads=None, params=None, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
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
    The paper leaves the bias corrections out. Lasagne, keras and torch apply them after the maximum, as here; optax
    takes the maximum of the corrected averages, which is another trajectory.

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
