"""``theano.tensor``: what PyTensor dropped of it, renamed with other arguments, or silently changed."""

from numbers import Number

import pytensor
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.tensor import sort, var  # Theano had modules of these names too, which are imported only
from pytensor.tensor.subtensor import AdvancedSubtensor
from pytensor.tensor.variable import TensorVariable as PlainVariable

from symupdates.theano.parts.logarithms import log, log1p

__all__ = [
    "AdvancedSubtensor1",
    "MaxAndArgmax",
    "TensorType",
    "TensorVariable",
    "alloc_diag",
    "argtopk",
    "batched_dot",
    "batched_tensordot",
    "col",
    "flatten",
    "log",
    "log1p",
    "matrix",
    "patternbroadcast",
    "row",
    "scalar",
    "sort",
    "split",
    "stack",
    "tensor",
    "tensor3",
    "tensor4",
    "tensor5",
    "tensor6",
    "tensor7",
    "tile",
    "to_one_hot",
    "topk",
    "topk_and_argtopk",
    "unbroadcast",
    "var",
    "vector",
]


# --- Types and variables ----------------------------------------------------------------------------------------------


class PatternType(type):
    """Makes ``TensorType(...)`` one of PyTensor's types, and its types instances of ``TensorType``."""

    def __call__(cls, dtype, broadcastable, name=None):
        return pt.TensorType(dtype, shape=tuple(1 if alone else None for alone in broadcastable), name=name)

    def __instancecheck__(cls, x):
        return isinstance(x, pt.TensorType)

    def __subclasscheck__(cls, other):
        return issubclass(other, pt.TensorType)


class TensorType(metaclass=PatternType):
    """The type of a tensor, from its dtype and the pattern of its broadcasting.

    Parameters
    ----------
    dtype : str
        ``"floatX"`` too.
    broadcastable : sequence of bool, or of 0 and 1
        For each axis, whether it has the length 1 for good. PyTensor's class takes a shape there, and numbers for
        lengths.
    name : str, optional
    """


class ComputedOrInput(type(PlainVariable)):
    def __instancecheck__(cls, x):
        return isinstance(x, PlainVariable) and not isinstance(x, SharedVariable | Constant)


class TensorVariable(PlainVariable, metaclass=ComputedOrInput):
    """What is a tensor variable in Theano's sense: neither a shared variable nor a constant, which in PyTensor are."""

    def __init__(self, type, owner=None, index=None, name=None):
        super().__init__(type, owner, index, name)


def truth(variable):
    """Whether a variable is true: any is but a comparison, whose truth is its value's.

    Raises
    ------
    TypeError
        For a comparison by ``<``, ``<=``, ``>`` or ``>=``.
    """
    if variable.owner is not None and variable.owner.op in (pt.lt, pt.le, pt.gt, pt.ge):
        raise TypeError(
            f"the comparison {variable} has no truth before it is computed; choose between expressions with T.switch "
            "or theano.ifelse.ifelse."
        )
    return True


def tensor(dtype=None, broadcastable=None, name=None, shape=None):
    """A variable of that dtype and pattern, as for :class:`TensorType`; PyTensor's takes the name first."""
    if broadcastable is None:
        return pt.tensor(name, dtype=dtype, shape=shape)
    return TensorType(dtype or pytensor.config.floatX, broadcastable, name=name)(name)


def constructor(name):
    make = getattr(pt, name)

    def constructed(name=None, dtype=None, **kwargs):
        return make(name, dtype=dtype, **kwargs)

    constructed.__name__ = constructed.__qualname__ = name
    constructed.__doc__ = f"A {name} variable, of floatX unless a dtype is given, which may stand second."
    return constructed


scalar, vector, matrix, row, col = map(constructor, ("scalar", "vector", "matrix", "row", "col"))
tensor3, tensor4, tensor5, tensor6, tensor7 = (constructor(f"tensor{n}") for n in range(3, 8))


# --- Axes -------------------------------------------------------------------------------------------------------------


def patternbroadcast(x, broadcastable):
    """The tensor with just the axes of that pattern known to have the length 1."""
    x = pt.as_tensor_variable(x)
    axes = [axis for axis, alone in enumerate(broadcastable) if alone]
    others = [axis for axis, alone in enumerate(broadcastable) if not alone and x.type.broadcastable[axis]]
    x = pt.specify_broadcastable(x, *axes) if axes else x
    return unbroadcast(x, *others)


def unbroadcast(x, *axes):
    """The tensor with axes that are no longer known to have the length 1, as for the initial state of a scan."""
    x = pt.as_tensor_variable(x)
    shape = tuple(None if axis in axes else length for axis, length in enumerate(x.type.shape))
    if shape == x.type.shape:
        return x  # itself, which may be a shared variable that is to be updated
    inner = x.type.clone(shape=shape)()
    return pytensor.OpFromGraph([inner], [inner.copy()], inline=True)(x)


def flatten(x, ndim=None, outdim=None):
    """The tensor with its last axes made one, so that it has `ndim`, or one; `outdim` is the older name."""
    return pt.flatten(x, ndim=ndim or outdim or 1)


def stack(*args, tensors=None, axis=0):
    """Stack tensors along a new axis: a list of them and the axis, or the tensors one by one."""
    if tensors is None and isinstance(args[0], list | tuple):
        tensors, axis = args if len(args) == 2 else (*args, axis)
    return pt.stack(args if tensors is None else tensors, axis=axis)


