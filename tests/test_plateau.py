"""reduce_on_plateau: a schedule with state, on the graph."""

import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, values

import symupdates as su
from symupdates.schedules import linear, reduce_on_plateau, warmup

LOSSES = [4.0, 3.0, 3.5, 2.99, 2.98, 5.0, np.nan, 3.0, 3.0, 1.0, -1.0, -0.999, -1.0001, -1.2, 7.0, 7.0, 7.0, 7.0, 7.0]


def by_definition(losses, factor=0.1, patience=10, rtol=1e-4, atol=0.0, cooldown=0, every=1, minimum=0.0):
    """The rate before each update, from 1."""
    scale, best, bad, cooling, gathered = 1.0, np.inf, 0, 0, []
    for loss in losses:
        yield max(scale, minimum)
        gathered.append(loss)
        if len(gathered) < every:
            continue
        mean, gathered = np.mean(gathered), []
        bad += 1
        if best == np.inf or mean < best - rtol * abs(best) - atol:
            best, bad = mean, 0
        if cooling:
            cooling, bad = cooling - 1, 0
        elif bad >= patience:
            scale, bad, cooling = scale * factor, 0, cooldown


CASES = [
    {"patience": 1, "factor": 0.5},
    {"patience": 2, "factor": 0.5, "rtol": 0.01},
    {"patience": 2, "factor": 0.5, "rtol": 0.0, "atol": 0.015},
    {"patience": 1, "factor": 0.25, "cooldown": 2},
    {"patience": 1, "factor": 0.5, "every": 3},
    {"patience": 1, "factor": 0.125, "minimum": 0.1},
    {"patience": 2, "factor": 0.5, "cooldown": 1, "every": 2, "rtol": 0.1},
]


def test_values(backend):
    """Each case as the learning rate of a parameter that falls by it."""
    loss = pt.scalar("loss", dtype="float32")
    updates, params = {}, []
    for i, case in enumerate(CASES):
        params.append(pytensor.shared(0.0, name=f"p{i}"))
        rate = reduce_on_plateau(1.0, loss, **case)
        updates |= su.sgd([pt.constant(1.0)], params[-1:], learning_rate=rate)
    step = pytensor.function([loss], [], updates=updates, mode=backend)
    path = [np.array(values(params))]
    for given in LOSSES:
        step(np.float32(given))
        path.append(np.array(values(params)))
    rates = -np.diff(path, axis=0).T
    losses = np.array(LOSSES, dtype="float32").astype("float64")
    for case, got in zip(CASES, rates, strict=True):
        expected = list(by_definition(losses, **case))
        assert len(set(expected)) > 1
        np.testing.assert_allclose(got, expected, rtol=1e-12, err_msg=str(case))
    for v in updates:
        assert v.get_value().dtype == v.dtype


def test_of_a_schedule_and_in_one():
    """It lowers what any schedule says; and a warm-up goes before it."""
    loss = pt.scalar("loss", dtype="float64")
    p, q = pytensor.shared(0.0, name="p"), pytensor.shared(0.0, name="q")
    lowered = reduce_on_plateau(linear(1.0, 0.0, 10), loss, factor=0.5, patience=3)
    warm = warmup(reduce_on_plateau(1.0, loss, factor=0.5, patience=3), 4)
    updates = su.merge(
        su.sgd([pt.constant(1.0)], [p], learning_rate=lowered), su.sgd([pt.constant(1.0)], [q], learning_rate=warm)
    )
    names = [name for name in su.named(updates) if "plateau" in name]
    assert len(names) == 12
    step = pytensor.function([loss], [], updates=updates, mode=PYTHON)
    path = []
    for _ in range(8):
        before = p.get_value(), q.get_value()
        step(1.0)
        path.append([(before[0] - p.get_value()).item(), (before[1] - q.get_value()).item()])
    np.testing.assert_allclose(
        path,
        [[1, 0], [0.9, 0.25], [0.8, 0.5], [0.7, 0.75], [0.3, 0.5], [0.25, 0.5], [0.2, 0.5], [0.075, 0.25]],
        rtol=1e-12,
    )


def test_one_for_several():
    """Its state is its own: whoever uses it advances it, once a call."""
    loss = pt.scalar("loss", dtype="float64")
    p, q = pytensor.shared(0.0, name="p"), pytensor.shared(0.0, name="q")
    rate = reduce_on_plateau(1.0, loss, factor=0.5, patience=1)
    updates = su.partition(("p", su.sgd(learning_rate=rate)), (..., su.adam(learning_rate=rate, beta1=rate)))(
        [pt.constant(1.0), pt.constant(1.0)], [p, q]
    )
    assert sum("plateau" in v.name for v in updates) == 6
    step = pytensor.function([loss], [], updates=updates, mode=PYTHON)
    for _ in range(3):
        step(1.0)
    assert p.get_value() == -(1 + 1 + 0.5)
    su.reset(updates)
    assert su.named(updates)["reduce_on_plateau/best"].get_value() == np.inf
    assert su.named(updates)["reduce_on_plateau/scale"].get_value() == 1


def test_a_loss_that_is_set_from_time_to_time():
    validation = pytensor.shared(np.float32(1.0), name="validation")
    p = pytensor.shared(0.0, name="p")
    updates = su.sgd([pt.constant(1.0)], [p], learning_rate=reduce_on_plateau(1.0, validation, 0.5, 1, every=2))
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for loss in (1.0, 0.5, 0.75, 0.25):
        validation.set_value(np.float32(loss))
        step()
        step()
    assert p.get_value() == -(2 + 2 + 2 + 1)


def test_what_it_is():
    loss = pt.scalar("loss", dtype="float64")
    rate = reduce_on_plateau(0.1, loss, patience=5)
    assert repr(rate) == "reduce_on_plateau(0.1, loss, patience=5)"
    with pytest.raises(TypeError, match="depends on loss: call it with a symbolic step"):
        rate(3)
    again = pickle.loads(pickle.dumps(rate))
    assert repr(again) == repr(rate)
    for wrong in (1.0, None, "loss"):
        with pytest.raises(TypeError, match="reduce_on_plateau: loss must be a scalar variable"):
            reduce_on_plateau(0.1, wrong)
    with pytest.raises(TypeError, match="reduce_on_plateau: loss must be a real number or a scalar variable"):
        reduce_on_plateau(0.1, pt.vector())
    for name, value in {"factor": 0, "patience": 0, "cooldown": -1, "every": 1.5, "rtol": np.nan}.items():
        with pytest.raises(ValueError, match=f"reduce_on_plateau: {name} must be"):
            reduce_on_plateau(0.1, loss, **{name: value})
    with pytest.raises(TypeError, match="reduce_on_plateau: schedule must be"):
        reduce_on_plateau("0.1", loss)
