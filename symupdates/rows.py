"""Rows of a table as a parameter: an embedding, trained where it is looked up and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import DenseTensorType

from symupdates.core.checks import tensor_of
from symupdates.core.places import RowsTag
from symupdates.typing import Rows

__all__ = ["rows"]


def rows(table: SharedVariable, index: Variable | np.ndarray | Sequence[int]) -> Rows:
    r"""Rows of a table, such as the embeddings of the words at hand: a parameter of which a step touches these only.

    The variable that is returned is ``table[index]``. Build the loss with it and put it among the parameters, in the
    place of the table. Any rule that works element by element then reads and writes the rows at hand, of the parameter
    and of its state. With :math:`i` one of the rows in the index :math:`I`, and :math:`g_k` the gradient with respect
    to the :math:`k`-th row that was looked up:

    .. math::
        g_i = \sum_{k:\, I_k = i} g_k, \qquad (p_i, s_i) \leftarrow \operatorname{rule}(p_i, s_i, g_i)

    A step takes the time of the rows that are looked up, however many the table has, and is made in place.

    Parameters
    ----------
    table : shared variable
        The table :math:`p`, float32 or float64: its first axis is that of the rows. A vector has rows of one number.
    index : integer tensor variable, or array or list of integers
        Which rows, :math:`I`: of any integer dtype and any number of axes. A row may stand there any number of times,
        and negative numbers count from the end.

    Returns
    -------
    tensor variable
        ``table[index]``, of shape ``index.shape + table.shape[1:]``.

    Raises
    ------
    TypeError
        If the table is not a shared dense tensor, or the index not of integers.
    ValueError
        If the table is a scalar.

    Notes
    -----
    **Keys and names are those of the table.** In the dict stand the table and state for all of it,
    ``E/adagrad/accu``: checkpoints, averages, groups and names are as if the table had been given. Several lookups in
    one table, such as of words and of their contexts, are several parameters of the loss; give all of them, and the
    step adds up what reaches a row through any.

    **What is the same as with the table for a parameter, and what is lazy.** A row that is not looked up has no
    gradient. :func:`~symupdates.sgd` and :func:`~symupdates.adagrad` do nothing without one, and are the same either
    way; :func:`~symupdates.ftrl` too, of a table that begins at zero, as the rule does. All others are lazy: a row that
    is not looked up stands still, and so does its state. Averages of its gradients do not decay in the meantime, its
    velocity does not move it, no weight decay takes from it. Counts, and bias corrections by them, are of all steps.
    So is torch's ``SparseAdam``, which :func:`~symupdates.adam` is here; and so TensorFlow Addons' ``LazyAdam``.

    **Which rules.** All that compute the step of an element from that element, its gradient, its state of the same
    shape, and scalars: nearly all of the first order. A rule that takes sums over a parameter, treats it as a matrix,
    draws random numbers or takes gradients elsewhere is refused, and so is :func:`~symupdates.accumulate`, whose
    minibatches look up different rows.

    **Gradient transforms** see the gradient of each lookup. For a loss, :func:`~symupdates.get_or_compute_grads`, and
    with it :func:`~symupdates.chain` and :func:`~symupdates.partition`, adds up those of one row in one of its places
    and puts zero in the others: clipping, by values or norms, so is that of the table's gradient. Gradients that you
    take yourself, ``pytensor.grad(loss, rows)``, are added up in the rule, after them.
    :func:`symupdates.gradients.add_l2` and its twin penalize a row once for each time that it is looked up, as the same
    penalty in the loss does. :func:`~symupdates.gradients.centralize`, :func:`~symupdates.gradients.clip_adaptively`
    and :func:`~symupdates.gradients.add_noise` take the lookups for a matrix of their own; let the table go without.

    **Update transforms** are defined for all rows, and take the time of all: :func:`~symupdates.apply_momentum` moves
    those that were not looked up by their velocity, :func:`~symupdates.apply_weight_decay` lets them decay, averages
    follow each. The gates hold rows at the cost of rows, except :func:`~symupdates.apply_if_small`.

    An index that is out of range raises an IndexError on the C backend, and on NUMBA before PyTensor 3.3. NUMBA since
    then and JAX do not look, in ``table[index]`` as such; what is learned there goes to the first or the last row. JAX
    copies the table at each step except in the mode :data:`symupdates.modes.JAX_DONATED`.

    References
    ----------
    .. [1] J. Duchi, E. Hazan and Y. Singer (2011). Adaptive subgradient methods for online learning and stochastic
       optimization. JMLR 12.

    Examples
    --------
    >>> import numpy as np, pytensor, pytensor.tensor as pt, symupdates
    >>> E = pytensor.shared(np.ones((10_000, 2)), name="E")
    >>> words = pt.lvector("words")
    >>> x = symupdates.rows(E, words)
    >>> updates = symupdates.adagrad((x**2).sum() / 2, [x], learning_rate=0.5)
    >>> [variable.name for variable in updates]
    ['E/adagrad/accu', 'E']
    >>> step = pytensor.function([words], updates=updates)
    >>> _ = step([3, 5, 3])
    >>> E.get_value()[2:6, 0].round(3).tolist()
    [1.0, 0.5, 1.0, 0.5]
    """
    if not isinstance(table, SharedVariable) or not isinstance(table.type, DenseTensorType):
        raise TypeError(f"rows: the table must be a shared dense tensor, not {table!r}.")
    if table.ndim == 0:
        raise ValueError(f"rows: {table} is a scalar, which has no rows; give it as a parameter itself.")
    index = tensor_of("rows: the index", np.asarray(index, "int64") if isinstance(index, list) and not index else index)
    if np.dtype(index.dtype).kind not in "iu":
        raise TypeError(
            f"rows: the index must be of integers, but {index} has dtype {index.dtype}"
            + ("; give the places where the mask is true." if index.dtype == "bool" else ".")
        )
    taken = table[index]
    taken.name = f"{table.name}[{index.name or '...'}]" if table.name else None
    taken.tag.symupdates = RowsTag(table, index)
    return taken
