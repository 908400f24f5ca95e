"""Rules that know of the loss's curvature."""

from __future__ import annotations

import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor import clip, maximum, sqrt
from pytensor.tensor.special import softmax

from symupdates.core import astype, awaits, flag, inner, prepare, renewed, require_loss, total, whole_number
from symupdates.core.checks import tensor_of
from symupdates.core.ranges import NON_NEGATIVE, PART, REAL
from symupdates.core.types import count
from symupdates.random import categorical, new_generator, normal, rademacher
from symupdates.rules.newton import pulled
from symupdates.typing import Hyper, Loss, LossOrGrads, Parameters, Seed, Updates

__all__ = ["adahessian", "barzilai_borwein", "esgd", "sophia_g", "sophia_h"]


@awaits("loss_or_grads", "params")
def adahessian(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.15,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-4,
    hessian_power: Hyper = 1.0,
    seed: Seed = None,
) -> Updates:
    r"""AdaHessian: Adam with an average of the Hessian's diagonal, estimated, in the place of the gradient's size.

    With random signs :math:`z`, one for each coordinate, :math:`H` the Hessian of the loss with respect to all
    parameters, and :math:`\odot` the product by elements:

    .. math::
        D &= z \odot H z \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2)\, \bar D^2 \\
        p &\leftarrow p - \eta\, \frac{m / (1 - \beta_1^t)}{\left(v / (1 - \beta_2^t)\right)^{k/2} + \epsilon}

    where :math:`\bar D` is :math:`D`, or its average over the kernel for those with more than two dimensions.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, twice differentiable; not gradients, which do not tell the curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`: without unit for :math:`k = 1`, where 1 is Newton's step on a loss whose Hessian is
        diagonal. The default is that of the authors' program.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages, as in :func:`~symupdates.adam`.
    epsilon : hyper-parameter
        Added to the curvature, in units of it: bounds the steps where there is none. The default is that of the
        authors' program.
    hessian_power : hyper-parameter
        The power :math:`k` of the curvature, from 0, for gradient descent with momentum, to 1.
    seed : int or sequence of ints, optional
        Seeds the signs; other ones at every call of this function without.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``v``, then its own; last, the generator
        ``rng`` and the count ``t``.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.

    Notes
    -----
    The expectation of :math:`D` is the diagonal of the Hessian (Hutchinson), and its product with :math:`z` is exact:
    the gradient of :math:`z^\top g`, at about the cost of another gradient. The average over the last axes of
    convolution kernels, all after the second, is the paper's spatial one; the authors' program averages there the
    absolute values.

    State: ``m`` and ``v``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, the number of
    updates made; ``rng``, three uint32 words. The signs are the same on every backend, and in a resumed run.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Z. Yao, A. Gholami, S. Shen, M. Mustafa, K. Keutzer and M. Mahoney (2021). AdaHessian: an adaptive second
       order optimizer for machine learning. AAAI. arXiv:2006.00719.
    .. [2] M. F. Hutchinson (1989). A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
       splines. Communications in Statistics: Simulation and Computation 18(3).
    """
    step = prepare(
        "adahessian",
        require_loss("adahessian", loss_or_grads),
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        hessian_power=PART(hessian_power),
    )
    z = probes(step, rademacher, seed)
    Hz = hessian_times(step, z)
    for p, g, (eta, beta1, beta2, eps, k) in step:
        m = step.state(p, "m")
        v = step.state(p, "v")
        D = spatial_average(z[p] * Hz[p])
        step[m] = beta1 * m + (1 - beta1) * g
        step[v] = beta2 * v + (1 - beta2) * D**2
        m_hat = step[m] / step.bias_correction(beta1)
        v_hat = step[v] / step.bias_correction(beta2)
        step[p] = p - eta * m_hat / (v_hat ** (k / 2) + eps)
    return step.finish()


