"""Gradient descent with noise, and samplers of a posterior: stochastic gradient MCMC."""

from __future__ import annotations

import numpy as np
from pytensor.tensor import le, maximum, sqrt, switch

from symupdates.core import astype, awaits, flag, prepare, whole_number
from symupdates.core.ranges import NON_NEGATIVE, NON_NEGATIVE_RATE, PART, in_order
from symupdates.random import normals
from symupdates.typing import Hyper, LossOrGrads, Parameters, Seed, Updates

__all__ = ["baoab", "noisy_sgd", "psgld", "scale_adapted_sghmc", "sghmc", "sgld", "sgnht"]


@awaits("loss_or_grads", "params")
def noisy_sgd(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    eta: Hyper = 0.01,
    gamma: Hyper = 0.55,
    seed: Seed = None,
) -> Updates:
    r"""Gradient descent with annealed Gaussian noise on the gradient.

    With :math:`t` the number of this update, 1 at the first:

    .. math:: p \leftarrow p - \alpha \left( g + \mathcal{N}(0, \sigma_t^2) \right), \qquad
        \sigma_t^2 = \frac{\eta}{t^\gamma}

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\alpha`, which the noise is multiplied by, too. The default is that of
        :func:`~symupdates.sgd`; optax asks for it.
    eta : hyper-parameter
        The variance :math:`\eta` at the first update, in units of the squared gradient. The paper tries 0.01, 0.3 and
        1; the default is optax's. Finite and at least 0.
    gamma : hyper-parameter
        How fast it falls, :math:`\gamma`: the paper's 0.55. With 0, the noise stays. Finite and at least 0.
    seed : int or sequence of ints, optional
        For the same noise in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order; last, the generator ``rng`` and the count ``t``.

    Notes
    -----
    It helps very deep or badly begun networks on their way; it is no sampler, for which see :func:`sgld`. The paper
    counts from 0 and has :math:`(1+t)^\gamma`, which is the same. For the noise before any other rule, there is
    :func:`symupdates.gradients.add_noise`: with the same seed, that before :func:`~symupdates.sgd` is this rule.

    State: ``rng``, three uint32 words, a key and the number of calls: see :mod:`symupdates.random`. ``t``, an int64
    scalar, the number of updates made. The same numbers are drawn on every backend, and by a resumed run. In a
    :func:`~symupdates.partition`, give each group a seed of its own: the same seed is the same noise.
    Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    It is optax's ``noisy_sgd``, with other random numbers.

    References
    ----------
    .. [1] A. Neelakantan, L. Vilnis, Q. V. Le, I. Sutskever, L. Kaiser, K. Kurach and J. Martens (2015). Adding
       gradient noise improves learning for very deep networks. arXiv:1511.06807.
    """
    step = prepare(
        "noisy_sgd",
        loss_or_grads,
        params,
        learning_rate=learning_rate,
        eta=NON_NEGATIVE(eta),
        gamma=NON_NEGATIVE(gamma),
    )
    xi = normals(step, seed)
    for p, g, (alpha, eta, gamma) in step:
        sigma = sqrt(eta / astype(step.t, p.dtype) ** gamma)
        step[p] = p - alpha * (g + sigma * xi(p))
    return step.finish()


