"""How Numba runs the Ops: all of them with three axes of places, of which the first may be of length one.

Imported when a function is first compiled for it.
"""

import numpy as np
from numba.cpython.unsafe.tuple import tuple_setitem
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from symupdates.theano.conv_ops.convolution import Correlate, CorrelateByFilters, CorrelateByInputs
from symupdates.theano.conv_ops.pooling import Pool, PoolMaxima, PoolSpread


def of_three_axes(op):
    """The strides and the dilation of a correlation, one along the axes that it has not."""
    absent = (1,) * (3 - op.ndim)
    return absent + op.strides, absent + op.dilation


def geometry(op):
    """Functions for a correlation's shapes, with what is known of it as constants."""
    ndim, groups = op.ndim, op.groups
    absent = 3 - ndim
    strides, dilation = of_three_axes(op)
    given = isinstance(op.border, tuple)
    half, full = op.border == "half", op.border == "full"
    padding = ((0, 0),) * absent + (op.border if given else ((0, 0),) * ndim)

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

    return five, layout, check


def moves(op):
    """Functions that bring all windows of an image into a matrix, and back."""
    (stride_0, stride_1, stride_2), (dilation_0, dilation_1, dilation_2) = of_three_axes(op)

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

    return gather, scatter


@register_funcify_default_op_cache_key(Correlate)
def correlate(op, **kwargs):
    ndim, groups = op.ndim, op.groups
    five, layout, _ = geometry(op)
    gather, _ = moves(op)

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
    five, layout, check = geometry(op)
    _, scatter = moves(op)

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
    five, layout, check = geometry(op)
    gather, _ = moves(op)

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
                        value = whole.dtype.type(0)
                        if maximum:
                            value = whole[m, a, b, c] if whole.size else whole.dtype.type(-np.inf)
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
