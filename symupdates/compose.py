"""Composition: stages into an optimizer, groups of parameters into one dict, dicts into one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from inspect import signature
from typing import ParamSpec

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from symupdates.core import (
    astype,
    awaits,
    called,
    check_optimizer,
    extend,
    flag,
    get_or_compute_grads,
    is_state,
    prepare,
    whole_number,
)
from symupdates.core.checks import check_updates
from symupdates.core.hyper import resolve
from symupdates.core.names import parameter_names
from symupdates.core.parameters import check_params, whole_params
from symupdates.core.places import whole
from symupdates.core.program import names_of
from symupdates.core.ranges import Range
from symupdates.core.selectors import checked_selector, select
from symupdates.core.state import Group, advances, within
from symupdates.typing import (
    GroupLike,
    LossOrGrads,
    Optimizer,
    OptimizerLike,
    Parameters,
    ScheduleLike,
    StageLike,
    Updates,
    UpdatesLike,
)

__all__ = ["accumulate", "chain", "merge", "partition"]

P = ParamSpec("P")

KINDS = {
    "grads": "gradient transform",
    "tensor_vars": "gradient transform",
    "loss_or_grads": "rule",
    "updates": "update transform",
}


def chain(*stages: StageLike) -> Optimizer:
    """Put stages together, from left to right, to one optimizer.

    Parameters
    ----------
    *stages : callables
        Any number of gradient transforms, one rule, any number of update transforms, in this order: partials such as
        ``clip_by_total_norm(max_norm=1.0)``, ``adam(learning_rate=0.01)``, ``apply_momentum(momentum=0.9)``, other
        optimizers made by :func:`chain` and :func:`partition`, or functions of your own. The name of its first argument
        tells what a stage is: ``grads``, ``loss_or_grads`` or ``updates``. A stage that has an argument ``params`` is
        given the parameters.

    Returns
    -------
    callable
        ``optimizer(loss_or_grads, params)``, which returns the updates dict. It goes wherever a rule goes,
        ``pm.fit(obj_optimizer=...)`` included; every call makes state and counts anew. It can be copied and pickled.

    Raises
    ------
    TypeError
        If a stage is not callable, or its first argument has another name. When it is called: if a stage returns what
        its kind does not, such as None.
    ValueError
        If there is not exactly one rule, or the stages are in another order.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> from symupdates import gradients
    >>> optimizer = symupdates.chain(
    ...     gradients.clip_by_total_norm(max_norm=1.0),
    ...     symupdates.rmsprop(learning_rate=0.01),
    ...     symupdates.apply_momentum(momentum=0.9),
    ... )
    >>> W = pytensor.shared(np.ones(3), name="W")
    >>> [variable.name for variable in optimizer((W**2).sum(), [W])]
    ['W/rmsprop/accu', 'W', 'W/momentum/velocity']
    """
    kinds = [kind_of(stage) for stage in stages]
    order = list(dict.fromkeys(KINDS.values()))
    if kinds.count("rule") != 1 or kinds != sorted(kinds, key=order.index):
        raise ValueError(
            "a chain is any number of gradient transforms, one rule, and any number of update transforms, in this "
            f"order; got {', '.join(kinds) or 'nothing'}."
        )
    return chained(stages=stages)


def merge(*dicts: UpdatesLike) -> Updates:
    """Merge updates dicts into one.

    Parameters
    ----------
    *dicts : dicts
        Updates dicts. Neither they nor their variables are changed.

    Returns
    -------
    OrderedDict
        All entries, in order. :func:`symupdates.named` tells state apart whose names were the same.

    Raises
    ------
    TypeError
        If one is not a dict of shared variables and expressions of their next values.
    ValueError
        If a variable is updated by more than one of them, to different values: all of them are named. State that
        advances by itself, such as the count of a gradient transform whose gradients went to two rules, is no conflict:
        it advances at every update, also where one of the dicts has it behind a gate.
    """
    merged, conflicts = OrderedDict(), []
    for updates in dicts:
        check_updates("merge", updates)
        for variable, value in updates.items():
            if variable not in merged or merged[variable] is value:
                merged[variable] = value
            elif advances(variable):
                merged[variable] = variable.tag.symupdates.next_value
            else:
                conflicts.append(str(variable))
    if conflicts:
        raise ValueError(
            f"more than one of the dicts updates {', '.join(conflicts)}; give each variable to one of them."
        )
    return merged


def merging(function: Callable[P, Iterable[Updates]]) -> Callable[P, Updates]:
    """Decorate an optimizer that makes dicts: they are merged, and state that it made has its name in the whole."""

    @wraps(function)
    def wrapper(*args, **kwargs):
        here = Group()
        with within(here):
            updates = merge(*function(*args, **kwargs))
        for variable, name in names_of(updates).items():
            if is_state(variable) and here in variable.tag.symupdates.call.groups:
                variable.name = name
        return updates

    return wrapper


@awaits("loss_or_grads", "params", name="chain")
@merging
def chained(
    loss_or_grads: LossOrGrads | None = None, params: Parameters | None = None, *, stages: Sequence[StageLike]
) -> Iterable[Updates]:
    params = check_params(params)
    data = loss_or_grads if kind_of(stages[0]) == "rule" else get_or_compute_grads(loss_or_grads, params)
    for i, stage in enumerate(stages):
        data = call(f"chain: stages[{i}]", stage, data, params)
    return (data,)


def partition(*groups: GroupLike, **named_groups: GroupLike) -> Optimizer:
    """Give each group of parameters an optimizer of its own.

    Parameters
    ----------
    *groups : pairs of a selector and an optimizer
        A selector is a list of parameters; a string, which is a regular expression that is searched for in the name
        of a parameter (``param[i]`` for an unnamed one); a function that says of a parameter whether it belongs; or
        an Ellipsis, ``...``, for all the rest. A parameter belongs to the first group that selects it. An optimizer
        is a rule, a partial of one, a :func:`chain`, or None, to leave the group as it is. Only an Ellipsis and an
        empty list may be left without parameters.
    **named_groups : pairs of a selector and an optimizer
        More groups, after the others, which have names. What belongs to the optimizer of such a group as a whole, its
        counts and hyper-parameters, is named after it: ``conv/adam/learning_rate``. In a group without a name, that is
        ``adam/learning_rate``, ``adam_2/learning_rate`` and so on, in the order of the groups. State of a parameter is
        named after the parameter in any case.

    Returns
    -------
    callable
        ``optimizer(loss_or_grads, params)``, as :func:`chain` returns it. The gradients are taken once, for all groups
        together. In the dict, the groups follow each other.

    Raises
    ------
    TypeError
        If a group is not such a pair.
    ValueError
        If a string is no regular expression. When it is called: if a parameter belongs to no group, or a list names one
        that is not among the parameters; if a pattern or function selects none of them, or a group is left without any,
        as others before it have those that it selects.

    Notes
    -----
    What needs all gradients, such as :func:`symupdates.gradients.clip_by_total_norm`, sees in a group those of the
    group only. To bound the norm of all of them, put it before:
    ``chain(clip_by_total_norm(max_norm=1.0), partition(...))``.

    A count that several groups read, such as that of the schedule of a transform before them, advances at every update,
    whatever the gates of the groups hold.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W, b = (pytensor.shared(np.ones(3), name=name) for name in ("W", "b"))
    >>> optimizer = symupdates.partition(("^b", symupdates.sgd(learning_rate=0.1)), rest=(..., symupdates.adam()))
    >>> updates = optimizer((W * b).sum(), [W, b])
    >>> [variable.name for variable in updates]
    ['b', 'W/adam/m', 'W/adam/v', 'W', 'rest/adam/t']
    >>> list(symupdates.hyperparameters(updates))[-2:]
    ['rest/adam/epsilon', 'sgd/learning_rate']
    """
    groups = {**{i: group for i, group in enumerate(groups)}, **named_groups}
    for key, group in groups.items():
        if not (isinstance(group, tuple | list) and len(group) == 2 and (group[1] is None or callable(group[1]))):
            raise TypeError(f"partition: groups[{key!r}] must be a pair (selector, optimizer), but {group!r} is not.")
        groups[key] = (checked_selector(selector_name("partition", key), group[0]), group[1])
    return partitioned(groups=groups)


@awaits("loss_or_grads", "params", name="partition")
@merging
def partitioned(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    *,
    groups: Mapping[int | str, GroupLike],
) -> Iterable[Updates]:
    params = check_params(params)
    members = divided("partition", params, {key: selector for key, (selector, _) in groups.items()})
    grads = get_or_compute_grads(loss_or_grads, params)
    dicts = []
    for key, (_, optimizer) in groups.items():
        if members[key] and optimizer is not None:
            given = [grads[i] for i in members[key]], [params[i] for i in members[key]]
            with within(Group(key if isinstance(key, str) else None, is_part=True)):
                dicts.append(called(f"partition: groups[{key!r}]", optimizer, *given))
    return dicts


def accumulate(
    optimizer: OptimizerLike, every: int | Variable | ScheduleLike = 4, mean: bool = True, close: Variable | None = None
) -> Optimizer:
    r"""Gather the gradients of several minibatches for each update: a large batch in small pieces.

    Parameters
    ----------
    optimizer : callable
        A rule, a partial of one, a :func:`chain` or :func:`partition`.
    every : int, scalar variable or schedule
        The number :math:`k` of calls, each with its minibatch, for one update. A schedule is a function of the number
        of updates made. What is no whole number is rounded up, and with less than 1, every call makes an update.
    mean : bool
        Give the optimizer the mean of the gradients: right for a loss that is the mean over a minibatch. Otherwise,
        their sum.
    close : boolean scalar variable, optional
        Where it is true, a call makes the update with what has been gathered, its own minibatch included, and the next
        begins anew: for the last minibatches of an epoch, if they are fewer. An input of the compiled function, a
        shared variable, or an expression.

    Returns
    -------
    callable
        ``optimizer(loss_or_grads, params)``, as :func:`chain` returns it. Every call of the compiled function adds to
        the gradients; every :math:`k`-th makes the update, the others leave parameters, state and counts of the
        optimizer as they are. Schedules and bias corrections so count updates, not minibatches.

    Raises
    ------
    TypeError
        If `optimizer` is not callable, or `mean` is not a bool.
    ValueError
        If `every` is not a whole number of at least 1.

    Notes
    -----
    With minibatches of one size and a loss that is a mean over examples, it is the update of the large batch, to
    rounding. What belongs to the optimizer, such as clipping, sees the gathered gradient; what stands before it in a
    chain sees each minibatch's, and what stands after it, such as :func:`~symupdates.apply_ema`, is called every time.
    Random generators, too, go on at every call. It is optax's ``MultiSteps(every_k_schedule=every)``.

    The mean is one of minibatches, of as many as were gathered: a smaller one counts as much as the others.

    State: ``grads``, the sum so far, of each parameter's shape and dtype, and the count of the calls. With `close`, or
    an `every` that is no number, in the place of that count that of the minibatches ``gathered`` so far; with a
    schedule, that of the ``updates`` made, too.

    Examples
    --------
    >>> import numpy as np, pytensor, symupdates
    >>> W = pytensor.shared(1.0, name="W")
    >>> updates = symupdates.accumulate(symupdates.sgd(learning_rate=0.1), every=2)(W**2 / 2, [W])
    >>> step = pytensor.function([], W, updates=updates)
    >>> [round(float(step()), 3) for _ in range(5)]
    [1.0, 1.0, 0.9, 0.9, 0.81]

    Epochs of five minibatches, the last of which is an update of its own:

    >>> is_last = pytensor.tensor.scalar("is_last", dtype="bool")
    >>> W = pytensor.shared(1.0, name="W")
    >>> optimizer = symupdates.accumulate(symupdates.sgd(learning_rate=0.1), every=2, close=is_last)
    >>> step = pytensor.function([is_last], W, updates=optimizer(W**2 / 2, [W]))
    >>> [round(float(step(i == 4)), 3) for i in range(5)], W.get_value().round(3).item()
    ([1.0, 1.0, 0.9, 0.9, 0.81], 0.729)
    """
    check_optimizer("accumulate: optimizer", optimizer)
    if not isinstance(every, Variable) and not callable(every):
        every = whole_number("accumulate: every", every)
    flag("accumulate: mean", mean)
    if close is not None and not (
        isinstance(close, Variable) and getattr(close, "ndim", None) == 0 and np.dtype(close.dtype).kind in "biu"
    ):
        raise TypeError(f"accumulate: close must be a boolean scalar variable, not {close!r}.")
    return accumulated(optimizer=optimizer, every=every, mean=mean, close=close)


@awaits("loss_or_grads", "params", name="accumulate")
@merging
def accumulated(
    loss_or_grads: LossOrGrads | None = None,
    params: Parameters | None = None,
    *,
    optimizer: OptimizerLike,
    every: int | Variable | ScheduleLike,
    mean: bool,
    close: Variable | None,
) -> Iterable[Updates]:
    step = prepare("accumulate", loss_or_grads, whole_params("accumulate", params))
    if isinstance(every, int) and close is None:
        is_full, n = pt.eq(step.t % every, 0), pt.constant(every)
    else:
        is_full, n = counted(step, every, close)
    grads = []
    for p, g, () in step:
        gathered = step.state(p, "grads")
        total = gathered + g
        step[gathered] = pt.switch(is_full, pt.zeros_like(total), total)
        grads.append(total / astype(n, p.dtype) if mean else total)
    with within(Group(is_part=True)):
        updates = called("accumulate: optimizer", optimizer, grads, step.params)
    held = extend("accumulate", updates)
    held.hold(is_full)
    return held.finish(), step.finish()


def counted(step, every, close):
    """Whether this minibatch is the last of those gathered, and how many they are: of a number that is not fixed."""
    gathered = step.count("gathered")
    n = gathered + 1
    if isinstance(every, int):
        is_full = n >= every
    else:
        updates = step.count("updates") if not isinstance(every, Variable) else None
        at_least_1 = Range(low=1, has_low=True)
        (k,) = resolve("accumulate", {"every": at_least_1(every)}, step.call, lambda: updates)("float64")
        is_full = astype(n, "float64") >= k
        if updates is not None:
            step[updates] = updates + pt.cast(is_full, "int64")
    if close is not None:
        is_full = pt.or_(is_full, pt.neq(close, 0))
    step[gathered] = pt.switch(is_full, 0, n)
    return is_full, n


# --- Stages and selectors ---------------------------------------------------------------------------------------------


def kind_of(stage):
    """The kind of a stage, by the first argument that it still takes by position."""
    try:
        parameters = signature(stage).parameters.values()
    except (TypeError, ValueError):
        raise TypeError(f"a stage of a chain must be a function with a signature, not {stage!r}.") from None
    first = next((q.name for q in parameters if q.kind in (q.POSITIONAL_ONLY, q.POSITIONAL_OR_KEYWORD)), None)
    if first not in KINDS:
        raise TypeError(
            "the first argument of a stage must be called grads (of a gradient transform), loss_or_grads (of a rule) "
            f"or updates (of an update transform), but that of {stage!r} is {first}."
        )
    return KINDS[first]


def call(name, stage, data, params):
    """What a stage returns: a rule is given the parameters, and a transform, if it takes them and has none."""
    kind = kind_of(stage)
    if kind == "rule":
        return called(name, stage, data, params, kind=kind)
    own = getattr(stage, "keywords", {}).get("params")
    takes = "params" in signature(stage).parameters
    return called(name, stage, data, kind=kind, **({"params": params} if takes and own is None else {}))


def selector_name(function, key):
    return f"{function}: the selector of groups[{key!r}]"


def divided(function, params, selectors):
    """The places of the parameters of each group: a parameter belongs to the first whose selector selects it."""
    names, known = parameter_names(params), {*params, *map(whole, params)}
    members, taken = {}, {}
    for key, selector in selectors.items():
        name = selector_name(function, key)
        selected = dict.fromkeys(select(name, selector, params, names))
        if absent := [str(p) for p in selected if p not in known]:
            raise ValueError(f"{name} has {', '.join(absent)}, not among the parameters {', '.join(names)}.")
        places = [i for i, p in enumerate(params) if p in selected or whole(p) in selected]
        members[key] = [i for i in places if i not in taken]
        if places and not members[key] and selector is not ...:
            told = ", ".join(f"{names[i]} in groups[{taken[i]!r}]" for i in places)
            raise ValueError(
                f"{name} selects only what groups before it have: {told}. A parameter belongs to the "
                "first group that selects it; put the narrower group first, or leave one out."
            )
        taken |= dict.fromkeys(members[key], key)
    if rest := [name for i, name in enumerate(names) if i not in taken]:
        raise ValueError(f"{function}: no group has {', '.join(rest)}; add (..., optimizer) for all the rest.")
    return members
