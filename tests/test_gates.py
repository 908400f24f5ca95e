"""Gates: skipping, freezing, accumulating; what stands still and what goes on."""

import copy
import pickle

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param, values

import symupdates as su
from symupdates import (
    accumulate,
    adam,
    apply_freeze,
    apply_if_finite,
    apply_if_small,
    chain,
    gradients,
    named,
    partition,
    rmsprop,
    sgd,
)
from symupdates.core.state import advances

GATES = {
    "if finite": chain(adam(learning_rate=1e-9), apply_if_finite()),
    "if small": chain(adam(learning_rate=1e-9), apply_if_small(max_norm=np.inf)),
    "freeze": chain(adam(learning_rate=1e-9), apply_freeze(until=0)),
    "accumulate": accumulate(adam(learning_rate=1e-9), every=1),
}


def test_an_open_gate_changes_no_bit(backend):
    """Steps of the size of a float32 parameter's rounding, some below."""
    g = pt.tensor("g", shape=(16,), dtype="float32")
    params, updates = [], {}
    for optimizer in (adam(learning_rate=1e-9), *GATES.values()):
        params.append(pytensor.shared(np.logspace(-6, 1, 16).astype("float32")))
        updates |= optimizer([g], params[-1:])
    step = pytensor.function([g], [], updates=updates, mode=backend)
    start = params[0].get_value()
    for t in range(20):
        step(np.random.default_rng(t).normal(size=16).astype("float32"))
    bare, *gated = values(params)
    assert 4 < (bare != start).sum() < 16
    for name, value in zip(GATES, gated, strict=True):
        assert value.tobytes() == bare.tobytes(), name


def test_a_closed_gate_changes_nothing(backend):
    """Neither parameters nor state nor counts: those of the rule, of schedules, of transforms before the gate."""
    x = pt.dscalar("x")
    gates = [apply_if_finite(), apply_if_small(max_norm=1e6), apply_freeze(until=lambda step: np.inf)]
    kept = []
    updates = {}
    for i, gate in enumerate(gates):
        W = make_param((3,), "float64", f"W{i}")
        clip = gradients.clip_by_value(limit=lambda step: 1.0 + step)
        before = chain(clip, adam(learning_rate=lambda step: 0.1 / (1 + step)), su.apply_ema())((x * W).sum(), [W])
        updates |= gate(before)
        kept += list(before)
    step = pytensor.function([x], [], updates=updates, mode=backend)
    assert {v.name.split("/")[-1] for v in kept} == {"W0", "W1", "W2", "m", "v", "average", "t"}
    start = values(kept)
    for _ in range(3):
        step(np.nan)
    for variable, old, new in zip(kept, start, values(kept), strict=True):
        assert old.tobytes() == new.tobytes(), variable.name
    step(1.0)
    assert sum(np.any(old != new) for old, new in zip(start, values(kept), strict=True)) == 2 * len(kept) // 3


def test_skipped_updates_are_counted_and_limited(backend):
    x = pt.dscalar("x")
    W = pytensor.shared(np.float32(1.0), name="W")
    updates = apply_if_finite(sgd(x * W, [W], 0.25), limit=2)
    assert [v.name for v in updates] == ["W", "if_finite/skipped", "if_finite/in_a_row"]
    step = pytensor.function([x], [], updates=updates, mode=backend)
    seen = []
    for given in (1, np.nan, -np.inf, 1, np.nan, np.inf, np.nan, 1):
        step(given)
        seen.append([v.get_value().item() for v in updates])
    np.testing.assert_array_equal(
        seen,
        [
            [0.75, 0, 0],
            [0.75, 1, 1],
            [0.75, 2, 2],
            [0.5, 2, 0],
            [0.5, 3, 1],
            [0.5, 4, 2],
            [np.nan, 4, 3],  # the third in a row is let through
            [np.nan, 4, 4],
        ],
    )


def test_state_that_would_overflow_is_not_finite():
    """The step would be zero, g/√g², and the accumulator infinite for good."""
    x = pt.dscalar("x")
    W = pytensor.shared(1.0, name="W")
    updates = apply_if_finite(rmsprop(x * W, [W], learning_rate=0.25))
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    step(1e200)
    assert named(updates)["W/rmsprop/accu"].get_value() == 0
    assert named(updates)["if_finite/skipped"].get_value() == 1


def test_only_what_is_held_is_looked_at():
    x = pt.dscalar("x")
    W, b = pytensor.shared(1.0, name="W"), pytensor.shared(1.0, name="b")
    updates = apply_if_finite(sgd(W + x * b, [W, b], 0.25), params=[W])
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    step(np.inf)
    assert W.get_value() == 0.75 and b.get_value() == -np.inf
    assert apply_if_finite({}) == {}


