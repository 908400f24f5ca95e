"""Convolution and pooling: Ops for PyTensor, which need nothing but PyTensor and NumPy.

A batch of images is ``x[n, c, *places]``, filters are ``w[f, c, *taps]``, with one to three axes of places. Along each
of them, with padding p in front, stride s and dilation d,

``y[n, f, i] = sum over c and k of x[n, c, i s + k d - p] w[f, c, k]``,

which is a cross-correlation: whoever wants a convolution flips the filters. It is bilinear, and its two transposes are
the other two Ops; each of the three has the others for its derivatives, of any order.

=======================  ===========================================================================
Op                       computes
=======================  ===========================================================================
`Correlate`              ``y`` of ``x`` and ``w``
`CorrelateByInputs`      from what stands for ``y``, and ``w``, what stands for ``x``
`CorrelateByFilters`     from what stands for ``y``, and ``x``, what stands for ``w``
`Pool`                   maximum, sum or average of windows
`PoolSpread`             the derivative: what stands for its result, back to the places of the windows
`PoolMaxima`             the transpose of that for the maximum: sums over the places of the maxima
=======================  ===========================================================================

``perform`` multiplies the matrix of all windows, of one minibatch, with that of the filters. Numba and JAX are told how
to run the Ops when a function is first compiled for them, and not imported before: Numba gathers the windows of one
image after the other for the same product, JAX has ``lax.conv_general_dilated`` and ``lax.reduce_window``.

Ops that need a shape take a tensor that has it, and ``infer_shape`` computes none, but passes on the lengths that are
those of an input: to JAX the shape of an array is known, and one that was computed from other shapes is not.
"""

from math import prod

import numpy as np
import pytensor.tensor as pt
from numpy.lib.stride_tricks import as_strided
from pytensor.compile.mode import optdb
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.scalar import upcast
from pytensor.tensor.shape import Shape_i

__all__ = ["Correlate", "CorrelateByFilters", "CorrelateByInputs", "Pool", "PoolMaxima", "PoolSpread"]


# --- Convolution ------------------------------------------------------------------------------------------------------


