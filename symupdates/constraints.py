"""Constraints on tensors: Lasagne's bounds on norms, and projections, for :func:`symupdates.apply_projection`.

A projection takes a tensor to the nearest one in the set. Each awaits its tensor ``x``: called without, it returns a
partial that waits for it. Its bounds are numbers or scalar variables; not schedules, for there is no updates dict to
advance their step. The result has the shape and dtype of `x`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from symupdates.core import astype, awaits, flag, norm, rescaled, total
from symupdates.core.checks import float_tensors, listed, tensor_of
from symupdates.core.hyper import resolve, scalars
from symupdates.core.norms import one, shrunk
from symupdates.core.ranges import EXTENDED, NON_NEGATIVE, in_order
from symupdates.core.types import largest_dtype
from symupdates.typing import Gradients, Hyper, Number

__all__ = [
    "box",
    "l1_ball",
    "l2_ball",
    "max_norm",
    "non_negative",
    "norm_constraint",
    "simplex",
    "total_norm_constraint",
    "unit_norm",
]


def unit_axes(ndim):
    """The axes of a unit's inputs, as Lasagne lays weights out: (inputs, units), or (units, channels, *kernel)."""
    return (0,) if ndim <= 2 else tuple(range(1, ndim))


def axes_of(x, axes, function, name):
    """The axes to sum over: those given, or by default the inputs of each unit."""
    if axes is not None:
        return checked_axes(x, axes, f"{function}: {name}")
    if 2 <= x.ndim <= 5:
        return unit_axes(x.ndim)
    raise ValueError(f"{function}: Unsupported tensor dimensionality {x.ndim} of {x}. Must specify `{name}`.")


def checked_axes(x, axes, name):
    """The axes as a tuple, after refusing what are none of `x`; None for None, which is all of them."""
    if axes is None:
        return None
    axes = (axes,) if isinstance(axes, int | np.integer) else tuple(listed(name, axes, "whole numbers"))
    for axis in axes:
        if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
            raise TypeError(f"{name} must be a whole number, or a list of them, not {axis!r}.")
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"{name}: there is no axis {axis}; {x} has {x.ndim} dimension(s).")
    if len({axis % x.ndim for axis in axes}) < len(axes):
        raise ValueError(f"{name} has an axis twice: {axes}.")
    return axes


def checked_axis(x, axis, name):
    """The same of a single axis, as a number."""
    return None if axis is None else checked_axes(x, (axis,), name)[0]


# --- Lasagne's constraints --------------------------------------------------------------------------------------------


def norm_constraint(
    tensor_var: Variable, max_norm: Number, norm_axes: int | Sequence[int] | None = None, epsilon: Number = 1e-7
) -> TensorVariable:
    r"""Bound the norm of each unit's incoming weights.

    With :math:`n` the L2 norm of `tensor_var` :math:`x` over `norm_axes`:

    .. math:: x \cdot \frac{\min(n, c)}{n + \epsilon}

    Parameters
    ----------
    tensor_var : tensor variable
        The tensor to constrain, such as the next value of a weight matrix.
    max_norm : number or scalar variable
        The bound :math:`c`, in units of the tensor; at least 0, and infinite for none. Not a schedule: there is no
        updates dict to advance its step.
    norm_axes : int or sequence of ints, optional
        The axes to sum the squares over. By default the axes of a unit's inputs, as in Lasagne's layers: for a matrix
        (0,), for 3 to 5 dimensions, all but the first.
    epsilon : number or scalar variable
        Keeps units without weights at zero. It also shrinks the norms below the bound by the factor
        :math:`n/(n + \epsilon)`.

    Returns
    -------
    tensor variable
        The constrained tensor, of the shape and dtype of `tensor_var`.

    Raises
    ------
    ValueError
        If `tensor_var` has 0, 1 or more than 5 dimensions and `norm_axes` is not given; if an axis does not exist or
        stands there twice; if `max_norm` or `epsilon` is not a scalar.
    TypeError
        If the tensor, `max_norm` or `epsilon` is not real; if one of these two is a schedule.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(np.full((4, 2), 0.5), name="W")
    >>> updates = symupdates.sgd(-(W**2).sum(), [W], learning_rate=1.0)
    >>> updates[W] = symupdates.norm_constraint(updates[W], max_norm=1.5)
    >>> step = pytensor.function([], [], updates=updates)
    >>> _ = step()
    >>> np.sqrt((W.get_value() ** 2).sum(axis=0)).round(6).tolist()
    [1.5, 1.5]

    References
    ----------
    .. [1] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov (2014). Dropout: a simple way to
       prevent neural networks from overfitting, section 5.1. JMLR 15.
    """
    x = tensor_of("norm_constraint: tensor_var", tensor_var, "float")
    axes = axes_of(x, norm_axes, "norm_constraint", "norm_axes")
    bounds = scalars("norm_constraint", {"max_norm": max_norm, "epsilon": epsilon})
    max_norm, epsilon = (astype(bound, x.dtype) for bound in bounds)
    n = norm(x, axes)
    return rescaled(x, n + epsilon, pt.minimum(n.value, max_norm))