@awaits("loss_or_grads", "params")
def sgld(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    temperature: Hyper = 1.0,
    seed: Seed = None,
) -> Updates:
    r"""Stochastic gradient Langevin dynamics: gradient descent with as much noise as samples the posterior.

    With :math:`U` the loss, the negative logarithm of the posterior density, :math:`g` its gradient and :math:`\xi`
    standard normal, new for each element and update:

    .. math:: p \leftarrow p - \frac{\epsilon}{2}\, g + \sqrt{\epsilon\, T}\, \xi

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss :math:`U`, or the gradient :math:`g` of each parameter. It has to be the negative log posterior of
        *all* data, up to a constant: for a minibatch of :math:`n` examples of :math:`N`, the negative log likelihood,
        summed over the minibatch, times :math:`N/n`, minus the log prior. A mean over examples, as is usual in
        training, is a posterior :math:`N` times as wide.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\epsilon` of the paper, in units of the squared parameter: of the variance of the noise in
        a step. Along a direction of posterior variance :math:`s^2`, the chain needs about :math:`2 s^2/\epsilon` steps
        to forget where it was, and diverges from :math:`\epsilon = 4 s^2` on. The paper lets it fall as :math:`a (b +
        t)^{-\gamma}` with :math:`0.5 < \gamma \le 1`: :func:`~symupdates.schedules.polynomial_decay` or a function of
        your own. The default, where the paper's first example ends, suits only posteriors of its size. Finite and at
        least 0.
    temperature : hyper-parameter
        The temperature :math:`T`: the chain samples :math:`e^{-U/T}`. The paper has 1; less is a cold posterior [2]_,
        and 0 gradient descent with the rate :math:`\epsilon/2`.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        The next value of each parameter, in their order; the generator ``rng``; with a schedule, last, its count.

    Notes
    -----
    The values of the parameters, call after call, are the samples; leave the first out. With a step size that falls,
    weight each by it. With a constant one they are those of a slightly wider distribution: for a Gaussian of variance
    :math:`s^2`, :math:`s^2 / (1 - \epsilon/(4 s^2))`. The noise of the minibatches widens it further: it adds
    :math:`\epsilon^2/4` times its variance to the :math:`\epsilon T` of each step. Transforms of gradients and updates,
    such as clipping or momentum, make another distribution of it; projections keep it in a set.

    State: ``rng``, three uint32 words, a key and the number of calls: see :mod:`symupdates.random`. The same numbers
    are drawn on every backend, and by a resumed run. In a :func:`~symupdates.partition`, give each group a seed of its
    own: the same seed is the same noise. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    torch, optax and keras do not have it. Where you read :math:`p - \epsilon g + \sqrt{2 \epsilon}\, \xi`, the step
    size is half of the paper's.

    References
    ----------
    .. [1] M. Welling and Y. W. Teh (2011). Bayesian learning via stochastic gradient Langevin dynamics. ICML.
    .. [2] F. Wenzel, K. Roth, B. S. Veeling and others (2020). How good is the Bayes posterior in deep neural networks
       really? ICML. arXiv:2002.02405.
    """
    step = prepare(
        "sgld", loss_or_grads, params, learning_rate=NON_NEGATIVE_RATE(learning_rate), temperature=temperature
    )
    xi = normals(step, seed)
    for p, g, (eps, T) in step:
        step[p] = p - step.rate(eps / 2) * g + sqrt(eps * T) * xi(p)
    return step.finish()


