"""chain, partition and merge."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from functools import partial

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, call, every_rule_once, make_param, values
from pytensor.graph.basic import equal_computations
from pytensor.graph.replace import graph_replace
from table import ROWS

from symupdates import (
    accumulate,
    adam,
    apply_momentum,
    apply_nesterov_momentum,
    asam,
    chain,
    gradients,
    line_search,
    mechanic,
    merge,
    momentum,
    muon,
    named,
    partition,
    rmsprop,
    rows,
    sam,
    schedules,
    sgd,
    spsa,
    total_norm_constraint,
)


def train(updates, inputs, given):
    step = pytensor.function(inputs, [], updates=updates, mode=PYTHON)
    for g in given:
        step(g)


@pytest.fixture
def problem():
    W, b, c = make_param((3, 2), "float64", "W"), make_param((2,), "float32", "b"), make_param((), "float64")
    return [W, b, c], (W**2).sum() + (b**2).sum() + c**2


def trained(optimizer, problem, steps=4):
    """Where the optimizer takes copies of the parameters."""
    params, loss = problem
    copies = [pytensor.shared(p.get_value(), name=p.name) for p in params]
    updates = optimizer(graph_replace(loss, dict(zip(params, copies, strict=True))), copies)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(steps):
        step()
    return values(copies), updates


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_equal_expressions(updates, expected):
    """Of keys that have the same names; state is not the same variable, but stands in the same places."""
    assert [v.name for v in updates] == [v.name for v in expected]
    assert equal_computations(list(updates.values()), list(expected.values()), list(updates), list(expected))


def test_a_chain_is_its_stages(problem):
    clip, rule, accelerate = partial(total_norm_constraint, max_norm=0.5), rmsprop(learning_rate=0.01), apply_momentum()

    def by_hand(loss, params):
        return apply_momentum(rmsprop(clip(pytensor.grad(loss, params)), params, 0.01), params)

    got, updates = trained(chain(clip, rule, accelerate), problem)
    expected, by_hand_updates = trained(by_hand, problem)
    assert_same(got, expected)
    assert [v.name for v in updates] == [v.name for v in by_hand_updates]
    start = values(problem[0])
    assert all(np.abs(a - b).min() > 0 for a, b in zip(got, start, strict=True))


@every_rule_once
def test_a_chain_of_a_rule_is_the_rule(row, problem):
    """The same expressions, of state of the same names."""
    rule = partial(row.rule, **row.hyper, **dict(row.structure))
    params, loss = problem
    assert_equal_expressions(chain(rule)(loss, params), rule(loss, params))


def test_chains_nest_and_take_functions(problem):
    def halve(grads):
        return [g / 2 for g in grads]

    def stay_positive(updates, params):
        return OrderedDict((v, pt.maximum(x, 0) if v in params else x) for v, x in updates.items())

    inner = chain(halve, momentum(learning_rate=0.1))
    got, updates = trained(chain(gradients.add_l2(coefficient=0.5), inner, stay_positive), problem)
    assert all((p >= 0).all() for p in got)
    assert len(updates) == 6
    waiting = chain(inner)()
    assert isinstance(waiting, partial)
    assert_same(trained(waiting, problem)[0], trained(inner, problem)[0])
    with pytest.raises(ValueError, match="chain: params missing"):
        inner(problem[1])


def test_stages_that_take_parameters_get_them(problem):
    params, loss = problem
    optimizer = chain(
        gradients.add_l1(coefficient=1.0), sgd(learning_rate=0.1), apply_nesterov_momentum(params=params[:1])
    )
    assert [v.name for v in optimizer(loss, params)][3:] == ["W/nesterov_momentum/velocity"]


def test_every_call_of_a_chain_is_fresh(problem):
    params, loss = problem
    optimizer = chain(gradients.clip_by_norm(max_norm=lambda step: 1.0 + step), adam(learning_rate=lambda step: 0.1))
    first, second = optimizer(loss, params), optimizer(loss, params)
    assert list(map(str, first)) == list(map(str, second))
    assert set(first) & set(second) == set(params)


def test_wrong_chains():
    clip, rule, accelerate = gradients.sign(), sgd(), apply_momentum()
    for stages in [(), (clip,), (rule, rule), (rule, clip), (accelerate, rule), (clip, accelerate)]:
        with pytest.raises(ValueError, match="one rule, and any number of update transforms, in this order; got"):
            chain(*stages)
    with pytest.raises(TypeError, match=r"must be called grads .*loss_or_grads .*updates .* is g\."):
        chain(lambda g: g, rule)
    with pytest.raises(TypeError, match=r"function with a signature, not 0\.1"):
        chain(rule, 0.1)


def test_stages_that_return_something_else(problem):
    params, loss = problem

    def stay_positive(updates):
        updates.update({v: pt.maximum(x, 0) for v, x in updates.items()})

    for stages, message in [
        (
            (sgd(), stay_positive),
            r"chain: stages\[1\], stay_positive, returned None; the update transform must .* di",
        ),
        (
            (sgd(), lambda updates: list(updates.items())),
            r"chain: stages\[1\], <lambda>, returned \[.* update tran",
        ),
        (
            (lambda loss_or_grads, params: None, apply_momentum()),
            r"stages\[0\], <lambda>, returned None; the rule m",
        ),
        ((lambda grads: None, sgd()), "returned None; the gradient transform must .* one for each of the 3 gradients"),
        ((lambda grads: grads[0].sum(), sgd()), "the gradient transform must return a list of tensors"),
        ((gradients.sign(), lambda grads: grads[:2], sgd()), r"stages\[1\], <lambda>, returned"),
        ((lambda grads: [*grads[:2], None], sgd()), "the gradient transform must return a list of tensors"),
        (
            (gradients.clip_by_total_norm(return_norm=True), sgd()),
            r"stages\[0\], clip_by_total_norm\(max_norm=1.0, return_norm=True\), returned \(\[",
        ),
    ]:
        with pytest.raises(TypeError, match=message):
            chain(*stages)(loss, params)


def test_optimizers_that_return_something_else(problem):
    params, loss = problem

    def idle(loss_or_grads, params):
        return [(p, p) for p in params]

    for optimizer, name in [
        (partition(("b", sgd()), (..., idle)), r"partition: groups\[1\]"),
        (accumulate(idle), "accumulate: optimizer"),
        (mechanic(idle), "mechanic: optimizer"),
        (line_search(idle), "line_search: optimizer"),
        (sam(optimizer=idle), "sam: optimizer"),
        (asam(optimizer=idle), "asam: optimizer"),
        (spsa(optimizer=idle), "spsa: optimizer"),
        (muon(others=idle), "muon: others"),
    ]:
        with pytest.raises(TypeError, match=rf"{name}, idle, returned \[.*; the optimizer must return a dict"):
            optimizer(loss, params)


def test_a_rule_by_hand_advances_what_its_gradients_read():
    """The noise before it, the schedule of a rule around it, the directions of an estimate: as before any rule."""

    def by_hand(loss_or_grads, params):
        return {p: p - 0.5 * g for p, g in zip(params, loss_or_grads, strict=True)}

    noise = gradients.add_noise(seed=1)
    radius = schedules.linear(0.1, 0.2, 10)
    p = pytensor.shared(np.ones(2), name="p")
    for around, names in (
        (lambda rule: chain(noise, rule), ["p", "add_noise/rng"]),
        (lambda rule: chain(noise, partition((..., rule))), ["p", "add_noise/rng"]),
        (lambda rule: sam(rho=radius, optimizer=rule), ["p", "sam/t"]),
        (lambda rule: spsa(seed=1, optimizer=rule), ["p", "spsa/rng"]),
    ):
        for rule in (by_hand, sgd()):
            updates = around(rule)((p**2).sum(), [p])
            assert [v.name for v in updates] == names


# --- Copies -----------------------------------------------------------------------------------------------------------

OPTIMIZERS = [
    adam(learning_rate=schedules.cosine_decay(0.1, 100)),
    chain(gradients.clip_by_total_norm(max_norm=1.0), adam(learning_rate=0.1), apply_momentum()),
    partition(("W", None), (..., sgd(learning_rate=0.1))),
    accumulate(rmsprop(learning_rate=0.1), every=2),
    mechanic(chain(gradients.add_l2(), sgd()), betas=3),
    line_search(sgd(), c2=None),
]

every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.func.__name__)


@every_optimizer
def test_optimizers_are_copied_and_pickled(optimizer, problem):
    params, loss = problem
    assert repr(optimizer()) == repr(optimizer)
    for same in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), optimizer(), chain(optimizer)):
        assert_equal_expressions(same(loss, params), optimizer(loss, params))


def test_optimizers_of_functions_are_pickled_by_cloudpickle(problem):
    cloudpickle = pytest.importorskip("cloudpickle")
    params, loss = problem
    optimizer = partition((lambda p: p.ndim == 2, chain(lambda grads: grads[::-1], sgd())), (..., adam()))
    assert_equal_expressions(cloudpickle.loads(cloudpickle.dumps(optimizer))(loss, params), optimizer(loss, params))


def test_optimizers_show_how_they_were_made():
    shown = {optimizer.func.__name__: repr(optimizer) for optimizer in OPTIMIZERS}
    assert shown["adam"].startswith("adam(learning_rate=cosine_decay(0.1, 100), beta1=0.9, ")
    assert shown["chain"].startswith("chain(stages=(clip_by_total_norm(max_norm=1.0, return_norm=False), adam(learning")
    assert shown["partition"] == "partition(groups={0: ('W', None), 1: (Ellipsis, sgd(learning_rate=0.1))})"
    assert repr(accumulate(sgd, every=np.int64(2))) == "accumulate(optimizer=sgd, every=2, mean=True, close=None)"


@pytest.mark.parametrize(
    "make",
    [
        lambda p: chain(sgd(), apply_momentum(params=[p])),
        lambda p: partition(([p], sgd())),
        lambda p: accumulate(partition(([p], sgd()))),
        lambda p: mechanic(partition(([p], sgd()))),
    ],
)
def test_optimizers_do_not_outlive_their_use(make):
    p = make_param((2,), "float64", "p")
    p_is_there = weakref.ref(p)
    optimizer = make(p)
    updates = optimizer((p**2).sum(), [p])
    assert p in updates and isinstance(optimizer(), partial)
    del p, optimizer, updates
    gc.collect()
    assert p_is_there() is None


# --- Groups -----------------------------------------------------------------------------------------------------------


@every_rule_once
def test_everything_in_one_group_is_the_rule(row, problem):
    rule = partial(row.rule, **row.hyper, **dict(row.structure))
    params, loss = problem
    assert_equal_expressions(partition((..., rule))(loss, params), rule(loss, params))


def test_selectors(problem):
    params, loss = problem
    W, b, c = params
    for selector in ("^W$", [W], (W,), lambda p: p.ndim == 2):
        updates = partition((selector, adam()), (..., sgd()))(loss, params)
        assert [v.name for v in updates] == ["W/adam/m", "W/adam/v", "W", "adam/t", "b", None]
    updates = partition((r"param\[2\]", sgd()), ("W|b", None))(loss, params)
    assert list(updates) == [c]
    assert list(partition(([], adam()), (..., sgd()))(loss, params)) == params
    assert list(partition(("b", sgd()), ("W|b", sgd()), (..., None))(loss, params)) == [b, W]


def test_groups_have_rates_and_clocks_of_their_own(problem):
    params, _ = problem
    optimizer = partition(
        ("W", adam(learning_rate=lambda step: 0.1 / (1 + step))), (..., adam(learning_rate=lambda step: 0.0 * step))
    )
    got, updates = trained(optimizer, problem)
    start = values(params)
    assert np.abs(got[0] - start[0]).min() > 0
    assert_same(got[1:], start[1:])
    names = [v.name for v in updates if v.name]
    assert len(set(names)) == len(names)
    assert [name for name in names if name.endswith("/t")] == ["adam/t", "adam_2/t"]


def test_gradients_are_clipped_before_the_groups(problem):
    """The norm of all gradients, not of each group's; its count is in the dict once."""
    params, _ = problem
    clip = gradients.clip_by_total_norm(max_norm=lambda step: 1.0 + step)
    groups = partition(("W", sgd(learning_rate=1.0)), (..., sgd(learning_rate=1.0)))
    got, updates = trained(chain(clip, groups), problem, steps=1)
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(got, values(params), strict=True)))
    np.testing.assert_allclose(moved, 1.0, rtol=1e-6)
    assert [v.name for v in updates] == ["W", "clip_by_total_norm/t", "b", None]


