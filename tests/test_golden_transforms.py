"""Transforms, constraints and the like against optax, torch and Keras: see golden/generate_transforms.py."""

import json
from functools import partial
from inspect import signature
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import symupdates
from symupdates import constraints, gradients, schedules, transforms
from symupdates.random import threefry

pytestmark = pytest.mark.once

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transforms.json").read_text())
PARTS = ("gradients", "updates", "plateaus", "constraints", "threefry")
RTOL = 1e-12
function = partial(pytensor.function, mode="FAST_COMPILE")


def each(part, *names):
    """A parametrization over the cases of a part of the file; their ids have what they hold by those names."""
    cases = enumerate(GOLDEN[part])
    params = [pytest.param(case, id="-".join([str(i), *(str(case[name]) for name in names)])) for i, case in cases]
    return pytest.mark.parametrize("case", params)


def array(x):
    """An array of stored numbers, of which those that JSON lacks are strings."""
    return np.array(x, dtype="float64")


def check(value, golden, message=""):
    golden = array(golden)
    assert (value.dtype, value.shape) == (golden.dtype, golden.shape)
    np.testing.assert_allclose(value, golden, rtol=RTOL, atol=0, err_msg=message)


def shared_variables(values):
    return [pytensor.shared(array(x), name=f"p{i}", shape=np.shape(x)) for i, x in enumerate(values)]


def gradient_inputs(values):
    return [pt.tensor(f"g{i}", shape=np.shape(x), dtype="float64") for i, x in enumerate(values)]


def test_the_file_holds_what_is_expected():
    assert {"optax", "torch", "keras", "jax"} < set(GOLDEN["versions"])
    assert all(GOLDEN[part] for part in PARTS)
    compared = {case["transform"] for case in GOLDEN["gradients"] + GOLDEN["updates"]}
    # The noise of each is its own; the momenta are compared with the rules, and the proximal step with scikit-learn, in
    # test_proximal.py. The others no peer has.
    without = {
        "add_l1",
        "clip_by_percentile",
        "clip_by_zscore",
        "orthograd",
        "grokfast",
        "mars",
        "apply_cautious",
        "apply_swag",
    }
    without |= {"add_noise", "apply_momentum", "apply_nesterov_momentum", "apply_proximal"}
    public = {name for name in transforms.__all__ if name.startswith("apply_")} | {*gradients.__all__}
    assert compared == (public - without) | {"total_norm_constraint", "accumulate"}
    others = {"norm_constraint", "total_norm_constraint"}
    assert {case["constraint"] for case in GOLDEN["constraints"]} == {*constraints.__all__} - others


@each("gradients", "transform", "peer")
def test_gradients(case):
    transform = getattr(gradients, case["transform"], None) or getattr(symupdates, case["transform"])
    for name, golden in zip(case["on"], case["values"], strict=True):
        given = GOLDEN["inputs"][name]
        params, grads = shared_variables(given["params"]), gradient_inputs(given["grads"])
        takes = {"params": params} if "params" in signature(transform).parameters else {}
        transformed = function(grads, transform(grads, **takes, **case["hyper"]))(*map(array, given["grads"]))
        for value, expected in zip(transformed, golden, strict=True):
            check(value, expected, f"of the gradients {name}")


@each("updates", "transform", "peer")
def test_updates(case):
    transform = getattr(gradients, case["transform"], None) or getattr(symupdates, case["transform"])
    rule = partial(getattr(symupdates, case["rule"]), **case["rule_hyper"])
    params, grads = shared_variables(GOLDEN["start"]), gradient_inputs(GOLDEN["start"])
    if case["transform"] == "accumulate":
        updates = transform(rule, **case["hyper"])(grads, params)
    elif case["transform"] in gradients.__all__:
        updates = rule(transform(grads, params, **case["hyper"]), params)
    else:
        only = {} if case["only"] is None else {"params": [params[i] for i in case["only"]]}
        updates = transform(rule(grads, params), **only, **case["hyper"])
    is_average = case["transform"] in ("apply_ema", "apply_polyak_average")
    read = symupdates.averages(updates).values() if is_average else params
    do_step = function(grads, [], updates=updates)
    golden = dict(zip(case["steps"], case["values"], strict=True))
    for step, row in enumerate(GOLDEN["paths"][case["path"]], start=1):
        do_step(*map(array, row))
        if step in golden:
            for variable, expected in zip(read, golden.pop(step), strict=True):
                check(variable.get_value(), expected, f"{variable} after step {step}")
    assert not golden


@each("plateaus", "peer", "losses")
def test_plateaus(case):
    loss = pytensor.shared(np.asarray(0.0), name="loss")
    rate = schedules.reduce_on_plateau(case["value"], loss, **case["hyper"])
    # From zero, a step against a gradient of minus one ends at the rate.
    p, g = pytensor.shared(np.asarray(0.0), name="p"), pt.constant(-1.0)
    do_step = function([], [], updates=symupdates.sgd([g], [p], learning_rate=rate))
    changes = dict(case["changes"])
    expected = None
    # The last rate is what all losses make of it; the loss of its own update is of no matter.
    for t, x in enumerate([*GOLDEN["losses"][case["losses"]], 0.0]):
        loss.set_value(array(x))
        p.set_value(array(0.0))
        do_step()
        expected = changes.pop(t, expected)
        check(p.get_value(), expected, f"at update {t}")
    assert not changes


@each("constraints", "constraint", "peer")
def test_constraints(case):
    value = array(GOLDEN["tensors"][case["x"]])
    x = pt.tensor("x", shape=value.shape, dtype="float64")
    constrained = getattr(constraints, case["constraint"])(x, **case["hyper"])
    check(function([x], constrained)(value), case["values"])


@each("threefry", "key")
def test_threefry(case):
    key, counters = pt.vector("key", dtype="uint32"), pt.matrix("counters", dtype="uint32")
    words = threefry(key[0], key[1], counters[:, 0], counters[:, 1])
    given = [np.array(case[name], dtype="uint32") for name in ("key", "counters")]
    got = function([key, counters], list(words))(*given)
    assert [x.dtype for x in got] == ["uint32", "uint32"]
    np.testing.assert_array_equal(np.transpose(got), case["words"])