@overload
def total_norm_constraint(
    tensor_vars: Gradients | None, max_norm: Hyper, epsilon: Hyper = 1e-7, return_norm: Literal[False] = False
) -> list[TensorVariable]: ...
@overload
def total_norm_constraint(
    tensor_vars: Gradients | None, max_norm: Hyper, epsilon: Hyper = 1e-7, *, return_norm: Literal[True]
) -> tuple[list[TensorVariable], TensorVariable]: ...
def total_norm_constraint(tensor_vars, max_norm, epsilon=1e-7, return_norm=False):
    r"""Scale a list of tensors, usually the gradients, so that their joint norm is at most `max_norm`.

    With :math:`n` the L2 norm of all elements of all tensors, each tensor :math:`x` becomes

    .. math:: x \cdot \frac{\min(n, c)}{n + \epsilon}

    Parameters
    ----------
    tensor_vars : iterable of tensor variables
        The tensors to scale, of any shapes and float dtypes.
    max_norm : hyper-parameter
        The bound :math:`c`, in units of the tensors, at least 0, and infinite for none: a number, a scalar variable or
        a schedule, whose step is advanced by the updates dict of the rule that takes the gradients.
    epsilon : hyper-parameter
        Keeps zero tensors at zero. It also shrinks tensors within the bound by the factor :math:`n/(n + \epsilon)`,
        as in Lasagne.
    return_norm : bool
        Return the norm too, for monitoring.

    Returns
    -------
    list of tensor variables
        The scaled tensors, each of its own shape and dtype; with `return_norm`, the pair of this list and the norm
        before scaling, in the largest dtype among the tensors.

    Raises
    ------
    TypeError
        If one of the tensors is None or not a float tensor, or they are in no list; if `max_norm` or `epsilon` is not
        real.
    ValueError
        If `max_norm` or `epsilon` is not a scalar; if there are no tensors, unless by an empty list.

    Notes
    -----
    One infinite element makes its own entry NaN and all others zero; one NaN makes all NaN.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(np.array([3.0, 4.0]), name="W")
    >>> grads = pytensor.grad(0.5 * (W**2).sum(), [W])
    >>> grads, norm = symupdates.total_norm_constraint(grads, max_norm=1.0, return_norm=True)
    >>> updates = symupdates.sgd(grads, [W], learning_rate=1.0)
    >>> step = pytensor.function([], norm, updates=updates)
    >>> float(step()), W.get_value().round(6).tolist()
    (5.0, [2.4, 3.2])

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov and Y. Bengio (2013). On the difficulty of training recurrent neural networks. ICML.
    """
    flag("total_norm_constraint: return_norm", return_norm)
    tensors = float_tensors("total_norm_constraint: tensor_vars", tensor_vars)
    dtype = largest_dtype(tensors)
    max_norm, epsilon = resolve("total_norm_constraint", {"max_norm": max_norm, "epsilon": epsilon})(dtype)
    n = norm(tensors, dtype=dtype)
    scaled = rescaled(tensors, n + epsilon, pt.minimum(n.value, max_norm))
    return (scaled, n.value) if return_norm else scaled


