"""L2 norms, right for every finite tensor: where squares would be too large or too small for a number, too."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from symupdates.core.types import astype, ifelse, largest_dtype, total


def one(x):
    """One in the dtype of `x`, not in its shape, which JAX may not know."""
    return np.asarray(1, dtype=x.dtype)


class Norm(NamedTuple):
    """A norm, as the product of two numbers; or as many as are left of the axes that it is taken over.

    Attributes
    ----------
    unit
        A power of two: one, but for tensors whose norm is so large, or so small, that what is multiplied or divided by
        it might be no number.
    length
        The norm in that unit; infinite or NaN only if the tensor has such elements.
    """

    unit: TensorVariable
    length: TensorVariable

    @property
    def value(self):
        """The norm itself: infinite where it is more than the largest number of its dtype."""
        return self.unit * self.length

    def beside(self, other):
        """It and a number, in a unit that suits both: no small one, if the number is not small."""
        rises = (self.unit < one(self.unit)) & (other >= self.unit)
        unit = pt.switch(rises, one(self.unit), self.unit)
        return Norm(unit, pt.switch(rises, self.value, self.length)), other / unit

    def __add__(self, other):
        n, other = self.beside(other)
        return Norm(n.unit, n.length + other)

    def at_least(self, other):
        n, other = self.beside(other)
        return Norm(n.unit, pt.maximum(n.length, other))

    def one_where(self, condition):
        return Norm(*(pt.switch(condition, one(part), part) for part in self))

    def or_one(self):
        """One where it is zero, to divide by."""
        return self.one_where(pt.eq(self.length, 0))


# For each dtype: the sum from which on no square that matters is too small, and the exponent of the unit for those
# below, and for infinite ones.
RANGES = {"float32": (2.0**-66, 90), "float64": (2.0**-900, 600)}


def norm(tensors, axis=None, dtype=None):
    """The L2 norm of all elements of some tensors together.

    It is the root of the sum of squares. Where that is infinite, or next to zero, squares are summed once more, in
    another unit. Elsewhere, that is not computed: not on the C backend, nor, from PyTensor 3.3 on, on NUMBA and JAX.

    Parameters
    ----------
    tensors : tensor variable, or list of them
        The tensors, of any shapes and float dtypes.
    axis : int or tuple of ints, optional
        The axes of the one tensor that the norm is taken over; they stay, of length one. By default all, and none stay.
    dtype : str, optional
        The dtype of the norm; by default the largest of those of the tensors.

    Returns
    -------
    Norm
    """
    tensors = tensors if isinstance(tensors, list) else [tensors]
    dtype = dtype or largest_dtype(tensors)
    tensors = [x if x.dtype == dtype else astype(x, dtype) for x in tensors]
    least, exponent = RANGES[dtype]
    small, usual, large = (np.asarray(2.0**n, dtype) for n in (-exponent, 0, exponent))

    def squares(xs):
        return sum((total(x**2, axis, keepdims=axis is not None) for x in xs), pt.constant(0, dtype=dtype))

    s = squares(tensors)
    is_small, is_finite = s < np.asarray(least, dtype), s < np.asarray(np.inf, dtype)
    unit = pt.switch(is_small, small, pt.switch(is_finite, usual, large))
    # Not one over the unit: the C backend would compute all that depends on a variable which it also needs elsewhere.
    scale = pt.switch(is_small, large, pt.switch(is_finite, usual, small))
    again = squares([astype(x * scale, dtype) for x in tensors])  # whose gradient has no square of the scale
    return Norm(unit, pt.sqrt(ifelse(pt.all(~is_small & is_finite), s, again)))


def rescaled(x, size, to=None):
    """``x / size * to``, of a tensor or each of a list, for a norm `size`: right where ``to / size`` is no number, too.

    By one factor after the other. Casts keep these apart from rewrites, but not from LLVM, which numba lets multiply in
    any order. So between two of them stands a bound: minus infinity, which a compiler does not know to be none.
    """

    @cache
    def factors(dtype, ndim):
        inverse = 1 / size.unit
        if inverse.dtype != dtype:
            inverse = pt.minimum(inverse, np.finfo(dtype).max)
        bound = -pt.maximum(astype(size.length, dtype), np.asarray(np.inf, dtype))
        each = [bound, *(astype(x, dtype) for x in (inverse, 1 / size.length, to) if x is not None)]
        return [pt.shape_padleft(x, ndim - x.ndim) for x in each]  # once: arithmetic would, beside each tensor

    def by_each(x):
        bound, first, *others = factors(x.dtype, x.ndim)
        x = x * first
        for factor in others:
            x = astype(x, factor.dtype)
            x = pt.switch(x < bound, bound, x) * factor
        return x

    return [by_each(y) for y in x] if isinstance(x, list) else by_each(x)


def trusted(x, size, to):
    """``x * to / size``, for a norm `size`; or `x` itself where one of the two is zero."""
    is_zero = pt.or_(pt.eq(to, 0), pt.eq(size.length, 0))
    return rescaled(x, size.one_where(is_zero), pt.switch(is_zero, one(to), to))


def bounding(factor, of):
    """``factor * of``, for a bound; infinite with the factor, which is for none, where the other is zero, too."""
    return pt.switch(pt.isinf(factor), factor, factor * of)


def shrunk(x, size, bound):
    """A tensor, or each of a list, scaled for a norm to be within its bound.

    It is exactly `x` inside, as c / max(n, c) is not after rewrites.
    """
    is_inside = size.value <= bound
    return rescaled(x, size.one_where(is_inside), pt.switch(is_inside, one(size.length), bound))
