"""Where a step keeps a parameter and its state: in shared variables, all of which it has, or rows of a table only."""

from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.subtensor import AdvancedIncSubtensor

from symupdates.core.types import astype


class RowsTag(NamedTuple):
    """What a variable that :func:`symupdates.rows` returned is; found as ``variable.tag.symupdates``.

    Attributes
    ----------
    table
        The shared variable whose rows it has.
    index
        Which rows, as given: integers of any shape.
    """

    table: SharedVariable
    index: Variable


def is_rows(variable):
    """Whether a variable is one that :func:`symupdates.rows` returned."""
    return isinstance(getattr(variable.tag, "symupdates", None), RowsTag)


def whole(p):
    """A parameter, or the table that it is rows of."""
    return p.tag.symupdates.table if is_rows(p) else p


class Lookups:
    """All rows of one table that a step touches, one after the other.

    A row that was looked up several times stands there as often, each time with the sum of its gradients. So all of its
    places get the same new value, and it does not matter which of them is written last: sizes are known beforehand, as
    JAX demands, and nothing has the size of the table.

    Attributes
    ----------
    table : shared variable
    index : int64 vector
        The rows' numbers, from 0.
    group : int64 vector
        For each, a number that those of the same row share: from 0, and less than their number.
    """

    def __init__(self, several):
        self.several = several
        self.table = whole(several[0])
        self.index = joined([numbers(p) for p in several])
        self.group = pt.searchsorted(pt.sort(self.index), self.index)

    def flat(self, tensors):
        """Tensors, one of the shape of each lookup, as one with a row for each row."""
        return joined([flattened(x, p) for x, p in zip(tensors, self.several, strict=True)])

    def split(self, x):
        """The inverse of `flat`."""
        if len(self.several) == 1:
            return [unflattened(x, self.several[0])]
        parts, begin = [], 0
        for p in self.several:
            parts.append(unflattened(x[begin + places(numbers(p))], p))
            begin = begin + p.tag.symupdates.index.size
        return parts

    def summed(self, grads):
        """For each lookup, the sum of the gradients of its row."""
        grads = self.flat(grads)
        # Zeros, in a form that is not one of a shape, which JAX would have to know before.
        zeros = pt.switch(as_column(self.index < 0, grads), grads, np.zeros((), grads.dtype))
        return pt.inc_subtensor(zeros[self.group], grads)[self.group]

    def summed_once(self, grads):
        """The same where a lookup stands for all of its row, and zero elsewhere; of the shapes of the lookups."""
        summed, place = self.summed(grads), places(self.index)
        stands_for_all = pt.eq(pt.set_subtensor(place[self.group], place)[self.group], place)
        here = as_column(stands_for_all, summed)
        return self.split(pt.switch(here, summed, np.zeros((), summed.dtype)))


class Whole(NamedTuple):
    """Where a step keeps a parameter or state: in a shared variable, which a rule has as it is.

    Attributes
    ----------
    key
        The shared variable; None for what belongs to a rule as a whole.
    """

    key: SharedVariable | None
    at_rows = False

    @property
    def variable(self):
        """What a rule has of it."""
        return self.key

    def beside(self, key):
        """Where state for it is kept, in that shared variable."""
        return Whole(key)

    def written(self, value):
        """The next value of the shared variable, of that of `variable`."""
        return value


class AtRows(NamedTuple):
    """Where a step keeps the rows of a table: in a shared variable for all of it, of which a rule has these rows.

    Attributes
    ----------
    key, variable
        The shared variable, and what a rule has of it.
    lookups
        Which rows.
    """

    key: SharedVariable
    lookups: Lookups
    variable: Variable
    at_rows = True

    def beside(self, key):
        return AtRows(key, self.lookups, key[self.lookups.index])

    def written(self, value):
        # Of a cast, PyTensor before 3.3 does not see that it is a sum with what stands there: it would add to the rows
        # in place of setting them, once for each lookup.
        return pt.set_subtensor(self.key[self.lookups.index], astype(value, value.dtype))


def written(variable, value):
    """Which rows a next value sets, and to what, where all others stay: a pair of variables; else None."""
    node = value.owner
    if node and isinstance(node.op, AdvancedIncSubtensor) and node.op.set_instead_of_inc and len(node.inputs) == 3:
        before, values, index = node.inputs
        # PyTensor before 3 has slices among the inputs and not here.
        if before is variable and index.ndim == 1 and getattr(node.op, "idx_list", (0,)) == (0,):
            return index, values
    return None


def joined(tensors):
    return tensors[0] if len(tensors) == 1 else pt.concatenate(tensors)


def numbers(p):
    """The numbers of the rows, from 0, as an int64 vector: -1 and n - 1 are the same row."""
    table, index = p.tag.symupdates
    n = table.shape[0]
    index = pt.cast(index, "int64").flatten()
    return pt.maximum(pt.minimum(pt.switch(index < 0, index + n, index), n - 1), 0)


def places(numbers):
    """0, 1, 2 …, as many as there are numbers; not a slice or range, of which JAX would have to know how long it is."""
    return pt.cumsum(pt.cast(numbers >= 0, "int64")) - 1


def as_column(vector, x):
    """The vector with as many axes as `x`: the first, and others of length one."""
    return vector.dimshuffle(0, *["x"] * (x.ndim - 1))


def flattened(x, p):
    """`x`, of the shape of `p`, with one axis in the place of those of the index."""
    table, index = p.tag.symupdates
    if index.ndim == 1:
        return x
    # In numbers, for JAX.
    return x.reshape((-1, *table.get_value(borrow=True).shape[1:]))


def unflattened(x, p):
    """The inverse of `flattened`."""
    return x if p.tag.symupdates.index.ndim == 1 else x.reshape(p.shape, ndim=p.ndim)
