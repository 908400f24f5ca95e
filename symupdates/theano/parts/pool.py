"""``theano.tensor.signal.pool`` and ``.downsample``: pooling with Theano's arguments and meaning."""

import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from symupdates.theano import conv_ops

__all__ = [
    "AveragePoolGrad",
    "DownsampleFactorMax",
    "MaxPoolGrad",
    "Pool",
    "max_pool_2d",
    "max_pool_2d_same_size",
    "pool_2d",
    "pool_3d",
]


class Pool(conv_ops.Pool):
    """The maximum, sum or average of windows along the last axes: ``Pool(...)(x, ws, stride=None, pad=None)``.

    Parameters
    ----------
    ignore_border : bool
        Whether windows that reach over the end are left out.
    mode : {"max", "sum", "average_inc_pad", "average_exc_pad"}
        What is computed; averages count the padding, or do not. ``"max_deterministic"`` is ``"max"``.
    ndim : int
        The number of axes.
    openmp
        Ignored.
    """

    def __init__(self, ignore_border=False, mode="max", ndim=2, openmp=None):
        super().__init__(ignore_border, "max" if mode == "max_deterministic" else mode, ndim)

    @staticmethod
    def out_shape(
        imgshape, ws=None, ignore_border=False, stride=None, pad=None, ndim=2, ds=None, st=None, padding=None
    ):
        """The shape of the result for images of a shape, as a list; all numbers may be symbolic."""
        ws, stride, pad = windows("Pool.out_shape", (ws, ds), (stride, st), (pad, padding))
        axes = imgshape[-ndim:], ws, ws if stride is None else stride, (0,) * ndim if pad is None else pad
        symbolic = any(isinstance(n, Variable) for numbers in axes for n in [numbers, *numbers])
        lengths = Pool(ignore_border, ndim=ndim).lengths(*axes, maximum=pt.maximum if symbolic else max)
        return [*imgshape[:-ndim], *lengths]


DownsampleFactorMax = Pool


class MaxPoolGrad:
    """The derivative of the maximum: ``MaxPoolGrad(...)(x, maxout, gz, ws, stride=None, pad=None)``."""

    def __init__(self, ignore_border, ndim=2, openmp=None):
        self.op = conv_ops.PoolSpread(ignore_border, "max", ndim)

    def __call__(self, x, maxout, gz, ws, stride=None, pad=None):
        return self.op(gz, x, maxout, ws, stride, pad)


class AveragePoolGrad:
    """The derivative of a sum or an average: ``AveragePoolGrad(...)(x, gz, ws, stride=None, pad=None)``."""

    def __init__(self, ignore_border, mode="average_inc_pad", ndim=2):
        self.op = conv_ops.PoolSpread(ignore_border, mode, ndim)

    def __call__(self, x, gz, ws, stride=None, pad=None, dummy=None):
        return self.op(gz, x, gz, ws, stride, pad)


def windows(name, *pairs):
    """Sizes, distances and paddings of windows, each by its new name or its old one."""
    names = ("ws", "ds"), ("stride", "st"), ("pad", "padding")
    for (new, old), given in zip(names, pairs, strict=True):
        if None not in given:
            raise ValueError(f"{name}: give {new} or {old}, its old name, not both.")
    ws, stride, pad = (old if new is None else new for new, old in pairs)
    if ws is None:
        raise ValueError(f"{name}: give ws, the size of the windows.")
    return ws, stride, pad


def pool_2d(input, ws=None, ignore_border=None, stride=None, pad=None, mode="max", ds=None, st=None, padding=None):
    """Pool the last two axes of a tensor.

    Parameters
    ----------
    input : tensor of two or more axes
        The images.
    ws : tuple of int, or integer vector
        The size of the windows; `ds` is its old name.
    ignore_border : bool, optional
        Whether windows that reach over the end are left out; by default they are reduced to what is there.
    stride : tuple of int, or integer vector, optional
        How far they are apart, by default their size; `st` is its old name.
    pad : tuple of int, or integer vector, optional
        Zeros on both sides of each axis, less than a window, with ``ignore_border=True``; `padding` is its old name.
    mode : {"max", "sum", "average_inc_pad", "average_exc_pad"}
        What is computed of each window. Padding is never a maximum.
    """
    ws, stride, pad = windows("pool_2d", (ws, ds), (stride, st), (pad, padding))
    return Pool(bool(ignore_border), mode, 2)(input, ws, stride, pad)


def pool_3d(input, ws=None, ignore_border=None, stride=None, pad=None, mode="max", ds=None, st=None, padding=None):
    """Pool the last three axes of a tensor; the arguments are those of :func:`pool_2d`."""
    ws, stride, pad = windows("pool_3d", (ws, ds), (stride, st), (pad, padding))
    return Pool(bool(ignore_border), mode, 3)(input, ws, stride, pad)


max_pool_2d = pool_2d


def max_pool_2d_same_size(input, patch_size):
    """The images with zeros for all that is not the maximum of its window; what no window holds becomes zero too."""
    maxima = Pool(True)(input, patch_size)
    return MaxPoolGrad(True)(input, maxima, maxima, patch_size)