@awaits("loss_or_grads", "params")
def sophia_h(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta1: Hyper = 0.96,
    beta2: Hyper = 0.99,
    gamma: Hyper = 0.01,
    epsilon: Hyper = 1e-12,
    every: int = 10,
    seed: Seed = None,
) -> Updates:
    r"""Sophia-H: momentum divided by a moving average of the Hessian's diagonal, and clipped.

    With random signs :math:`z`, one for each coordinate, :math:`H` the Hessian of the loss with respect to all
    parameters, and :math:`\odot` the product by elements:

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        h &\leftarrow \beta_2 h + (1 - \beta_2)\, z \odot H z
            \qquad \text{at the first of every } k \text{ updates} \\
        p &\leftarrow p - \eta\, \operatorname{clip}\left(\frac{m}{\max(\gamma h, \epsilon)}, -1, 1\right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, twice differentiable; not gradients, which do not tell the curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the largest step of any coordinate.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages: of the gradient, from update to update, and of the
        curvature, from estimate to estimate. The defaults are the paper's.
    gamma : hyper-parameter
        The part :math:`\gamma` of the curvature to divide by. The larger, the fewer coordinates are clipped; the paper
        tunes it so that 10 to 50 % are not. Finite and at least 0.
    epsilon : hyper-parameter
        The least divisor, in units of the gradient. Where the curvature is negative or none, the step is the sign of
        the momentum.
    every : int
        The number :math:`k` of updates from one estimate of the curvature to the next.
    seed : int or sequence of ints, optional
        Seeds the signs; other ones at every call of this function without.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``h``, then its own; last, the generator
        ``rng`` and the count ``t``.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.
    ValueError
        If `every` is not a whole number of at least 1.

    Notes
    -----
    The paper draws :math:`z` from a normal distribution; signs, as in optax, have the same expectation and less
    variance. Its weight decay is ``apply_weight_decay(weight_decay=0.2)`` after this rule. optax's
    ``contrib.sophia`` differs: it corrects :math:`m` for its start at zero, and estimates the curvature after the step,
    so that the first steps know of none.

    An estimate costs about as much as another gradient. On the C backend it is made when it is needed; NUMBA and JAX
    evaluate both sides of a branch, and make it at each update.

    State: ``m`` and ``h``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, the number of
    updates made; ``rng``, three uint32 words. The signs are the same on every backend, and in a resumed run.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] H. Liu, Z. Li, D. Hall, P. Liang and T. Ma (2024). Sophia: a scalable stochastic second-order optimizer for
       language model pre-training. ICLR. arXiv:2305.14342.
    """
    whole_number("sophia_h: every", every)
    step = prepare(
        "sophia_h",
        require_loss("sophia_h", loss_or_grads),
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        gamma=NON_NEGATIVE(gamma),
        epsilon=epsilon,
    )
    z = probes(step, rademacher, seed)
    Hz = hessian_times(step, z)
    estimates = pt.eq((step.t - 1) % every, 0)
    for p, g, (eta, beta1, beta2, gamma, eps) in step:
        m = step.state(p, "m")
        h = step.state(p, "h")
        step[m] = beta1 * m + (1 - beta1) * g
        step[h] = renewed(h, estimates, beta2 * h + (1 - beta2) * z[p] * Hz[p])
        step[p] = p - eta * clip(step[m] / maximum(gamma * step[h], eps), -1, 1)
    return step.finish()


