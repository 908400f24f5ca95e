"""Transforms of gradients: list → list, before a rule takes them.

Every one awaits its ``grads``: called without, it returns a partial, for :func:`symupdates.chain`. Each returned
gradient has the shape and dtype of the given one. Hyper-parameters are numbers, scalar variables or schedules. The step
of a schedule, and all state, is advanced by the updates dict of the rule that takes the gradients.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from symupdates.constraints import unit_axes
from symupdates.core import astype, awaits, flag, like, norm, prepare, rescaled, total, whole_number
from symupdates.core.checks import float_tensors
from symupdates.core.hyper import resolve
from symupdates.core.names import parameter_names
from symupdates.core.norms import bounding, one, shrunk
from symupdates.core.parameters import check_grads, check_params, whole_params
from symupdates.core.ranges import BOUND, NON_NEGATIVE, Range
from symupdates.core.state import Call, advance, call_state
from symupdates.core.types import largest_dtype
from symupdates.random import new_generator, normal
from symupdates.typing import Gradients, GradientTransform, Hyper, Parameters, Seed

__all__ = [
    "add_l1",
    "add_l2",
    "add_noise",
    "centralize",
    "clip_adaptively",
    "clip_by_norm",
    "clip_by_percentile",
    "clip_by_total_norm",
    "clip_by_value",
    "clip_by_zscore",
    "grokfast",
    "mars",
    "normalize",
    "orthograd",
    "sign",
    "zero_nans",
]

PERCENTILE = Range(low=0, high=100, has_low=True, has_high=True)


def begin(function, grads, call=None, **hyper):
    """The gradients as a list of tensors, checked, and the hyper-parameters as a function of the dtype."""
    return float_tensors(f"{function}: grads", grads), resolve(function, hyper, call)


def with_params(function, grads, params):
    """The gradients with their parameters, checked to be as many and of their shapes."""
    params = check_params(params, f"{function}: params")
    if len(grads) != len(params):
        raise ValueError(f"{function}: got {len(grads)} gradients for {len(params)} parameters.")
    check_grads(grads, params, parameter_names(params))
    return zip(grads, params, strict=True)


def remembering(function, grads, params, **hyper):
    """Begin a transform that keeps state for each parameter: the gradients, checked, and a step over them."""
    grads, params = float_tensors(f"{function}: grads", grads), whole_params(function, params)
    with_params(function, grads, params)
    return grads, prepare(function, grads, params, **hyper)


@awaits("grads")
def clip_by_value(grads: Gradients | None = None, limit: Hyper = 1.0) -> list[TensorVariable]:
    r"""Clip each element of each gradient.

    .. math:: g \leftarrow \min(\max(g, -c), c)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    limit : hyper-parameter
        The bound :math:`c`, in units of the gradient; at least 0, and infinite for none.

    Returns
    -------
    list of tensor variables
        The clipped gradients. NaN stays NaN.

    Notes
    -----
    It is optax's ``clip``, torch's ``clip_grad_value_`` and keras' ``clipvalue``. It changes the direction, too.
    """
    grads, hyper = begin("clip_by_value", grads, limit=BOUND(limit))
    return [pt.clip(g, -c, c) for g in grads for (c,) in [hyper(g.dtype)]]


@awaits("grads")
def clip_by_norm(grads: Gradients | None = None, max_norm: Hyper = 1.0) -> list[TensorVariable]:
    r"""Scale each gradient down to a norm of at most `max_norm`, each tensor for itself.

    .. math:: g \leftarrow g\, \min\left(1, \frac{c}{\lVert g \rVert}\right)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    max_norm : hyper-parameter
        The bound :math:`c` of each L2 norm, in units of the gradient; at least 0, and infinite for none.

    Returns
    -------
    list of tensor variables
        The scaled gradients; those within the bound unchanged, to the last bit.

    Notes
    -----
    It is keras' ``clipnorm``.
    """
    grads, hyper = begin("clip_by_norm", grads, max_norm=max_norm)
    return [shrunk(g, norm(g), c) for g in grads for (c,) in [hyper(g.dtype)]]


@overload
def clip_by_total_norm(
    grads: Gradients | None, max_norm: Hyper = 1.0, return_norm: Literal[False] = False
) -> list[TensorVariable]: ...
@overload
def clip_by_total_norm(
    grads: Gradients | None, max_norm: Hyper = 1.0, *, return_norm: Literal[True]
) -> tuple[list[TensorVariable], TensorVariable]: ...
@overload
def clip_by_total_norm(
    grads: None = None, max_norm: Hyper = 1.0, return_norm: Literal[False] = False
) -> GradientTransform: ...
@awaits("grads")
def clip_by_total_norm(grads=None, max_norm=1.0, return_norm=False):
    r"""Scale all gradients down together, to a joint norm of at most `max_norm`.

    With :math:`n` the L2 norm of all elements of all gradients:

    .. math:: g \leftarrow g\, \min\left(1, \frac{c}{n}\right)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients. All of them: of a part, the norm is another.
    max_norm : hyper-parameter
        The bound :math:`c`, in units of the gradients; at least 0, and infinite for none.
    return_norm : bool
        Return the norm too, for monitoring.

    Returns
    -------
    list of tensor variables
        The scaled gradients, unchanged to the last bit if the norm is within the bound; with `return_norm`, the pair of
        this list and the norm before scaling, in the largest dtype among the gradients.

    Notes
    -----
    It is optax's ``clip_by_global_norm``; torch's ``clip_grad_norm_`` adds 1e-6 to the norm, and
    :func:`~symupdates.total_norm_constraint` 1e-7, which shrinks gradients within the bound as well.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov and Y. Bengio (2013). On the difficulty of training recurrent neural networks. ICML.
    """
    flag("clip_by_total_norm: return_norm", return_norm)
    grads, hyper = begin("clip_by_total_norm", grads, max_norm=max_norm)
    dtype = largest_dtype(grads)
    n = norm(grads, dtype=dtype)
    (c,) = hyper(dtype)
    scaled = shrunk(grads, n, c)
    return (scaled, n.value) if return_norm else scaled


@awaits("grads")
def clip_adaptively(
    grads: Gradients | None = None, params: Parameters | None = None, clipping: Hyper = 0.01, epsilon: Hyper = 1e-3
) -> list[TensorVariable]:
    r"""Adaptive gradient clipping (AGC): the gradient of each unit is small beside the unit's weights.

    With the L2 norms of a unit's gradient :math:`\lVert g \rVert` and of its weights :math:`\lVert p \rVert`, and
    :math:`c = \lambda \max(\lVert p \rVert, \epsilon)`:

    .. math:: g \leftarrow g\, \min\left(1, \frac{c}{\lVert g \rVert}\right)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order. A unit is a column of a matrix (inputs, units), a kernel of a tensor
        (units, channels, ...), and the whole of a vector or scalar.
    clipping : hyper-parameter
        The bound :math:`\lambda` of the ratio of the norms. The paper uses 0.01 to 0.16, less for larger batches. At
        least 0.
    epsilon : hyper-parameter
        Lets units move whose weights are zero, in units of the parameter.

    Returns
    -------
    list of tensor variables
        The scaled gradients; those within the bound unchanged, to the last bit.

    Raises
    ------
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.

    Notes
    -----
    optax's ``adaptive_grad_clip`` is the same for vectors, and for matrices of more than one row; for kernels it takes
    the last axis for the units.

    References
    ----------
    .. [1] A. Brock, S. De, S. L. Smith and K. Simonyan (2021). High-performance large-scale image recognition without
       normalization. ICML. arXiv:2102.06171.
    """
    grads, hyper = begin("clip_adaptively", grads, clipping=BOUND(clipping), epsilon=epsilon)
    clipped = []
    for g, p in with_params("clip_adaptively", grads, params):
        clipping, eps = hyper(g.dtype)
        axes = unit_axes(g.ndim) if g.ndim > 1 else None
        g_norm, p_norm = (norm(x, axes, g.dtype) for x in (g, p))
        clipped.append(shrunk(g, g_norm, bounding(clipping, pt.maximum(p_norm.value, eps))))
    return clipped


@awaits("grads")
def clip_by_percentile(
    grads: Gradients | None = None, percentile: Hyper = 10.0, window: int = 1000
) -> list[TensorVariable]:
    r"""AutoClip: scale all gradients down together, to a percentile of the norms that they have had.

    With :math:`n_t` the L2 norm of all elements of all gradients at update :math:`t`, and :math:`w` a window:

    .. math::
        c &= \operatorname{percentile}_q(n_{t - w + 1}, \dots, n_t) \\
        g &\leftarrow g\, \min\left(1, \frac{c}{n_t}\right)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients. All of them: of a part, the norm is another.
    percentile : hyper-parameter
        The percentile :math:`q`, from 0, for the least norm, to 100, which clips nothing; between two norms, it is
        interpolated. The default is the paper's best.
    window : int
        The number :math:`w` of norms that are kept. The paper keeps all.

    Returns
    -------
    list of tensor variables
        The scaled gradients, unchanged to the last bit if the norm is within the bound.

    Raises
    ------
    ValueError
        If `window` is not a whole number of at least 1.

    Notes
    -----
    It needs no unit: gradients of any scale are clipped alike. A norm that is not finite is not kept.

    State: ``clip_by_percentile/norms``, of the largest dtype among the gradients, and ``clip_by_percentile/seen``, how
    many there were, an int64 scalar; zero at first. The updates dict of whatever rule takes the gradients advances
    them.

    References
    ----------
    .. [1] P. Seetharaman, G. Wichern, B. Pardo and J. Le Roux (2020). AutoClip: adaptive gradient clipping for source
       separation networks. MLSP. arXiv:2007.14469.
    """
    whole_number("clip_by_percentile: window", window)
    call = Call("clip_by_percentile")
    grads, hyper = begin("clip_by_percentile", grads, call, percentile=PERCENTILE(percentile))
    dtype = largest_dtype(grads)
    (q,) = hyper(dtype)
    n = norm(grads, dtype=dtype)
    norms, seen = call_state(call, "norms", 0.0, dtype, (window,)), call_state(call, "seen", 0, "int64")
    infinite, places = np.asarray(np.inf, dtype), np.arange(window)
    is_kept = n.value < infinite
    kept = pt.switch(is_kept & pt.eq(places, seen % window), n.value, norms)
    advance(norms, kept)
    seen_next = seen + pt.cast(is_kept, "int64")
    advance(seen, seen_next)
    last = pt.clip(seen_next - 1, 0, window - 1)
    is_there = (places <= last) & (is_kept | (seen > 0))
    ordered = pt.sort(pt.switch(is_there, kept, infinite))
    place = q / 100 * astype(last, dtype)
    below = pt.minimum(astype(pt.floor(place), "int64"), last)
    low, high, beyond = ordered[below], ordered[pt.minimum(below + 1, last)], place - astype(below, dtype)
    c = pt.switch(pt.eq(beyond, 0), low, low + beyond * (high - low))
    return shrunk(grads, n, c)


@awaits("grads")
def clip_by_zscore(
    grads: Gradients | None = None, threshold: Hyper = 2.5, decay: Hyper = 0.97, warmup: int = 25
) -> list[TensorVariable]:
    r"""ZClip: scale all gradients down together where their norm is far above what it has been, in standard deviations.

    With :math:`n` the L2 norm of all elements of all gradients, and moving averages of its mean :math:`\mu` and its
    variance :math:`\sigma^2`:

    .. math::
        c &= \begin{cases}
            \mu + \tau \sigma \cdot \tau / z & \text{if } z = (n - \mu)/\sigma > \tau \\
            n & \text{otherwise}
        \end{cases} \\
        g &\leftarrow g\, c / n \\
        \mu &\leftarrow \alpha \mu + (1 - \alpha)\, c \\
        \sigma^2 &\leftarrow \alpha \sigma^2 + (1 - \alpha) (c - \mu)^2

    Parameters
    ----------
    grads : list of tensor variables
        The gradients. All of them: of a part, the norm is another.
    threshold : hyper-parameter
        How many standard deviations :math:`\tau` above the mean are too many; finite and at least 0. The default is the
        paper's. The further a norm is beyond, the nearer to the mean it is clipped.
    decay : hyper-parameter
        The decay :math:`\alpha` of the averages. The default is the paper's.
    warmup : int
        For so many updates, nothing is clipped, and :math:`\mu` and :math:`\sigma^2` are plain mean and variance; at
        least 2. The default is the paper's.

    Returns
    -------
    list of tensor variables
        The scaled gradients, unchanged to the last bit where the norm is not clipped.

    Raises
    ------
    ValueError
        If `warmup` is not a whole number of at least 2.

    Notes
    -----
    It needs no unit: gradients of any scale are clipped alike. The authors' program adds 1e-6 to the deviation, and
    clips to a norm of 1 besides, for which there is :func:`clip_by_total_norm`. Where the norm is not finite, the
    averages stay as they are. Where all norms of the warmup were the same, as of one batch that nothing moves, the
    deviation is zero, and larger ones are clipped to the mean.

    State: ``clip_by_zscore/mean`` and ``clip_by_zscore/deviation`` (:math:`\sigma`), scalars of the largest dtype among
    the gradients, and ``clip_by_zscore/seen``, how many norms there were, an int64 scalar; zero at first. The updates
    dict of whatever rule takes the gradients advances them.

    References
    ----------
    .. [1] A. Kumar, L. Owen, N. Roy Chowdhury and F. Güra (2025). ZClip: adaptive spike mitigation for LLM
       pre-training. arXiv:2504.02507.
    """
    whole_number("clip_by_zscore: warmup", warmup, least=2)
    call = Call("clip_by_zscore")
    grads, hyper = begin("clip_by_zscore", grads, call, threshold=NON_NEGATIVE(threshold), decay=decay)
    dtype = largest_dtype(grads)
    tau, alpha = hyper(dtype)
    n = norm(grads, dtype=dtype)
    mu, sigma = (call_state(call, slot, 0.0, dtype) for slot in ("mean", "deviation"))
    seen = call_state(call, "seen", 0, "int64")
    is_warm, above = seen < warmup, n.value - mu
    is_spike = ~is_warm & (above > tau * sigma)
    c = pt.switch(is_spike, mu + tau * sigma * (tau * sigma / pt.switch(is_spike, above, one(above))), n.value)
    # With w = 1/n, the plain moments: the deviation is from the mean before. Then, as above, from the new one.
    w = pt.switch(is_warm, 1 / (1 + astype(seen, dtype)), 1 - alpha)
    off = pt.sqrt(w * (1 - w) * pt.switch(is_warm, one(w), 1 - w)) * (c - mu)
    is_kept = n.value < one(c) * np.inf
    deviation = norm(pt.stack([pt.sqrt(1 - w) * sigma, off])).value
    advance(mu, pt.switch(is_kept, mu + w * (c - mu), mu))
    advance(sigma, pt.switch(is_kept, deviation, sigma))
    advance(seen, seen + pt.cast(is_kept, "int64"))
    return shrunk(grads, n, c)


@awaits("grads")
def normalize(grads: Gradients | None = None, epsilon: Hyper = 1e-6) -> list[TensorVariable]:
    r"""Scale all gradients together to a joint norm of one, so that only their direction counts.

    With :math:`n` the L2 norm of all elements of all gradients:

    .. math:: g \leftarrow \frac{g}{n + \epsilon}

    Parameters
    ----------
    grads : list of tensor variables
        The gradients. All of them: of a part, the norm is another.
    epsilon : hyper-parameter
        Keeps zero gradients at zero, in units of the gradient.

    Returns
    -------
    list of tensor variables
        The scaled gradients.

    Notes
    -----
    It is optax's ``normalize_by_update_norm``.
    """
    grads, hyper = begin("normalize", grads, epsilon=epsilon)
    dtype = largest_dtype(grads)
    (eps,) = hyper(dtype)
    n = norm(grads, dtype=dtype) + eps
    return rescaled(grads, n)


@awaits("grads")
def centralize(grads: Gradients | None = None) -> list[TensorVariable]:
    r"""Gradient centralization: the mean over each unit's inputs is taken away.

    .. math:: g_{\cdot j} \leftarrow g_{\cdot j} - \operatorname{mean}_i g_{ij}

    Parameters
    ----------
    grads : list of tensor variables
        The gradients. The inputs of a matrix are the rows (inputs, units), of a kernel all axes but the first. Vectors
        and scalars stay as they are.

    Returns
    -------
    list of tensor variables
        The centralized gradients.

    Notes
    -----
    optax's ``centralize`` takes the mean over all axes but the first of matrices, too: it expects them transposed.

    References
    ----------
    .. [1] H. Yong, J. Huang, X. Hua and L. Zhang (2020). Gradient centralization: a new optimization technique for deep
       neural networks. ECCV. arXiv:2004.01461.
    """
    grads, _ = begin("centralize", grads)
    return [g if g.ndim < 2 else g - astype(pt.mean(g, axis=unit_axes(g.ndim), keepdims=True), g.dtype) for g in grads]


@awaits("grads")
def orthograd(
    grads: Gradients | None = None, params: Parameters | None = None, rescale: bool = True
) -> list[TensorVariable]:
    r"""OrthoGrad (:math:`\bot`\ Grad): take from each gradient its part along the weights, and keep its length.

    .. math::
        g' &= g - \frac{\langle p, g \rangle}{\langle p, p \rangle}\, p \\
        g &\leftarrow \frac{\lVert g \rVert}{\lVert g' \rVert}\, g'

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order.
    rescale : bool
        Keep the length, as the authors' program does; without, it is that of :math:`g'`, as in the paper's formula.

    Returns
    -------
    list of tensor variables
        The gradients, at right angles to their parameters. Zero where they were along them, to rounding: a parameter of
        one element stands still.

    Raises
    ------
    TypeError
        If `rescale` is not a bool.
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.

    Notes
    -----
    For classifiers that fit their data, whose loss would go on falling as the weights and so the logits grow, without
    another prediction. To spare biases, give them a rule of their own, by :func:`~symupdates.partition`. Where the
    weights are zero, the gradient is as it was. It is right for weights and gradients of any size.

    References
    ----------
    .. [1] L. Prieto, M. Barsbey, P. A. M. Mediano and T. Birdal (2025). Grokking at the edge of numerical stability.
       ICLR. arXiv:2501.04697.
    """
    flag("orthograd: rescale", rescale)
    grads, _ = begin("orthograd", grads)
    result = []
    for g, p in with_params("orthograd", grads, params):
        size = norm(g)
        w, unit = (rescaled(x, norm(x).or_one()) for x in (astype(p, g.dtype), g))
        rest = unit - total(w * unit) * w
        length = norm(rest)
        is_along = length.value <= one(g) * 16 * np.finfo(g.dtype).eps
        divisor = length.one_where(is_along if rescale else np.array(True))
        result.append(pt.switch(is_along, pt.zeros_like(g), rescaled(rest, divisor, size.value)))
    return result


@awaits("grads")
def grokfast(
    grads: Gradients | None = None, params: Parameters | None = None, decay: Hyper = 0.98, amplification: Hyper = 2.0
) -> list[TensorVariable]:
    r"""Grokfast: add to each gradient so many times its moving average, which changes slowly.

    .. math::
        h &\leftarrow \alpha h + (1 - \alpha)\, g \\
        g &\leftarrow g + \lambda h

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order.
    decay : hyper-parameter
        The decay :math:`\alpha` of the average. The paper tries 0.8 to 0.99.
    amplification : hyper-parameter
        The factor :math:`\lambda`, 0.1 to 5 in the paper.

    Returns
    -------
    list of tensor variables
        The amplified gradients.

    Raises
    ------
    TypeError
        For rows of a table.
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.

    Notes
    -----
    For models that generalise long after they fit their data, with weight decay. The average begins as the first
    gradient, as in the authors' program. Before plain :func:`~symupdates.sgd` it is a kind of momentum.

    State: ``average`` (:math:`h`), of the parameter's shape and dtype, and the count ``t``. The updates dict of
    whatever rule takes the gradients advances them.

    References
    ----------
    .. [1] J. Lee, B. G. Kang, K. Kim and K. M. Lee (2024). Grokfast: accelerated grokking by amplifying slow gradients.
       arXiv:2405.20233.
    """
    grads, step = remembering("grokfast", grads, params, decay=decay, amplification=amplification)
    amplified = []
    for p, g, (alpha, factor) in step:
        h = step.state(p, "average")
        step[h] = pt.switch(pt.eq(step.t, 1), g, alpha * h + (1 - alpha) * g)
        amplified.append(g + factor * step[h])
    step.advance()
    return [like(g, x) for g, x in zip(grads, amplified, strict=True)]


@awaits("grads")
def mars(
    grads: Gradients | None = None,
    params: Parameters | None = None,
    beta: Hyper = 0.95,
    gamma: Hyper = 0.025,
    max_norm: Hyper = 1.0,
) -> list[TensorVariable]:
    r"""MARS: correct each gradient by its change since the update before, for less variance, and clip it.

    .. math::
        c &= g_t + \gamma \frac{\beta}{1 - \beta} (g_t - g_{t-1}) \\
        g &\leftarrow c\, \min\left(1, \frac{b}{\lVert c \rVert}\right)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order.
    beta : hyper-parameter
        The decay :math:`\beta` of the momentum of the rule that follows: its `beta1`.
    gamma : hyper-parameter
        The strength :math:`\gamma` of the correction; at least 0. The default is the paper's.
    max_norm : hyper-parameter
        The bound :math:`b` of the norm of each; at least 0, and infinite for none. The default is the paper's.

    Returns
    -------
    list of tensor variables
        The corrected gradients; the first as it is, but clipped.

    Raises
    ------
    TypeError
        For rows of a table.
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.

    Notes
    -----
    This is what the paper calls MARS-approx: :math:`g_{t-1}` is the gradient of the minibatch before. MARS-AdamW is
    ``chain(mars(beta=0.95), adamw(learning_rate=3e-3, beta1=0.95, beta2=0.99))``; MARS-Lion has
    :func:`~symupdates.lion`, MARS-M :func:`~symupdates.muon`. The authors' program corrects matrices only, and begins
    with :math:`g_0 = 0`.

    State: ``previous``, zero at first, of the parameter's shape and dtype, and the count ``t``. The updates dict of
    whatever rule takes the gradients advances them.

    References
    ----------
    .. [1] H. Yuan, Y. Liu, S. Wu, X. Zhou and Q. Gu (2025). MARS: unleashing the power of variance reduction for
       training large models. ICML. arXiv:2411.10438.
    """
    grads, step = remembering("mars", grads, params, beta=beta, gamma=NON_NEGATIVE(gamma), max_norm=max_norm)
    corrected = []
    for p, g, (beta, gamma, bound) in step:
        previous = step.state(p, "previous")
        step[previous] = g
        change = pt.switch(pt.eq(step.t, 1), pt.zeros_like(g), g - previous)
        c = g + gamma * (beta / (1 - beta)) * change
        corrected.append(shrunk(c, norm(c), bound))
    step.advance()
    return [like(g, x) for g, x in zip(grads, corrected, strict=True)]


@awaits("grads")
def zero_nans(grads: Gradients | None = None) -> list[TensorVariable]:
    """Put zero in the place of each element that is not a number. Infinities stay.

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.

    Returns
    -------
    list of tensor variables
        The gradients without NaN.

    Notes
    -----
    It is optax's ``zero_nans``. A single bad example then costs its own elements only; it also hides a model that is
    broken, so look at the loss.
    """
    grads, _ = begin("zero_nans", grads)
    return [pt.switch(pt.isnan(g), pt.zeros_like(g), g) for g in grads]


@awaits("grads")
def sign(grads: Gradients | None = None) -> list[TensorVariable]:
    r"""The sign of each element: steps of one size. :math:`g \leftarrow \operatorname{sign}(g)`

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.

    Returns
    -------
    list of tensor variables
        Minus one, zero or one for each element.
    """
    grads, _ = begin("sign", grads)
    return [pt.sign(g) for g in grads]


@awaits("grads")
def add_l2(
    grads: Gradients | None = None, params: Parameters | None = None, coefficient: Hyper = 1e-4
) -> list[TensorVariable]:
    r"""Add the gradient of :math:`\frac{\lambda}{2} \lVert p \rVert^2` to that of each parameter.

    .. math:: g \leftarrow g + \lambda\, p

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order.
    coefficient : hyper-parameter
        The strength :math:`\lambda`, at least 0.

    Returns
    -------
    list of tensor variables
        The gradients of the regularized loss.

    Raises
    ------
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.

    Notes
    -----
    It is torch's ``weight_decay`` (but for AdamW). Adaptive rules then divide the decay by the size of the gradients
    too, which decoupled weight decay does not.
    """
    grads, hyper = begin("add_l2", grads, coefficient=coefficient)
    return [g + c * astype(p, g.dtype) for g, p in with_params("add_l2", grads, params) for (c,) in [hyper(g.dtype)]]


@awaits("grads")
def add_l1(
    grads: Gradients | None = None, params: Parameters | None = None, coefficient: Hyper = 1e-4
) -> list[TensorVariable]:
    r"""Add a subgradient of :math:`\lambda \lVert p \rVert_1` to that of each parameter.

    .. math:: g \leftarrow g + \lambda \operatorname{sign}(p)

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    params : iterable of shared variables
        Their parameters, in the same order.
    coefficient : hyper-parameter
        The strength :math:`\lambda`, in units of the gradient; at least 0.

    Returns
    -------
    list of tensor variables
        The gradients of the regularized loss. Parameters come near zero and hover there; they do not become exactly
        zero.

    Raises
    ------
    ValueError
        If there are not as many parameters as gradients, or they cannot have the same shape.
    """
    grads, hyper = begin("add_l1", grads, coefficient=coefficient)
    return [
        g + c * pt.sign(astype(p, g.dtype))
        for g, p in with_params("add_l1", grads, params)
        for (c,) in [hyper(g.dtype)]
    ]


@awaits("grads")
def add_noise(
    grads: Gradients | None = None, eta: Hyper = 0.01, gamma: Hyper = 0.55, seed: Seed = None
) -> list[TensorVariable]:
    r"""Add Gaussian noise, less and less: annealed.

    .. math:: g \leftarrow g + \mathcal{N}(0, \sigma_t^2), \qquad \sigma_t^2 = \frac{\eta}{(1 + t)^\gamma}

    Parameters
    ----------
    grads : list of tensor variables
        The gradients.
    eta : hyper-parameter
        The variance :math:`\eta` at the first update, :math:`t = 0`. The paper tries 0.01, 0.3 and 1. At least 0.
    gamma : hyper-parameter
        How fast it falls, :math:`\gamma`, at least 0, which is for noise that stays.
    seed : int or sequence of ints, optional
        For the same noise in every run. Without, every call makes another.

    Returns
    -------
    list of tensor variables
        The noisy gradients: independent noise for each element, update and gradient.

    Notes
    -----
    State: the generator ``add_noise/rng`` of three uint32 words, a key and the count :math:`t`, which the updates dict
    of whatever rule takes the gradients advances, on every backend and to the same numbers: see
    :mod:`symupdates.random`. It is optax's ``add_noise(eta, gamma)``, with other random numbers.

    References
    ----------
    .. [1] A. Neelakantan, L. Vilnis, Q. V. Le, I. Sutskever, L. Kaiser, K. Kurach and J. Martens (2015). Adding
       gradient noise improves learning for very deep networks. arXiv:1511.06807.
    """
    call = Call("add_noise")
    grads, hyper = begin("add_noise", grads, call, eta=NON_NEGATIVE(eta), gamma=NON_NEGATIVE(gamma))
    generator = new_generator(call, seed)
    noisy = []
    for i, g in enumerate(grads):
        eta, gamma = hyper(g.dtype)
        variance = eta / (1 + astype(generator[2], g.dtype)) ** gamma
        noisy.append(g + pt.sqrt(variance) * normal(generator, g, stream=i))
    return noisy
