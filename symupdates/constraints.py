"""Bounds on the norms of tensors: of weights after their update, of all gradients before it."""

from collections.abc import Iterable

import pytensor.tensor as pt
from pytensor.scalar import upcast
from pytensor.tensor.type import DenseTensorType

from symupdates.core import astype, resolve, scalar, total

__all__ = ["norm_constraint", "total_norm_constraint"]


def float_tensor(x, name):
    """`x` as a tensor variable, after refusing what has no norm to bound."""
    if x is not None:
        tensor = pt.as_tensor_variable(x)
        if isinstance(tensor.type, DenseTensorType) and tensor.dtype.startswith("float"):
            return tensor
    raise TypeError(f"{name} must be a dense tensor variable of float dtype, not {x!r}.")


def unit_axes(ndim):
    """The axes of a unit's inputs, as Lasagne lays weights out: (inputs, units), or (units, channels, *kernel)."""
    return (0,) if ndim <= 2 else tuple(range(1, ndim))


def total_norm(tensors, dtype):
    """The L2 norm of all elements of all tensors, in that dtype."""
    return pt.sqrt(sum((total(astype(x, dtype) ** 2) for x in tensors), astype(pt.constant(0), dtype)))


def largest_dtype(tensors):
    return upcast(*(x.dtype for x in tensors)) if tensors else "float64"


def norm_constraint(tensor_var, max_norm, norm_axes=None, epsilon=1e-7):
    r"""Bound the norm of each unit's incoming weights.

    With :math:`n` the L2 norm of `tensor_var` :math:`x` over `norm_axes`:

    .. math:: x \cdot \frac{\min(n, c)}{n + \epsilon}

    Parameters
    ----------
    tensor_var : tensor variable
        The tensor to constrain, such as the next value of a weight matrix.
    max_norm : number or scalar variable
        The bound :math:`c`, in units of the tensor. Not a schedule: there is no updates dict to advance its step.
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
    x = float_tensor(tensor_var, "norm_constraint: tensor_var")
    if norm_axes is not None:
        axes = tuple(norm_axes) if isinstance(norm_axes, Iterable) else (norm_axes,)
    elif 2 <= x.ndim <= 5:
        axes = unit_axes(x.ndim)
    else:
        raise ValueError(f"Unsupported tensor dimensionality {x.ndim} of {x}. Must specify `norm_axes`.")
    max_norm = astype(scalar("norm_constraint: max_norm", max_norm), x.dtype)
    epsilon = astype(scalar("norm_constraint: epsilon", epsilon), x.dtype)
    norm = pt.sqrt(total(x**2, axis=axes, keepdims=True))
    return x * (pt.minimum(norm, max_norm) / (norm + epsilon))


def total_norm_constraint(tensor_vars, max_norm, epsilon=1e-7, return_norm=False):
    r"""Scale a list of tensors, usually the gradients, so that their joint norm is at most `max_norm`.

    With :math:`n` the L2 norm of all elements of all tensors, each tensor :math:`x` becomes

    .. math:: x \cdot \frac{\min(n, c)}{n + \epsilon}

    Parameters
    ----------
    tensor_vars : iterable of tensor variables
        The tensors to scale, of any shapes and float dtypes.
    max_norm : hyper-parameter
        The bound :math:`c`, in units of the tensors: a number, a scalar variable or a schedule, whose step is
        advanced by the updates dict of the rule that takes the gradients.
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
        If one of the tensors is None or not a float tensor; if `max_norm` or `epsilon` is not real.
    ValueError
        If `max_norm` or `epsilon` is not a scalar.

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
    tensors = [float_tensor(x, f"total_norm_constraint: tensor_vars[{i}]") for i, x in enumerate(tensor_vars)]
    dtype = largest_dtype(tensors)
    max_norm, epsilon = resolve("total_norm_constraint", {"max_norm": max_norm, "epsilon": epsilon})(dtype)
    norm = total_norm(tensors, dtype)
    scale = pt.minimum(norm, max_norm) / (norm + epsilon)
    scaled = [x * astype(scale, x.dtype) for x in tensors]
    return (scaled, norm) if return_norm else scaled
