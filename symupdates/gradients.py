"""Transforms of gradients: list → list, before a rule takes them.

Every one awaits its ``grads``: called without, it returns a partial, for :func:`symupdates.chain`. Each returned
gradient has the shape and dtype of the given one. Hyper-parameters are numbers, scalar variables or schedules; the step
of a schedule is advanced by the updates dict of the rule that takes the gradients.
"""

from __future__ import annotations

from typing import Literal, overload

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from symupdates.constraints import unit_axes
from symupdates.core import astype, awaits, flag, norm, rescaled
from symupdates.core.checks import float_tensors
from symupdates.core.hyper import resolve
from symupdates.core.names import parameter_names
from symupdates.core.norms import shrunk
from symupdates.core.parameters import check_grads, check_params
from symupdates.core.ranges import BOUND, NON_NEGATIVE
from symupdates.core.state import Call
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
    "clip_by_total_norm",
    "clip_by_value",
    "normalize",
    "sign",
    "zero_nans",
]


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
    scaled = [shrunk(g, n, c) for g in grads]
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
        clipped.append(shrunk(g, g_norm, clipping * pt.maximum(p_norm.value, eps)))
    return clipped


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
    return [rescaled(g, n) for g in grads]


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