@awaits("loss_or_grads", "params")
def psgld(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-3,
    rho: Hyper = 0.99,
    epsilon: Hyper = 1e-5,
    temperature: Hyper = 1.0,
    seed: Seed = None,
) -> Updates:
    r"""Preconditioned SGLD: each coordinate has the step size that RMSProp would give it, and noise to match.

    With :math:`\xi` standard normal, new for each element and update:

    .. math::
        V &\leftarrow \rho V + (1 - \rho)\, g^2 \\
        G &= \frac{1}{\lambda + \sqrt{V}} \\
        p &\leftarrow p - \frac{\epsilon}{2}\, G\, g + \sqrt{\epsilon\, T\, G}\, \xi

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter: of the negative log posterior of all data, a minibatch's
        likelihood scaled to them as in :func:`sgld`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\epsilon`, in units of the parameter: drift moves a coordinate by about half of it a step.
        Finite and at least 0.
    rho : hyper-parameter
        The decay :math:`\rho` of the average, the paper's :math:`\alpha`: its 0.99 reaches back about 100 steps. From 0
        to 1.
    epsilon : hyper-parameter
        The paper's :math:`\lambda`, in units of the gradient: it bounds the step size of coordinates with small
        gradients to :math:`\epsilon/\lambda`. A coordinate without any gradient, and so without a posterior, walks
        about at random, with steps of :math:`\sqrt{\epsilon T/\lambda}`. The default is the paper's.
    temperature : hyper-parameter
        The temperature :math:`T`, as in :func:`sgld`.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``accu``, then its own; last, the generator ``rng`` and, with
        a schedule, its count.

    Notes
    -----
    The paper averages the squares of :math:`\bar g`, the gradient of the *mean* log likelihood over the minibatch,
    without the prior and :math:`N` times smaller than the :math:`g` here. For its steps, give :math:`N` times its step
    size as `learning_rate` and :math:`N` times its :math:`\lambda` as `epsilon`; what the prior adds to the average is
    all that differs.

    A metric that changes with the position asks for a drift :math:`\Gamma_i = \sum_j \partial G_{ij}/\partial p_j`
    more. It is left out here, as in the paper's own experiments. The average starts at zero and is not corrected for
    that: the first steps are longer, ten times the first one with the default `rho`. What was said of step sizes and
    samples in :func:`sgld` holds here, too, with :math:`\epsilon G` for its :math:`\epsilon`.

    .. warning:: Without :math:`\Gamma`, a smaller step size makes the samples wrong, not right. Where the average
       reaches back over many independent samples, as with large steps or noisy minibatches, :math:`G` hardly changes
       and the bias is of the order :math:`1 - \rho`, as the paper has it. A chain that is slower than the average has
       :math:`V = g^2`, and samples :math:`(\lambda + |g|)\, e^{-U}`. With exact gradients and the default `rho`, the
       variance of :math:`\mathcal{N}(0, 1)` comes out as 1.12 at a step size of 0.1, as 1.48 at 0.01, as 1.87 at 0.001,
       and tends to 2. Where variances matter, let `rho` reach back further than the chain takes to forget, set it to 1
       once ``accu`` has settled, or take :func:`sgld` or :func:`sghmc`.

    There is no option for :math:`\Gamma`, because no derivative of this step is it: of :math:`V`, the step sees only
    the part :math:`1 - \rho` change with the position, and the derivative is as large as :math:`1/\lambda^2` where a
    gradient passes through zero. With it, that variance is 3.2 at a step size of 0.01; with the change of :math:`V`
    carried along over all steps, it is above 1000.

    State: ``accu`` (:math:`V`), zero at first, of the parameter's shape and dtype; ``rng``, three uint32 words, as in
    :func:`sgld`. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] C. Li, C. Chen, D. Carlson and L. Carin (2016). Preconditioned stochastic gradient Langevin dynamics for deep
       neural networks. AAAI. arXiv:1512.07666.
    """
    step = prepare(
        "psgld",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        rho=PART(rho),
        epsilon=epsilon,
        temperature=temperature,
    )
    xi = normals(step, seed)
    for p, g, (eps, rho, lam, T) in step:
        V = step.state(p, "accu")
        step[V] = rho * V + (1 - rho) * g**2
        G = 1 / (lam + sqrt(step[V]))
        step[p] = p - step.rate(eps / 2) * G * g + sqrt(eps * T * G) * xi(p)
    return step.finish()


