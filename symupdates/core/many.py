"""Expressions of many runs: what they are in one, with the runs along a new first axis.

PyTensor's :func:`~pytensor.graph.replace.vectorize_graph` does it node by node. What it does not: shapes, which are the
same in all runs; branches; indices that differ between the runs; the axes of sorts; draws of random generators.
"""

import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import toposort
from pytensor.scan.op import Scan
from pytensor.tensor.extra_ops import broadcast_shape
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape, Shape_i, shape_tuple
from pytensor.tensor.sort import ArgSortOp, SortOp
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
    indices_from_subtensor,
)
from pytensor.tensor.type import DenseTensorType
from pytensor.tensor.type_other import NoneTypeT, SliceType

from symupdates.core.stacks import is_generator

try:
    from pytensor.conditional import IfElse
except ImportError:  # PyTensor before 3.3
    from pytensor.ifelse import IfElse

WRITING = IncSubtensor | AdvancedIncSubtensor


class Single(NotImplementedError):
    """A node that cannot be computed for many runs at once."""

    def __init__(self, node):
        super().__init__(f"{node.op} cannot be computed for many runs at once")
        self.node = node


def vectorized(expressions, replaced, n):
    """What differs between n runs, of all that the expressions are computed with: a dict of variables and what each is.

    Parameters
    ----------
    expressions : list of variables
        Expressions of one run.
    replaced : dict
        Variables of one run, and what they are in all: with one axis more, the first, or for what does not differ, with
        none.
    n : int
        The number of runs.

    Raises
    ------
    Single
        For a node that there cannot be many of.
    """
    new = dict(replaced)
    for node in toposort(expressions, blockers=replaced):
        if not isinstance(node.op, RandomVariable) and not any(x in new for x in node.inputs):
            continue
        try:
            outputs = of_many(node, [new.get(x, x) for x in node.inputs], n)
        except NotImplementedError as error:
            raise Single(node) from error
        new |= {x: many for x, many in zip(node.outputs, outputs, strict=True) if x not in replaced}
    return new


def whole(x, new, n):
    """What a variable is in all runs, with their axis also where it is the same in all."""
    if is_generator(x) or new.ndim > x.ndim:
        return new
    return pt.broadcast_to(new, (n, *(new.shape[i] for i in range(new.ndim))))


def of_many(node, inputs, n):
    """The outputs of a node whose inputs have the axis of the runs, or are the same in all."""
    match node.op:
        case Scan():
            raise Single(node)
        case RandomVariable():
            return draws(node, inputs, n)
        case Shape() | Shape_i():
            ((x,), (new,)) = node.inputs, inputs
            shape = new.shape[new.ndim - x.ndim :]
            return [shape if isinstance(node.op, Shape) else shape[node.op.i]]
        case SortOp() | ArgSortOp() if isinstance(node.inputs[-1], Constant):  # before PyTensor 3.3, the axis
            ((x, axis), (new, _)) = node.inputs, inputs
            return [node.op(new, int(axis.data) + (new.ndim - x.ndim if axis.data >= 0 else 0))]
        case Subtensor() | IncSubtensor() | AdvancedSubtensor() | AdvancedIncSubtensor():
            return [at_indices(node, inputs, n)]
    outputs = node.outputs
    if isinstance(node.op, IfElse):
        condition, *branches = node.inputs
        half = len(branches) // 2
        outputs = [pt.switch(condition, a, b) for a, b in zip(branches[:half], branches[half:], strict=True)]
    return vectorize_graph(outputs, {x: new for x, new in zip(node.inputs, inputs, strict=True) if new is not x})


# --- Random draws -----------------------------------------------------------------------------------------------------