def test_counts_of_frozen_parameters():
    """A count that others read goes on; that of a group of its own stands still, and the group begins afresh."""
    W, b, c = (pytensor.shared(1.0, name=name) for name in "Wbc")
    loss = W**2 + b**2
    shared = apply_freeze(adam(loss, [W, b]), params=[b], until=2)
    step = pytensor.function([], [], updates=shared, mode=PYTHON)
    for _ in range(3):
        step()
    assert named(shared)["adam/t"].get_value() == named(shared)["freeze/t"].get_value() == 3
    as_if_zero_before = 0.001 * np.sqrt(1 - 0.999**3) / (1 - 0.9**3) * (1 - 0.9) / np.sqrt(1 - 0.999)
    np.testing.assert_allclose(1 - b.get_value(), as_if_zero_before, rtol=1e-6)

    head, body = pytensor.shared(1.0, name="head"), pytensor.shared(1.0, name="body")
    optimizer = partition(
        ("head", adam(learning_rate=0.1)), (..., chain(adam(learning_rate=0.1), apply_freeze(until=2)))
    )
    own = optimizer(head**2 + body**2, [head, body])
    counts = [v for v in own if v.name.endswith("/t") or "/t[" in v.name]
    step = pytensor.function([], [], updates=own, mode=PYTHON)
    for _ in range(2):
        step()
    assert body.get_value() == 1 and sorted(v.get_value().item() for v in counts) == [0, 2, 2]
    step()
    np.testing.assert_allclose(body.get_value(), 0.9, rtol=1e-7)  # Adam's first step is the learning rate

    until = pytensor.shared(np.inf, name="until")
    updates = apply_freeze(sgd(c**2, [c], 0.25), until=until)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    step()
    assert c.get_value() == 1
    until.set_value(0)
    step()
    assert c.get_value() == 0.5


def test_gradual_unfreezing():
    layers = [make_param((2,), "float64", f"layer{i}") for i in range(3)]
    updates = sgd(sum((p**2).sum() for p in layers), layers, 0.125)
    for i, p in enumerate(layers):
        updates = apply_freeze(updates, params=[p], until=2 * (2 - i))
    start = values(layers)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for t in range(6):
        step()
        moved = [np.any(old != new) for old, new in zip(start, values(layers), strict=True)]
        assert moved == [t >= 4, t >= 2, True]


def test_random_generators_go_on_behind_a_closed_gate(backend):
    """An update that is skipped because of its noise is not met again."""
    W = make_param((4,), "float64", "W")
    noisy = chain(gradients.add_noise(eta=1.0, gamma=0.0, seed=0), sgd(learning_rate=1.0), apply_if_small(max_norm=1.0))
    updates = noisy([pt.zeros((4,))], [W])
    step = pytensor.function([], [], updates=updates, mode=backend)
    path = [W.get_value()]
    for _ in range(40):
        step()
        path.append(np.array(W.get_value()))
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert (lengths <= 1).all()
    assert 0 < (lengths > 0).sum() < 40
    assert named(updates)["if_small/skipped"].get_value() == (lengths == 0).sum()
    assert named(updates)["add_noise/rng"].get_value()[2] == 40


