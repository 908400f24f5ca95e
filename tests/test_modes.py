"""Training by donated arrays on JAX."""

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX
from test_rules import STEPS, call, every_rule, make_param, values

import symupdates as su
from symupdates.modes import JAX_DONATED

pytestmark = pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")


@every_rule
def test_numbers_are_those_without_donation(row):
    g = pt.tensor("g", shape=(16,), dtype="float64")
    dicts, steps = [], []
    for mode in ("JAX", JAX_DONATED):
        params = [make_param((16,), dtype, dtype) for dtype in ("float64", "float32")]
        dicts.append(call(row, [g, g], params))
        steps.append(pytensor.function([g], params[0].sum(), updates=dicts[-1], mode=mode))
    for given in oracles.gradients(STEPS, (16,)):
        one, other = (step(given) for step in steps)
        assert one == other
    for v, one, other in zip(dicts[0], *map(values, dicts), strict=True):
        assert one.tobytes() == other.tobytes(), v.name


def test_old_values_are_gone_and_new_ones_are_not():
    """Whatever was replaced; not what the function only reads, nor its inputs and outputs."""
    import jax.numpy as jnp

    W, still = make_param((8,), "float32", "W"), make_param((8,), "float32", "still")
    g = pt.tensor("g", shape=(8,), dtype="float32")
    updates = su.adam([g * still], [W])
    step = pytensor.function([g], W, updates=updates, mode=JAX_DONATED)
    given = jnp.ones(8, "float32")
    before = step(given)
    old = [v.get_value(borrow=True) for v in updates]
    after = step(given)
    assert all(x.is_deleted() for x in old)
    assert not given.is_deleted()
    assert (np.asarray(before) != np.asarray(after)).all()
    assert len(su.state_dict(updates)) == 4
    su.to_numpy(updates)
    assert all(type(v.get_value(borrow=True)) is np.ndarray for v in updates)


def test_compositions(tmp_path):
    """Values that two keys share, values that stay, swaps and checkpoints: no array is given away twice."""
    W = pytensor.shared(np.ones((4, 2), "float32"), name="W", shape=(4, 2))
    b = pytensor.shared(np.ones(2), name="b", shape=(2,))
    x = pt.tensor("x", shape=(5, 4), dtype="float32")
    loss = ((x @ W + b) ** 2).mean()
    optimizer = su.chain(
        su.gradients.add_noise(seed=0),
        su.accumulate(su.adam(learning_rate=su.schedules.linear(0.1, 0.0, 20)), every=2),
        su.apply_lookahead(every=2),
        su.apply_if_finite(),
        su.apply_ema(decay=0.5),
        su.adjustable(),
    )
    runs = []
    for mode in ("JAX", JAX_DONATED):
        W.set_value(np.ones((4, 2), "float32"))
        b.set_value(np.ones(2))
        updates = optimizer(loss, [W, b])
        step = pytensor.function([x], loss, updates=updates, mode=mode)
        rng = np.random.default_rng(0)
        for t in range(8):
            step(rng.normal(size=(5, 4)).astype("float32"))
            if t == 3:
                su.save(tmp_path / "run.ckpt", updates)
                su.swap_averages(updates)
            if t == 5:
                su.load(tmp_path / "run.ckpt", updates)
        runs.append(su.state_dict(updates))
    for name, value in runs[0].items():
        np.testing.assert_allclose(runs[1][name], value, rtol=1e-6, err_msg=name)


def test_two_functions_on_the_same_parameters():
    W = make_param((8,), "float64", "W")
    up = pytensor.function([], [], updates=su.sgd((W**2).sum(), [W], 0.25), mode=JAX_DONATED)
    down = pytensor.function([], [], updates=su.sgd(-(W**2).sum(), [W], 0.5), mode=JAX_DONATED)
    read = pytensor.function([], W.sum(), mode="JAX")
    start = W.get_value()
    for _ in range(3):
        up()
        down()
        assert np.isfinite(read())
    np.testing.assert_allclose(W.get_value(), start, rtol=1e-12)
