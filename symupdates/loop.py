"""Many steps in one call: from the updates of one step those of n."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np
import pytensor
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from symupdates.core import like
from symupdates.core.depth import deep_graphs
from symupdates.core.replace import replaced
from symupdates.core.stacks import checked_program, checked_stacks, is_generator, number_of, of_length
from symupdates.typing import Updates, UpdatesLike

__all__ = ["loop"]


@overload
def loop(
    outputs: Variable,
    updates: UpdatesLike,
    sequences: Mapping[Variable, Variable | np.ndarray] | None = None,
    n_steps: int | Variable | None = None,
) -> tuple[TensorVariable, Updates]: ...
@overload
def loop(
    outputs: Sequence[Variable] | None,
    updates: UpdatesLike,
    sequences: Mapping[Variable, Variable | np.ndarray] | None = None,
    n_steps: int | Variable | None = None,
) -> tuple[list[TensorVariable], Updates]: ...
@deep_graphs()
def loop(outputs, updates, sequences=None, n_steps=None):
    """Make many steps of one: an epoch, or a whole run, in a single call of the compiled function.

    Parameters
    ----------
    outputs : tensor variable, list or tuple of them, or None
        What to record of each step, such as the loss: what :func:`pytensor.function` would return of it.
    updates : dict
        The updates of one step: shared variables and their next values, such as a rule returns. It is not changed.
    sequences : dict, optional
        For inputs of the step, and any other variables that it reads and does not update, what they are in each step:
        a tensor of the same dtype with one axis more, the first. ``{x: xs, y: ys}`` stacks minibatches;
        ``{index: order}``, for a model of ``data[index]`` with shared data and an integer vector, takes the minibatches
        in an order that is an input of the compiled function; ``{rate: rates}`` gives each step its own learning rate.
        What is no key stays the same in all steps.
    n_steps : int or integer scalar variable, optional
        The number of steps, if no sequence tells; beside sequences, the length that all of them must have.

    Returns
    -------
    outputs : tensor variable or list of tensor variables
        The outputs of all steps, stacked along a new first axis: one for one, a list for a list, ``[]`` for None.
    updates : OrderedDict
        The same keys in the same order, each with its value after the last step. Shared variables with a default
        update, which :func:`pytensor.function` would apply in every step, follow.

    Raises
    ------
    TypeError
        If `updates` is no dict, or has a key that is neither a shared dense tensor nor a shared random generator, or a
        value that is no variable; if an output is no dense tensor; if `sequences` is no dict, or a sequence has another
        dtype than its variable.
    ValueError
        If a sequence has another number of axes or another shape than a stack of its variable; if the variable is
        updated, or nothing depends on it; if lengths differ, or nothing tells the number of steps. Lengths that are
        only known in the call are checked there.

    Notes
    -----
    The loop is PyTensor's :func:`~pytensor.scan.basic.scan`, and every key is carried from step to step: parameters,
    state, counts and random generators. The result is an updates dict like any other. State, checkpoints and averages
    are found in it as before, and an ``apply_*`` transform of it takes a call for a step; what is meant for each step
    is applied before. :func:`~symupdates.hyperparameters` and :func:`~symupdates.adjustable` look into the dict of one
    step; in the loop's, they find nothing.

    It makes the steps that calls of a function of one step would make. The numbers are the same, to the last bit as a
    rule. A compiler chooses for every function anew in what order it multiplies, and which of two products it leaves
    unrounded in their sum, as in the accumulators of :func:`~symupdates.adadelta`; there the last bits may differ.

    What is gained is the time between the steps, from 10 to 100 µs each on NUMBA and JAX. The C backend gains nothing.
    JAX compiles for a fixed number of steps: `n_steps` as a number, or a sequence of known static shape. It copies
    PyTensor's random generators when it compiles, and no checkpoint sees that they advance, as without a loop; what
    :mod:`symupdates.random` draws, as for :func:`symupdates.gradients.add_noise`, is ordinary state on every backend.

    The values are differentiable expressions: their gradient, with respect to the initial parameters, a learning rate
    or the data, goes back through all steps and keeps those of every step in memory.

    Examples
    --------
    A run of gradient descent, an epoch a call, in an order drawn anew for each:

    >>> import numpy as np, pytensor, pytensor.tensor as pt, symupdates
    >>> rng = np.random.default_rng(0)
    >>> x = pytensor.shared(rng.normal(size=(100, 3)), name="x")
    >>> y = pytensor.shared(x.get_value() @ [1.0, -2.0, 3.0], name="y")
    >>> W = pytensor.shared(np.zeros(3), name="W")
    >>> index, order = pt.lvector("index"), pt.lmatrix("order")
    >>> loss = ((x[index] @ W - y[index]) ** 2).mean()
    >>> losses, updates = symupdates.loop(loss, symupdates.adam(loss, [W], learning_rate=0.1), {index: order})
    >>> epoch = pytensor.function([order], losses, updates=updates)
    >>> for _ in range(30):
    ...     last = epoch(rng.permutation(100).reshape(10, 10))
    >>> last.shape, W.get_value().round(2).tolist(), symupdates.named(updates)["adam/t"].get_value().item()
    ((10,), [1.0, -2.0, 3.0], 300)
    """
    single = isinstance(outputs, Variable)
    outputs, updates = checked_program("loop", outputs, updates)
    expressions = [*outputs, *updates.values()]
    sequences = checked_stacks(
        "loop: sequences", {} if sequences is None else sequences, "step", set(ancestors(expressions))
    )
    for x in sequences:
        if x in updates:
            raise ValueError(f"loop: {x} is updated from step to step, and cannot be a sequence too.")
    n = number_of("loop", sequences, n_steps, "n_steps", "step")

    def step(*values):
        slices, carried = values[: len(sequences)], values[len(sequences) :]
        values = dict(zip(updates, carried, strict=True)) | dict(
            zip(sequences, map(like, sequences, slices), strict=True)
        )
        return replaced(expressions, values)

    if n == 1:  # also because PyTensor 2.38 forgets generators there
        results = step(*(xs[0] for xs in sequences.values()), *updates)
        stacked, last = [x[None] for x in results[: len(outputs)]], results[len(outputs) :]
    else:
        results = pytensor.scan(
            step,
            sequences=[of_length(n, x, xs) for x, xs in sequences.items()],
            outputs_info=[*[None] * len(outputs), *updates],
            n_steps=n,
            name="loop",
            return_list=True,
            return_updates=False,
        )
        stacked = results[: len(outputs)]
        last = [
            x if is_generator(key) else like(key, x[-1])
            for key, x in zip(updates, results[len(outputs) :], strict=True)
        ]
    return stacked[0] if single else stacked, OrderedDict(zip(updates, last, strict=True))