@awaits("loss_or_grads", "params")
def sghmc(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    friction: Hyper = 0.1,
    noise_estimate: Hyper = 0.0,
    temperature: Hyper = 1.0,
    seed: Seed = None,
) -> Updates:
    r"""Stochastic gradient Hamiltonian Monte Carlo: momentum, with as much noise as its friction takes away.

    With :math:`\xi` standard normal, new for each element and update:

    .. math::
        v &\leftarrow v - \eta\, g - \alpha v + \sqrt{2 (\alpha - \hat\beta)\, \eta\, T}\, \xi \\
        p &\leftarrow p + v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter: of the negative log posterior of all data, a minibatch's
        likelihood scaled to them as in :func:`sgld`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the squared parameter: :math:`\sqrt{\eta T}` is about the size of the
        velocity. A rate that suits :func:`~symupdates.momentum` on a mean over :math:`N` examples is :math:`N` times
        too large here. Along a direction of posterior variance :math:`s^2`, the chain diverges from :math:`\eta = (4 -
        2\alpha) s^2` on. Finite and at least 0.
    friction : hyper-parameter
        The fraction :math:`\alpha` of the velocity lost in a step: one minus the `momentum` of
        :func:`~symupdates.momentum`, by default of its 0.9. From 0 to 1.
    noise_estimate : hyper-parameter
        The estimate :math:`\hat\beta` of what the noise of the minibatches adds, in units of the friction and below it:
        :math:`\eta \hat V/(2T)`, with :math:`\hat V` the variance of the gradient's noise. With 0, that noise is
        ignored, which is right in the limit of small :math:`\eta`. From 0 to the friction.
    temperature : hyper-parameter
        The temperature :math:`T`, as in :func:`sgld`. With 0, it is :func:`~symupdates.momentum`.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own; last, the generator ``rng`` and,
        with a schedule, its count.

    Notes
    -----
    Where the posterior is narrow in one direction and wide in another, it gets about faster than :func:`sgld`, keeping
    its course for :math:`1/\alpha` steps. With a friction of 1, it is :func:`sgld` with :math:`\epsilon = 2\eta`. With
    a constant step size and exact gradients, it samples, for a Gaussian of variance :math:`s^2`, one of
    :math:`s^2 / \bigl(1 - \eta/((4 - 2\alpha) s^2)\bigr)`.

    It is the paper's equation 15, in which :math:`v = \epsilon M^{-1} r` and :math:`\eta = \epsilon^2 M^{-1}`.
    Resampling the velocity from time to time, which the paper leaves to taste, is not done.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype; ``rng``, three uint32 words, as
    in :func:`sgld`. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] T. Chen, E. B. Fox and C. Guestrin (2014). Stochastic gradient Hamiltonian Monte Carlo. ICML.
       arXiv:1402.4102.
    """
    step = prepare(
        "sghmc",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        friction=PART(friction),
        noise_estimate=NON_NEGATIVE(noise_estimate),
        temperature=temperature,
    )
    in_order("sghmc", noise_estimate=noise_estimate, friction=friction)
    xi = normals(step, seed)
    for p, g, (eta, alpha, beta, T) in step:
        v = step.state(p, "velocity")
        step[v] = v - eta * g - alpha * v + sqrt(2 * (alpha - beta) * eta * T) * xi(p)
        step[p] = p + step[v]
    return step.finish()