def test_accumulation_is_the_large_batch(backend):
    """With clipping inside, and a schedule that counts updates."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)), rng.normal(size=24)

    def optimizer():
        rate = su.schedules.inverse_time_decay(0.5, rate=1.0)
        return chain(gradients.clip_by_total_norm(max_norm=0.5), adam(learning_rate=rate))

    W, V = (make_param((3,), "float64", name) for name in "WV")
    all_of = list(pt.tensor(shape=shape, dtype="float64") for shape in ((24, 3), (24,)))
    some_of = list(pt.tensor(shape=shape, dtype="float64") for shape in ((6, 3), (6,)))
    large = optimizer()(((all_of[0] @ W - all_of[1]) ** 2).mean(), [W])
    small = accumulate(optimizer(), every=4)(((some_of[0] @ V - some_of[1]) ** 2).mean(), [V])
    step_large = pytensor.function(all_of, [], updates=large, mode=PYTHON)
    step_small = pytensor.function(some_of, [], updates=small, mode=backend)
    for _ in range(5):
        step_large(x, y)
        for part in range(4):
            before = V.get_value()
            step_small(x[6 * part : 6 * part + 6], y[6 * part : 6 * part + 6])
            assert np.array_equal(V.get_value(), before) == (part < 3)
        np.testing.assert_allclose(V.get_value(), W.get_value(), rtol=1e-12)
    assert named(small)["adam/t"].get_value() == 5
    assert named(small)["accumulate/t"].get_value() == 20
    assert (named(small)["V/accumulate/grads"].get_value() == 0).all()


def test_accumulation_in_a_chain_and_twice():
    W = pytensor.shared(1.0, name="W")
    optimizer = chain(accumulate(accumulate(sgd(learning_rate=1.0), every=2), every=3), su.apply_ema(decay=0.5))
    updates = optimizer(W, [W])
    assert len({v.name for v in updates}) == len(updates)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    path = []
    for _ in range(7):
        step()
        path.append(W.get_value().item())
    assert path == [1, 1, 1, 1, 1, 0, 0]


def windowed(windows, given, mean):
    """Adam by hand: what parameters are after each minibatch, where the gradients of some are gathered."""
    W = make_param((3,), "float64", "W")
    g = pt.tensor("g", shape=(3,), dtype="float64")
    step = pytensor.function([g], [], updates=adam([g], [W], learning_rate=lambda t: 0.1 / (1 + t)), mode=PYTHON)
    path, gathered = [], []
    for ends, gradient in zip(windows, given, strict=True):
        gathered.append(gradient)
        if ends:
            step(np.mean(gathered, axis=0) if mean else np.sum(gathered, axis=0))
            gathered = []
        path.append(W.get_value())
    return path


def run(optimizer, given, *others, mode=PYTHON, inputs=()):
    """The same of an optimizer, whose function has more inputs."""
    W = make_param((3,), "float64", "W")
    g = pt.tensor("g", shape=(3,), dtype="float64")
    updates = optimizer([g], [W])
    step = pytensor.function([g, *inputs], [], updates=updates, mode=mode)
    path = []
    for values_of_step in zip(given, *others, strict=True):
        step(*values_of_step)
        path.append(W.get_value())
    return path, named(updates)


GIVEN = np.random.default_rng(0).normal(size=(14, 3))
ADAM = adam(learning_rate=lambda t: 0.1 / (1 + t))


@pytest.mark.parametrize("mean", [True, False])
def test_an_incomplete_window_is_closed(backend, mean):
    """The last minibatches of an epoch of seven, by fours: the mean of three. The next epoch begins anew."""
    last = [i % 7 == 6 for i in range(14)]
    close = pt.scalar("close", dtype="bool")
    optimizer = accumulate(ADAM, every=4, mean=mean, close=close)
    path, state = run(optimizer, GIVEN, last, mode=backend, inputs=[close])
    expected = windowed([i % 7 in (3, 6) for i in range(14)], GIVEN, mean)
    np.testing.assert_allclose(path, expected, rtol=1e-12)
    assert list(state) == ["W/adam/m", "W/adam/v", "W", "adam/t", "W/accumulate/grads", "accumulate/gathered"]
    assert state["adam/t"].get_value() == 4 and state["accumulate/gathered"].get_value() == 0
    assert not state["W/accumulate/grads"].get_value().any()


def test_a_window_is_closed_by_a_shared_variable_or_an_expression():
    expected = windowed([t in (3, 5, 9) for t in range(10)], GIVEN[:10], True)
    closes = pytensor.shared(np.int8(0), name="closes")
    W, g = make_param((3,), "float64", "W"), pt.tensor("g", shape=(3,), dtype="float64")
    step = pytensor.function([g], [], updates=accumulate(ADAM, every=4, close=closes)([g], [W]), mode=PYTHON)
    for t, gradient in enumerate(GIVEN[:10]):
        closes.set_value(np.int8(t == 5))
        step(gradient)
        np.testing.assert_allclose(W.get_value(), expected[t], rtol=1e-12)
    t = pt.lscalar("t")
    path, _ = run(accumulate(ADAM, every=4, close=pt.eq(t, 5)), GIVEN[:10], range(10), inputs=[t])
    np.testing.assert_allclose(path, expected, rtol=1e-12)


def test_windows_of_a_length_that_changes(backend):
    """A schedule of the updates made: windows of 1, 2, 3 and 4; and a variable, also while a window is open."""
    expected = windowed([t in (0, 2, 5, 9) for t in range(14)], GIVEN, True)
    path, state = run(accumulate(ADAM, every=lambda step: 1 + step), GIVEN, mode=backend)
    np.testing.assert_allclose(path, expected, rtol=1e-12)
    assert state["accumulate/updates"].get_value() == 4 and state["accumulate/gathered"].get_value() == 4
    every = pt.lscalar("every")
    lengths = [3, 3, 3, 4, 4, 2, 2, 2, 9, 9, 9, 9, 3, 3]
    path, state = run(accumulate(ADAM, every=every), GIVEN, lengths, mode=backend, inputs=[every])
    np.testing.assert_allclose(path, windowed([t in (2, 5, 7, 12) for t in range(14)], GIVEN, True), rtol=1e-12)
    assert list(state)[-2:] == ["W/accumulate/grads", "accumulate/gathered"]


def test_lengths_of_windows_are_hyper_parameters():
    W = make_param((3,), "float64", "W")
    every = su.schedules.linear(1.0, 8.0, steps=4)  # 2.75 is rounded up
    path, _ = run(accumulate(ADAM, every=every), GIVEN)
    np.testing.assert_allclose(path, windowed([t in (0, 3, 8) for t in range(14)], GIVEN, True), rtol=1e-12)
    updates = accumulate(sgd(), every=every)((W**2).sum(), [W])
    assert su.hyperparameters(updates)["accumulate/every"].eval(mode=PYTHON) == 1
    plain = accumulate(sgd(), every=2)((W**2).sum(), [W])
    assert list(su.hyperparameters(plain)) == ["sgd/learning_rate"]
    assert [v.name for v in plain] == ["W", "accumulate/t", "W/accumulate/grads"]


def test_windows_in_a_loop_and_a_checkpoint(tmp_path):
    """Flags are a sequence as any other; a run goes on in the middle of a window."""
    close, g = pt.scalar("close", dtype="bool"), pt.tensor("g", shape=(3,), dtype="float64")
    gs, flags = pt.tensor("gs", shape=(None, 3), dtype="float64"), pt.vector("flags", dtype="bool")
    last = np.arange(14) % 7 == 6
    expected = windowed([i % 7 in (3, 6) for i in range(14)], GIVEN, True)
    ends = []
    for resumed in (False, True):
        W = make_param((3,), "float64", "W")
        updates = accumulate(ADAM, every=4, close=close)([g], [W])
        _, many = su.loop(None, updates, {g: gs, close: flags})
        step = pytensor.function([gs, flags], [], updates=many, mode=PYTHON)
        if resumed:
            su.load(tmp_path / "run", updates)
        else:
            step(GIVEN[:9], last[:9])
            su.save(tmp_path / "run", updates)
        step(GIVEN[9:], last[9:])
        ends.append(W.get_value())
    np.testing.assert_allclose(ends[0], expected[-1], rtol=1e-12)
    assert ends[0].tobytes() == ends[1].tobytes()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_advance_by_themselves(again):
    """State that advances by itself keeps the expression that says how; a copy's refers to the copy."""
    W = make_param((3,), "float64", "W")
    loss = (W**2).sum()
    rate = su.schedules.reduce_on_plateau(0.25, loss, patience=1, rtol=0.9)
    updates = chain(gradients.add_noise(seed=0), sgd(learning_rate=rate))(loss, [W])
    copied = again(updates)
    assert [v.name for v in copied] == [v.name for v in updates] and not set(copied) & set(updates)
    for u in (updates, copied):
        step = pytensor.function([], [], updates=u, mode=PYTHON)
        for _ in range(4):
            step()
    for one, other in zip(updates, copied, strict=True):
        np.testing.assert_array_equal(one.get_value(), other.get_value())
    extended = su.apply_momentum({v: e for v, e in copied.items() if not advances(v)})
    assert {v.name for v in copied} <= {v.name for v in extended}


