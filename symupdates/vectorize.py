"""Many runs in one call: from the updates of one run those of n, side by side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import overload

import numpy as np
import pytensor
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from symupdates.core import astype, is_state, like
from symupdates.core.checks import as_updates
from symupdates.core.depth import deep_graphs
from symupdates.core.hyper import HyperTag, RateTag
from symupdates.core.many import Single, vectorized, whole
from symupdates.core.program import names_of
from symupdates.core.stacks import checked_program, checked_stacks, is_generator, number_of, of_length
from symupdates.core.state import spelled_out
from symupdates.state import state_dict
from symupdates.typing import Updates, UpdatesLike

__all__ = ["take_run", "vectorize"]


@overload
def vectorize(
    outputs: Variable,
    updates: UpdatesLike,
    differing: Mapping[Variable, Variable | np.ndarray | Sequence] | None = None,
    n_runs: int | None = None,
) -> tuple[TensorVariable, Updates]: ...
@overload
def vectorize(
    outputs: Sequence[Variable] | None,
    updates: UpdatesLike,
    differing: Mapping[Variable, Variable | np.ndarray | Sequence] | None = None,
    n_runs: int | None = None,
) -> tuple[list[TensorVariable], Updates]: ...
@deep_graphs()
def vectorize(outputs, updates, differing=None, n_runs=None):
    """Make many runs of one, side by side in a single function: rates to compare, seeds, an ensemble, folds of data.

    Parameters
    ----------
    outputs : tensor variable, list or tuple of them, or None
        What to compute in each run, such as the loss.
    updates : dict
        The updates of one run: shared variables and their next values, such as a rule returns. It is not changed, and
        neither are its variables.
    differing : dict, optional
        For variables of the one run, what they are in each run: an array or tensor of the same dtype with one axis
        more, the first. For a parameter, or any other key, the values to begin with. For a learning rate or another
        hyper-parameter, its values: the key is the scalar variable that was given for it, or that
        :func:`~symupdates.hyperparameters` gives. For an input of the model, a batch for each run. What is no key is
        the same in all runs.
    n_runs : int, optional
        The number of runs, if nothing differs; beside `differing`, the length that all of it must have.

    Returns
    -------
    outputs : tensor variable or list of tensor variables
        The outputs of all runs, along a new first axis: one for one, a list for a list, ``[]`` for None.
    updates : OrderedDict
        For each key, in the same order, a new shared variable of the same name, that has the values of all runs along a
        new first axis; and its next values. Shared variables with a default update, which :func:`pytensor.function`
        would apply in each run, follow. PyTensor's random generators are in it themselves.

    Raises
    ------
    TypeError
        If `updates` is no dict, or has a key that is neither a shared dense tensor nor a shared random generator; if an
        output is no dense tensor; if `differing` is no dict, has a key that is no tensor variable, or a symbolic value
        for what is updated; if dtypes differ.
    ValueError
        If what differs has another number of axes or another shape than a stack of its variable, or nothing depends on
        the variable; if lengths differ, or nothing tells the number of runs.
    NotImplementedError
        If the graph has an Op that cannot be computed for many runs at once, such as a loop (a scan): what needs it is
        named.

    Notes
    -----
    Each run makes the steps that it would make alone. Its numbers are the same but for the order in which sums are
    taken, of which a compiler decides for every function. Where one run branches and computes one side only, many
    compute both.

    All that is kept for a run has its place in the new variables: state, counts, hyper-parameters that
    :func:`~symupdates.adjustable` made. They begin with the present values of the variables of the one run, in all runs
    alike, unless they differ. Only what rules draw with :mod:`symupdates.random` differs by itself: the first run has
    the generator's key, the others have keys derived from it. What the model draws with a generator of PyTensor, such
    as its dropout, the runs draw one after the other from that generator.

    The result is an updates dict like any other. Checkpoints, :func:`~symupdates.summary`,
    :func:`~symupdates.averages` and :func:`~symupdates.loop` work on it; :func:`take_run` takes one run out. An
    ``apply_*`` transform of it takes a parameter of all runs for one: a norm is that of all. What is meant for each run
    is applied before.

    What is gained is the time between the operations, which small models spend most of: on a core, a few runs of one
    take hardly longer than one. Where a run keeps the processor busy, many runs take as many times as long.

    Examples
    --------
    Gradient descent at three learning rates, of which the last is too large:

    >>> import numpy as np, pytensor, pytensor.tensor as pt, symupdates
    >>> W = pytensor.shared(np.array([2.0, -1.0]), name="W")
    >>> rate = pt.scalar("rate", dtype="float64")
    >>> loss = (W**2).sum()
    >>> updates = symupdates.sgd(loss, [W], learning_rate=rate)
    >>> losses, runs = symupdates.vectorize(loss, updates, {rate: [0.1, 0.5, 1.5]})
    >>> step = pytensor.function([], losses, updates=runs)
    >>> for _ in range(3):
    ...     last = step()
    >>> last.round(3).tolist()
    [2.048, 0.0, 80.0]

    The best of them, put back into the variables of the one run:

    >>> symupdates.load_state_dict(updates, symupdates.take_run(runs, last.argmin()))
    Unmatched(missing=[], unknown=[])
    >>> W.get_value().tolist()
    [0.0, 0.0]
    """
    single = isinstance(outputs, Variable)
    outputs, updates = checked_program("vectorize", outputs, updates)
    expressions = [*outputs, *updates.values()]
    read = list(ancestors(expressions))
    tagged = [v for v in read if isinstance(getattr(v.tag, "symupdates", None), HyperTag | RateTag)]
    values = {v: v.tag.symupdates.value for v in tagged if isinstance(v.tag.symupdates, HyperTag)}
    differing = {} if differing is None else differing
    if isinstance(differing, Mapping):
        differing = {x: as_dtype_of(x, xs) for x, xs in differing.items()}
    differing = checked_stacks("vectorize: differing", differing, "run", {*read, *values.values()})
    for x, xs in differing.items():
        if x in updates and not isinstance(xs, Constant):
            raise TypeError(f"vectorize: differing: {x} is updated; give its initial values as an array, not {xs!r}.")
    n = number_of("vectorize", differing, n_runs, "n_runs", "run")
    if isinstance(n, Variable):
        raise ValueError("vectorize: how many runs? Give n_runs, as a number.")

    variables = {v: v if is_generator(v) else stacked(v, differing.get(v), n) for v in updates}
    for v, new in variables.items():
        if is_state(v):
            new.tag.symupdates = tag_of_many(v.tag.symupdates, variables, differing.get(v), n)
        elif new is not v and hasattr(v.tag, "symupdates"):
            new.tag.symupdates = v.tag.symupdates
    replaced = {v: new for v, new in variables.items() if new is not v}
    replaced |= {x: in_each_run(x, xs, n) for x, xs in differing.items() if x not in updates}
    replaced |= {v: astype(replaced[x], v.dtype) for v, x in values.items() if not v.owner and x in replaced}

    wanted = [*expressions, *tagged, *values.values()]
    try:
        new = vectorized(wanted, replaced, n)
    except Single as error:
        raise NotImplementedError(refusal(error.node, updates)) from error
    for v in tagged:
        tag = v.tag.symupdates
        if new.get(v, v) is not v:
            new[v].tag.symupdates = tag._replace(value=new.get(tag.value, tag.value)) if v in values else tag
    results = [whole(x, new.get(x, x), n) for x in expressions]
    next_values = OrderedDict()
    for v, value in zip(updates, results[len(outputs) :], strict=True):
        next_values[variables[v]] = value if is_generator(v) else like(variables[v], value)
    for v, value in next_values.items():
        if is_state(v) and v.tag.symupdates.next_value is not None:
            v.tag.symupdates = v.tag.symupdates._replace(next_value=value)
    outputs = results[: len(outputs)]
    return outputs[0] if single else outputs, next_values


def take_run(updates: UpdatesLike, i: int) -> OrderedDict[str, np.ndarray]:
    """One of many runs: the values of everything that its steps move, by name.

    Parameters
    ----------
    updates : dict
        The updates of many runs, as :func:`vectorize` made them.
    i : int
        Which run; from the last where it is negative.

    Returns
    -------
    OrderedDict
        What :func:`~symupdates.state_dict` would return of a dict of that run alone; so
        ``load_state_dict(updates_of_one, take_run(updates, i))`` puts it into the variables of the model. What all runs
        share, such as a generator of PyTensor, is in it too.

    Raises
    ------
    ValueError
        If the dict has no runs.
    IndexError
        If there is no such run.
    """
    of_run = {name for v, name in names_of(as_updates("take_run", updates)).items() if has_runs(v)}
    state = state_dict(updates)
    if not of_run:
        raise ValueError("take_run: these are the updates of one run; vectorize makes those of many.")
    return OrderedDict((name, np.array(array[i]) if name in of_run else array) for name, array in state.items())


# --- Variables --------------------------------------------------------------------------------------------------------


def has_runs(v):
    """Whether a shared variable has a value for each run: itself, or as state like that of a parameter that has."""
    if hasattr(v.tag, "symupdates_runs") or not is_state(v):
        return hasattr(v.tag, "symupdates_runs")
    parameter, shape = v.tag.symupdates.parameter, v.tag.symupdates.shape
    return parameter is not None and has_runs(parameter) and not callable(shape) and shape[:1] == (...,)


def stacked(v, given, n):
    """A shared variable with the values of n runs: those given, or the present one in each."""
    value = v.get_value(borrow=True)
    if given is not None:
        if given.data.shape[1:] != np.shape(value):
            raise ValueError(
                f"vectorize: differing: {v} has a value of shape {np.shape(value)}, and what is given for it "
                f"{given.data.shape}; give what it is in each run, stacked along a new first axis."
            )
        value = given.data
    elif is_state(v) and v.tag.symupdates.slot == "rng":
        value = own_keys(value, n)
    else:
        value = np.repeat(np.asarray(value, v.dtype)[None], n, axis=0)
    new = pytensor.shared(np.array(value, v.dtype), name=v.name, shape=(n, *v.type.shape))
    new.tag.symupdates_runs = n  # which are its first axis
    return new


def own_keys(generator, n):
    """The generators of n runs: the first has the key that there is, the others have keys derived from it."""
    *key, count = np.asarray(generator).tolist()
    keys = [np.random.SeedSequence((*key, i)).generate_state(2) for i in range(1, n)]
    return np.array([[*words, count] for words in (key, *keys)], "uint32")


def tag_of_many(tag, variables, given, n):
    """The tag of state for n runs: how it begins in each, and its shape."""
    initial, shape = tag.initial, tag.shape
    if given is not None:
        initial = given.data
    elif tag.slot == "rng":
        initial = own_keys(initial, n)
    elif isinstance(initial, SharedVariable):
        initial = variables.get(initial, initial)
    parameter = variables.get(tag.parameter, tag.parameter)
    if parameter is not tag.parameter and (callable(shape) or shape[:1] != (...,)):
        shape = partial(shape_of_many, shape)
    elif parameter is tag.parameter:
        shape = partial(shape_of_each, n, shape) if callable(shape) else (n, *shape)
    return tag._replace(parameter=parameter, initial=initial, shape=shape)


def shape_of_many(of_one, of_parameter):
    """The shape of state for all runs, given that for one, and the shape of the parameter for all."""
    return of_parameter[0], *spelled_out(of_one, of_parameter[1:])


def shape_of_each(n, of_one, of_parameter):
    """The shape of state for all runs, of a parameter that is the same in all."""
    return n, *of_one(of_parameter)


def as_dtype_of(x, xs):
    """What was given for a variable: numbers in its dtype, unless they are of another kind; all else as it is."""
    if isinstance(xs, Variable) or not hasattr(x, "dtype"):
        return xs
    array = np.asarray(xs)
    return array.astype(x.dtype) if np.can_cast(array.dtype, x.dtype, "same_kind") else xs


def in_each_run(x, xs, n):
    """What a variable that no step moves is in each run: as given, if that is symbolic; else a shared variable."""
    if not isinstance(xs, Constant):
        return of_length(n, x, xs)
    new = pytensor.shared(xs.data, name=x.name, shape=xs.type.shape[:1] + x.type.shape)
    new.tag = copy(x.tag)
    return new


def refusal(node, updates):
    names = names_of(updates)
    keys = [names[v] for v, value in updates.items() if node in {x.owner for x in ancestors([value])}]
    of = f"the next values of {', '.join(keys)} are computed" if keys else "an output is computed"
    return f"vectorize: {of} with {node.op}, which cannot be computed for many runs at once."
