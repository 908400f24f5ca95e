"""Theano's older convolutions: ``theano.tensor.nnet.conv``, ``.conv3d2d`` and ``theano.tensor.signal.conv``."""

import pytensor.tensor as pt

from symupdates.theano.conv_ops.windows import border_width
from symupdates.theano.parts import conv

__all__ = ["conv2d", "conv3d"]


def conv2d(input, filters, image_shape=None, filter_shape=None, border_mode="valid", subsample=(1, 1), **kwargs):
    """Convolve images with filters, of which either may be one, or several of one channel.

    Parameters
    ----------
    input, filters : tensors of two to four axes
        Of four axes ``[batch, channel, row, column]`` and ``[filter, channel, row, column]``; of three, of one channel;
        of two, a single image or filter.
    image_shape, filter_shape : sequence, optional
        Their shapes, with None for what is not known.
    border_mode : {"valid", "full"}
        Whether the filters stay inside the images, or meet them in at least a place.
    subsample : tuple of int
        The strides.
    **kwargs
        What told Theano how to do it; ignored.

    Returns
    -------
    tensor
        ``[batch, filter, row, column]``; without the axes of a single image and a single filter.
    """
    input, filters = pt.as_tensor_variable(input), pt.as_tensor_variable(filters)
    single = [axis for axis, x in enumerate((input, filters)) if x.ndim == 2]
    shapes = [
        None if shape is None else (*(1,) * (x.ndim == 2), *shape[: x.ndim - 2], *(1,) * (x.ndim < 4), *shape[-2:])
        for x, shape in ((input, image_shape), (filters, filter_shape))
    ]
    input, filters = (x if x.ndim == 4 else x[:, None] if x.ndim == 3 else x[None, None] for x in (input, filters))
    result = conv.conv2d(input, filters, *shapes, border_mode, subsample)
    return result[tuple(0 if axis in single else slice(None) for axis in range(4))]


def conv3d(signals, filters, signals_shape=None, filters_shape=None, border_mode="valid"):
    """Convolve films, ``[batch, time, channel, row, column]``, with ``[filter, time, channel, row, column]``.

    The result is ``[batch, time, filter, row, column]``; `border_mode` is one for all three axes, or one for each.
    """
    modes = (border_mode,) * 3 if isinstance(border_mode, str) else tuple(border_mode)
    shapes = [shape and [shape[axis] for axis in (0, 2, 1, 3, 4)] for shape in (signals_shape, filters_shape)]
    signals, filters = (pt.as_tensor_variable(x).dimshuffle(0, 2, 1, 3, 4) for x in (signals, filters))
    if len(set(modes)) > 1:
        sizes = (shapes[1] or filters.type.shape)[2:]
        if None in sizes:
            raise ValueError("conv3d: give filters_shape where border_mode is not the same for all axes.")
        border_mode = tuple(map(border_width, modes, sizes))
    else:
        border_mode = modes[0]
    return conv.conv3d(signals, filters, *shapes, border_mode).dimshuffle(0, 2, 1, 3, 4)
