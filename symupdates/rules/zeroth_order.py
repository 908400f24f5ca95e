"""Rules that know the loss by its values only: the gradient is estimated from two of them, along random directions."""

from __future__ import annotations

from pytensor.scalar import upcast

from symupdates.core import astype, awaits, called, check_optimizer, prepare_of_values, require_loss, whole_number
from symupdates.core.ranges import POSITIVE
from symupdates.random import new_generator, normal, rademacher
from symupdates.rules.sgd import sgd
from symupdates.typing import Hyper, Loss, OptimizerLike, Parameters, Seed, Updates

__all__ = ["mezo", "spsa"]


@awaits("loss_or_grads", "params")
def spsa(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    perturbation: Hyper = 0.01,
    samples: int = 1,
    seed: Seed = None,
    optimizer: OptimizerLike = sgd,
) -> Updates:
    r"""SPSA: the step of any rule, with a gradient estimated from two values of the loss, along random signs.

    With :math:`\Delta` a vector of random signs, one for each element of all parameters together, new at each update:

    .. math::
        \hat g = \frac{f(p + c\, \Delta) - f(p - c\, \Delta)}{2 c}\, \Delta

    and the step is that of `optimizer` with :math:`\hat g`, from :math:`p`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`, of any real dtype: by whatever it is computed, none of it is differentiated. Not gradients.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    perturbation : hyper-parameter
        The distance :math:`c` in each element, in units of the parameter. Finite and above 0. The bias of the estimate
        is of the order :math:`c^2`, and the noise of two values of the loss is divided by :math:`2c`: take what changes
        the loss by about as much as its noise; if it jumps, by a few jumps. The default is for smooth losses without
        noise, in float32: near the cube root of its resolution, where bias and rounding are alike for numbers near one.
    samples : int
        The number of directions a step, of whose estimates the mean is taken; each costs two values of the loss.
    seed : int or sequence of ints, optional
        For the same directions in every run. Without, every call of this function makes others.
    optimizer : callable
        The rule that makes the step: a rule or a partial of one, such as ``adam(learning_rate=0.01)``, or a
        :func:`~symupdates.chain`, :func:`~symupdates.partition` or :func:`~symupdates.accumulate`.

    Returns
    -------
    OrderedDict
        That of `optimizer`; last, the generator ``rng`` and, with a schedule, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `optimizer` is not callable.
    ValueError
        If `samples` is not a whole number of at least 1.

    Notes
    -----
    For losses that have no gradient: through an Op without one, such as a simulator or a compiled library, through
    integers, argmax or sorting; and for what is measured. Where there is a gradient, it is cheaper for what it tells:
    the estimate is right in the mean, up to the bias, but for :math:`d` elements of all parameters its squared norm is
    :math:`d` times that of the gradient; the variance of an element is :math:`\lVert g \rVert^2 - g_i^2`. So rates are
    about :math:`d` times lower than with gradients, and as many more steps are needed. `samples` divide the variance.

    The paper has gradient descent, with gains that fall as :math:`a/(A + 1 + t)^{0.602}` and :math:`c/(1 +
    t)^{0.101}`, where :math:`A` is a tenth of the steps or less. They are schedules::

        decay = schedules.inverse_time_decay
        spsa(
            perturbation=decay(c, rate=1.0, power=0.101),
            optimizer=sgd(learning_rate=decay(a / (A + 1) ** 0.602, rate=1.0, steps=A + 1, power=0.602)),
        )

    Both values are of the same minibatch, and of the same draws where the loss is random: what the noise adds to both
    is not in their difference. They are subtracted in the loss's dtype, or that of the parameters if it is wider. In
    float32, a perturbation of less than 6e-8 of a parameter's size is lost in the parameter, and a difference of less
    than 6e-8 of the loss in the loss; a float64 loss of float32 parameters bears a smaller one.

    Transforms of gradients go into `optimizer`, and see the estimate. Rows of a table are refused.

    State: that of `optimizer`, and ``rng``, three uint32 words, a key and the number of calls: see
    :mod:`symupdates.random`. The same directions are drawn on every backend, and by a resumed run. In a
    :func:`~symupdates.partition`, put this rule around the partition, which is one for all groups. Hyper-parameters,
    partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. C. Spall (1992). Multivariate stochastic approximation using a simultaneous perturbation gradient
       approximation. IEEE Transactions on Automatic Control 37(3).
    .. [2] J. C. Spall (1998). Implementation of the simultaneous perturbation algorithm for stochastic optimization.
       IEEE Transactions on Aerospace and Electronic Systems 34(3).
    """
    return estimated("spsa", rademacher, loss_or_grads, params, perturbation, samples, seed, optimizer)


