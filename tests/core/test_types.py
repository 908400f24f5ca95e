"""What float32 and long runs could spoil: bias corrections, counts, JAX without 64 bits."""

import os
import subprocess
import sys
import textwrap
from decimal import Decimal, localcontext

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX, every_backend
from pytensor.tensor.special import softmax

from symupdates import adam, adjustable, apply_scale, momentum, norm_constraint, sgd, total_norm_constraint
from symupdates.core import prepare
from symupdates.core.types import is_cast


def test_what_is_cast_is_not_cast_again():
    """By none of the stages that an accumulator's next value goes through."""
    p, g = pytensor.shared(np.ones(2), name="p"), pt.dvector()
    updates = adjustable(apply_scale(momentum([g], [p]), scale=0.5))
    [value] = [x for v, x in updates.items() if v.name == "p/momentum/velocity"]
    assert is_cast(value) and not is_cast(value.owner.inputs[0])


@pytest.mark.ci
@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999, 0.999999])
def test_bias_correction_is_exact_to_the_dtype(backend, dtype, beta):
    """Against fifty decimal digits, for the beta that the dtype can hold, from the first step to 10⁹."""
    p = pytensor.shared(np.asarray(0, dtype), name="p")
    # A shared variable, so that all have the same code to compile.
    step = prepare("test", [pt.scalar(dtype=dtype)], [p], beta=pytensor.shared(beta))
    ((_, _, (beta_p,)),) = step
    correction = step[p] = step.bias_correction(beta_p)
    _, count = step.finish()
    f = pytensor.function([], correction, mode=backend)
    for t in (1, 2, 3, 10, 1000, 10**6, 2**24 + 1, 10**9):
        count.set_value(np.asarray(t - 1))
        with localcontext() as context:
            context.prec = 50
            exact = 1 - Decimal(float(np.array(beta, dtype))) ** t
        got = f()
        assert np.asarray(got).dtype == dtype
        np.testing.assert_allclose(float(got), float(exact), rtol=4 * np.finfo(dtype).eps)


def test_counts_go_on_beyond_what_float32_counts_to(backend):
    """A float32 counter stops at 2²⁴."""
    p = pytensor.shared(np.zeros(1, "float32"), name="p")
    g = pt.tensor("g", shape=(1,), dtype="float32")
    updates = adam([g], [p], learning_rate=lambda step: step - 2.0**24)
    count = list(updates)[-1]
    step = pytensor.function([g], [], updates=updates, mode=backend)
    count.set_value(np.asarray(2**24))
    for _ in range(3):
        step(np.ones(1, "float32"))
    assert count.get_value() == 2**24 + 3
    assert abs(p.get_value().item()) > 2


JAX_PROGRAM = """
    import warnings
    import numpy as np, pytensor, pytensor.tensor as pt
    import pytensor.link.jax.dispatch, jax
    from symupdates import adam
    jax.config.update("jax_enable_x64", {x64})
    warnings.simplefilter("error")
    warnings.filterwarnings({allow!r}, message=".*float64.*truncated")
    assert pytensor.config.floatX == "float32"
    p = pytensor.shared(np.ones(3, {dtype!r}), name="p")
    g = pt.tensor("g", shape=(3,), dtype={dtype!r})
    updates = adam([g], [p], learning_rate=lambda step: 0.5 / (1 + step), epsilon=1e-30)
    step = pytensor.function([g], [], updates=updates, mode="JAX")
    for _ in range(3):
        step(np.full(3, 2, {dtype!r}))
    print(p.get_value().dtype, float(p.get_value()[0]))
"""


@pytest.mark.once
@pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")
@pytest.mark.parametrize(
    "dtype, x64, trained_in",
    [
        pytest.param("float32", False, "float32", marks=pytest.mark.ci),
        pytest.param("float32", True, "float32", marks=pytest.mark.ci),
        pytest.param("float64", False, "float32", marks=pytest.mark.ci),
        ("float64", True, "float64"),
    ],
)
def test_jax_under_floatx_float32(dtype, x64, trained_in):
    """PyTensor then turns JAX's 64 bits off: float64 parameters need them back, or train in single, as JAX warns."""
    allow = "ignore" if trained_in != dtype else "error"
    program = textwrap.dedent(JAX_PROGRAM.format(dtype=dtype, x64=x64, allow=allow))
    environment = os.environ | {"PYTENSOR_FLAGS": "floatX=float32"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    got_dtype, got = run.stdout.split()
    assert got_dtype == trained_in
    exact = 1 - 0.5 * (1 + 1 / 2 + 1 / 3)
    assert abs(float(got) - exact) < {"float32": 1e-6, "float64": 1e-14}[trained_in]


def test_a_float32_model_under_floatx_float64_has_no_float64_arithmetic(backend):
    """The loss included, where the model has none: the compiled graph of a training step."""
    rng = np.random.default_rng(0)
    W = pytensor.shared(rng.normal(size=(3, 2)).astype("float32"), name="W")
    x = pt.tensor("x", shape=(5, 3), dtype="float32")
    loss = pt.sum((x @ W) ** 2)
    step = pytensor.function([x], loss, updates=sgd(loss, [W], 0.01), mode=backend)
    assert {v.dtype for node in step.maker.fgraph.apply_nodes for v in node.outputs} == {"float32"}
    step(rng.normal(size=(5, 3)).astype("float32"))
    assert W.get_value().dtype == "float32"


@pytest.mark.once
def test_a_sum_in_the_loss_does_not_turn_parameters_into_float64(backend):
    """On JAX, a float32 sum returns a float64, and so does the gradient of a bias."""
    rng = np.random.default_rng(0)
    W = pytensor.shared(rng.normal(size=(3, 2)).astype("float32"), name="W", shape=(3, 2))
    b = pytensor.shared(np.zeros(2, "float32"), name="b", shape=(2,))
    x = pt.tensor("x", shape=(5, 3), dtype="float32")
    loss = pt.mean(softmax(x @ W + b, axis=1)[:, 0] ** 2)
    grads, norm = total_norm_constraint(pytensor.grad(loss, [W, b]), 1.0, return_norm=True)
    updates = adam(loss, [W, b]) | sgd(grads, [make_like(W), make_like(b)])
    constrained = norm_constraint(updates[W], 0.5)
    step = pytensor.function([x], [constrained, norm], updates=updates, mode=backend)
    for _ in range(2):
        outputs = step(rng.normal(size=(5, 3)).astype("float32"))
    assert {np.asarray(out).dtype.name for out in outputs} == {"float32"}
    assert {v.get_value().dtype.name for v in updates} == {"float32", "int64"}


def make_like(p):
    return pytensor.shared(p.get_value(), name=f"{p.name} again", shape=p.type.shape)