@awaits("loss_or_grads", "params")
def sgnht(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    diffusion: Hyper = 0.1,
    temperature: Hyper = 1.0,
    seed: Seed = None,
    per_element: bool = False,
) -> Updates:
    r"""Stochastic gradient Nosé-Hoover thermostat: the friction adapts to the noise of the gradient.

    With :math:`\xi` standard normal, new for each element and update, and :math:`n` the number of elements of all
    parameters together, of whose velocities :math:`\lVert v \rVert` is the norm:

    .. math::
        v &\leftarrow v - (a + s)\, v - \eta\, g + \sqrt{2 a\, \eta\, T}\, \xi \\
        p &\leftarrow p + v \\
        s &\leftarrow s + \tfrac{1}{n} \lVert v \rVert^2 - \eta\, T

    or, with a thermostat for each element, :math:`s \leftarrow s + v^2 - \eta\, T`.

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter: of the negative log posterior of all data, a minibatch's
        likelihood scaled to them as in :func:`sgld`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64. They have one thermostat, unless each element has its own: those
        of another call have another.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the squared parameter, as in :func:`sghmc`. Finite and at least 0.
    diffusion : hyper-parameter
        The strength :math:`a` of the noise that is added, in units of the friction: what that is at first, and where
        the gradients are exact. The default is the friction of :func:`sghmc`. Finite and at least 0.
    temperature : hyper-parameter
        The temperature :math:`T`, as in :func:`sgld`.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.
    per_element : bool
        Give each element a thermostat of its own [2]_, for gradients whose noise differs between them, as it does
        between layers and with how rare a feature is.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own; last, the ``thermostat``, the
        generator ``rng`` and, with a schedule, its count. With `per_element`, a ``thermostat``
        follows each parameter.

    Raises
    ------
    TypeError
        If `per_element` is not a bool.

    Notes
    -----
    :func:`sghmc` has to know the noise of the minibatches' gradients; here the thermostat finds it out. It holds the
    mean square of the velocities at :math:`\eta T`, and :math:`s` settles at what the unknown noise asks for, about
    :math:`\eta V/(2T)` where the variance :math:`V` of the noise is the same for all elements and everywhere. If the
    step size is too large for that, the thermostat overshoots, and a friction above 2 ends the chain.

    It is the paper's algorithm with :math:`v = ph`, :math:`\eta = h^2`, :math:`a = Ah` and the
    friction :math:`\xi h = a + s`. The paper draws the first velocity; it is zero here. With a constant step size, a
    Gaussian of variance :math:`s^2` comes out with about :math:`(1 - \alpha/2)\, s^2`, where :math:`\alpha` is the
    friction: the thermostat measures the velocities between the positions, where they are a little too high. What the
    noise of small minibatches asks for is not little: at a friction of 0.46 the variance is 23 % too small, at 0.86
    43 %. Choose the step size so that :math:`a + s` stays well below 1.

    One thermostat holds the mean over all elements. Those with more noise than others are then too hot, and come out
    too wide, the others too narrow; one for each holds each. With exact gradients, each of these swings by about
    :math:`\sqrt{\eta T}` around zero, the one of :math:`n` elements by :math:`\sqrt{\eta T / n}`.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype; ``thermostat`` (:math:`s`), 0 at
    first, a scalar in the largest dtype of the parameters, or of each parameter's shape and dtype; ``rng``, three
    uint32 words, as in :func:`sgld`. Hyper-parameters, partials and the other errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] N. Ding, Y. Fang, R. Babbush, C. Chen, R. D. Skeel and H. Neven (2014). Bayesian sampling using stochastic
       gradient thermostats. NeurIPS.
    .. [2] Z. Gan, C. Chen, R. Henao, D. Carlson and L. Carin (2015). Scalable deep Poisson factor analysis for topic
       modeling. ICML.
    """
    flag("sgnht: per_element", per_element)
    step = prepare(
        "sgnht",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        diffusion=NON_NEGATIVE(diffusion),
        temperature=temperature,
    )
    xi = normals(step, seed)
    common = None if per_element else step.state(None, "thermostat")
    squares, sizes = [], []
    for p, g, (eta, a, T) in step:
        v = step.state(p, "velocity")
        s = step.state(p, "thermostat") if per_element else common
        step[v] = v - (a + astype(s, p.dtype)) * v - eta * g + sqrt(2 * a * eta * T) * xi(p)
        step[p] = p + step[v]
        if per_element:
            step[s] = s + step[v] ** 2 - eta * T
        squares.append(step[v] ** 2)
        sizes.append(p.size)
    if not per_element:
        eta, _, T = step.hyper(step.dtype)
        mean = step.total(squares) / maximum(step.total(sizes), np.asarray(1, step.dtype))
        step[common] = common + mean - eta * T
    return step.finish()


