"""The Ops of pooling: the maximum, sum or average of windows, and its derivatives."""

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply, Constant

from symupdates.theano.conv_ops.windows import OfWindows, cropped, own_lengths, padded, steps


class Pooling(OfWindows):
    """What the Ops of pooling share: their windows, along the last axes of a tensor.

    Parameters
    ----------
    ignore_border : bool
        Whether windows that reach over the end are left out, or reduced to what is there. Only if they are left out may
        there be padding, on both sides of each axis.
    mode : {"max", "sum", "average_inc_pad", "average_exc_pad"}
        What is computed of each window. Padding is never a maximum; averages count it, or do not.
    ndim : int
        The number of axes, one to three.

    Notes
    -----
    The sizes of the windows, how far they are apart and the width of the padding, for each axis, are inputs: vectors of
    integers, constant for JAX. Of several elements that are the maximum of a window all have the whole derivative.
    """

    __props__ = ("ignore_border", "mode", "ndim")

    def __init__(self, ignore_border=False, mode="max", ndim=2):
        if mode not in ("max", "sum", "average_inc_pad", "average_exc_pad"):
            raise ValueError(
                f"{type(self).__name__}: mode must be 'max', 'sum', 'average_inc_pad' or 'average_exc_pad', not "
                f"{mode!r}."
            )
        if ndim not in (1, 2, 3):
            raise ValueError(f"{type(self).__name__}: ndim must be 1, 2 or 3, not {ndim}.")
        self.ignore_border = bool(ignore_border)
        self.mode = mode
        self.ndim = ndim

    def sibling(self, kind):
        return kind(self.ignore_border, self.mode, self.ndim)

    def vectors(self, size, stride, pad):
        """Sizes, distances and paddings as vectors, by default the sizes and zeros."""
        stride = size if stride is None else stride
        pad = (0,) * self.ndim if pad is None else pad
        vectors = [pt.as_tensor_variable(v) for v in (size, stride, pad)]
        for name, v in zip(("size", "stride", "pad"), vectors, strict=True):
            if v.ndim != 1 or not v.dtype.startswith(("int", "uint")) or v.type.shape[0] not in (None, self.ndim):
                raise TypeError(f"{type(self).__name__}: {name} must be {self.ndim} integers, not {v.type}.")
        return [v.astype("int64") if v.dtype != "int64" else v for v in vectors]

    def lengths(self, places, size, stride, pad, maximum=max):
        """How many windows there are along each axis; the numbers may be symbolic, with `maximum` in keeping."""

        def count(n, w, s, p):
            if self.ignore_border:
                return maximum((n + 2 * p - w) // s + 1, 0)
            return maximum((n + s - 1 - maximum(w, s)) // s, 0) + 1

        return [count(*axis) for axis in zip(places, size, stride, pad, strict=True)]

    def geometry(self, places, size, stride, pad):
        """The lengths of the result and the padding that its windows need, for numbers.

        Raises
        ------
        ValueError
            If the windows or the padding are not possible.
        """
        size, stride, pad = ([int(n) for n in v] for v in (size, stride, pad))
        if min(size + stride) < 1 or min(pad) < 0 or any(p >= w for p, w in zip(pad, size, strict=True)):
            raise ValueError(
                f"{type(self).__name__}: windows of size {size}, {stride} apart, with padding {pad}: sizes and "
                "distances must be positive, and the padding smaller than the windows."
            )
        if any(pad) and not self.ignore_border:
            raise ValueError(f"{type(self).__name__}: padding, {pad}, is possible with ignore_border=True only.")
        lengths = self.lengths(places, size, stride, pad)
        padding = [
            (p, max((m - 1) * s + w - p - n, 0))
            for n, w, s, p, m in zip(places, size, stride, pad, lengths, strict=True)
        ]
        return lengths, padding

    def averaged(self, total, places, size, stride, pad, lengths):
        """Sums of the windows divided by their sizes, in the same dtype, if an average is asked for."""
        if not self.mode.startswith("average"):
            return total
        sizes = np.ones(())
        for n, w, s, p, m in zip(places, size, stride, pad, lengths, strict=True):
            start = np.arange(m) * s
            if self.mode == "average_inc_pad":
                axis = np.minimum(start + w, n + 2 * p) - start
            else:
                axis = np.minimum(start + w, n + p) - np.maximum(start, p)
            sizes = np.multiply.outer(sizes, axis)
        return (total / sizes.astype(total.dtype)).astype(total.dtype)

    def lowest(self, dtype):
        """What padding is filled with, which no element is lower than."""
        if self.mode != "max":
            return np.array(0, dtype)
        return np.array(-np.inf if dtype.startswith("float") else np.iinfo(dtype).min, dtype)

    def elements(self, size, stride, lengths):
        """For each place in a window, the index of that element of all windows in the padded tensor."""
        for place in np.ndindex(*size):
            yield (..., *steps(place, (1,) * self.ndim, stride, lengths))

    def connection_pattern(self, node):
        return [[i < len(node.inputs) - 3] for i in range(len(node.inputs))]


class Pool(Pooling):
    """The maximum, sum or average of each window; the parameters are those of :class:`Pooling`."""

    def make_node(self, x, size, stride=None, pad=None):
        x = pt.as_tensor_variable(x)
        if x.ndim < self.ndim:
            raise TypeError(f"{type(self).__name__}: {x} has {x.ndim} axes, and {self.ndim} of them are to be pooled.")
        vectors = self.vectors(size, stride, pad)
        lengths = (None,) * self.ndim
        if all(isinstance(v, Constant) for v in vectors):
            known = [1 if n is None else n for n in x.type.shape[-self.ndim :]]
            found, _ = self.geometry(known, *(v.data for v in vectors))
            lengths = [None if n is None else m for n, m in zip(x.type.shape[-self.ndim :], found, strict=True)]
        shape = (*x.type.shape[: -self.ndim], *lengths)
        return Apply(self, [x, *vectors], [pt.tensor(dtype=x.dtype, shape=shape)])

    def perform(self, node, inputs, outputs):
        x, size, stride, pad = inputs
        places = x.shape[-self.ndim :]
        lengths, padding = self.geometry(places, size, stride, pad)
        whole = padded(x, padding, self.lowest(x.dtype.name))
        join = np.maximum if self.mode == "max" else np.add
        first, *others = (whole[index] for index in self.elements(size, stride, lengths))
        z = np.array(first)  # a copy
        for element in others:
            join(z, element, out=z)
        outputs[0][0] = self.averaged(z, places, size, stride, pad, lengths)

    def infer_shape(self, *args):
        *_, node, (x_shape, *_) = args
        return [own_lengths(node, x_shape[: -self.ndim])]

    def pullback(self, inputs, outputs, cotangents):
        (x, *vectors), (z,), (dz,) = inputs, outputs, cotangents
        return [self.sibling(PoolSpread)(dz, x, z, *vectors), *(disconnected_type() for _ in vectors)]


class PoolSpread(Pooling):
    """From ``dz`` a tensor of the shape of ``x``: each window's number at the places where its maximum is, or at all.

    The inputs are ``dz``; ``x`` and ``z``, what :class:`Pool` was given and what it has computed; and its vectors. It
    is the derivative of :class:`Pool`, and linear in ``dz``. Where the mode is not the maximum, only the shape of ``x``
    is read.
    """

    def make_node(self, dz, x, z, size, stride=None, pad=None):
        dz, x, z = map(pt.as_tensor_variable, (dz, x, z))
        vectors = self.vectors(size, stride, pad)
        return Apply(self, [dz, x, z, *vectors], [pt.tensor(dtype=dz.dtype, shape=x.type.shape)])

    def perform(self, node, inputs, outputs):
        dz, x, z, size, stride, pad = inputs
        places = x.shape[-self.ndim :]
        lengths, padding = self.geometry(places, size, stride, pad)
        dz = self.averaged(dz, places, size, stride, pad, lengths)
        whole = padded(x, padding)
        dx = np.zeros(whole.shape, dz.dtype)
        for index in self.elements(size, stride, lengths):
            dx[index] += np.where(whole[index] == z, dz, 0) if self.mode == "max" else dz
        outputs[0][0] = cropped(dx, padding)

    def pullback(self, inputs, outputs, cotangents):
        (_, x, z, *vectors), (h,) = inputs, cotangents
        by_dz = self.sibling(PoolMaxima)(h, x, z, *vectors) if self.mode == "max" else self.sibling(Pool)(h, *vectors)
        return [by_dz, x.zeros_like(), z.zeros_like(), *(disconnected_type() for _ in vectors)]


class PoolMaxima(Pooling):
    """For each window the sum of ``v`` over the places where the maximum of ``x`` is.

    The inputs are ``v``, of the shape of ``x``; and ``x``, ``z`` and the vectors as for :class:`PoolSpread`, whose
    transpose it is: the derivative of the derivative of a maximum.
    """

    def make_node(self, v, x, z, size, stride=None, pad=None):
        v, x, z = map(pt.as_tensor_variable, (v, x, z))
        vectors = self.vectors(size, stride, pad)
        return Apply(self, [v, x, z, *vectors], [pt.tensor(dtype=v.dtype, shape=z.type.shape)])

    def perform(self, node, inputs, outputs):
        v, x, z, size, stride, pad = inputs
        lengths, padding = self.geometry(x.shape[-self.ndim :], size, stride, pad)
        whole_v, whole_x = padded(v, padding), padded(x, padding)
        result = np.zeros(z.shape, v.dtype)
        for index in self.elements(size, stride, lengths):
            result += np.where(whole_x[index] == z, whole_v[index], 0)
        outputs[0][0] = result

    def pullback(self, inputs, outputs, cotangents):
        (_, x, z, *vectors), (k,) = inputs, cotangents
        by_v = self.sibling(PoolSpread)(k, x, z, *vectors)
        return [by_v, x.zeros_like(), z.zeros_like(), *(disconnected_type() for _ in vectors)]