# --- Projections ------------------------------------------------------------------------------------------------------


def begin(function, x, **bounds):
    """The tensor, checked, and the bounds in its dtype."""
    x = tensor_of(f"{function}: x", x, "float")
    return x, *(astype(bound, x.dtype) for bound in scalars(function, bounds))


@awaits("x")
def non_negative(x: Variable | None = None) -> TensorVariable:
    r"""Project onto the tensors without negative elements, :math:`\max(x, 0)`.

    Parameters
    ----------
    x : tensor variable
        The tensor.

    Returns
    -------
    tensor variable
        Its projection. Elements below zero become exactly zero.
    """
    (x,) = begin("non_negative", x)
    return pt.maximum(x, pt.zeros_like(x))


@awaits("x")
def box(x: Variable | None = None, low: Number = 0.0, high: Number = 1.0) -> TensorVariable:
    r"""Project onto a box, :math:`\min(\max(x, a), b)`.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    low, high : numbers or scalar variables
        The bounds :math:`a \le b` of each element; an infinite one is none. WGAN's critics [1]_ have
        ``box(low=-0.01, high=0.01)``.

    Returns
    -------
    tensor variable
        Its projection.

    References
    ----------
    .. [1] M. Arjovsky, S. Chintala and L. Bottou (2017). Wasserstein generative adversarial networks. ICML.
       arXiv:1701.07875.
    """
    x, least, most = begin("box", x, low=EXTENDED(low), high=EXTENDED(high))
    in_order("box", low=low, high=high)
    return pt.clip(x, least, most)


@awaits("x")
def unit_norm(x: Variable | None = None, axes: int | Sequence[int] | None = None) -> TensorVariable:
    r"""Project the weights of each unit onto the sphere, :math:`x / \lVert x \rVert`.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    axes : int or sequence of ints, optional
        The axes over which the norm is taken; by default those of a unit's inputs, as in
        :func:`~symupdates.norm_constraint`.

    Returns
    -------
    tensor variable
        Its projection. Units whose weights are all zero stay so, having no direction.

    Raises
    ------
    ValueError
        If `axes` is not given, and `x` is not of 2 to 5 dimensions; if an axis does not exist or stands there twice.
    """
    (x,) = begin("unit_norm", x)
    return rescaled(x, norm(x, axes_of(x, axes, "unit_norm", "axes")).or_one())


@awaits("x")
def max_norm(x: Variable | None = None, bound: Number = 3.0, axes: int | Sequence[int] | None = None) -> TensorVariable:
    r"""Project the weights of each unit onto a ball, :math:`x \min(1, c / \lVert x \rVert)`.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    bound : number or scalar variable
        The greatest norm :math:`c` of the weights of a unit, in units of `x`; at least 0. The paper has 3 to 4.
    axes : int or sequence of ints, optional
        The axes over which the norm is taken; by default those of a unit's inputs, as in
        :func:`~symupdates.norm_constraint`.

    Returns
    -------
    tensor variable
        Its projection: units within the bound unchanged, to the last bit, which they are not by
        :func:`~symupdates.norm_constraint`.

    Raises
    ------
    ValueError
        If `axes` is not given, and `x` is not of 2 to 5 dimensions; if an axis does not exist or stands there twice.

    References
    ----------
    .. [1] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov (2014). Dropout: a simple way to
       prevent neural networks from overfitting, section 5.1. JMLR 15.
    """
    x, bound = begin("max_norm", x, bound=bound)
    return shrunk(x, norm(x, axes_of(x, axes, "max_norm", "axes")), bound)


