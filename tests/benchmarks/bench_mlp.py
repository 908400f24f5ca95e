"""A training step of a multi-layer perceptron, against optax under ``jax.jit`` with donation."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from contestants import MODES, RULES, on_device, when_done

import symupdates

SIZES = (784, 100, 100, 100, 100, 10)
BATCH = 128
TARGETS = {"NUMBA": 0.9, "NUMBA_PER_PARAMETER": 0.9, "CVM": 1.2, "CVM_SIMD": 1.05, "JAX": 1.05, "JAX_DONATED": 1.05}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_mlp(rule, in_turn, report, quick):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, SIZES[0])).astype("float32")
    y = np.eye(SIZES[-1], dtype="float32")[rng.integers(SIZES[-1], size=BATCH)]
    weights = []
    for n_in, n_out in pairwise(SIZES):
        weights += [rng.normal(0, (2 / n_in) ** 0.5, (n_in, n_out)).astype("float32"), np.zeros(n_out, "float32")]

    made = {mode: in_mode(mode, rule, weights, x, y) for mode in MODES}
    made["optax"] = by_optax(rule, weights, x, y)
    losses = {name: [float(step()) for _ in range(5)] for name, step in made.items()}
    for name in made:
        np.testing.assert_allclose(losses[name], losses["optax"], rtol=1e-4, err_msg=f"{rule.name} by {name}")

    times = in_turn(made, rounds=20 if quick else 300)
    for mode in MODES:
        report("training step of an MLP", rule.name, f"{mode} / optax", times.ratio(mode, "optax"), TARGETS.get(mode))
    report("training step of an MLP", rule.name, "optax", times.median("optax") * 1e3, unit=" ms")


def in_mode(mode, rule, weights, x, y):
    params = [pytensor.shared(value, name=f"p{i}") for i, value in enumerate(weights)]
    inputs = [pt.tensor(name, dtype="float32", shape=value.shape) for name, value in [("x", x), ("y", y)]]
    h = inputs[0]
    for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        h = pt.maximum(h @ W + b, 0)
    log_p = pt.special.log_softmax(h @ params[-2] + params[-1], axis=1)
    loss = -(inputs[1] * log_p).sum(axis=1).mean()
    updates = getattr(symupdates, rule.name)(loss, params, **rule.hyper)
    function = pytensor.function(inputs, loss, updates=updates, mode=MODES[mode], trust_input=True)
    data = [on_device(mode, x), on_device(mode, y)]
    return when_done(function, data, params[0])


def by_optax(rule, weights, x, y):
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = rule.optax(optax)

    def loss_of(params, x, y):
        h = x
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            h = jnp.maximum(h @ W + b, 0)
        log_p = jax.nn.log_softmax(h @ params[-2] + params[-1], axis=1)
        return -(y * log_p).sum(axis=1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train(params, state, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        steps, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, steps), state, loss

    params, x, y = jax.device_put((weights, x, y))
    state = optimizer.init(params)

    def step():
        nonlocal params, state
        params, state, loss = jax.block_until_ready(train(params, state, x, y))
        return loss

    return step