@awaits("loss_or_grads", "params")
def mezo(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    perturbation: Hyper = 1e-3,
    samples: int = 1,
    seed: Seed = None,
    optimizer: OptimizerLike = sgd,
) -> Updates:
    r"""MeZO: the step of any rule, with a gradient estimated from two values of the loss, along a normal direction.

    With :math:`z` standard normal, one number for each element of all parameters together, new at each update:

    .. math::
        \hat g = \frac{f(p + \epsilon z) - f(p - \epsilon z)}{2 \epsilon}\, z

    and the step is that of `optimizer` with :math:`\hat g`, from :math:`p`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`, as for :func:`spsa`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    perturbation : hyper-parameter
        The distance :math:`\epsilon`, in units of the parameter, as for :func:`spsa`. Finite and above 0. The default
        is the paper's: rounding a loss near one to float32 then adds up to 6e-5 to its slope along :math:`z`.
    samples : int
        The number of directions a step, as for :func:`spsa`; the paper finds one to be the best use of the time.
    seed : int or sequence of ints, optional
        For the same directions in every run. Without, every call of this function makes others.
    optimizer : callable
        The rule that makes the step, as for :func:`spsa`. The paper has gradient descent, for large language models at
        rates from 1e-7 to 1e-6, with momentum, and Adam.

    Returns
    -------
    OrderedDict
        That of `optimizer`; last, the generator ``rng`` and, with a schedule, its count.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss; if `optimizer` is not callable.
    ValueError
        If `samples` is not a whole number of at least 1.

    Notes
    -----
    It fine-tunes large models in the memory of evaluating them: nothing of the model is kept for a backward pass. It is
    :func:`spsa` with other directions: the variance of an element is :math:`\lVert g \rVert^2 + g_i^2`. The mean is the
    gradient of the loss smoothed by a normal distribution of standard deviation :math:`\epsilon`.

    The direction of a step is not kept between its uses: it is an expression of a key and a count, computed where it is
    needed. The paper's program changes the parameters in place, there and back; here both points are expressions, for
    which the compiler has a copy of a parameter where it does not fuse them into what reads it. The paper's weight
    decay is ``optimizer=chain(apply_weight_decay(...))`` after the rule.

    State: that of `optimizer`, and ``rng``, as for :func:`spsa`. Draws of the loss, rounding, hyper-parameters,
    partials and the other errors are as there.

    References
    ----------
    .. [1] S. Malladi, T. Gao, E. Nichani, A. Damian, J. D. Lee, D. Chen and S. Arora (2023). Fine-tuning language
       models with just forward passes. NeurIPS. arXiv:2305.17333.
    """
    return estimated("mezo", normal, loss_or_grads, params, perturbation, samples, seed, optimizer)


def estimated(rule, draw, loss_or_grads, params, perturbation, samples, seed, optimizer):
    """The step of `optimizer` with the mean of estimates, along directions of which `draw` makes the numbers."""
    check_optimizer(f"{rule}: optimizer", optimizer)
    whole_number(f"{rule}: samples", samples)
    loss = require_loss(rule, loss_or_grads)
    step = prepare_of_values(rule, loss, params, perturbation=POSITIVE(perturbation))
    generator = new_generator(step.call, seed)
    f = astype(loss, upcast(loss.dtype, step.dtype))
    c = {p: c for p, _, (c,) in step}
    estimates = []
    for i in range(samples):
        streams = enumerate(step.params, start=i * len(step.params))
        z = {p: draw(generator, p, stream) for stream, p in streams}
        (up,) = step.at({p: p + c[p] * z[p] for p in z}, [f])
        (down,) = step.at({p: p - c[p] * z[p] for p in z}, [f])
        estimates.append({p: astype(up - down, p.dtype) / (2 * c[p]) * z[p] for p in z})
    grads = [sum(estimate[p] for estimate in estimates) / samples for p in step.params]
    return called(f"{rule}: optimizer", optimizer, grads, step.params)
