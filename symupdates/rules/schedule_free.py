"""Schedule-free rules: an average of the iterates in place of a schedule that takes the learning rate to zero."""

from __future__ import annotations

from pytensor.tensor import sqrt

from symupdates.core import astype, awaits, prepare
from symupdates.core.ranges import PART
from symupdates.core.types import positive
from symupdates.typing import Hyper, LossOrGrads, Parameters, Updates

__all__ = ["schedule_free_adamw", "schedule_free_sgd"]


@awaits("loss_or_grads", "params")
def schedule_free_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1.0,
    beta: Hyper = 0.9,
) -> Updates:
    r"""Schedule-free gradient descent: gradients are taken between the iterate and the average of all iterates.

    The parameters :math:`p` are where gradients are taken; :math:`x` is where to evaluate:

    .. math::
        W &\leftarrow W + \eta^2 \\
        z &\leftarrow z - \eta\, g \\
        x &\leftarrow x + \frac{\eta^2}{W} (z - x) \\
        p &\leftarrow (1 - \beta)\, z + \beta\, x

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter per unit of the gradient. It need not fall: give a number,
        or a warmup, such as ``schedules.warmup(schedules.constant(1.0), steps=1000)``. The best is larger than that of
        :func:`~symupdates.sgd`; the default is optax's.
    beta : hyper-parameter
        The share :math:`\beta` of the average in the point where gradients are taken: 0 for the average of Polyak and
        Ruppert beside plain descent, 1 for primal averaging. The default is the paper's; 0.95 to 0.98 for long runs.
        From 0 to 1.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``z``, of its ``average``, then its own; last, that of
        ``weights``.

    Notes
    -----
    **Evaluate at the average**: as for :func:`~symupdates.apply_ema`, :func:`~symupdates.averages` gives it for the
    ``givens`` of a function, and :func:`~symupdates.swap_averages` puts it in the place of the parameters and back.
    The parameters are computed from the state: what is done to them after the step, such as a projection or decay, is
    seen by the next gradient, and then lost. What belongs to the loss, such as :func:`symupdates.gradients.add_l2`,
    works as ever.

    Iterates count by the square of their rate, so that those of a warmup hardly do; with a constant rate, :math:`x` is
    the plain average of :math:`z`. It is then optax's ``contrib.schedule_free_sgd(b1=beta)``, which keeps :math:`z` and
    recovers :math:`x` from it and the parameters. With a schedule, optax weighs by the largest rate so far, and by that
    of the next update.

    State: ``z`` and ``average`` (:math:`x`), the parameter when this is called, of its shape and dtype; ``weights``
    (:math:`W`), a scalar, one for all parameters, of the widest of their dtypes, zero at first. If you set the
    parameters to other values before training, call :func:`symupdates.reset`. Hyper-parameters, partials and errors are
    as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled and A. Cutkosky (2024). The road less scheduled.
       NeurIPS. arXiv:2405.15682.
    """
    step = prepare("schedule_free_sgd", loss_or_grads, params, learning_rate=learning_rate, beta=PART(beta))
    eta, _ = step.hyper(step.dtype)
    weights = step.state(None, "weights")
    step[weights] = weights + eta**2
    weight = eta**2 / positive(step[weights])
    for p, g, (eta, beta) in step:
        z, x = step.state(p, "z", initial=p), step.stand_in(p, "average")
        step[z] = z - eta * g
        step[x] = x + astype(weight, p.dtype) * (step[z] - x)
        step[p] = (1 - beta) * step[z] + beta * step[x]
    return step.finish()


@awaits("loss_or_grads", "params")
def schedule_free_adamw(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.0025,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> Updates:
    r"""Schedule-free AdamW: gradients are taken between the iterate and the average of all iterates.

    The parameters :math:`p` are where gradients are taken; :math:`x` is where to evaluate:

    .. math::
        W &\leftarrow W + \eta^2 \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, g^2 \\
        z &\leftarrow z - \eta \left(
            \sqrt{1 - \beta_2^t}\, \frac{g}{\sqrt{v} + \epsilon} + \lambda\, p \right) \\
        x &\leftarrow x + \frac{\eta^2}{W} (z - x) \\
        p &\leftarrow (1 - \beta_1)\, z + \beta_1\, x

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter. It need not fall: give a number, or a warmup, such as
        ``schedules.warmup(schedules.constant(0.0025), steps=1000)``. The best is 1 to 10 times that of
        :func:`~symupdates.adamw`; the default is that of the authors' program, optax and keras.
    beta1 : hyper-parameter
        The share :math:`\beta_1` of the average in the point where gradients are taken; it takes the place of momentum.
        From 0 to 1.
    beta2 : hyper-parameter
        The decay :math:`\beta_2` of the average of squared gradients.
    epsilon : hyper-parameter
        Keeps a coordinate without gradients at rest; as in :func:`~symupdates.adam`, where it is told what to give to
        step as the peers do.
    weight_decay : hyper-parameter
        The strength :math:`\lambda` of a decay beside the step, taken where the gradient is. There is none by default.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``v``, of its ``z``, of its ``average``, then its own; last,
        those of ``weights`` and of the count ``t``.

    Notes
    -----
    **Evaluate at the average**, and decay by the argument: see :func:`schedule_free_sgd`.

    The paper has the bias correction in :math:`\eta`, and so in the decay and the weights, too. The authors' program,
    optax's ``contrib.schedule_free_adamw`` and keras's ``ScheduleFreeAdamW`` have it as here, and with a constant rate
    are the same. With a schedule, optax weighs by the largest rate so far, and by that of the next update; keras does
    not weigh. On its torch backend, keras 3.15 is wrong: it recovers the old average with the new :math:`z`, an array
    that was changed in place.

    State: ``v``, zero at first, ``z`` and ``average`` (:math:`x`), the parameter when this is called, of its shape and
    dtype; ``weights`` (:math:`W`), a scalar, one for all parameters, of the widest of their dtypes, zero at first;
    ``t``, an int64 scalar, the number of updates made. If you set the parameters to other values before training, call
    :func:`symupdates.reset`. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled and A. Cutkosky (2024). The road less scheduled.
       NeurIPS. arXiv:2405.15682.
    """
    step = prepare(
        "schedule_free_adamw",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=PART(beta1),
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    eta, *_ = step.hyper(step.dtype)
    weights = step.state(None, "weights")
    step[weights] = weights + eta**2
    weight = eta**2 / positive(step[weights])
    for p, g, (eta, beta1, beta2, eps, decay) in step:
        v = step.state(p, "v")
        z, x = step.state(p, "z", initial=p), step.stand_in(p, "average")
        alpha = eta * sqrt(step.bias_correction(beta2))
        step[v] = beta2 * v + (1 - beta2) * g**2
        step[z] = z - alpha * g / (sqrt(step[v]) + eps) - eta * decay * p
        step[x] = x + astype(weight, p.dtype) * (step[z] - x)
        step[p] = (1 - beta1) * step[z] + beta1 * step[x]
    return step.finish()
