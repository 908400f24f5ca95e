"""Types: each value gets exactly that of the variable it is for, and arithmetic keeps to one dtype at run time too."""

from math import prod

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant
from pytensor.scalar import Cast, get_scalar_type, upcast
from pytensor.tensor.elemwise import Elemwise

from symupdates.core.checks import tensor_of

try:
    from pytensor.conditional import ifelse
except ImportError:  # PyTensor before 3.3
    from pytensor.ifelse import ifelse


def astype(x, dtype):
    """Cast `x`, at run time too.

    The cast stays in the graph where the dtype is already right by the types, for two reasons. On JAX, a float32 sum
    returns its float64 accumulator, and whatever is computed from it would turn parameters into float64. On the C
    backend, the BLAS rewrites would fold a scalar that multiplies ``dot(x, y)`` into a second matrix product. Rewrites
    remove only casts of casts, and in a fused loop this one costs nothing.
    """
    if isinstance(x, Constant):
        return pt.constant(np.asarray(x.data, dtype=dtype), name=x.name)
    return Elemwise(Cast(get_scalar_type(dtype)))(x)


def is_cast(x):
    """Whether `x` is what :func:`astype` made."""
    return x.owner is not None and isinstance(x.owner.op, Elemwise) and isinstance(x.owner.op.scalar_op, Cast)


def total(x, axis=None, keepdims=False):
    """The sum of `x`, in its dtype at run time too (see :func:`astype`)."""
    return astype(pt.sum(x, axis=axis, keepdims=keepdims), x.dtype)


def largest_dtype(tensors):
    return upcast(*(x.dtype for x in tensors)) if tensors else "float64"


def count(shape, dtype):
    """The number of elements of a shape, as a scalar variable; one for none."""
    return pt.maximum(astype(pt.as_tensor_variable(prod(shape)), dtype), np.asarray(1, dtype))


def positive(x):
    """At least the smallest normal number: a divisor with which zero divided by zero is zero."""
    return pt.maximum(x, np.asarray(np.finfo(x.dtype).tiny, x.dtype))


def inner(xs, ys):
    """The inner product of two lists of tensors, as if each were one vector, in the largest dtype."""
    dtype = largest_dtype(xs)
    return sum(
        (total(astype(x, dtype) * astype(y, dtype)) for x, y in zip(xs, ys, strict=True)), pt.constant(0, dtype=dtype)
    )


def like(key, value):
    """`value` with the type of `key`, for the update of `key`."""
    value = tensor_of(f"the next value of {key}", value)
    if value.ndim != key.ndim or any(
        None not in (n, m) and n != m for n, m in zip(value.type.shape, key.type.shape, strict=True)
    ):
        raise ValueError(
            f"the next value of {key} has shape {describe_shape(value)}, but {key} has shape {describe_shape(key)}."
        )
    if value.dtype != key.dtype:
        value = astype(value, key.dtype)
    if not key.type.is_super(value.type):
        value = pt.specify_shape(value, key.type.shape)
    # PyTensor refuses an update that is known to have length one where the variable is not.
    return value if key.type.in_same_class(value.type) else pt.second(key, value)


def renewed(key, is_due, value, otherwise=None):
    """`value` for `key` if `is_due`, a boolean scalar; else `otherwise`, by default `key`. Only that is computed.

    So it is on the C backend and, from PyTensor 3.3 on, on NUMBA and JAX. Before, these two compute both always.
    """
    return ifelse(is_due, like(key, value), key if otherwise is None else like(key, otherwise))


def describe_shape(x):
    return in_brackets(x.type.shape)


def in_brackets(shape):
    return "(" + ", ".join("?" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
