"""``theano.tensor.nnet.abstract_conv``: images enlarged by bilinear interpolation, which is a convolution."""

from math import gcd

import pytensor
import pytensor.tensor as pt

from symupdates.theano.parts.conv import bordered, conv2d, conv2d_grad_wrt_inputs

__all__ = ["bilinear_kernel_1D", "bilinear_kernel_2D", "bilinear_upsampling", "frac_bilinear_upsampling"]


def bilinear_kernel_1D(ratio, normalize=True):
    """``1, 2, ..., ratio, ..., 2, 1``, and divided by `ratio` if it is normalized."""
    half = pt.arange(1, ratio + 1, dtype=pytensor.config.floatX)
    kernel = pt.concatenate([half, half[-2::-1]])
    return kernel / pt.cast(ratio, kernel.dtype) if normalize else kernel


def bilinear_kernel_2D(ratio, normalize=True):
    """The outer product of two of :func:`bilinear_kernel_1D`, for one ratio or that of rows and columns."""
    rows, columns = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    return bilinear_kernel_1D(rows, normalize)[:, None] * bilinear_kernel_1D(columns, normalize)[None, :]


def bilinear_upsampling(
    input, ratio=None, frac_ratio=None, batch_size=None, num_input_channels=None, use_1D_kernel=True
):
    """Enlarge images, ``[batch, channel, row, column]``, by bilinear interpolation; beyond the edges they go on.

    Parameters
    ----------
    input : tensor of four axes
        The images.
    ratio : int
        How many times higher and wider they become.
    frac_ratio : tuple, optional
        In the place of `ratio`, a fraction as ``(numerator, denominator)``, or one for rows and one for columns; needs
        ``use_1D_kernel=False``.
    batch_size, num_input_channels : int, optional
        The lengths of the first two axes.
    use_1D_kernel : bool
        Whether rows and columns are interpolated one after the other, which is the same.
    """
    if bool(ratio) == bool(frac_ratio):
        raise ValueError("bilinear_upsampling: give either ratio or frac_ratio.")
    if frac_ratio:
        if use_1D_kernel:
            raise ValueError("bilinear_upsampling: frac_ratio needs use_1D_kernel=False.")
        return frac_bilinear_upsampling(input, frac_ratio)
    images, batch = repeated_edges(input), None
    if batch_size is not None and num_input_channels is not None:
        batch = batch_size * num_input_channels
    rows, columns = input.shape[2], input.shape[3]
    pad = 2 * ratio - (ratio - 1) // 2 - 1
    if use_1D_kernel:
        kernel = bilinear_kernel_1D(ratio)
        steps = [
            (kernel[:, None], (rows * ratio, columns + 2), (pad, 0), (ratio, 1)),
            (kernel[None, :], (rows * ratio, columns * ratio), (0, pad), (1, ratio)),
        ]
    else:
        steps = [(bilinear_kernel_2D(ratio), (rows * ratio, columns * ratio), (pad, pad), (ratio, ratio))]
    for kernel, places, border_mode, subsample in steps:
        shape = (batch, 1, *places)
        kernel = kernel[None, None].astype(images.dtype)
        images = conv2d_grad_wrt_inputs(images, kernel, shape, None, border_mode, subsample)
    return images.reshape((input.shape[0], input.shape[1], rows * ratio, columns * ratio))


def frac_bilinear_upsampling(input, frac_ratio):
    """:func:`bilinear_upsampling` by fractions."""
    if not isinstance(frac_ratio, tuple):
        raise ValueError(f"frac_bilinear_upsampling: frac_ratio must be a tuple, not {frac_ratio!r}.")
    pairs = frac_ratio if isinstance(frac_ratio[0], tuple) else (frac_ratio, frac_ratio)
    up, down = zip(*((p // gcd(p, q), q // gcd(p, q)) for p, q in pairs), strict=True)
    images = repeated_edges(input)
    kernel = bilinear_kernel_2D(up).astype(images.dtype)
    padding = []
    for n, r in zip(input.shape[2:], up, strict=False):
        twice = (2 * n - 1) * r + 1
        padding.append((twice // 2, twice - twice // 2))
    kernel = bordered(kernel, padding)[None, None]
    # The images are the filters, spread by the dilation; the kernel is the image that they meet.
    result = conv2d(kernel, images, filter_dilation=up, subsample=down)
    return result.reshape((input.shape[0], input.shape[1], result.shape[2], result.shape[3]))


def repeated_edges(input):
    """The images, each channel on its own, with the first and last rows and columns repeated."""
    images = input.reshape((-1, 1, input.shape[2], input.shape[3]))
    images = pt.concatenate([images[:, :, :1], images, images[:, :, -1:]], axis=2)
    return pt.concatenate([images[..., :1], images, images[..., -1:]], axis=3)
