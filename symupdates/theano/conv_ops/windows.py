"""What convolution and pooling have in common: padding, the slices of windows, the lengths of results."""

import numpy as np
from pytensor.graph.op import Op
from pytensor.tensor.shape import Shape_i


class OfWindows(Op):
    """An Op whose derivative is its ``pullback``, in PyTensor 2 too, which asks for ``L_op``."""

    def L_op(self, inputs, outputs, output_gradients):
        return self.pullback(inputs, outputs, output_gradients)


def own_lengths(node, leading):
    """A result's shape: of the leading axes as it is given, of the others what is found when the result is there."""
    (z,) = node.outputs
    return (*leading, *(Shape_i(i)(z) for i in range(len(leading), z.ndim)))


def border_width(border, extent):
    """The padding at each end that the name of a border means for a filter of that extent."""
    return {"valid": 0, "half": extent // 2, "full": extent - 1}[border]


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