def test_wrong_groups(problem):
    params, loss = problem
    stranger = make_param((2,), "float64", "stranger")
    with pytest.raises(ValueError, match=r"no group has W, param\[2\]; add \(\.\.\., optimizer\) for all the rest"):
        partition(("b", sgd()))(loss, params)
    with pytest.raises(ValueError, match=r"groups\['own'\] has stranger, not among the parameters W, b, param\[2\]"):
        partition((..., sgd()), own=([stranger], sgd()))(loss, params)
    for group in (sgd(), ("W",), ("W", 0.1), ("W", sgd(), 1)):
        with pytest.raises(TypeError, match="must be a pair"):
            partition(group)
    with pytest.raises(
        TypeError, match=r"groups\[0\] must be a list of parameters, a pattern of their names, .*, not 3"
    ):
        partition((3, sgd()))


def test_groups_without_parameters(problem):
    """Nobody writes a pattern, or a function, that selects nothing on purpose."""
    params, loss = problem
    rest = (..., None)
    for selector in ("^w$", "W/adam", lambda p: p.ndim > 2):
        with pytest.raises(ValueError, match=r"selector of groups\[0\]: the (pattern|function)"):
            partition((selector, sgd()), rest)(loss, params)
    for selector in ("^W$", "W", [params[0]], lambda p: p.ndim == 2):
        with pytest.raises(
            ValueError, match=r"groups\['late'\] selects only .*: W in groups\[1\]\. .* narrower group first"
        ):
            partition(("b", sgd()), ("W", sgd()), late=(selector, adam()), rest=rest)(loss, params)
    for groups in ([("W", sgd()), ([], adam()), rest, rest], [("W|b", sgd()), (..., sgd()), rest]):
        assert params[0] in partition(*groups)(loss, params)
    assert partition(("W", sgd()), (lambda p: True, sgd()))(loss, []) == {}


