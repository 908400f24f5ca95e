"""``theano.tensor.nnet.abstract_conv``: convolutions with Theano's arguments and meaning.

All are made of the Ops of :mod:`symupdates.theano.conv_ops`, after flipping the filters where Theano flips them. The
shapes that are given become part of the types, and are checked when the function is called.
"""

from operator import index

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable

from symupdates.theano.conv_ops import Correlate, CorrelateByFilters, CorrelateByInputs
from symupdates.theano.conv_ops.windows import border_width

__all__ = [
    "AbstractConv2d",
    "AbstractConv2d_gradInputs",
    "AbstractConv2d_gradWeights",
    "AbstractConv3d",
    "AbstractConv3d_gradInputs",
    "AbstractConv3d_gradWeights",
    "causal_conv1d",
    "conv2d",
    "conv2d_grad_wrt_inputs",
    "conv2d_grad_wrt_weights",
    "conv2d_transpose",
    "conv3d",
    "conv3d_grad_wrt_inputs",
    "conv3d_grad_wrt_weights",
    "get_conv_output_shape",
    "get_conv_shape_1axis",
    "separable_conv2d",
    "separable_conv3d",
]


# --- Ops as Theano's --------------------------------------------------------------------------------------------------


class AbstractConv:
    """A convolution of a batch of images with filters.

    Parameters
    ----------
    imshp, kshp : sequence, optional
        The shapes of images and filters, with None for what is not known.
    border_mode : {"valid", "full", "half"}, int, or a tuple of ints and pairs
        Zeros around the images: none; the filter's extent but one, so that every overlap counts; half of it; or so
        many, on all sides, for each axis, or before and after each.
    subsample : tuple of int
        The strides.
    filter_flip : bool
        Whether the filters are flipped, as in a convolution; if not, it is a correlation.
    filter_dilation : tuple of int
        How far the numbers of a filter are apart.
    num_groups : int
        The channels of images and results are divided into so many groups, each with its filters.
    unshared : bool
        Theano's filters that are others at each place, of which there are none here.

    Raises
    ------
    NotImplementedError
        If the filters are not shared.
    TypeError, ValueError
        If arguments do not fit each other.
    """

    kind = Correlate
    convdim = 2

    def __init__(
        self,
        imshp=None,
        kshp=None,
        border_mode="valid",
        subsample=None,
        filter_flip=True,
        filter_dilation=None,
        num_groups=1,
        unshared=False,
    ):
        if unshared:
            raise NotImplementedError(
                f"{type(self).__name__}: filters that are others at each place, unshared=True, are not there; take the "
                "windows by images2neibs, and multiply them."
            )
        self.imshp, self.kshp = known(imshp, "imshp"), known(kshp, "kshp")
        self.filter_flip = filter_flip
        ones = (1,) * self.convdim
        self.op = self.kind(border(border_mode, self.convdim), subsample or ones, filter_dilation or ones, num_groups)

    def images(self, x):
        return specified(x, self.imshp)

    def filters(self, w):
        return self.flipped(specified(w, self.kshp))

    def flipped(self, w):
        return w[(..., *(slice(None, None, -1),) * self.convdim)] if self.filter_flip else w

    def zeros(self, given, outer, places, dtype):
        """What tells a shape: as it is given, and where it is not, of these outer axes and of so many places."""
        found = (*outer, *(places[i] for i in range(self.convdim)))  # a sequence, or a symbolic vector
        given = given or (None,) * len(found)
        return pt.zeros([b if a is None else a for a, b in zip(given, found, strict=True)], dtype=dtype)

    def __call__(self, img, kern):
        return self.op(self.images(img), self.filters(kern))