class Correlation(Op):
    """What the three Ops of a cross-correlation share: its geometry.

    Parameters
    ----------
    border : {"valid", "half", "full"} or tuple of pairs of int
        The padding with zeros, before and after each axis: none; half of a filter's extent, rounded down; all of it
        but one; or these numbers. An extent is that of the dilated filter, ``(taps - 1) * dilation + 1``.
    strides : tuple of int
        How far windows are apart, along each axis.
    dilation : tuple of int
        How far the taps of a filter are apart, along each axis.
    groups : int
        The channels of images and of results are divided into so many groups, each with filters of its own.
    """

    __props__ = ("border", "strides", "dilation", "groups")

    def __init__(self, border="valid", strides=(1, 1), dilation=(1, 1), groups=1):
        self.strides = tuple(int(s) for s in strides)
        self.dilation = tuple(int(d) for d in dilation)
        self.groups = int(groups)
        self.ndim = len(self.strides)
        if not 1 <= self.ndim <= 3 or len(self.dilation) != self.ndim or min(self.strides + self.dilation) < 1:
            raise ValueError(
                f"{self.name}: strides and dilation must be one to three positive numbers each, not {strides} and "
                f"{dilation}."
            )
        if self.groups < 1:
            raise ValueError(f"{self.name}: groups must be positive, not {groups}.")
        if not isinstance(border, str):
            border = tuple((int(before), int(after)) for before, after in border)
        if border not in ("valid", "half", "full") and (
            isinstance(border, str) or len(border) != self.ndim or min(map(min, border)) < 0
        ):
            raise ValueError(
                f"{self.name}: border must be 'valid', 'half', 'full' or {self.ndim} pairs of numbers that are not "
                f"negative, not {border!r}."
            )
        self.border = border

    @property
    def name(self):
        return type(self).__name__

    def padding(self, taps):
        """The padding before and after each axis, for filters of so many taps."""
        if isinstance(self.border, tuple):
            return self.border
        extents = [(k - 1) * d + 1 for k, d in zip(taps, self.dilation, strict=True)]
        widths = {"valid": lambda extent: 0, "half": lambda extent: extent // 2, "full": lambda extent: extent - 1}
        return tuple((widths[self.border](extent),) * 2 for extent in extents)

    def lengths(self, places, taps):
        """The lengths of the result's axes; None where one that it depends on is None."""
        known = [1 if k is None else k for k in taps]
        padding = self.padding(known)
        return tuple(
            None if n is None or k is None else (n + before + after - (k - 1) * d - 1) // s + 1
            for n, k, (before, after), s, d in zip(places, taps, padding, self.strides, self.dilation, strict=True)
        )

    def result_shape(self, x_shape, w_shape):
        """The shape of ``y`` for those of ``x`` and ``w``, any of which may have None for what is not known.

        Raises
        ------
        ValueError
            If they do not fit.
        """
        channels, filters, filter_channels = x_shape[1], w_shape[0], w_shape[1]
        if None not in (channels, filter_channels) and channels != filter_channels * self.groups:
            raise ValueError(
                f"{self.name}: images of {channels} channels and filters of {filter_channels}, in {self.groups} "
                f"groups, do not fit: the shapes are {tuple(x_shape)} and {tuple(w_shape)}."
            )
        if filters is not None and filters % self.groups:
            raise ValueError(f"{self.name}: {filters} filters cannot be divided into {self.groups} groups.")
        lengths = self.lengths(x_shape[2:], w_shape[2:])
        if any(length is not None and length < 1 for length in lengths):
            raise ValueError(
                f"{self.name}: filters of {tuple(w_shape[2:])} do not fit into images of {tuple(x_shape[2:])} with "
                f"border {self.border} and dilation {self.dilation}."
            )
        return (x_shape[0], filters, *lengths)

    def check(self, x_shape, w_shape, y_shape):
        """Raise a ValueError if a ``y`` of that shape does not belong to ``x`` and ``w`` of theirs."""
        expected = self.result_shape(x_shape, w_shape)
        if any(None not in pair and pair[0] != pair[1] for pair in zip(expected, y_shape, strict=True)):
            raise ValueError(
                f"{self.name}: images of shape {tuple(x_shape)} and filters of shape {tuple(w_shape)} have results of "
                f"shape {expected}, not {tuple(y_shape)}."
            )

    def tensors(self, *inputs):
        """The inputs as tensors of one floating dtype."""
        inputs = [pt.as_tensor_variable(x) for x in inputs]
        dtype = upcast(*(x.dtype for x in inputs))
        if dtype not in ("float32", "float64"):
            raise TypeError(
                f"{self.name} computes in float32 or float64, not in {dtype}, the dtype of its inputs together; cast "
                "one of them."
            )
        if any(x.ndim != self.ndim + 2 for x in inputs):
            raise TypeError(
                f"{self.name} with {self.ndim} strides takes tensors of {self.ndim + 2} axes: those of batch or "
                f"filters, of channels, and of places or taps. These have {[x.ndim for x in inputs]}."
            )
        return [x if x.dtype == dtype else x.astype(dtype) for x in inputs]

    def sibling(self, kind):
        return kind(self.border, self.strides, self.dilation, self.groups)

    def windows(self, x, taps, lengths):
        """A view of all windows of the images, ``[n, c, *tap, *place]``; of a padded copy, where there is padding."""
        x = padded(x, self.padding(taps))
        over_images, over_channels, *steps = x.strides
        over_taps = [step * d for step, d in zip(steps, self.dilation, strict=True)]
        over_places = [step * s for step, s in zip(steps, self.strides, strict=True)]
        shape = (*x.shape[:2], *taps, *lengths)
        return as_strided(x, shape, (over_images, over_channels, *over_taps, *over_places), writeable=False)

    def L_op(self, inputs, outputs, output_gradients):  # what PyTensor 2 calls `pullback`
        return self.pullback(inputs, outputs, output_gradients)

    def connection_pattern(self, node):
        return [[i < 2] for i in range(len(node.inputs))]


class Correlate(Correlation):
    """``y`` of the images ``x`` and the filters ``w``; the parameters are those of :class:`Correlation`."""

    def make_node(self, x, w):
        x, w = self.tensors(x, w)
        return Apply(self, [x, w], [pt.tensor(dtype=x.dtype, shape=self.result_shape(x.type.shape, w.type.shape))])

    def perform(self, node, inputs, outputs):
        x, w = inputs
        n, filters, *lengths = self.result_shape(x.shape, w.shape)
        taps = w.shape[2:]
        windows = self.windows(x, taps, lengths).reshape(n, self.groups, prod(w.shape[1:]), prod(lengths))
        y = np.matmul(w.reshape(self.groups, filters // self.groups, -1), windows)
        outputs[0][0] = y.reshape(n, filters, *lengths)

    def infer_shape(self, *args):  # PyTensor 3.3 has no graph in front
        *_, node, (x_shape, w_shape) = args
        return [own_lengths(node, (x_shape[0], w_shape[0]))]

    def pullback(self, inputs, outputs, cotangents):
        (x, w), (dy,) = inputs, cotangents
        return [self.sibling(CorrelateByInputs)(dy, w, x), self.sibling(CorrelateByFilters)(dy, x, w)]


class CorrelateByInputs(Correlation):
    """From ``dy`` and ``w`` a tensor ``dx`` of the shape of ``x``: ``sum(y * dy)`` is ``sum(x * dx)`` for every ``x``.

    This is the derivative of :class:`Correlate` by its first input, a transposed convolution. Of ``x`` only the shape
    is read: strides do not tell it.
    """

    def make_node(self, dy, w, x):
        x = pt.as_tensor_variable(x)
        dy, w = self.tensors(dy, w)
        shape = (
            first_known(x.type.shape[0], dy.type.shape[0]),
            first_known(x.type.shape[1], w.type.shape[1] and w.type.shape[1] * self.groups),
            *x.type.shape[2:],
        )
        self.check(shape, w.type.shape, dy.type.shape)
        return Apply(self, [dy, w, x], [pt.tensor(dtype=dy.dtype, shape=shape)])

    def perform(self, node, inputs, outputs):
        dy, w, x = inputs
        self.check(x.shape, w.shape, dy.shape)
        n, filters, *lengths = dy.shape
        taps = w.shape[2:]
        w = w.reshape(self.groups, filters // self.groups, -1).swapaxes(1, 2)
        windows = np.matmul(w, dy.reshape(n, self.groups, filters // self.groups, prod(lengths)))
        windows = windows.reshape(n, x.shape[1], *taps, *lengths)
        padding = self.padding(taps)
        dx = np.zeros((*x.shape[:2], *map(sum, zip(x.shape[2:], *zip(*padding, strict=True), strict=True))), dy.dtype)
        for tap in np.ndindex(*taps):
            dx[(..., *steps(tap, self.dilation, self.strides, lengths))] += windows[(slice(None), slice(None), *tap)]
        outputs[0][0] = cropped(dx, padding)

    def pullback(self, inputs, outputs, cotangents):
        (dy, w, _), (h,) = inputs, cotangents
        return [self.sibling(Correlate)(h, w), self.sibling(CorrelateByFilters)(dy, h, w), disconnected_type()]


class CorrelateByFilters(Correlation):
    """From ``dy`` and ``x`` a tensor ``dw`` of the shape of ``w``: ``sum(y * dy)`` is ``sum(w * dw)`` for every ``w``.

    This is the derivative of :class:`Correlate` by its second input. Of ``w`` only the shape is read.
    """

    def make_node(self, dy, x, w):
        w = pt.as_tensor_variable(w)
        dy, x = self.tensors(dy, x)
        shape = (
            first_known(w.type.shape[0], dy.type.shape[1]),
            first_known(w.type.shape[1], x.type.shape[1] and x.type.shape[1] // self.groups),
            *w.type.shape[2:],
        )
        self.check(x.type.shape, shape, dy.type.shape)
        return Apply(self, [dy, x, w], [pt.tensor(dtype=dy.dtype, shape=shape)])

    def perform(self, node, inputs, outputs):
        dy, x, w = inputs
        self.check(x.shape, w.shape, dy.shape)
        _, filters, *lengths = dy.shape
        taps = w.shape[2:]
        windows = np.moveaxis(self.windows(x, taps, lengths), 0, 1 + len(taps))  # [c, *tap, n, *place]
        windows = windows.reshape(self.groups, prod(w.shape[1:]), -1)
        dy = np.moveaxis(dy, 0, 1).reshape(self.groups, filters // self.groups, -1)
        outputs[0][0] = np.matmul(dy, windows.swapaxes(1, 2)).reshape(w.shape)

    def pullback(self, inputs, outputs, cotangents):
        (dy, x, _), (h,) = inputs, cotangents
        return [self.sibling(Correlate)(x, h), self.sibling(CorrelateByInputs)(dy, h, x), disconnected_type()]


def first_known(*lengths):
    return next((n for n in lengths if n is not None), None)


def own_lengths(node, leading):
    """A result's shape: of the leading axes as it is given, of the others what is found when the result is there."""
    (z,) = node.outputs
    return (*leading, *(Shape_i(i)(z) for i in range(len(leading), z.ndim)))


def padded(x, padding, value=0):
    """A copy with so much of a value before and after each of the last axes; the array itself if that is nothing."""
    if not any(map(any, padding)):
        return x
    padding = ((0, 0),) * (x.ndim - len(padding)) + tuple(padding)
    shape = [before + n + after for n, (before, after) in zip(x.shape, padding, strict=True)]
    result = np.full(shape, value, x.dtype)
    cropped(result, padding)[...] = x
    return result


def cropped(x, padding):
    """The array without its padding, a view."""
    lengths = x.shape[x.ndim - len(padding) :]
    return x[(..., *(slice(before, n - after) for n, (before, after) in zip(lengths, padding, strict=True)))]


def steps(tap, dilation, strides, lengths):
    """For each axis the slice of what a tap meets, one for each place of the result."""
    return tuple(
        slice(k * d, k * d + (n - 1) * s + 1, s) if n else slice(0, 0)
        for k, d, s, n in zip(tap, dilation, strides, lengths, strict=True)
    )


# --- Pooling ----------------------------------------------------------------------------------------------------------


class Pooling(Op):
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

    L_op = Correlation.L_op

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


# --- JAX --------------------------------------------------------------------------------------------------------------


def for_jax():
    """Tell JAX how to run the Ops."""
    import jax
    import jax.numpy as jnp
    from jax import lax
    from pytensor.link.jax.dispatch import jax_funcify

    def transposed(function, like, result):
        (value,) = jax.linear_transpose(function, jax.ShapeDtypeStruct(like, result.dtype))(result)
        return value

    @jax_funcify.register(Correlate)
    def correlate(op, **kwargs):
        def correlate(x, w):
            op.result_shape(x.shape, w.shape)
            return lax.conv_general_dilated(
                x,
                w,
                op.strides,
                op.padding(w.shape[2:]),
                rhs_dilation=op.dilation,
                feature_group_count=op.groups,
            )

        return correlate

    @jax_funcify.register(CorrelateByInputs)
    def correlate_by_inputs(op, **kwargs):
        forward = correlate(op)

        def by_inputs(dy, w, x):
            op.check(x.shape, w.shape, dy.shape)
            return transposed(lambda x: forward(x, w), x.shape, dy)

        return by_inputs

    @jax_funcify.register(CorrelateByFilters)
    def correlate_by_filters(op, **kwargs):
        forward = correlate(op)

        def by_filters(dy, x, w):
            op.check(x.shape, w.shape, dy.shape)
            return transposed(lambda w: forward(x, w), w.shape, dy)

        return by_filters

    def constants(op, node):
        *_, size, stride, pad = node.inputs
        if not all(isinstance(v, Constant) for v in (size, stride, pad)):
            raise NotImplementedError(
                f"{type(op).__name__}: JAX needs the sizes, distances and paddings of windows to be constant, not "
                f"{size}, {stride} and {pad}; give numbers, or tensors of static shape where they depend on shapes."
            )
        return [tuple(map(int, v.data)) for v in (size, stride, pad)]

    @jax_funcify.register(Pool)
    def pool(op, node, **kwargs):
        vectors = size, stride, _ = constants(op, node)

        def pool(x, *_):
            places = x.shape[-op.ndim :]
            lengths, padding = op.geometry(places, *vectors)
            others = x.ndim - op.ndim
            z = lax.reduce_window(
                x,
                op.lowest(x.dtype.name),
                lax.max if op.mode == "max" else lax.add,
                (1,) * others + size,
                (1,) * others + stride,
                ((0, 0),) * others + tuple(padding),
            )
            return op.averaged(z, places, *vectors, lengths)

        return pool

    def sum_over_maxima(op, vectors, x, z):
        size, stride, _ = vectors
        lengths, padding = op.geometry(x.shape[-op.ndim :], *vectors)
        padding = ((0, 0),) * (x.ndim - op.ndim) + tuple(padding)
        whole = jnp.pad(x, padding)

        def sum_over(v):
            v = jnp.pad(v, padding)
            return sum(jnp.where(whole[index] == z, v[index], 0) for index in op.elements(size, stride, lengths))

        return sum_over

    @jax_funcify.register(PoolSpread)
    def pool_spread(op, node, **kwargs):
        vectors = constants(op, node)

        def pool_spread(dz, x, z, *_):
            if op.mode == "max":
                return transposed(sum_over_maxima(op, vectors, x, z), x.shape, dz)
            return transposed(pool(op, node), x.shape, dz)

        return pool_spread

    @jax_funcify.register(PoolMaxima)
    def pool_maxima(op, node, **kwargs):
        vectors = constants(op, node)
        return lambda v, x, z, *_: sum_over_maxima(op, vectors, x, z)(v)


# --- Numba ------------------------------------------------------------------------------------------------------------


def for_numba():
    """Tell Numba how to run the Ops: all of them with three axes of places, of which the first may be of length one."""
    from numba.cpython.unsafe.tuple import tuple_setitem
    from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

    def geometry(op):
        """Functions for a correlation's geometry, with what is known of it as constants."""
        ndim, groups = op.ndim, op.groups
        absent = 3 - ndim
        strides = (1,) * absent + op.strides
        dilation = (1,) * absent + op.dilation
        given = isinstance(op.border, tuple)
        half, full = op.border == "half", op.border == "full"
        padding = ((0, 0),) * absent + (op.border if given else ((0, 0),) * ndim)
        stride_0, stride_1, stride_2 = strides
        dilation_0, dilation_1, dilation_2 = dilation

        @numba_njit
        def five(shape):
            result = (shape[0], shape[1], 1, 1, 1)
            for i in range(ndim):
                result = tuple_setitem(result, 2 + absent + i, shape[2 + i])
            return result

        @numba_njit
        def width(extent, given):
            if half:
                return extent // 2
            if full:
                return extent - 1
            return given

        @numba_njit
        def layout(x_shape, w_shape):
            """The widths of the padding before each axis, and the lengths of the result."""
            if x_shape[1] != w_shape[1] * groups or w_shape[0] % groups != 0:
                raise ValueError("the channels of images and filters, and their groups, do not fit")
            before, lengths = (0, 0, 0), (0, 0, 0)
            for i in range(3):
                extent = (w_shape[2 + i] - 1) * dilation[i] + 1
                start, end = width(extent, padding[i][0]), width(extent, padding[i][1])
                length = (x_shape[2 + i] + start + end - extent) // strides[i] + 1
                if length < 1:
                    raise ValueError("the filters do not fit into the images")
                before = tuple_setitem(before, i, start)
                lengths = tuple_setitem(lengths, i, length)
            return before, lengths

        @numba_njit
        def check(dy_shape, x_shape, w_shape, lengths):
            if (dy_shape[0], dy_shape[1]) != (x_shape[0], w_shape[0]) or dy_shape[2:] != lengths:
                raise ValueError("the shape of the result does not belong to those of images and filters")

        @numba_njit
        def inside(start, n, length):
            """From which place to which the last axis meets the image."""
            first = 0 if start >= 0 else (-start + stride_2 - 1) // stride_2
            end = (n - start + stride_2 - 1) // stride_2 if n > start else 0
            end = min(end, length)
            return min(first, end), end

        @numba_njit
        def gather(image, channels, first_channel, taps, before, lengths, windows):
            """All windows of an image, in some channels: a row a tap, a column a place."""
            row = 0
            for c in range(first_channel, first_channel + channels):
                for a in range(taps[0]):
                    for b in range(taps[1]):
                        for e in range(taps[2]):
                            line = windows[row]
                            row += 1
                            start = e * dilation_2 - before[2]
                            first, end = inside(start, image.shape[3], lengths[2])
                            at = 0
                            for i in range(lengths[0]):
                                p = i * stride_0 + a * dilation_0 - before[0]
                                for j in range(lengths[1]):
                                    q = j * stride_1 + b * dilation_1 - before[1]
                                    if p < 0 or p >= image.shape[1] or q < 0 or q >= image.shape[2]:
                                        for k in range(lengths[2]):
                                            line[at + k] = 0
                                    else:
                                        source = image[c, p, q]
                                        for k in range(first):
                                            line[at + k] = 0
                                        for k in range(first, end):
                                            line[at + k] = source[start + k * stride_2]
                                        for k in range(end, lengths[2]):
                                            line[at + k] = 0
                                    at += lengths[2]

        @numba_njit
        def scatter(windows, image, channels, first_channel, taps, before, lengths):
            """The transpose: add all windows to where they come from."""
            row = 0
            for c in range(first_channel, first_channel + channels):
                for a in range(taps[0]):
                    for b in range(taps[1]):
                        for e in range(taps[2]):
                            line = windows[row]
                            row += 1
                            start = e * dilation_2 - before[2]
                            first, end = inside(start, image.shape[3], lengths[2])
                            at = 0
                            for i in range(lengths[0]):
                                p = i * stride_0 + a * dilation_0 - before[0]
                                for j in range(lengths[1]):
                                    q = j * stride_1 + b * dilation_1 - before[1]
                                    if 0 <= p < image.shape[1] and 0 <= q < image.shape[2]:
                                        target = image[c, p, q]
                                        for k in range(first, end):
                                            target[start + k * stride_2] += line[at + k]
                                    at += lengths[2]

        return five, layout, check, gather, scatter

    @register_funcify_default_op_cache_key(Correlate)
    def correlate(op, **kwargs):
        ndim, groups = op.ndim, op.groups
        five, layout, _, gather, _ = geometry(op)

        @numba_njit
        def correlate(x, w):
            x_shape, w_shape = five(x.shape), five(w.shape)
            before, lengths = layout(x_shape, w_shape)
            n, filters, channels, taps = x_shape[0], w_shape[0] // groups, w_shape[1], w_shape[2:]
            rows, places = channels * taps[0] * taps[1] * taps[2], lengths[0] * lengths[1] * lengths[2]
            images = np.ascontiguousarray(x).reshape(x_shape)
            matrices = np.ascontiguousarray(w).reshape((groups, filters, rows))
            windows = np.empty((rows, places), x.dtype)
            y = np.empty((n, groups, filters, places), x.dtype)
            for m in range(n):
                for g in range(groups):
                    gather(images[m], channels, g * channels, taps, before, lengths, windows)
                    np.dot(matrices[g], windows, y[m, g])
            shape = tuple_setitem(x.shape, 1, w.shape[0])
            for i in range(ndim):
                shape = tuple_setitem(shape, 2 + i, lengths[3 - ndim + i])
            return y.reshape(shape)

        return correlate

    @register_funcify_default_op_cache_key(CorrelateByInputs)
    def correlate_by_inputs(op, **kwargs):
        groups = op.groups
        five, layout, check, _, scatter = geometry(op)

        @numba_njit
        def by_inputs(dy, w, x):
            dy_shape, x_shape, w_shape = five(dy.shape), five(x.shape), five(w.shape)
            before, lengths = layout(x_shape, w_shape)
            check(dy_shape, x_shape, w_shape, lengths)
            n, filters, channels, taps = x_shape[0], w_shape[0] // groups, w_shape[1], w_shape[2:]
            rows, places = channels * taps[0] * taps[1] * taps[2], lengths[0] * lengths[1] * lengths[2]
            results = np.ascontiguousarray(dy).reshape((n, groups, filters, places))
            matrices = np.ascontiguousarray(w).reshape((groups, filters, rows))
            windows = np.empty((rows, places), dy.dtype)
            dx = np.zeros(x_shape, dy.dtype)
            for m in range(n):
                for g in range(groups):
                    np.dot(matrices[g].T, results[m, g], windows)
                    scatter(windows, dx[m], channels, g * channels, taps, before, lengths)
            return dx.reshape(x.shape)

        return by_inputs

    @register_funcify_default_op_cache_key(CorrelateByFilters)
    def correlate_by_filters(op, **kwargs):
        groups = op.groups
        five, layout, check, gather, _ = geometry(op)

        @numba_njit
        def by_filters(dy, x, w):
            dy_shape, x_shape, w_shape = five(dy.shape), five(x.shape), five(w.shape)
            before, lengths = layout(x_shape, w_shape)
            check(dy_shape, x_shape, w_shape, lengths)
            n, filters, channels, taps = x_shape[0], w_shape[0] // groups, w_shape[1], w_shape[2:]
            rows, places = channels * taps[0] * taps[1] * taps[2], lengths[0] * lengths[1] * lengths[2]
            images = np.ascontiguousarray(x).reshape(x_shape)
            results = np.ascontiguousarray(dy).reshape((n, groups, filters, places))
            windows = np.empty((rows, places), dy.dtype)
            one = np.empty((filters, rows), dy.dtype)
            dw = np.zeros((groups, filters, rows), dy.dtype)
            for m in range(n):
                for g in range(groups):
                    gather(images[m], channels, g * channels, taps, before, lengths, windows)
                    np.dot(results[m, g], windows.T, one)
                    for f in range(filters):  # a sum of arrays takes seconds to compile
                        for row in range(rows):
                            dw[g, f, row] += one[f, row]
            return dw.reshape(w.shape)

        return by_filters

    def windows_of(op):
        """Functions for the windows of pooling, with what is known of them as constants."""
        ndim, ignore_border = op.ndim, op.ignore_border
        include = op.mode == "average_inc_pad"

        @numba_njit
        def four(x):
            """The tensor with one axis of whatever is not pooled, and three that are."""
            shape = (1, 1, 1, 1)
            for i in range(x.ndim):
                axis = i - x.ndim + 4 if i >= x.ndim - ndim else 0
                shape = tuple_setitem(shape, axis, shape[axis] * x.shape[i])
            return np.ascontiguousarray(x).reshape(shape)

        @numba_njit
        def three(vector, absent):
            result = (absent, absent, absent)
            for i in range(ndim):
                result = tuple_setitem(result, 3 - ndim + i, vector[i])
            return result

        @numba_njit
        def layout(places, size, stride, pad):
            """Sizes, distances and paddings for three axes, and the lengths of the result."""
            sizes, strides, pads = three(size, 1), three(stride, 1), three(pad, 0)
            lengths = (0, 0, 0)
            for i in range(3):
                w, s, p = sizes[i], strides[i], pads[i]
                if w < 1 or s < 1 or p < 0 or p >= w or (p > 0 and not ignore_border):
                    raise ValueError("windows or padding of pooling are not possible")
                if ignore_border:
                    length = max((places[i] + 2 * p - w) // s + 1, 0)
                else:
                    length = max((places[i] + s - 1 - max(w, s)) // s, 0) + 1
                lengths = tuple_setitem(lengths, i, length)
            return sizes, strides, pads, lengths

        @numba_njit
        def bounds(i, n, w, s, p):
            """Where a window begins and ends in the tensor, and how many elements it has in an average."""
            start = i * s - p
            end = start + w
            size = min(end, n + p) - start
            start, end = max(start, 0), min(end, n)
            return start, end, size if include else end - start

        return four, layout, bounds

    @register_funcify_default_op_cache_key(Pool)
    def pool(op, **kwargs):
        ndim, maximum, average = op.ndim, op.mode == "max", op.mode.startswith("average")
        four, layout, bounds = windows_of(op)

        @numba_njit
        def pool(x, size, stride, pad):
            whole = four(x)
            places = whole.shape[1:]
            sizes, strides, pads, lengths = layout(places, size, stride, pad)
            z = np.empty((whole.shape[0], lengths[0], lengths[1], lengths[2]), x.dtype)
            for m in range(whole.shape[0]):
                for i in range(lengths[0]):
                    a, a_end, n_a = bounds(i, places[0], sizes[0], strides[0], pads[0])
                    for j in range(lengths[1]):
                        b, b_end, n_b = bounds(j, places[1], sizes[1], strides[1], pads[1])
                        for k in range(lengths[2]):
                            c, c_end, n_c = bounds(k, places[2], sizes[2], strides[2], pads[2])
                            value = whole[m, a, b, c] if maximum else whole.dtype.type(0)
                            for p in range(a, a_end):
                                for q in range(b, b_end):
                                    for r in range(c, c_end):
                                        element = whole[m, p, q, r]
                                        if not maximum:
                                            value += element
                                        elif element > value or element != element:
                                            value = element
                            if average:
                                z[m, i, j, k] = value / x.dtype.type(n_a * n_b * n_c)
                            else:
                                z[m, i, j, k] = value
            shape = x.shape
            for i in range(ndim):
                shape = tuple_setitem(shape, x.ndim - ndim + i, lengths[3 - ndim + i])
            return z.reshape(shape)

        return pool

    def pairs(op, spread):
        """For all windows and all elements in them, the numbers of the ones added to those of the others."""
        maximum, average = op.mode == "max", op.mode.startswith("average")
        four, layout, bounds = windows_of(op)

        @numba_njit
        def pairs(numbers, x, z, size, stride, pad):
            elements, maxima, numbers_4 = four(x), four(z), four(numbers)
            places = elements.shape[1:]
            sizes, strides, pads, lengths = layout(places, size, stride, pad)
            of_elements, of_windows = (maxima.shape, elements.shape) if spread else (elements.shape, maxima.shape)
            if maxima.shape != (elements.shape[0], *lengths) or numbers_4.shape != of_elements:
                raise ValueError("the shapes of what is pooled and of the result do not fit")
            result = np.zeros(of_windows, numbers.dtype)
            for m in range(elements.shape[0]):
                for i in range(lengths[0]):
                    a, a_end, n_a = bounds(i, places[0], sizes[0], strides[0], pads[0])
                    for j in range(lengths[1]):
                        b, b_end, n_b = bounds(j, places[1], sizes[1], strides[1], pads[1])
                        for k in range(lengths[2]):
                            c, c_end, n_c = bounds(k, places[2], sizes[2], strides[2], pads[2])
                            count = numbers.dtype.type(n_a * n_b * n_c)
                            for p in range(a, a_end):
                                for q in range(b, b_end):
                                    for r in range(c, c_end):
                                        if maximum and elements[m, p, q, r] != maxima[m, i, j, k]:
                                            continue
                                        if not spread:
                                            result[m, i, j, k] += numbers_4[m, p, q, r]
                                        elif average:
                                            result[m, p, q, r] += numbers_4[m, i, j, k] / count
                                        else:
                                            result[m, p, q, r] += numbers_4[m, i, j, k]
            return result.reshape(x.shape if spread else z.shape)

        return pairs

    register_funcify_default_op_cache_key(PoolSpread)(lambda op, **kwargs: pairs(op, spread=True))
    register_funcify_default_op_cache_key(PoolMaxima)(lambda op, **kwargs: pairs(op, spread=False))


# --- When a backend is told -------------------------------------------------------------------------------------------


class Tell(GraphRewriter):
    """Changes no graph; at the first compilation for a backend it tells that how to run the Ops."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def apply(self, fgraph):
        how, self.how = self.how, lambda: None
        how()


optdb.register("correlate_and_pool_jax", Tell(for_jax), "jax", position=-0.5)
optdb.register("correlate_and_pool_numba", Tell(for_numba), "numba", position=-0.5)