@awaits("loss_or_grads", "params")
def sophia_g(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    beta1: Hyper = 0.96,
    beta2: Hyper = 0.99,
    gamma: Hyper = 0.05,
    epsilon: Hyper = 1e-12,
    logits: Variable | None = None,
    every: int = 10,
    seed: Seed = None,
) -> Updates:
    r"""Sophia-G: :func:`sophia_h`, with the Gauss-Newton matrix of a classifier in the place of the Hessian.

    With :math:`z_b` the logits of example :math:`b` of :math:`B`, and :math:`\hat y_b` a class drawn from them:

    .. math::
        \hat g &= \nabla_p\, \frac{1}{B} \sum_b -\log \operatorname{softmax}(z_b)_{\hat y_b},
            \qquad \hat y_b \sim \operatorname{softmax}(z_b) \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        h &\leftarrow \beta_2 h + (1 - \beta_2)\, B\, \hat g \odot \hat g
            \qquad \text{at the first of every } k \text{ updates} \\
        p &\leftarrow p - \eta\, \operatorname{clip}\left(\frac{m}{\max(\gamma h, \epsilon)}, -1, 1\right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, the mean over the examples of the cross-entropy of their labels; or the gradient :math:`g` of each
        parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the largest step of any coordinate.
    beta1, beta2 : hyper-parameter
        The decays :math:`\beta_1, \beta_2` of the averages: of the gradient, from update to update, and of the
        curvature, from estimate to estimate. The defaults are the paper's.
    gamma : hyper-parameter
        The part :math:`\gamma` of the curvature to divide by. The larger, the fewer coordinates are clipped. The
        default is the paper's for this estimate. Finite and at least 0.
    epsilon : hyper-parameter
        The least divisor, in units of the gradient. Where there is no curvature, the step is the sign of the momentum.
    logits : tensor variable
        The logits of the model, an expression of the parameters, with the classes along the last axis; the others are
        those of the examples, such as batch and position in a text.
    every : int
        The number :math:`k` of updates from one estimate of the curvature to the next.
    seed : int or sequence of ints, optional
        Seeds the draws; other ones at every call of this function without.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``m``, of its ``h``, then its own; last, the generator
        ``rng`` and the count ``t``.

    Raises
    ------
    TypeError
        If `logits` are not a tensor variable of float dtype.
    ValueError
        If `logits` are a scalar, or do not depend on the parameters; if `every` is not a whole number of at least 1.

    Notes
    -----
    The expectation of :math:`B\, \hat g \odot \hat g` is the diagonal of the Gauss-Newton matrix, which for
    cross-entropy is Fisher's information; it is never negative. The labels do not enter it. Of a loss that is a sum
    over :math:`B` examples, the curvature is :math:`B` times as large: multiply `gamma` by that.

    An estimate costs one more gradient, without one of the second order. On the C backend it is made when it is needed;
    NUMBA and JAX evaluate both sides of a branch, and make it at each update. The paper's weight decay is
    ``apply_weight_decay(weight_decay=0.2)`` after this rule.

    State: ``m`` and ``h``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, the number of
    updates made; ``rng``, three uint32 words. Hyper-parameters, partials and the other errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] H. Liu, Z. Li, D. Hall, P. Liang and T. Ma (2024). Sophia: a scalable stochastic second-order optimizer for
       language model pre-training. ICLR. arXiv:2305.14342.
    """
    whole_number("sophia_g: every", every)
    z = tensor_of("sophia_g: logits", logits, "float")
    step = prepare(
        "sophia_g",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        gamma=NON_NEGATIVE(gamma),
        epsilon=epsilon,
    )
    if step.params and not set(step.params) & set(ancestors([z])):
        raise ValueError(f"sophia_g: the logits, {z}, do not depend on the parameters; give those of the model.")
    y = categorical(new_generator(step.call, seed), z)
    B = count(tuple(z.shape)[:-1], z.dtype)
    g_hat = pulled([z], [(softmax(z, axis=-1) - y) / B], step.params)
    estimates = pt.eq((step.t - 1) % every, 0)
    for (p, g, (eta, beta1, beta2, gamma, eps)), g_hat_p in zip(step, g_hat, strict=True):
        m = step.state(p, "m")
        h = step.state(p, "h")
        step[m] = beta1 * m + (1 - beta1) * g
        step[h] = renewed(h, estimates, beta2 * h + (1 - beta2) * astype(B * g_hat_p**2, p.dtype))
        step[p] = p - eta * clip(step[m] / maximum(gamma * step[h], eps), -1, 1)
    return step.finish()


@awaits("loss_or_grads", "params")
def esgd(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.01,
    damping: Hyper = 1e-4,
    every: int = 20,
    seed: Seed = None,
) -> Updates:
    r"""Equilibrated SGD: each coordinate's step is divided by the norm of its row of the Hessian.

    With :math:`z` drawn from a standard normal distribution, one number for each coordinate, :math:`H` the Hessian of
    the loss with respect to all parameters, and :math:`i` the number of estimates made:

    .. math::
        d &\leftarrow d + (H z)^2 \qquad \text{at the first of every } k \text{ updates} \\
        p &\leftarrow p - \frac{\eta\, g}{\sqrt{d / i} + \lambda}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss, twice differentiable; not gradients, which do not tell the curvature.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, without unit. The paper chooses among 0.1, 0.01 and 0.001.
    damping : hyper-parameter
        Added to the norm (:math:`\lambda`), in units of the curvature: bounds the steps where there is none. The paper
        chooses among 1e-4, 1e-5 and 1e-6.
    every : int
        The number :math:`k` of updates from one estimate of the norms to the next; 20 in the paper.
    seed : int or sequence of ints, optional
        Seeds the draws; other ones at every call of this function without.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``d``, then its own; last, the generator ``rng`` and the
        count ``t``.

    Raises
    ------
    TypeError
        If gradients are given in the place of the loss.
    ValueError
        If `every` is not a whole number of at least 1.

    Notes
    -----
    The expectation of :math:`(Hz)^2` is the squared norm of each row of the Hessian, large also where curvatures of
    both signs cancel on the diagonal, as at saddle points. All estimates count alike, those of long ago too. What an
    estimate costs, and where, is as for :func:`sophia_h`.

    State: ``d``, zero at first, of the parameter's shape and dtype; ``t``, an int64 scalar, the number of updates made;
    ``rng``, three uint32 words. Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Y. N. Dauphin, H. de Vries and Y. Bengio (2015). Equilibrated adaptive learning rates for non-convex
       optimization. NeurIPS. arXiv:1502.04390.
    """
    whole_number("esgd: every", every)
    step = prepare("esgd", require_loss("esgd", loss_or_grads), params, learning_rate=learning_rate, damping=damping)
    Hz = hessian_times(step, probes(step, normal, seed))
    estimates = pt.eq((step.t - 1) % every, 0)
    i = (step.t - 1) // every + 1
    for p, g, (eta, damping) in step:
        d = step.state(p, "d")
        step[d] = renewed(d, estimates, d + Hz[p] ** 2)
        step[p] = p - eta * g / (sqrt(step[d] / astype(i, p.dtype)) + damping)
    return step.finish()