class AbstractConv_gradWeights(AbstractConv):
    """The derivative of a convolution by its filters, from images, what stands for its result, and the filters' size.

    The parameters are those of :class:`AbstractConv`, of the convolution.
    """

    kind = CorrelateByFilters

    def __call__(self, img, topgrad, shape, add_assert_shape=True):
        img, topgrad = self.images(img), pt.as_tensor_variable(topgrad)
        outer = topgrad.shape[1], img.shape[1] // self.op.groups
        return self.flipped(self.op(topgrad, img, self.zeros(self.kshp, outer, shape, topgrad.dtype)))


class AbstractConv_gradInputs(AbstractConv):
    """The derivative of a convolution by its images, from filters, what stands for its result, and the images' size.

    The parameters are those of :class:`AbstractConv`, of the convolution.
    """

    kind = CorrelateByInputs

    def __call__(self, kern, topgrad, shape, add_assert_shape=True):
        kern, topgrad = self.filters(kern), pt.as_tensor_variable(topgrad)
        outer = topgrad.shape[0], kern.shape[1] * self.op.groups
        return self.op(topgrad, kern, self.zeros(self.imshp, outer, shape, topgrad.dtype))


class AbstractConv2d(AbstractConv):
    __doc__ = AbstractConv.__doc__


class AbstractConv2d_gradWeights(AbstractConv_gradWeights):
    __doc__ = AbstractConv_gradWeights.__doc__


class AbstractConv2d_gradInputs(AbstractConv_gradInputs):
    __doc__ = AbstractConv_gradInputs.__doc__


class AbstractConv3d(AbstractConv):
    __doc__ = AbstractConv.__doc__
    convdim = 3


class AbstractConv3d_gradWeights(AbstractConv_gradWeights):
    __doc__ = AbstractConv_gradWeights.__doc__
    convdim = 3


class AbstractConv3d_gradInputs(AbstractConv_gradInputs):
    __doc__ = AbstractConv_gradInputs.__doc__
    convdim = 3


def border(mode, ndim):
    """Theano's border_mode as pairs of numbers, or as the name that it is."""
    if isinstance(mode, str):
        return mode
    try:
        each = (index(mode),) * ndim
    except TypeError:
        each = tuple(mode)
    return tuple(m if isinstance(m, tuple | list) else (m, m) for m in each)


def known(shape, name):
    """A given shape with what is constant as numbers; None if none is given."""
    if shape is None:
        return None
    shape = [n.data if isinstance(n, Constant) else n for n in shape]
    if any(isinstance(n, Variable) for n in shape):
        raise ValueError(f"{name} must be made of numbers and None, not of variables, but is {shape}.")
    return tuple(None if n is None else int(n) for n in shape)


def specified(x, shape):
    """The tensor with that shape, as far as it is given."""
    x = pt.as_tensor_variable(x)
    if shape is None or x.type.shape == shape:
        return x
    if len(shape) != x.ndim:
        raise ValueError(f"a shape of {len(shape)} numbers, {shape}, is given for a tensor of {x.ndim} axes, {x}.")
    return pt.specify_shape(x, shape)


def bordered(x, pairs):
    """The tensor with zeros around its last axes, so many before and after each; the numbers may be symbolic."""
    leading = x.ndim - len(pairs)
    lengths = [x.shape[i] for i in range(x.ndim)]
    outer = [before + n + after for n, (before, after) in zip(lengths[leading:], pairs, strict=True)]
    inner = (slice(before, before + n) for n, (before, _) in zip(lengths[leading:], pairs, strict=True))
    return pt.zeros((*lengths[:leading], *outer), dtype=x.dtype)[(..., *inner)].set(x)


# --- Functions --------------------------------------------------------------------------------------------------------


