"""Rules that train a distribution of the parameters in the place of their values."""

from __future__ import annotations

import numpy as np
from pytensor.tensor import clip, sqrt

from symupdates.core import astype, awaits, prepare, require_loss, whole_number
from symupdates.core.hyper import scalar
from symupdates.core.ranges import BOUND, POSITIVE
from symupdates.random import new_generator, normal
from symupdates.typing import Hyper, Loss, Parameters, Seed, Updates

__all__ = ["ivon"]


@awaits("loss_or_grads", "params")
def ivon(
    loss_or_grads: Loss | None = None,
    params: Parameters | None = None,
    learning_rate: Hyper = 0.1,
    effective_sample_size: Hyper = 1.0,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.99999,
    weight_decay: Hyper = 1e-4,
    clip_radius: Hyper = np.inf,
    initial_hessian: float = 1.0,
    samples: int = 1,
    seed: Seed = None,
) -> Updates:
    r"""IVON: the mean and the variances of a Gaussian posterior, at the cost of Adam.

    The parameters :math:`p` are the mean. With :math:`\xi` standard normal, new for each element and update, and
    :math:`\sigma` the standard deviations of the posterior:

    .. math::
        \sigma &= 1 / \sqrt{\lambda\, (h + \delta)} \\
        g &= \nabla f(p + \sigma \xi) \\
        m &\leftarrow \beta_1 m + (1 - \beta_1)\, g \\
        h &\leftarrow \beta_2 h + (1 - \beta_2)\, \hat h
            + \tfrac{1}{2} (1 - \beta_2)^2 \frac{(h - \hat h)^2}{h + \delta}, \qquad \hat h = g\, \xi / \sigma \\
        p &\leftarrow p - \eta\, (h_0 + \delta) \operatorname{clip}_{[-r, r]}\!\left(
            \frac{m / (1 - \beta_1^t) + \delta p}{h + \delta} \right)

    Parameters
    ----------
    loss_or_grads : scalar tensor variable
        The loss :math:`f`; not gradients, which cannot be taken elsewhere. Either the negative log likelihood of *all*
        data, for a minibatch scaled to them as in :func:`~symupdates.sgld`, or their mean: `effective_sample_size` says
        which.
    params : iterable of shared variables
        The parameters :math:`p`, float32 or float64.
    learning_rate : hyper-parameter
        The step size :math:`\eta`. It is multiplied by :math:`h_0 + \delta`, so that the first steps are those of
        :func:`~symupdates.momentum` at this rate. The default is that of the authors' examples.
    effective_sample_size : hyper-parameter
        The number :math:`\lambda` of examples that the loss stands for: 1, the default, if it is that of all data; the
        number of all examples if it is a mean over them. With more, the posterior is colder, and training more like
        that of a deterministic rule. Finite and above 0.
    beta1 : hyper-parameter
        The decay :math:`\beta_1` of the average of gradients. The default is the authors'.
    beta2 : hyper-parameter
        The decay :math:`\beta_2` of the average of curvatures: one estimate is as noisy as it is large. The default is
        the authors', for runs of 10⁵ steps; short ones need 0.999 or less.
    weight_decay : hyper-parameter
        The precision :math:`\delta` of a normal prior around zero, divided by :math:`\lambda`. The default is the
        authors'; 0 for none, or if the prior is in the loss. It keeps coordinates without curvature from wide draws.
    clip_radius : hyper-parameter
        The largest step :math:`r` of an element, in units of the rate times :math:`h_0 + \delta`. The paper sets it
        for large models; there is no bound by default. At least 0.
    initial_hessian : float
        The curvature :math:`h_0` that each element is taken to have at first, in units of the loss over the squared
        parameter. If training begins unstable, a larger one makes the first draws narrower. The default is the
        authors'. Finite and above 0.
    samples : int
        The number of draws a step, of whose :math:`g` and :math:`\hat h` the means are taken; each costs a gradient.
    seed : int or sequence of ints, optional
        For the same draws in every run. Without, every call of this function makes others.

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
        If `samples` is not a whole number of at least 1, or `initial_hessian` not above 0.

    Notes
    -----
    Variational inference by natural gradients, for a posterior whose elements are independent. Its precision is never
    negative: the last term of :math:`h` sees to that. Where elements depend on each other, the variances are those with
    all others fixed, and so smaller than in the posterior. The loss that a function returns beside these updates is
    that of the mean, and so is whatever is evaluated with the parameters; for predictions that are averaged over the
    posterior, draw ``W + noise / sqrt(effective_sample_size * (h + weight_decay))`` with ``h`` the state ``W/ivon/h``.

    Minibatches and draws of the model, such as of dropout, are the same at all points of a step. It is the authors'
    program, the package ``ivon-opt``, with its ``rescale_lr`` and ``debias``, and other random numbers. Its ``ess`` is
    `effective_sample_size`, its ``hess_init`` is `initial_hessian`, its ``mc_samples`` are `samples`.

    State: ``m``, zero at first, and ``h``, `initial_hessian` at first, of the parameter's shape and dtype; ``rng``,
    three uint32 words, as in :func:`~symupdates.sgld`; ``t``, an int64 scalar, the number of updates made.
    Hyper-parameters, partials and the other errors are as for :func:`~symupdates.sgd`.

    References
    ----------
    .. [1] Y. Shen, N. Daheim, B. Cong, P. Nickl, G. M. Marconi, C. Bazan, R. Yokota, I. Gurevych, D. Cremers, M. E.
       Khan and T. Möllenhoff (2024). Variational learning is effective for large deep networks. ICML. arXiv:2402.17641.
    """
    h0 = scalar("ivon: initial_hessian", initial_hessian, POSITIVE)
    whole_number("ivon: samples", samples)
    step = prepare(
        "ivon",
        require_loss("ivon", loss_or_grads),
        params,
        learning_rate=learning_rate,
        effective_sample_size=POSITIVE(effective_sample_size),
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
        clip_radius=BOUND(clip_radius),
    )
    generator = new_generator(step.call, seed)
    h = {p: step.state(p, "h", initial=initial_hessian) for p in step.params}
    sigma = {p: 1 / sqrt(size * (h[p] + delta)) for p, _, (_, size, _, _, delta, _) in step}
    draws = []
    for i in range(samples):
        streams = enumerate(step.params, start=i * len(step.params))
        xi = {p: normal(generator, p, stream) for stream, p in streams}
        draws.append((xi, step.gradients_at({p: p + sigma[p] * xi[p] for p in xi})))
    for p, _, (eta, _, beta1, beta2, delta, r) in step:
        m = step.state(p, "m")
        g = sum(g[p] for _, g in draws) / samples
        h_hat = sum(g[p] * xi[p] for xi, g in draws) / samples / sigma[p]
        step[m] = beta1 * m + (1 - beta1) * g
        correction = (1 - beta2) ** 2 * (h[p] - h_hat) ** 2 / (h[p] + delta) / 2
        step[h[p]] = beta2 * h[p] + (1 - beta2) * h_hat + correction
        u = (step[m] / step.bias_correction(beta1) + delta * p) / (step[h[p]] + delta)
        step[p] = p - eta * (astype(h0, p.dtype) + delta) * clip(u, -r, r)
    return step.finish()