@awaits("x")
def l2_ball(x: Variable | None = None, radius: Number = 1.0, axes: int | Sequence[int] | None = None) -> TensorVariable:
    r"""Project onto the Euclidean ball, :math:`x \min(1, r / \lVert x \rVert)`.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    radius : number or scalar variable
        The radius :math:`r`, in units of `x`; at least 0.
    axes : int or sequence of ints, optional
        The axes over which the norm is taken; by default all, the tensor as one vector.

    Returns
    -------
    tensor variable
        Its projection; within the ball unchanged, to the last bit.
    """
    x, radius = begin("l2_ball", x, radius=radius)
    return shrunk(x, norm(x, checked_axes(x, axes, "l2_ball: axes")), radius)


@awaits("x")
def simplex(x: Variable | None = None, total: Number = 1.0, axis: int | None = None) -> TensorVariable:
    r"""Project onto the simplex: non-negative elements of a given sum.

    .. math:: \max(x - \theta, 0), \qquad \theta = \frac{x_{(1)} + \dots + x_{(k)} - s}{k}

    with :math:`x_{(k)}` the :math:`k`-th largest element, the last that is not below :math:`\theta`.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    total : number or scalar variable
        The sum :math:`s`, finite and at least 0.
    axis : int, optional
        The axis along which the elements have that sum; by default all have it together.

    Returns
    -------
    tensor variable
        Its projection, with exact zeros.

    References
    ----------
    .. [1] J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra (2008). Efficient projections onto the l1-ball for
       learning in high dimensions. ICML.
    """
    x, total = begin("simplex", x, total=NON_NEGATIVE(total))
    return on_simplex(x, total, checked_axis(x, axis, "simplex: axis"))


@awaits("x")
def l1_ball(x: Variable | None = None, radius: Number = 1.0, axis: int | None = None) -> TensorVariable:
    r"""Project onto the l1 ball: :math:`\lVert x \rVert_1 \le r`, which sets small elements to zero.

    Parameters
    ----------
    x : tensor variable
        The tensor.
    radius : number or scalar variable
        The radius :math:`r`, in units of `x`; at least 0.
    axis : int, optional
        The axis along which the absolute values are summed; by default all together.

    Returns
    -------
    tensor variable
        Its projection, with exact zeros; within the ball unchanged, to the last bit.

    References
    ----------
    .. [1] J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra (2008). Efficient projections onto the l1-ball for
       learning in high dimensions. ICML.
    """
    x, radius = begin("l1_ball", x, radius=radius)
    axis = checked_axis(x, axis, "l1_ball: axis")
    size = pt.abs(x)
    inside = total(size, axis=axis, keepdims=True) <= radius
    return pt.switch(inside, x, pt.sign(x) * on_simplex(size, radius, axis))


def on_simplex(x, radius, axis):
    """The projection onto the simplex: that of what the elements are below the largest, of which few matter."""
    shape, ones, zero = x.shape, pt.ones_like(x), np.asarray(0, x.dtype)
    whole = axis is None
    if whole:
        x, ones, axis = x.reshape((-1,)), ones.reshape((-1,)), 0

    def summed(x):
        return total(x, axis, keepdims=True)

    k = astype(pt.cumsum(ones, axis=axis), x.dtype)
    ordered = -pt.sort(-x, axis=axis)
    largest = summed(pt.switch(pt.eq(k, 1), ordered, zero))  # not their maximum, which nothing has none of
    x, ordered = (pt.maximum(x - largest, -radius) for x in (x, ordered))  # those further below end at zero, too
    stays = astype(ordered >= (astype(pt.cumsum(ordered, axis=axis), x.dtype) - radius) / k, x.dtype)
    theta = (summed(ordered * stays) - radius) / pt.maximum(summed(stays), one(x))
    # XLA takes the product with a condition for a choice, which would lose what is no number.
    is_number = pt.eq(summed(astype(pt.isnan(x), x.dtype)), 0)
    x = pt.maximum(x - pt.switch(is_number, theta, np.asarray(np.nan, x.dtype)), zero)
    return x.reshape(shape) if whole else x