def conv2d(
    input,
    filters,
    input_shape=None,
    filter_shape=None,
    border_mode="valid",
    subsample=(1, 1),
    filter_flip=True,
    image_shape=None,
    filter_dilation=(1, 1),
    num_groups=1,
    unshared=False,
    **kwargs,
):
    """Convolve a batch of images, ``[batch, channel, row, column]``, with ``[filter, channel, row, column]``.

    The arguments are those of :class:`AbstractConv`; `image_shape` is an old name of `input_shape`, and other keywords,
    which told Theano how to do it, are ignored.
    """
    if {"imshp_logical", "kshp_logical"} & set(kwargs):
        raise ValueError("conv2d: imshp_logical and kshp_logical are not there; use subsample and filter_dilation.")
    if input_shape is not None and image_shape is not None:
        raise ValueError("conv2d: give input_shape or image_shape, which are the same, not both.")
    shape = image_shape if input_shape is None else input_shape
    op = AbstractConv2d(shape, filter_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups, unshared)
    return op(input, filters)


def conv3d(
    input,
    filters,
    input_shape=None,
    filter_shape=None,
    border_mode="valid",
    subsample=(1, 1, 1),
    filter_flip=True,
    filter_dilation=(1, 1, 1),
    num_groups=1,
):
    """The same with three axes of places."""
    op = AbstractConv3d(input_shape, filter_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups)
    return op(input, filters)


def numbers(shape):
    """A shape with None for what is a variable."""
    return [n if isinstance(n, int | np.integer | Constant) else None for n in shape]


def conv2d_grad_wrt_inputs(
    output_grad,
    filters,
    input_shape,
    filter_shape=None,
    border_mode="valid",
    subsample=(1, 1),
    filter_flip=True,
    filter_dilation=(1, 1),
    num_groups=1,
    unshared=False,
):
    """The derivative of :func:`conv2d` by its images; of `input_shape`, theirs, rows and columns are given."""
    options = border_mode, subsample, filter_flip, filter_dilation, num_groups, unshared
    op = AbstractConv2d_gradInputs(numbers(input_shape), filter_shape, *options)
    return op(filters, output_grad, input_shape[2:])


def conv3d_grad_wrt_inputs(
    output_grad,
    filters,
    input_shape,
    filter_shape=None,
    border_mode="valid",
    subsample=(1, 1, 1),
    filter_flip=True,
    filter_dilation=(1, 1, 1),
    num_groups=1,
):
    """The derivative of :func:`conv3d` by its images."""
    options = border_mode, subsample, filter_flip, filter_dilation, num_groups
    op = AbstractConv3d_gradInputs(numbers(input_shape), filter_shape, *options)
    return op(filters, output_grad, input_shape[2:])


def conv2d_grad_wrt_weights(
    input,
    output_grad,
    filter_shape,
    input_shape=None,
    border_mode="valid",
    subsample=(1, 1),
    filter_flip=True,
    filter_dilation=(1, 1),
    num_groups=1,
    unshared=False,
):
    """The derivative of :func:`conv2d` by its filters; of `filter_shape`, theirs, rows and columns are given."""
    options = border_mode, subsample, filter_flip, filter_dilation, num_groups, unshared
    op = AbstractConv2d_gradWeights(input_shape, numbers(filter_shape), *options)
    return op(input, output_grad, filter_shape[2:])


def conv3d_grad_wrt_weights(
    input,
    output_grad,
    filter_shape,
    input_shape=None,
    border_mode="valid",
    subsample=(1, 1, 1),
    filter_flip=True,
    filter_dilation=(1, 1, 1),
    num_groups=1,
):
    """The derivative of :func:`conv3d` by its filters."""
    options = border_mode, subsample, filter_flip, filter_dilation, num_groups
    op = AbstractConv3d_gradWeights(input_shape, numbers(filter_shape), *options)
    return op(input, output_grad, filter_shape[2:])


def conv2d_transpose(
    input,
    filters,
    output_shape,
    filter_shape=None,
    border_mode="valid",
    input_dilation=(1, 1),
    filter_flip=True,
    filter_dilation=(1, 1),
    num_groups=1,
    unshared=False,
):
    """The transpose of :func:`conv2d`, from what stands for its result to images of the shape `output_shape`."""
    options = border_mode, input_dilation, filter_flip, filter_dilation, num_groups, unshared
    return conv2d_grad_wrt_inputs(input, filters, output_shape, filter_shape, *options)


