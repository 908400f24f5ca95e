"""``theano.gpuarray.dnn`` and ``theano.sandbox.cuda.dnn``: what cuDNN had, computed where everything is.

`dnn_available` still says that there is no cuDNN.
"""

from symupdates.theano.parts import conv, nnet
from symupdates.theano.parts.gpu import dnn_available, dnn_present
from symupdates.theano.parts.pool import Pool

__all__ = ["dnn_available", "dnn_batch_normalization_test", "dnn_batch_normalization_train", "dnn_conv", "dnn_conv3d"]
__all__ += ["dnn_gradinput", "dnn_gradweight", "dnn_pool", "dnn_present"]


def flips(conv_mode):
    if conv_mode not in ("conv", "cross"):
        raise ValueError(f"conv_mode must be 'conv' or 'cross', not {conv_mode!r}.")
    return conv_mode == "conv"


def dnn_conv(
    img,
    kerns,
    border_mode="valid",
    subsample=(1, 1),
    dilation=(1, 1),
    conv_mode="conv",
    direction_hint=None,
    workmem=None,
    algo=None,
    precision=None,
    num_groups=1,
):
    """A convolution, or for ``conv_mode="cross"`` a correlation; how to do it, from `direction_hint` on, is ignored."""
    op = conv.AbstractConv2d(None, None, border_mode, subsample, flips(conv_mode), dilation, num_groups)
    return op(img, kerns)


def dnn_conv3d(
    img,
    kerns,
    border_mode="valid",
    subsample=(1, 1, 1),
    dilation=(1, 1, 1),
    conv_mode="conv",
    direction_hint=None,
    algo=None,
    precision=None,
    num_groups=1,
):
    """The same with three axes of places."""
    op = conv.AbstractConv3d(None, None, border_mode, subsample, flips(conv_mode), dilation, num_groups)
    return op(img, kerns)


def dnn_gradweight(
    img,
    topgrad,
    kerns_shp,
    border_mode="valid",
    subsample=(1, 1),
    dilation=(1, 1),
    conv_mode="conv",
    precision=None,
    algo=None,
    num_groups=1,
):
    """The derivative of :func:`dnn_conv` by its filters."""
    options = border_mode, subsample, flips(conv_mode), dilation, num_groups
    return conv.conv2d_grad_wrt_weights(img, topgrad, kerns_shp, None, *options)


def dnn_gradinput(
    kerns,
    topgrad,
    img_shp,
    border_mode="valid",
    subsample=(1, 1),
    dilation=(1, 1),
    conv_mode="conv",
    precision=None,
    algo=None,
    num_groups=1,
):
    """The derivative of :func:`dnn_conv` by its images."""
    options = border_mode, subsample, flips(conv_mode), dilation, num_groups
    return conv.conv2d_grad_wrt_inputs(topgrad, kerns, img_shp, None, *options)


def dnn_pool(img, ws, stride=None, mode="max", pad=None):
    """Pool the last axes, as many as `ws` has numbers; by default at every place."""
    return Pool(True, mode, len(ws))(img, ws, (1,) * len(ws) if stride is None else stride, pad)


def dnn_batch_normalization_train(
    inputs,
    gamma,
    beta,
    mode="per-activation",
    epsilon=1e-4,
    running_average_factor=0.1,
    running_mean=None,
    running_var=None,
):
    """:func:`~theano.tensor.nnet.bn.batch_normalization_train`, with `mode` for its axes."""
    averages = running_average_factor, running_mean, running_var
    return nnet.batch_normalization_train(inputs, gamma, beta, mode, epsilon, *averages)


def dnn_batch_normalization_test(inputs, gamma, beta, mean, var, mode="per-activation", epsilon=1e-4):
    """:func:`~theano.tensor.nnet.bn.batch_normalization_test`, with `mode` for its axes."""
    return nnet.batch_normalization_test(inputs, gamma, beta, mean, var, mode, epsilon)