@awaits("loss_or_grads", "params")
def barzilai_borwein(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    short: bool = False,
) -> Updates:
    r"""Gradient descent with the step size of Barzilai and Borwein: the secant's estimate of the curvature.

    With :math:`s` and :math:`y` what parameters and gradients have changed by since the last update, all parameters
    together as one vector:

    .. math::
        \alpha &= \begin{cases}
            s^\top s / s^\top y & \text{if } s^\top y > 0 \\
            \eta & \text{otherwise}
        \end{cases} \\
        p &\leftarrow p - \alpha\, g

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta` of the first step, and of each after which the curvature along the step was not
        positive.
    short : bool
        Take :math:`s^\top y / y^\top y`, which is never longer. The paper has both, its equations 5 and 6.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``last_p``, of its ``last_g``, then its own.

    Notes
    -----
    For losses that are the same at each update: the noise of minibatches would be taken for curvature. There, and for
    quadratics above all, it converges about as fast as conjugate gradients without a line search; the loss does not
    fall at each step, and far from a minimum it can go astray, for nothing bounds it.

    State: ``last_p`` and ``last_g``, the parameter and the gradient of the last update, of the parameter's shape and
    dtype; at first the parameter's value, and zero. Hyper-parameters, partials and errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. Barzilai and J. M. Borwein (1988). Two-point step size gradient methods. IMA Journal of Numerical Analysis
       8(1).
    """
    flag("barzilai_borwein: short", short)
    step = prepare("barzilai_borwein", loss_or_grads, params, learning_rate=REAL(learning_rate))
    last = {p: (step.state(p, "last_p", initial=p), step.state(p, "last_g")) for p in step.params}
    s = [p - last[p][0] for p in step.params]
    y = [g - last[p][1] for p, g, _ in step]
    sy = inner(s, y)
    alpha = sy / inner(y, y) if short else inner(s, s) / sy
    for p, g, (eta,) in step:
        last_p, last_g = last[p]
        step[last_p] = p
        step[last_g] = g
        step[p] = p - step.rate(pt.switch(sy <= 0, eta, astype(alpha, p.dtype))) * g
    return step.finish()


def hessian_times(step, vectors):
    """The product of the Hessian with a vector that does not depend on the parameters: a part for each of them."""
    gradient_along = inner([g for _, g, _ in step], [vectors[p] for p in step.params])
    products = pytensor.grad(
        gradient_along,
        step.params,
        consider_constant=list(vectors.values()),
        disconnected_inputs="ignore",
        return_disconnected="zero",
    )
    return {p: astype(product, p.dtype) for p, product in zip(step.params, products, strict=True)}


def probes(step, draw, seed):
    """A random vector, drawn anew at each update: a part for each parameter."""
    generator = new_generator(step.call, seed)
    return {p: draw(generator, p, stream=i) for i, p in enumerate(step.params)}


def spatial_average(D):
    """The mean over the axes after the second, where there are any."""
    axes = tuple(range(2, D.ndim))
    return total(D, axes, keepdims=True) / total(pt.ones_like(D), axes, keepdims=True) if axes else D
