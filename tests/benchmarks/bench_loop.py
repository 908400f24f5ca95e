"""Many steps in one call: ``symupdates.loop`` against a call a step, and against ``jax.lax.scan`` with optax."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from contestants import on_device

import symupdates

MODES = ["NUMBA", "CVM", "JAX"]
# Of each model: the sizes of its layers, the batch, the dtype, the steps in a call, and the targets: the time of a step
# on NUMBA in microseconds, and that time as a multiple of jax.lax.scan's.
MODELS = {
    "linear regression": ((1, 1), 100, "float64", 1000, 1.5, 1.5),
    "MLP, batch 8": ((784, 100, 100, 100, 100, 10), 8, "float32", 100, None, 1.0),
}
RATE = 0.001


@pytest.mark.parametrize("model", MODELS)
def test_loop(model, in_turn, report, quick):
    sizes, batch, dtype, steps, microseconds, ratio = MODELS[model]
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(steps, batch, sizes[0])).astype(dtype)
    ys = (xs[..., :1] * np.ones(sizes[-1]) + rng.normal(size=(steps, batch, sizes[-1]))).astype(dtype)
    weights = []
    for n_in, n_out in pairwise(sizes):
        weights += [rng.normal(0, (1 / n_in) ** 0.5, (n_in, n_out)).astype(dtype), np.zeros(n_out, dtype)]

    made = {}
    for mode in MODES:
        one, many = in_mode(mode, weights, xs, ys)
        made |= {f"{mode}, loop": many, f"{mode}, a call a step": one}
    made["lax.scan"] = by_lax(weights, xs, ys)
    losses = {name: np.asarray(run()) for name, run in made.items()}
    for name, values in losses.items():
        np.testing.assert_allclose(values, losses["lax.scan"], rtol=1e-3, err_msg=f"{model} by {name}")

    times = in_turn(made, rounds=5 if quick else 40)
    table = "a step of adam, of many in one call"
    for name in made:
        target = microseconds if name == "NUMBA, loop" else None
        report(table, f"{model}, {name}", "time", times.median(name) / steps * 1e6, target, " µs")
        if name != "lax.scan":
            target = ratio if name == "NUMBA, loop" else None
            report(table, f"{model}, {name}", "/ lax.scan", times.ratio(name, "lax.scan"), target)


def predictions(h, params, tanh):
    *hidden, last = zip(params[::2], params[1::2], strict=True)
    for W, b in hidden:
        h = tanh(h @ W + b)
    return h @ last[0] + last[1]


def in_mode(mode, weights, xs, ys):
    params = [pytensor.shared(value, name=f"p{i}", shape=value.shape) for i, value in enumerate(weights)]
    x, y = (pt.tensor(name, dtype=value.dtype, shape=value.shape[1:]) for name, value in (("x", xs), ("y", ys)))
    loss = ((predictions(x, params, pt.tanh) - y) ** 2).mean()
    updates = symupdates.adam(loss, params, RATE, epsilon=1e-10)
    step = pytensor.function([x, y], loss, updates=updates, mode=mode, trust_input=True)

    stacked = [pt.tensor(dtype=value.dtype, shape=value.shape) for value in (xs, ys)]
    losses, updates = symupdates.loop(loss, updates, {x: stacked[0], y: stacked[1]})
    run = pytensor.function(stacked, losses, updates=updates, mode=mode, trust_input=True)
    start = [v.get_value() for v in updates]
    data = [on_device(mode, xs), on_device(mode, ys)]

    def from_the_start(train):
        for variable, value in zip(updates, start, strict=True):
            variable.set_value(value)
        return train()

    return (
        partial(from_the_start, lambda: [step(a, b) for a, b in zip(*data, strict=True)]),
        partial(from_the_start, lambda: np.asarray(run(*data))),
    )


def by_lax(weights, xs, ys):
    import jax
    import jax.numpy as jnp
    import optax

    with jax.enable_x64(xs.dtype == "float64"):
        optimizer = optax.adam(RATE, eps=1e-10)
        xs, ys, weights = jax.device_put((xs, ys, weights))

        def loss_of(params, x, y):
            return ((predictions(x, params, jnp.tanh) - y) ** 2).mean()

        def step(carry, batch):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params, *batch)
            steps, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, steps), state), loss

        compiled = jax.jit(lambda params, state: jax.lax.scan(step, (params, state), (xs, ys)))
        state = optimizer.init(weights)

    def run():
        with jax.enable_x64(xs.dtype == "float64"):
            return jax.block_until_ready(compiled(weights, state))[1]

    return run
