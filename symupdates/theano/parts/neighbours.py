"""``theano.tensor.nnet.neighbours``: the windows of images as the rows of a matrix, and back."""

import pytensor.tensor as pt
from pytensor.raise_op import Assert

from symupdates.theano.conv_ops.windows import border_width
from symupdates.theano.parts.conv import bordered

__all__ = ["images2neibs", "neibs2images"]


def images2neibs(ten4, neib_shape, neib_step=None, mode="valid"):
    """The windows of images, each as a row.

    Parameters
    ----------
    ten4 : tensor of four axes
        ``[batch, channel, row, column]``.
    neib_shape : two ints
        The size of the windows.
    neib_step : two ints, optional
        How far they are apart, by default their size.
    mode : {"valid", "ignore_borders", "half", "full", "wrap_centered"}
        Windows inside the images, which they must fill to the end; or need not; the same with zeros around, so that
        they reach over the edges by half of their size, or all but one; or windows around places a step apart, which
        go on at the opposite edge.

    Returns
    -------
    matrix
        A row a window, in the order of images, channels, rows and columns.

    Raises
    ------
    ValueError
        If a mode is not one of these.
    AssertionError
        If the windows do not fill the images, when the function is called.
    """
    ten4 = pt.as_tensor_variable(ten4)
    neib_step = neib_shape if neib_step is None else neib_step
    sizes, steps = ([v[0], v[1]] for v in (neib_shape, neib_step))
    wrapped = mode == "wrap_centered"
    border = {"ignore_borders": "valid", "wrap_centered": "half"}.get(mode, mode)
    if border not in ("valid", "half", "full"):
        raise ValueError(
            f"images2neibs: mode must be 'valid', 'ignore_borders', 'half', 'full' or 'wrap_centered', not {mode!r}."
        )
    pads = [border_width(border, n) for n in sizes]
    x, length = ten4, [ten4.shape[2], ten4.shape[3]]
    if not wrapped:
        if any(pad != 0 for pad in pads):
            x = bordered(x, [(pad, pad) for pad in pads])
        rest = [n + 2 * pad - size for n, pad, size in zip(length, pads, sizes, strict=True)]
        fits = [pt.ge(r, 0) for r in rest]
        if mode != "ignore_borders":
            fits += [pt.eq(r % s, 0) for r, s in zip(rest, steps, strict=True)]
        x = Assert(f"images2neibs: the windows do not fill the images in mode {mode!r}.")(x, *fits)
        counts = [r // s + 1 for r, s in zip(rest, steps, strict=True)]
    else:
        odd = [
            pt.eq(pt.as_tensor_variable(size) % 2, 1) & pt.ge(n, size) for size, n in zip(sizes, length, strict=True)
        ]
        x = Assert("images2neibs: wrap_centered needs windows of odd size, not larger than the images.")(x, *odd)
        counts = [(n + s - 1) // s for n, s in zip(length, steps, strict=True)]
    for size, step, pad, count, n in zip(sizes, steps, pads, counts, length, strict=True):
        # the first of the axes that are left becomes [window, place in it], and goes to the end
        places = pt.arange(count)[:, None] * step + pt.arange(size)[None, :]
        places = (places - pad) % n if wrapped else places
        axes = range(x.ndim)
        x = x.dimshuffle(2, *(axis for axis in axes if axis != 2))[places.ravel()]
        x = x.dimshuffle(*range(1, x.ndim), 0)
    # [batch, channel, rows of windows and in them, columns of windows and in them]
    x = x.reshape((x.shape[0], x.shape[1], counts[0], sizes[0], counts[1], sizes[1]))
    return x.dimshuffle(0, 1, 2, 4, 3, 5).reshape((-1, sizes[0] * sizes[1]))


def neibs2images(neibs, neib_shape, original_shape, mode="valid"):
    """The images of that shape, of which :func:`images2neibs` has made the matrix, with windows side by side.

    In mode ``"ignore_borders"`` what no window held is zero.
    """
    if mode not in ("valid", "ignore_borders"):
        raise ValueError(f"neibs2images: mode must be 'valid' or 'ignore_borders', not {mode!r}.")
    batch, channels, rows, columns = (original_shape[i] for i in range(4))
    height, width = neib_shape[0], neib_shape[1]
    x = pt.as_tensor_variable(neibs).reshape((batch, channels, rows // height, columns // width, height, width))
    x = x.dimshuffle(0, 1, 2, 4, 3, 5)
    x = x.reshape((batch, channels, rows // height * height, columns // width * width))
    if mode == "ignore_borders":
        x = bordered(x, [(0, rows % height), (0, columns % width)])
    return x
