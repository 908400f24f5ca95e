"""The Ops of convolution: a cross-correlation and its two transposes."""

from math import prod

import numpy as np
import pytensor.tensor as pt
from numpy.lib.stride_tricks import as_strided
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.scalar import upcast

from symupdates.theano.conv_ops.windows import OfWindows, border_width, cropped, own_lengths, padded, steps


class Correlation(OfWindows):
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
        return tuple((border_width(self.border, extent),) * 2 for extent in extents)

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
