"""Reading hyper-parameters, changing them without compiling again, and the summary."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, call, every_rule_in_ci, make_param, values
from table import ROWS

import symupdates as su
from symupdates import adam, adjustable, apply_weight_decay, chain, gradients, hyperparameters, named, partition, sgd


@every_rule_in_ci
def test_all_of_every_rule(row):
    p = make_param((3, 2), "float32", "p")
    updates = call(row, [pt.tensor("g", shape=(3, 2), dtype="float64")], [p])
    found = {name: x for name, x in hyperparameters(updates).items() if name.startswith(row.name)}  # not a graft's
    assert list(found) == [f"{row.name}/{name}" for name in row.hyper]
    for name, x in found.items():
        assert x.eval(mode=PYTHON) == row.hyper[name.split("/")[1]]


@pytest.mark.parametrize("number", [1, 1.0, np.int8(1), np.uint16(1), np.float32(1), np.asarray(1)])
def test_numbers_of_any_kind(number):
    p = make_param((3,), "float32", "p")
    (rate,) = hyperparameters(sgd([pt.fvector()], [p], number)).values()
    assert rate.eval(mode=PYTHON) == number


@every_rule_in_ci
def test_any_can_be_changed(row):
    """Set to other values, they give what a dict made with those gives."""
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    other = {name: value / 2 for name, value in row.hyper.items()}
    p, q = make_param(row.shape, "float64", "p"), make_param(row.shape, "float64", "q")
    updates = adjustable(call(row, [g], [p]))
    expected = call(row, [g], [q], **other)
    for name, value in other.items():
        named(updates)[f"{row.name}/{name}"].set_value(value)
    step = pytensor.function([g], [], updates=updates | expected, mode=PYTHON)
    for t in range(5):
        step(np.random.default_rng(t).normal(size=row.shape))
    np.testing.assert_allclose(p.get_value(), q.get_value(), rtol=1e-12)


def test_adjusting_on_every_backend(backend):
    """Between calls, in both precisions, of gradient transforms and update transforms too; kept in checkpoints."""
    W, b = make_param((3,), "float64", "W"), make_param((2,), "float32", "b")
    optimizer = chain(
        gradients.clip_by_value(limit=1),
        sgd(learning_rate=0.5),
        apply_weight_decay(weight_decay=0.0, learning_rate=1.0),
        adjustable(),
    )
    updates = optimizer([pt.full((3,), 4.0), pt.full((2,), 4.0)], [W, b])
    assert set(named(updates)) == {
        "W",
        "b",
        "clip_by_value/limit",
        "sgd/learning_rate",
        "weight_decay/weight_decay",
        "weight_decay/learning_rate",
    }
    step = pytensor.function([], hyperparameters(updates)["sgd/learning_rate"], updates=updates, mode=backend)
    for name, value, change in (
        ("sgd/learning_rate", 0.5, -0.5),
        ("clip_by_value/limit", 2.5, -1.25),
        ("sgd/learning_rate", 0.25, -0.625),
    ):
        named(updates)[name].set_value(value)
        before = W.get_value(), b.get_value()
        assert step() == named(updates)["sgd/learning_rate"].get_value()
        for p, old in zip((W, b), before, strict=True):
            assert p.get_value().dtype == p.dtype
            np.testing.assert_allclose(p.get_value() - old, change, rtol=1e-5)
    named(updates)["weight_decay/weight_decay"].set_value(1.0)
    named(updates)["sgd/learning_rate"].set_value(0.0)
    step()
    assert not W.get_value().any()
    saved = su.state_dict(updates)
    assert saved["clip_by_value/limit"] == 2.5
    su.reset(updates)
    assert named(updates)["clip_by_value/limit"].get_value() == 1


def test_what_stays_as_it_is():
    """Schedules, variables and structure; the given dict; and without any number, everything."""
    W = make_param((3,), "float64", "W")
    rate = pytensor.shared(0.5, name="rate")
    updates = su.adagrad_window((W**2).sum(), [W], learning_rate=rate, epsilon=lambda step: 0.1 / (1 + step), n_win=4)
    before = dict(updates)
    after = adjustable(updates)
    assert updates == before and list(after) == list(before)
    assert list(hyperparameters(after)) == ["adagrad_window/learning_rate", "adagrad_window/epsilon"]
    assert hyperparameters(after)["adagrad_window/learning_rate"] is rate
    twice = adjustable(adjustable(sgd((W**2).sum(), [W])))
    assert list(named(twice)) == ["W", "sgd/learning_rate"]


def test_the_value_is_that_of_the_update():
    W = make_param((3,), "float64", "W")
    schedule = su.schedules.linear(1.0, 0.0, steps=4)
    updates = sgd([pt.ones(3)], [W], learning_rate=schedule)
    rate = hyperparameters(updates)["sgd/learning_rate"]
    step = pytensor.function([], rate, updates=updates, mode=PYTHON)
    for t in range(6):
        before = W.get_value()
        assert rate.eval(mode=PYTHON) == step() == schedule(t)
        np.testing.assert_allclose(before - W.get_value(), schedule(t), atol=1e-15)


def test_groups_and_repeats():
    W, b = make_param((3,), "float64", "W"), make_param((2,), "float32", "b")
    optimizer = chain(
        partition(("W", sgd(learning_rate=0.5)), (..., sgd(learning_rate=0.25))),
        su.apply_momentum(momentum=0.5),
        su.apply_momentum(momentum=0.25),
        adjustable(),
    )
    updates = optimizer((W**2).sum() + (b**2).sum(), [W, b])
    found = hyperparameters(updates)
    values = {name: x.eval(mode=PYTHON).item() for name, x in found.items()}
    assert values.pop("momentum/momentum") == 0.5 and values.pop("momentum_2/momentum") == 0.25
    assert values == {"sgd/learning_rate": 0.5, "sgd_2/learning_rate": 0.25}
    assert len({v.name for v in updates}) == len(updates)


def test_summary():
    W = pytensor.shared(np.ones((3, 2)), name="W")
    b = pytensor.shared(np.ones(2, "float32"), name="b")
    x = pt.dscalar("x")
    rng = pytensor.shared(np.random.default_rng(0), name="rng")
    updates = adam((W**2).sum() + (b**2).sum(), [W, b], learning_rate=su.schedules.linear(0.1, 0.0, 10), beta1=x)
    text = su.summary(updates | {rng: rng})
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["name", "rule", "slot", "dtype", "shape", "bytes"]
    assert ["W/adam/m", "adam", "m", "float64", "(3,", "2)", "48"] in lines
    assert ["b", "float32", "(2,)", "8"] in lines
    assert ["adam/t", "adam", "t", "int64", "()", "8"] in lines
    assert any(line[:1] == ["rng"] for line in lines)
    assert ["adam/learning_rate", "0.1", "linear(0.1,", "0.0,", "10)"] in lines
    assert ["adam/beta1", "?", "x"] in lines
    assert ["adam/epsilon", "1e-08", "1e-08"] in lines
    assert lines[-1] == "2 parameters of 8 elements, 56 bytes; state of 120 bytes, 2.14 times the parameters".split()
    assert not any(line != line.rstrip() for line in text.splitlines())
    pytensor.function([x], [], updates=updates, mode=PYTHON)(0.9)
    assert "adam/learning_rate  0.09" in su.summary(updates)
    assert su.summary({}).endswith("0 parameters of 0 elements, 0 bytes; state of 0 bytes")
    with pytest.raises(TypeError, match="keys of updates must be shared variables"):
        su.summary({x: x})


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in ("adam", "sgd")], ids=lambda row: row.name)
def test_adjustable_numbers_are_the_same_bits(row, backend):
    """A float32 parameter is trained by the same float32 hyper-parameters, whether numbers or shared."""
    g = pt.tensor("g", shape=(16,), dtype="float32")
    params = [make_param((16,), "float32", name) for name in "pq"]
    updates = row.rule([g], params[:1]) | adjustable(row.rule([g], params[1:]))
    step = pytensor.function([g], [], updates=updates, mode=backend)
    for t in range(5):
        step(np.random.default_rng(t).normal(size=16).astype("float32"))
    one, other = values(params)
    np.testing.assert_allclose(one, other, rtol=1e-6)