def test_wrong_gates():
    W = make_param((3,), "float64", "W")
    updates = sgd((W**2).sum(), [W])
    for limit in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="apply_if_finite: limit must be a whole number of at least 1"):
            apply_if_finite(updates, limit=limit)
    with pytest.raises(ValueError, match="apply_if_small: limit must be a whole number"):
        apply_if_small(updates, limit="2")
    with pytest.raises(TypeError, match="apply_if_small: max_norm must be a real number"):
        apply_if_small(updates, max_norm="1")
    with pytest.raises(ValueError, match="apply_lookahead: every must be a whole number"):
        su.apply_lookahead(updates, every=0)
    with pytest.raises(ValueError, match="accumulate: every must be a whole number"):
        accumulate(sgd, every=2.0)
    with pytest.raises(TypeError, match="accumulate: optimizer must be a rule"):
        accumulate(updates)
    for close in (True, lambda step: True, pt.vector(dtype="bool"), pt.dscalar()):
        with pytest.raises(TypeError, match="accumulate: close must be a boolean scalar variable"):
            accumulate(sgd, close=close)
    with pytest.raises(ValueError, match="accumulate: every must be a scalar"):
        accumulate(sgd, every=pt.lvector())((W**2).sum(), [W])
    with pytest.raises(ValueError, match="the schedule of accumulate: every must be finite and at least 1"):
        accumulate(sgd, every=lambda step: 0)((W**2).sum(), [W])
    with pytest.raises(TypeError, match="projection must be a function of a tensor"):
        su.apply_projection(updates, projection=1.0)
    with pytest.raises(ValueError, match="the next value of W has shape"):
        su.apply_projection(updates, projection=lambda x: x.sum())
    with pytest.raises(ValueError, match="apply_freeze: until must be a scalar"):
        apply_freeze(updates, until=[1])
