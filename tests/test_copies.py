"""Updates dicts that are copied or pickled: all that belongs to them is the copy's own."""

import copy
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, call, every_rule_once, make_param, values
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import ancestors

import symupdates
from symupdates.core import is_state

WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda updates: pickle.loads(pickle.dumps(updates)),
    "cloudpickle": lambda updates: pickle.loads(pytest.importorskip("cloudpickle").dumps(updates)),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def again(request):
    return request.param


def mixed():
    """A named and an unnamed parameter, in float32 and float64; numbers, a variable and a schedule; an average."""
    params = [make_param((3, 2), "float32", "W"), make_param((2,), "float64")]
    rate = pytensor.shared(0.25, name="rate")
    schedule = symupdates.schedules.linear(0.5, 0.0, steps=4)
    optimizer = symupdates.chain(
        symupdates.adam(learning_rate=rate, beta1=schedule),
        symupdates.apply_momentum(params="^W", momentum=0.5),
        symupdates.apply_ema(decay=0.75),
    )
    return optimizer(sum((p**2).sum() for p in params), params)


def check_own(copied, updates):
    """No variable of the one is one of the other, in the graphs or in the tags."""
    own, other = (set(ancestors([*u, *u.values()])) for u in (copied, updates))
    assert own.isdisjoint(other)
    for v in filter(is_state, copied):
        tag = v.tag.symupdates
        assert tag.parameter is None or tag.parameter in copied
        assert tag.next_value is None or own.issuperset(ancestors([tag.next_value], blockers=own))


@pytest.mark.once
@every_rule_once
def test_every_rule(row):
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    params = [make_param(row.shape, "float64", "p"), make_param(row.shape, "float32", "q")]
    updates = call(row, [g, g], params)
    for again in (WAYS["deepcopy"], WAYS["pickle"]):
        updates_again, g_again = again((updates, g))
        check_own(updates_again, updates)
        assert equal_computations(
            list(updates_again.values()), list(updates.values()), [*updates_again, g_again], [*updates, g]
        )
        assert list(symupdates.named(updates_again)) == list(symupdates.named(updates))
        assert list(symupdates.hyperparameters(updates_again)) == list(symupdates.hyperparameters(updates))
        assert symupdates.summary(updates_again) == symupdates.summary(updates)


def test_what_belongs_to_a_dict(again):
    updates = mixed()
    copied = again(updates)
    check_own(copied, updates)
    names = [*("adam/learning_rate", "adam/beta1", "adam/beta2", "adam/epsilon"), "ema/decay", "momentum/momentum"]
    expected = [0.25, 0.5, 0.999, 1e-8, 0.75, 0.5]
    found = symupdates.hyperparameters(copied)
    assert [name for name in found if name in names] == names
    assert [float(np.asarray(found[name].eval(mode=PYTHON))) for name in names] == expected
    assert symupdates.summary(copied) == symupdates.summary(updates)

    # A copy of a copy, adjusted: each number once, for both dtypes.
    adjusted = symupdates.adjustable(again(copied))
    named = symupdates.named(adjusted)
    assert [name for name in names if name in named] == names[2:]
    assert {float(named[name].get_value()) for name in names[2:]} == set(expected[2:])

    step = pytensor.function([], [], updates=copied, mode=PYTHON)
    before, start = values(updates), values(copied)
    step()
    for a, b in zip(before, values(updates), strict=True):
        np.testing.assert_array_equal(a, b)
    W, b = (v for v in copied if not is_state(v))
    averages = symupdates.averages(copied)
    assert list(averages) == [W, b] and set(averages.values()) <= set(copied)
    moved = W.get_value()
    symupdates.swap_averages(copied)
    np.testing.assert_array_equal(averages[W].get_value(), moved)
    symupdates.reset(copied)
    for v, value in zip(copied, start, strict=True):
        if is_state(v):
            begun = v.tag.symupdates.parameter.get_value() if v in averages.values() else value
            np.testing.assert_array_equal(v.get_value(), begun)


def test_a_copy_trains_as_the_original(again):
    updates = mixed()
    runs = []
    for u in (updates, again(updates)):
        step = pytensor.function([], [], updates=u, mode=PYTHON)
        for _ in range(3):
            step()
        runs.append(values(u))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