@awaits("loss_or_grads", "params")
def scale_adapted_sghmc(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    friction: Hyper = 0.05,
    epsilon: Hyper = 1e-16,
    temperature: Hyper = 1.0,
    burn_in: int = 3000,
    seed: Seed = None,
) -> Updates:
    r"""Scale-adapted SGHMC: each coordinate has a step size that is learned while the chain burns in, and then fixed.

    With :math:`\xi` standard normal, new for each element and update, and of each parameter:

    .. math::
        r &= \frac{1}{\tau + 1}, \qquad G = \frac{1}{\lambda + \sqrt{V}} \\
        \tau &\leftarrow \tau + 1 - \tau\, (G\, \bar g)^2 \\
        \bar g &\leftarrow \bar g + r\, (g - \bar g) \\
        V &\leftarrow (1 - r)\, V + r\, g^2

    as long as it burns in; and, with :math:`G` of the next :math:`V`, always:

    .. math::
        v &\leftarrow v - \eta\, G\, g - \alpha v + \sqrt{\max(0,\, 2 \alpha\, \eta\, T\, G - \eta^2)}\, \xi \\
        p &\leftarrow p + v

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter: of the negative log posterior of all data, a minibatch's
        likelihood scaled to them as in :func:`sgld`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the parameter: the paper's :math:`\epsilon^2`. The default is that of
        the authors' program. Finite and at least 0.
    friction : hyper-parameter
        The fraction :math:`\alpha` of the velocity lost in a step, as in :func:`sghmc`. The default is the paper's.
        From 0 to 1.
    epsilon : hyper-parameter
        The bound :math:`\lambda` of the step sizes of coordinates without gradients, in units of the gradient. The
        default is the authors'.
    temperature : hyper-parameter
        The temperature :math:`T`, as in :func:`sgld`.
    burn_in : int
        The number of updates in which step sizes are learned; none of them is a sample. The default is that of the
        authors' program.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``tau``, its ``g``, its ``accu``, its ``velocity``, then its
        own; last, the generator ``rng`` and the count ``t``.

    Raises
    ------
    ValueError
        If `burn_in` is not a whole number of at least 0.

    Notes
    -----
    Of :func:`psgld`, the step sizes go on changing with the position, which makes its samples wrong; here they rest
    before the first sample. The averages reach back over :math:`\tau` gradients: over more, the more the gradient is
    noise.

    The :math:`\eta^2` under the root is for the noise of minibatches, whose variance is taken to be :math:`V`, the mean
    square of the gradient. Where that is not so, the samples are colder than :math:`T`: with exact gradients, by
    :math:`\eta \sqrt{V} / (2 \alpha)`. What was said of step sizes in :func:`sghmc` holds here, too, with
    :math:`\eta G` for its :math:`\eta`.

    The paper has :math:`1/\tau` for :math:`r`; :math:`\tau + 1` is the authors' program, and so are the values that
    the state begins with.

    State: ``tau`` (:math:`\tau`), ``g`` (:math:`\bar g`) and ``accu`` (:math:`V`), one at first, and ``velocity``
    (:math:`v`), zero at first, of the parameter's shape and dtype; ``rng``, three uint32 words, as in :func:`sgld`;
    ``t``, an int64 scalar, the number of updates made. Hyper-parameters, partials and the other errors are as for
    :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] J. T. Springenberg, A. Klein, S. Falkner and F. Hutter (2016). Bayesian optimization with robust Bayesian
       neural networks. NeurIPS.
    """
    whole_number("scale_adapted_sghmc: burn_in", burn_in, least=0)
    step = prepare(
        "scale_adapted_sghmc",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        friction=PART(friction),
        epsilon=epsilon,
        temperature=temperature,
    )
    xi = normals(step, seed)
    burns_in = le(step.t, burn_in)
    for p, g, (eta, alpha, lam, T) in step:
        tau, g_bar, V = (step.state(p, slot, initial=1.0) for slot in ("tau", "g", "accu"))
        v = step.state(p, "velocity")
        r = 1 / (tau + 1)
        step[tau] = switch(burns_in, tau + 1 - tau * (g_bar / (lam + sqrt(V))) ** 2, tau)
        step[g_bar] = switch(burns_in, g_bar + r * (g - g_bar), g_bar)
        step[V] = switch(burns_in, (1 - r) * V + r * g**2, V)
        G = 1 / (lam + sqrt(step[V]))
        step[v] = v - eta * G * g - alpha * v + sqrt(maximum(0, 2 * alpha * eta * T * G - eta**2)) * xi(p)
        step[p] = p + step[v]
    return step.finish()