def separable(
    convolve, ones, input, depthwise, pointwise, num_channels, shapes, border_mode, subsample, flip, dilation
):
    options = {"subsample": subsample or ones, "filter_flip": flip, "filter_dilation": dilation or ones}
    apart = convolve(input, depthwise, *shapes[:2], border_mode, num_groups=num_channels, **options)
    return convolve(apart, pointwise, None, shapes[2], filter_flip=flip)


def separable_conv2d(
    input,
    depthwise_filters,
    pointwise_filters,
    num_channels,
    input_shape=None,
    depthwise_filter_shape=None,
    pointwise_filter_shape=None,
    border_mode="valid",
    subsample=(1, 1),
    filter_flip=True,
    filter_dilation=(1, 1),
):
    """Convolve each channel with filters of its own, and what comes out with filters of one place."""
    shapes = input_shape, depthwise_filter_shape, pointwise_filter_shape
    options = num_channels, shapes, border_mode, subsample, filter_flip, filter_dilation
    return separable(conv2d, (1, 1), input, depthwise_filters, pointwise_filters, *options)


def separable_conv3d(
    input,
    depthwise_filters,
    pointwise_filters,
    num_channels,
    input_shape=None,
    depthwise_filter_shape=None,
    pointwise_filter_shape=None,
    border_mode="valid",
    subsample=(1, 1, 1),
    filter_flip=True,
    filter_dilation=(1, 1, 1),
):
    """The same with three axes of places."""
    shapes = input_shape, depthwise_filter_shape, pointwise_filter_shape
    options = num_channels, shapes, border_mode, subsample, filter_flip, filter_dilation
    return separable(conv3d, (1, 1, 1), input, depthwise_filters, pointwise_filters, *options)


def causal_conv1d(
    input,
    filters,
    filter_shape,
    input_shape=None,
    subsample=1,
    filter_flip=True,
    filter_dilation=1,
    num_groups=1,
    unshared=False,
):
    """Convolve ``[batch, channel, time]`` with filters of a given length; nothing depends on what comes later."""
    before = filter_dilation * (index(filter_shape[2]) - 1)
    op = AbstractConv2d(
        None if input_shape is None else (*input_shape, 1),
        (*filter_shape, 1),
        ((before, 0), 0),
        (subsample, 1),
        filter_flip,
        (filter_dilation, 1),
        num_groups,
        unshared,
    )
    return op(pt.as_tensor_variable(input)[..., None], pt.as_tensor_variable(filters)[..., None])[..., 0]


# --- Shapes -----------------------------------------------------------------------------------------------------------


def get_conv_output_shape(image_shape, kernel_shape, border_mode, subsample, filter_dilation=None):
    """The shape of a convolution's result; None where it is not known. The arguments are those of a convolution."""
    ndim = len(image_shape) - 2
    modes = border_mode if isinstance(border_mode, tuple) else (border_mode,) * ndim
    dilation = (1,) * ndim if filter_dilation is None else filter_dilation
    axes = zip(image_shape[2:], kernel_shape[-ndim:], modes, subsample, dilation, strict=True)
    return (image_shape[0], kernel_shape[0], *(get_conv_shape_1axis(*axis) for axis in axes))


def get_conv_shape_1axis(image_shape, kernel_shape, border_mode, subsample, dilation=1):
    """The length of a convolution's result along an axis; None if it is not known."""
    if any(given is None for given in (image_shape, kernel_shape, border_mode, subsample, dilation)):
        return None
    extent = (kernel_shape - 1) * dilation + 1
    if isinstance(border_mode, tuple):
        before, after = border_mode
    else:
        before = after = border_width(border_mode, extent) if isinstance(border_mode, str) else border_mode
    if any(isinstance(width, int) and width < 0 for width in (before, after)):
        raise ValueError(f"get_conv_shape_1axis: border_mode must not be negative, but is {border_mode}.")
    return (image_shape + before + after - extent) // subsample + 1