def tile(x, reps, ndim=None):
    """Repeat a tensor along its axes.

    Parameters
    ----------
    x : tensor
        What is repeated.
    reps : int, sequence of int, or integer scalars or vector
        How often along each axis; the last is that of the last axis.
    ndim : int, optional
        The number of axes of the result, the first of which may be new; needed for a vector of unknown length.
    """
    x = pt.as_tensor_variable(x)
    if ndim is None:
        return pt.tile(x, reps)
    if ndim < x.ndim:
        raise ValueError(f"tile: ndim must be at least {x.ndim}, the number of axes of {x}, not {ndim}.")
    reps = pt.as_tensor_variable(reps).astype("int64")
    reps = pt.set_subtensor(pt.ones((ndim,), "int64")[ndim - reps.size :], reps)
    return pt.tile(x, [reps[axis] for axis in range(ndim)])


def split(x, splits_size, n_splits, axis=0):
    """Split a tensor along an axis into `n_splits` parts of the given sizes."""
    return pt.split(x, splits_size, n_splits=n_splits, axis=axis)


def alloc_diag(x, offset=0, axis1=0, axis2=1):
    """A matrix with that vector as its diagonal."""
    return pt.diag(x, k=offset)


# --- Products ---------------------------------------------------------------------------------------------------------


def batched_dot(a, b):
    """The product of each ``a[i]`` and ``b[i]``: the last axis of the one with the last but one of the other."""
    a, b = pt.as_tensor_variable(a), pt.as_tensor_variable(b)
    if a.ndim == 0 or b.ndim == 0:
        raise TypeError("batched_dot: both must have an axis for the batch; use T.dot for what has none.")
    if a.ndim == 1 or b.ndim == 1:
        return a.dimshuffle(0, *["x"] * (b.ndim - 1)) * b if a.ndim == 1 else a * b.dimshuffle(0, *["x"] * (a.ndim - 1))
    return batched_tensordot(a, b, [[a.ndim - 1], [max(1, b.ndim - 2)]])


def batched_tensordot(x, y, axes=2):
    """The tensordot of each ``x[i]`` and ``y[i]``.

    Parameters
    ----------
    x, y : tensors
        With the batch as their first axis.
    axes : int or pair of sequences of int
        How many axes to sum over, the last of the one and the first after the batch of the other; or which, counted
        with that of the batch.
    """
    x, y = pt.as_tensor_variable(x), pt.as_tensor_variable(y)
    if isinstance(axes, Number):
        axes = list(range(x.ndim - axes, x.ndim)), list(range(1, 1 + axes))
    summed_x, summed_y = ([axis] if isinstance(axis, Number) else list(axis) for axis in axes)
    free_x = [axis for axis in range(1, x.ndim) if axis not in summed_x]
    free_y = [axis for axis in range(1, y.ndim) if axis not in summed_y]
    shape = [x.shape[0], *(x.shape[axis] for axis in free_x), *(y.shape[axis] for axis in free_y)]
    length = pt.prod([x.shape[axis] for axis in summed_x], dtype="int64") if summed_x else 1
    x = x.dimshuffle(0, *free_x, *summed_x).reshape((x.shape[0], -1, length))
    y = y.dimshuffle(0, *summed_y, *free_y).reshape((y.shape[0], length, -1))
    return pt.matmul(x, y).reshape(shape, ndim=1 + len(free_x) + len(free_y))


# --- Classes and order ------------------------------------------------------------------------------------------------


class OneVector(type):
    def __instancecheck__(cls, op):
        # Before PyTensor 3, the Op does not know its indices.
        return type(op).__name__ == cls.__name__ or (
            isinstance(op, AdvancedSubtensor) and getattr(op, "idx_list", (0,)) == (0,)
        )


class AdvancedSubtensor1(metaclass=OneVector):
    """What looks up rows, ``table[index]``: in Theano an Op of its own, in PyTensor ``AdvancedSubtensor``.

    In isinstance tests; the inputs of such a node are the table and the index.
    """


class MaxAndArgmax:
    """The maximum along some axes and where it is: ``MaxAndArgmax()(x, axis)``, or ``MaxAndArgmax(axis)(x)``."""

    def __init__(self, axis=None):
        self.axis = axis

    def __call__(self, x, axis=None):
        return pt.max_and_argmax(x, axis=self.axis if axis is None else axis)


def to_one_hot(y, nb_class, dtype=None):
    """A matrix with a one in each row, in the column of its class, in floatX unless a dtype is given."""
    y = pt.as_tensor_variable(y)
    return pt.cast(pt.eq(y[:, None], pt.arange(nb_class)), dtype or pytensor.config.floatX)


def topk_and_argtopk(x, kth, axis=-1, sorted=True, idx_dtype="int64"):
    """The `kth` largest elements along an axis, or for a negative number the smallest, and where they are."""
    x = pt.as_tensor_variable(x)
    if axis is None:
        x, axis = x.flatten(), 0
    order = pt.argsort(x, axis=axis)
    last = (slice(None),) * (axis % x.ndim)
    places = order[(*last, slice(-kth, None) if kth > 0 else slice(None, -kth))]
    return pt.take_along_axis(x, places, axis=axis), pt.cast(places, idx_dtype)


def topk(x, kth, axis=-1, sorted=True, idx_dtype="int64"):
    """The values of :func:`topk_and_argtopk`."""
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[0]


def argtopk(x, kth, axis=-1, sorted=True, idx_dtype="int64"):
    """The places of :func:`topk_and_argtopk`."""
    return topk_and_argtopk(x, kth, axis, sorted, idx_dtype)[1]
