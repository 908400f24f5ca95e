"""A training step of LeNet on a minibatch of 128 digits, with momentum: against torch (oneDNN), and jax by hand."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
from contestants import MODES, on_device, when_done

import symupdates
from symupdates.theano.conv_ops import Correlate, Pool

BATCH, CLASSES = 128, 10
SHAPES = [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (800, 500), (500,), (500, CLASSES), (CLASSES,)]
ETA, MU = 0.01, 0.9
TARGETS = {"torch": 2, "jax": 1.05}


def test_lenet(in_turn, report, quick):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 1, 28, 28)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[rng.integers(CLASSES, size=BATCH)]
    weights = [
        rng.normal(0, (2 / np.prod(s[1:] if len(s) == 4 else s[:1])) ** 0.5, s).astype("float32") for s in SHAPES
    ]
    weights[1::2] = [np.zeros_like(b) for b in weights[1::2]]

    made = {mode: in_mode(mode, weights, x, y) for mode in MODES}
    made |= {"torch": by_torch(weights, x, y), "jax": by_jax(weights, x, y)}
    losses = {name: [float(step()) for _ in range(5)] for name, step in made.items()}
    for name in made:
        np.testing.assert_allclose(losses[name], losses["torch"], rtol=1e-3, err_msg=name)

    times = in_turn(made, rounds=5 if quick else 50)
    for mode in MODES:
        peer = "jax" if mode.startswith("JAX") else "torch"
        report("training step of LeNet", mode, f"/ {peer}", times.ratio(mode, peer), TARGETS[peer])
    for name in made:
        report("training step of LeNet", name, "step", times.median(name) * 1e3, unit=" ms")


def in_mode(mode, weights, x, y):
    params = [pytensor.shared(value, name=f"p{i}") for i, value in enumerate(weights)]
    inputs = [pt.tensor(name, dtype="float32", shape=value.shape) for name, value in [("x", x), ("y", y)]]
    convolve, pool = Correlate(), Pool(ignore_border=True)
    h = inputs[0]
    for W, b in (params[0:2], params[2:4]):
        h = pool(pt.maximum(convolve(h, W) + b[:, None, None], 0), (2, 2))
    h = pt.maximum(h.reshape((BATCH, -1)) @ params[4] + params[5], 0)
    log_p = pt.special.log_softmax(h @ params[6] + params[7], axis=1)
    loss = -(inputs[1] * log_p).sum(axis=1).mean()
    updates = symupdates.momentum(loss, params, learning_rate=ETA, momentum=MU)
    function = pytensor.function(inputs, loss, updates=updates, mode=MODES[mode], trust_input=True)
    return when_done(function, [on_device(mode, x), on_device(mode, y)], params[0])


def by_torch(weights, x, y):
    import torch
    from torch.nn import functional as F

    assert torch.backends.mkldnn.is_available()  # oneDNN
    params = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in weights]
    optimizer = torch.optim.SGD(params, lr=ETA, momentum=MU, fused=True)
    x, y = torch.from_numpy(x), torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        h = x
        for W, b in (params[0:2], params[2:4]):
            h = F.max_pool2d(F.relu(F.conv2d(h, W, b)), 2)
        h = F.relu(h.flatten(1) @ params[4] + params[5])
        loss = -(y * F.log_softmax(h @ params[6] + params[7], dim=1)).sum(dim=1).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def by_jax(weights, x, y):
    import jax
    import jax.numpy as jnp
    from jax import lax

    def loss_of(params, x, y):
        h = x
        for W, b in (params[0:2], params[2:4]):
            h = jnp.maximum(lax.conv_general_dilated(h, W, (1, 1), "VALID") + b[:, None, None], 0)
            h = lax.reduce_window(h, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        h = jnp.maximum(h.reshape(BATCH, -1) @ params[4] + params[5], 0)
        log_p = jax.nn.log_softmax(h @ params[6] + params[7], axis=1)
        return -(y * log_p).sum(axis=1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train(params, velocities, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        velocities = [MU * v - ETA * g for v, g in zip(velocities, grads, strict=True)]
        return [p + v for p, v in zip(params, velocities, strict=True)], velocities, loss

    params, x, y = jax.device_put((weights, x, y))
    velocities = [jnp.zeros_like(p) for p in params]

    def step():
        nonlocal params, velocities
        params, velocities, loss = jax.block_until_ready(train(params, velocities, x, y))
        return loss

    return step
