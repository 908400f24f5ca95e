"""Adam alone, on the device that JAX has by default, with all it needs lying there: a GPU, or else the whole CPU.

``copy`` is what it is measured by: as many bytes as Adam moves, half of them read (of p, g, m, v) and half written (to
p, m, v), by a program of JAX that only changes the sign.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytest
import torch
from contestants import RULES, by_hand, by_optax, by_torch, example, three_steps, when_done

import symupdates
from symupdates.modes import JAX_DONATED
from symupdates.sharding import JAX_SHARDED, place

MODES = {"JAX_DONATED": JAX_DONATED, "JAX_SHARDED": JAX_SHARDED, "JAX": "JAX"}
PAIRS = {
    ("JAX_DONATED", "optax"): 1.1,
    ("JAX_SHARDED", "optax"): 1.1,
    ("JAX_DONATED", "torch"): None,
    ("JAX", "JAX_DONATED"): None,
    ("JAX_DONATED", "copy"): None,
    ("optax", "copy"): None,
    ("torch", "copy"): None,
}
MOVED = 4 * (4 + 3)  # bytes of each element


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name == "adam"], ids=lambda rule: rule.name)
def test_device(rule, in_turn, report, quick, request):
    size = request.config.getoption("--elements") or (10**6 if quick else 10**8)
    p, g = example(size)
    expected = three_steps(*by_hand(rule, p, g)) - p

    makers = {name: partial(in_mode, mode) for name, mode in MODES.items()}
    cuda = torch.cuda.is_available()
    makers |= {"optax": by_optax, "torch": partial(by_torch, device="cuda" if cuda else "cpu")}
    made = {}
    for name, make in makers.items():
        step, value = make(rule, p, g)
        change = three_steps(step, value) - p
        np.testing.assert_allclose(change, expected, rtol=1e-4, err_msg=f"{rule.name} by {name}")
        made[name] = step
    made["copy"] = copy(size)

    times = in_turn(made, rounds=5 if quick else 25)
    kinds = f"{jax.devices()[0].device_kind}, torch on {torch.cuda.get_device_name() if cuda else 'cpu'}"
    table = f"update of {size:,} float32 elements on {kinds}"
    for (name, peer), target in PAIRS.items():
        report(table, rule.name, f"{name} / {peer}", times.ratio(name, peer), target)
    report(table, rule.name, "JAX_DONATED", times.median("JAX_DONATED") * 1e3, unit=" ms")
    report(table, rule.name, "copy", MOVED * size / times.median("copy") / 1e9, unit=" GB/s")


def in_mode(mode, rule, p, g):
    p, g = pytensor.shared(p, name="p"), pytensor.shared(g, name="g")
    updates = getattr(symupdates, rule.name)([g], [p], **rule.hyper)
    place([*updates, g], jax.make_mesh((1,), ("device",), devices=jax.devices()[:1]))
    function = pytensor.function([], [], updates=updates, mode=mode)
    return when_done(function, [], p), lambda: np.asarray(p.get_value())


def copy(size):
    negate = jax.jit(jnp.negative, donate_argnums=0)
    x = jnp.ones(size * MOVED // 8, "float32")

    def step():
        nonlocal x
        x = jax.block_until_ready(negate(x))

    return step