@awaits("loss_or_grads", "params")
def baoab(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 1e-4,
    friction: Hyper = 0.1,
    temperature: Hyper = 1.0,
    seed: Seed = None,
) -> Updates:
    r"""Langevin dynamics by the BAOAB splitting: momentum and noise in an order that samples Gaussians exactly.

    With :math:`\xi` standard normal, new for each element and update:

    .. math::
        v &\leftarrow v - \eta\, g \\
        v' &= (1 - \alpha)\, v + \sqrt{\left(1 - (1 - \alpha)^2\right) \eta\, T}\, \xi \\
        p &\leftarrow p + \tfrac{1}{2} (v + v') \\
        v &\leftarrow v'

    Parameters
    ----------
    loss_or_grads : scalar tensor variable, or list or tuple of tensor variables
        The loss, or the gradient :math:`g` of each parameter: of the negative log posterior of all data, a minibatch's
        likelihood scaled to them as in :func:`sgld`.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`, in units of the squared parameter, as in :func:`sghmc`. Along a direction of
        posterior variance :math:`s^2`, the chain diverges from :math:`\eta = 4 s^2` on. Finite and at least 0.
    friction : hyper-parameter
        The fraction :math:`\alpha` of the velocity lost in a step, as in :func:`sghmc`. From 0 to 1.
    temperature : hyper-parameter
        The temperature :math:`T`, as in :func:`sgld`.
    seed : int or sequence of ints, optional
        For the same chain in every run. Without, every call of this function makes another.

    Returns
    -------
    OrderedDict
        For each parameter in order: the next value of its ``velocity``, then its own; last, the generator ``rng`` and,
        with a schedule, its count.

    Notes
    -----
    With exact gradients, a Gaussian is sampled with its own variance, whatever the step size below :math:`4 s^2`, where
    that of :func:`sghmc` is too wide by the order of :math:`\eta`; of other posteriors, the error is of the order
    :math:`\eta^2` in place of :math:`\eta`. So it is for all data, or large minibatches. The noise of small ones widens
    the samples as it does those of :func:`sghmc`; where it is not little, take :func:`sghmc` with an estimate of it, or
    :func:`sgnht`.

    Half a kick by the gradient (B), half a drift (A), the friction and the noise (O), half a drift, half a kick: since
    the last kick of a step and the first of the next have the same gradient, both are made here at once, and a step
    takes one gradient. In the paper's symbols :math:`\eta = h^2/m` and :math:`1 - \alpha = e^{-\gamma h}`. With a
    friction of 1 it is their limit method: :func:`sgld` with :math:`\epsilon = \eta` and, in place of :math:`\xi`, the
    mean of this update's and of the one before.

    State: ``velocity`` (:math:`v`), zero at first, of the parameter's shape and dtype; ``rng``, three uint32 words, as
    in :func:`sgld`. Hyper-parameters, partials and errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] B. Leimkuhler and C. Matthews (2013). Rational construction of stochastic numerical methods for molecular
       sampling. Applied Mathematics Research eXpress 2013(1). arXiv:1203.5428.
    """
    step = prepare(
        "baoab",
        loss_or_grads,
        params,
        learning_rate=NON_NEGATIVE_RATE(learning_rate),
        friction=PART(friction),
        temperature=temperature,
    )
    xi = normals(step, seed)
    for p, g, (eta, alpha, T) in step:
        v = step.state(p, "velocity")
        kicked = v - eta * g
        step[v] = (1 - alpha) * kicked + sqrt(alpha * (2 - alpha) * eta * T) * xi(p)
        step[p] = p + (kicked + step[v]) / 2
    return step.finish()