def test_groups_of_rows():
    """A table selects all rows of it, by itself or its name."""
    E = make_param((5, 2), "float64", "E")
    here, there = rows(E, [0, 1]), rows(E, [2])
    loss = (here**2).sum() + (there**2).sum()
    for selector in ([E], [here, there], "^E$", lambda p: p.ndim == 2):
        assert list(partition((selector, sgd()))(loss, [here, there])) == [E]
    with pytest.raises(ValueError, match=r"groups\[0\] has E\[\.\.\.\], not among the parameters E"):
        partition(([here], sgd()))((E**2).sum(), [E])


# --- Dicts ------------------------------------------------------------------------------------------------------------


def test_merge():
    a, b, g = make_param((2,), "float64"), make_param((2,), "float64"), pt.vector("g")
    first, second = adam([g], [a]), adam([g], [b])
    entries = list(first.items())
    merged = merge(first, second)
    assert type(merged) is OrderedDict and list(first.items()) == entries
    assert list(merged) == [*first, *second]
    assert [v.name for v in second][-1] == "adam/t"
    state = [name for name, v in named(merged).items() if v not in (a, b)]
    assert state == [
        "param[0]/adam/m",
        "param[0]/adam/v",
        "adam/t",
        "param[1]/adam/m",
        "param[1]/adam/v",
        "adam_2/t",
    ]
    assert merge() == OrderedDict()
    assert merge(first, first) == first
    with pytest.raises(ValueError, match=r"more than one of the dicts updates W, b;"):
        W, b = make_param((2,), "float64", "W"), make_param((2,), "float64", "b")
        merge(sgd([g, g], [W, b]), sgd([g, g], [W, b]))
    with pytest.raises(TypeError, match="merge: updates must be a dict"):
        merge(first, list(second.items()))


def test_numbers_of_a_partition():
    """Two rules at once, each as its oracle."""
    given = oracles.gradients(6, (16,))
    g = pt.tensor("g", shape=(16,), dtype="float64")
    rows = {row.name: row for row in ROWS}
    p, q = make_param((16,), "float64", "p"), make_param((16,), "float64", "q", seed=1)
    starts = values([p, q])
    optimizer = partition(
        ("p", partial(call_row, rows["adagrad"])),
        ("q", partial(call_row, rows["adadelta"])),
    )
    train(optimizer([g, g], [p, q]), [g], given)
    for v, start, name in ((p, starts[0], "adagrad"), (q, starts[1], "adadelta")):
        *_, last = rows[name].oracle(start, given, **dict(rows[name].structure), **rows[name].hyper)
        np.testing.assert_allclose(v.get_value(), last["param"], rtol=1e-12)


def call_row(row, loss_or_grads, params):
    return call(row, loss_or_grads, params)