def draws(node, inputs, n):
    """What a generator of PyTensor draws for all runs, one after the other."""
    op, (rng, size, *params) = node.op, inputs
    axes = node.outputs[1].ndim - op.ndim_supp  # of independent draws
    shapes = []
    for i, (old, core) in enumerate(zip(op.dist_params(node), op.ndims_params, strict=True)):
        x, own = params[i], old.ndim - core
        begin = x.ndim - old.ndim
        shapes.append(tuple(shape_tuple(x)[begin : begin + own]))
        if begin:
            params[i] = pt.expand_dims(x, tuple(range(1, 1 + axes - own)))
    given = isinstance(op.size_param(node).type, DenseTensorType)
    shape = [size[j] for j in range(axes)] if given else broadcast_shape(*shapes, arrays_are_shapes=True)
    return op.make_node(rng, pt.stack([n, *shape]), *params).outputs


# --- Indices ----------------------------------------------------------------------------------------------------------


def at_indices(node, inputs, n):
    """What is read, or the tensor after what is written, at indices that may differ between the runs.

    The indices are broadcast together with the number of the run, as NumPy broadcasts arrays of indices: the axes of
    such arrays stand in the place of the first, where all stand side by side; else, they are the first.
    """
    writes = isinstance(node.op, WRITING)
    old_x, new_x = node.inputs[0], inputs[0]
    old = indices(node.op, node.inputs[1 + writes :])
    new = indices(node.op, inputs[1 + writes :])
    is_advanced = isinstance(node.op, AdvancedSubtensor | AdvancedIncSubtensor)
    arrays = [i for i, index in enumerate(old) if is_number(index)]
    if not is_advanced and not any(ndim(new[i]) for i in arrays):  # numbers, the same in all runs
        arrays = []
    differ = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if parts_ndim(b) > parts_ndim(a)]
    masks = {i for i in arrays if old[i].type.dtype == "bool"}
    if set(differ) - set(arrays) or masks & set(differ):
        raise Single(node)  # of other lengths in each run
    if masks:
        return vectorize_graph(node.outputs[0], dict(zip(node.inputs, inputs, strict=True)))

    axes = max((ndim(old[i]) for i in arrays), default=0)  # of the arrays of indices, together
    side_by_side = not arrays or arrays == list(range(arrays[0], arrays[-1] + 1))
    before = arrays[0] if arrays and side_by_side else 0  # the axes that stand before them
    for i in arrays:
        if ndim(new[i]) > ndim(old[i]):
            new[i] = pt.expand_dims(new[i], tuple(range(1, 1 + axes - ndim(old[i]))))
    has_runs = new_x.ndim > old_x.ndim
    if not writes and not has_runs:
        read = new_x[tuple(new)]
        return pt.moveaxis(read, before, 0) if differ else read
    run = pt.arange(n).reshape((n, *[1] * axes)) if arrays else slice(None)
    there, here = tuple(range(1, 1 + axes)), tuple(range(1 + before, 1 + before + axes))
    index = (run, *new)
    if not writes:
        return pt.moveaxis(new_x[index], there, here)

    old_y, new_y = node.inputs[1], inputs[1]
    place = whole(old_x, new_x, n)[index]
    more = place.ndim - 1 - old_y.ndim
    begin = new_y.ndim - old_y.ndim
    new_y = pt.expand_dims(new_y, tuple(range(begin, begin + more)) if begin else tuple(range(1 + more)))
    new_y = pt.moveaxis(new_y, here, there)
    if node.op.set_instead_of_inc:
        return pt.set_subtensor(place, new_y)
    return pt.inc_subtensor(place, new_y, ignore_duplicates=getattr(node.op, "ignore_duplicates", False))


def indices(op, inputs):
    """The indices of an Op that reads or writes at some: slices, None and numbers, or arrays of these."""
    idx_list = getattr(op, "idx_list", None)
    found = inputs if idx_list is None else indices_from_subtensor(inputs, idx_list)
    return [x.data if isinstance(x, Constant) and isinstance(x.type, SliceType | NoneTypeT) else x for x in found]


def is_number(index):
    """Whether an index is a number, or an array of numbers or of booleans."""
    return isinstance(index, Variable) and not isinstance(index.type, SliceType)


def ndim(x):
    return getattr(x, "ndim", 0)


def parts_ndim(index):
    """The number of axes of an index, or of what a slice is made of."""
    if isinstance(index, slice):
        return max(ndim(part) for part in (index.start, index.stop, index.step))
    return ndim(index)
