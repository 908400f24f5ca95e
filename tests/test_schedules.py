"""Schedules: the same values in NumPy as in optax, torch and Keras, and the same from a symbolic step."""

import copy
import json
import os
import pickle
import subprocess
import sys
import textwrap
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX

from symupdates import adam, momentum, schedules, sgd
from symupdates.schedules import (
    Schedule,
    constant,
    cosine_decay,
    cosine_restarts,
    cyclic,
    exponential_decay,
    inverse_sqrt_decay,
    inverse_time_decay,
    join,
    linear,
    one_cycle,
    piecewise_constant,
    piecewise_interpolated,
    polynomial_decay,
    step_decay,
    warmup,
    warmup_stable_decay,
)

pytestmark = pytest.mark.once

CASES = json.loads((Path(__file__).parent / "golden" / "schedules.json").read_text())["cases"]

# Every function, in every form of its formula, and its values at any step from the mathematics of the docstrings.
EVERY = [
    constant(0.3),
    step_decay(0.3, 9),
    piecewise_constant([3, 30], [0.3, 0.1, 0.2]),
    piecewise_interpolated([3, 30], [0.3, 0.1, 0.2]),
    piecewise_interpolated([3, 30], [0.3, 0.1, 0.2], kind="cosine"),
    linear(0.1, 0.7, 49, begin=3),
    polynomial_decay(0.7, 0.1, 49, power=0.5, begin=3),
    exponential_decay(0.3, 0.9, 10),
    exponential_decay(0.3, 0.9, 10, staircase=True, final=0.1),
    exponential_decay(0.3, 1.1, 10, final=0.5),
    inverse_time_decay(0.3, 0.1, 7),
    inverse_time_decay(0.3, 0.1, 7, staircase=True, power=0.602),
    inverse_sqrt_decay(0.3, 7),
    cosine_decay(0.3, 49, final=0.01, exponent=0.7),
    cosine_restarts(0.3, 10, decay=0.9, final=0.01),
    cosine_restarts(0.3, 10, multiplier=1),
    cosine_restarts(0.3, 10, multiplier=1.5),
    one_cycle(0.3, 49),
    one_cycle(0.3, 49, kind="linear", return_fraction=0.8),
    cyclic(0.1, 0.3, 7),
    cyclic(0.1, 0.3, 7, mode="triangular2"),
    cyclic(0.1, 0.3, 7, mode="exp_range", gamma=0.99),
    warmup(0.3, 7),
    warmup(inverse_sqrt_decay(0.3, 7), 7, initial=0.1),
    warmup_stable_decay(0.3, 7, 20, 21, initial=0.1, final=0.01),
    warmup_stable_decay(0.3, 7, 20, 21, final=0.01, kind="cosine"),
    warmup_stable_decay(0.3, 7, 20, 21, final=0.01, kind="sqrt"),
    warmup_stable_decay(0.3, 7, 20, 21, final=0.01, kind="exponential"),
    join([0.1, cosine_decay(0.3, 20), linear(0.1, 0.2, 10), lambda step: 0.125 / (step + 1)], [5, 25, 60]),
]
LATE = [2**24 + 1, 2**29 + 3, 10**9]

every_schedule = pytest.mark.parametrize("schedule", EVERY, ids=repr)


def build(x):
    """An argument as it is stored."""
    if isinstance(x, dict):
        return getattr(schedules, x["schedule"])(**{name: build(value) for name, value in x["arguments"].items()})
    return [build(item) for item in x] if isinstance(x, list) else x


def assert_close(got, expected):
    """Within 1e-12, or, where a value is what is left of a difference, some roundings of the largest."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15 * np.abs(expected).max())


# --- Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['schedule']}-{case['peer']}")
def test_values_of_the_peers(case):
    schedule = build(case)
    values = np.array(case["values"])
    assert_close(schedule(np.arange(len(values))), values)


def test_the_peers_cover_all_but_one():
    others = {"Schedule", "reduce_on_plateau"}  # the latter in test_plateau.py
    assert {case["schedule"] for case in CASES} == set(schedules.__all__) - others - {"inverse_sqrt_decay"}
    assert {case["peer"].split(".")[0] for case in CASES} == {"optax", "torch", "keras"}
    assert {schedule._make[0].__name__ for schedule in EVERY} == set(schedules.__all__) - others


@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_symbolic_is_numpy(backend, floatx):
    """In float64 whatever floatX is, from a clock as rules have it, and long after 2²⁴ steps."""
    step = pt.lscalar("step")
    with pytensor.config.change_flags(floatX=floatx):
        outputs = [schedule(step) for schedule in EVERY]
        f = pytensor.function([step], outputs, mode=backend, on_unused_input="ignore")
    assert all(out.ndim == 0 and out.dtype == "float64" for out in outputs)
    steps = [*range(12), 24, 25, 26, 27, 29, 30, 47, 48, 49, 50, 51, 52, 53, 60, 69, 70, 71, *LATE]
    got = [f(t) for t in steps]
    assert all(np.shape(x) == () and np.asarray(x).dtype == "float64" for x in got[0])
    for i, schedule in enumerate(EVERY):
        assert_close([float(values[i]) for values in got], schedule(np.array(steps)))


@every_schedule
def test_arrays(schedule):
    """Of any shape and integer dtype; one step gives a number."""
    steps = np.arange(100).reshape(4, 5, 5)
    values = schedule(steps)
    assert values.shape == steps.shape and values.dtype == "float64" and np.isfinite(values).all()
    for dtype in ("int8", "uint8", "int32", "uint64"):
        np.testing.assert_array_equal(schedule(steps.astype(dtype)), values)
    one = schedule(17)
    assert type(one) is np.float64
    np.testing.assert_allclose(one, values.ravel()[17], rtol=1e-15)  # NumPy's powers of arrays may differ in a bit
    assert schedule(np.zeros((0, 2), int)).shape == (0, 2)
    assert schedule(-5) == schedule(0)
    assert np.isfinite(schedule(np.array([0, 10**9, 10**12]))).all()


@every_schedule
def test_other_symbolic_steps(schedule):
    for dtype in ("int8", "uint8", "int32", "float32"):
        step = pt.scalar(dtype=dtype)
        value = schedule(step)
        assert value.dtype == "float64"
        got = value.eval({step: np.asarray(49, dtype)}, mode="FAST_COMPILE", on_unused_input="ignore")
        assert_close(got, schedule(49))


def exactly(formula, *arguments):
    with localcontext() as context:
        context.prec = 50
        return float(formula(*(Decimal(x) for x in arguments)))


@pytest.mark.parametrize("step", [10**6 + 1, *LATE, 10**9 - 1])
def test_late_steps_against_decimals(step):
    n = 10**9 + 7
    assert_close(linear(0.3, 0.1, n)(step), exactly(lambda a, b, t: a + (b - a) * t / n, 0.3, 0.1, step))
    assert_close(polynomial_decay(0.3, 0, n, 3)(step), exactly(lambda a, t: a * (1 - t / n) ** 3, 0.3, step))
    rate = 1 - 1e-8
    assert_close(exponential_decay(0.3, rate, 1)(step), exactly(lambda a, r, t: a * r**t, 0.3, rate, step))
    assert_close(
        step_decay(0.3, 1000, 0.99999)(step), exactly(lambda a, r, t: a * r ** (t // 1000), 0.3, 0.99999, step)
    )
    assert_close(inverse_time_decay(0.3, 0.1)(step), exactly(lambda a, r, t: a / (1 + r * t), 0.3, 0.1, step))
    assert_close(
        inverse_time_decay(0.3, 0.1, power=0.602)(step),
        exactly(lambda a, r, t, p: a / (1 + r * t) ** p, 0.3, 0.1, step, "0.602"),
    )
    assert_close(inverse_sqrt_decay(0.3)(step), exactly(lambda a, t: a / (1 + t).sqrt(), 0.3, step))
    assert_close(cyclic(0, 1, 1001)(step), exactly(lambda t: 1 - abs(t % 2002 / 1001 - 1), step))
    assert_close(cosine_restarts(1, 1001, 1)(step), (1 + np.cos(np.pi * (step % 1001) / 1001)) / 2)


# --- What the formulas say --------------------------------------------------------------------------------------------


def test_ends_and_middles():
    for f in (linear(0.3, 0.1, 10), cosine_decay(0.3, 10, final=0.1), polynomial_decay(0.3, 0.1, 10, power=2)):
        assert f(0) == 0.3 and f(10) == f(11) == 0.1
    assert linear(0.3, 0.1, 10, begin=5)(np.array([0, 5, 15])).tolist() == [0.3, 0.3, 0.1]
    assert cosine_decay(0.5, 10)(5) == 0.25
    assert exponential_decay(0.5, 0.5, 10)(10) == inverse_time_decay(0.5, 0.1)(10) == 0.25
    assert inverse_sqrt_decay(0.5, 10)(30) == 0.25
    assert step_decay(1, 10, 0.5)(np.array([9, 10, 19, 20])).tolist() == [1, 0.5, 0.5, 0.25]
    assert piecewise_constant([10], [1, 2])(np.array([9, 10])).tolist() == [1, 2]
    assert piecewise_constant([], [3])(7) == join([3], [])(7) == piecewise_interpolated([], [3])(7) == 3
    cycle = one_cycle(1, 100, warmup_fraction=0.25, initial_div=10, final_div=100)
    np.testing.assert_allclose(cycle(np.array([0, 25, 100, 200])), [0.1, 1, 0.001, 0.001])
    assert cycle(25) == cycle(np.arange(100)).max()
    assert cyclic(1, 2, 5)(np.array([0, 5, 10, 15])).tolist() == [1, 2, 1, 2]
    assert cyclic(2, 1, 5, mode="triangular2")(np.array([0, 5, 10, 15])).tolist() == [2, 1, 2, 1.5]


def test_stops_at_final():
    t = np.arange(200)
    assert exponential_decay(1, 0.9, 2, final=0.5)(t).min() == 0.5
    assert exponential_decay(1, 1.1, 2, final=5)(t).max() == 5
    assert exponential_decay(-1, 0.9, 2, final=-0.5)(t).max() == -0.5
    assert exponential_decay(1, 1.1, 1, final=5)(10**9) == 5  # where the power overflows
    assert exponential_decay(2, 1, 1, final=2)(t).tolist() == [2] * 200


@pytest.mark.parametrize("period, multiplier", [(10, 1), (7, 2), (1, 2), (3, 3), (1000, 10), (12345, 5)])
def test_restarts_are_exact(period, multiplier):
    """At every multiple, and nowhere else, of a million steps; and at those up to 10¹²."""
    schedule = cosine_restarts(0.3, period, multiplier)
    begin, length, begins = 0, period, []
    while begin < 10**12 and len(begins) < 10**5:
        begins.append(begin)
        begin, length = begin + length, length * multiplier
    begins = np.array(begins)
    np.testing.assert_array_equal(schedule(begins), 0.3)
    million = begins[begins < 10**6]
    np.testing.assert_array_equal(np.flatnonzero(schedule(np.arange(10**6)) == 0.3), million)


def test_restarts_are_exact_on_every_backend(backend):
    """JAX divides by multiplying with the inverse."""
    step = pt.lvector("step")
    f = pytensor.function([step], [cosine_restarts(0.3, 1000, m)(step) for m in (2, 3, 10)], mode=backend)
    for m, i in [(2, 0), (3, 1), (10, 2)]:
        begins = np.cumsum([0, *(1000 * m**i for i in range(7))])
        np.testing.assert_allclose(f(begins)[i], 0.3, rtol=1e-14)
        assert (np.asarray(f(begins[1:] - 1)[i]) < 1e-5).all()


def test_warmup_onto_anything():
    after = cosine_decay(0.3, 20)
    schedule = warmup(after, 10, initial=0.1)
    assert schedule(0) == 0.1 and warmup(after, 10)(0) == 0
    np.testing.assert_allclose(schedule(5), 0.2)
    t = np.arange(100)
    np.testing.assert_array_equal(schedule(t + 10), after(t))
    assert warmup(0.3, 10)(10**9) == 0.3
    assert warmup(lambda step: 0.3 / (step + 1), 10)(11) == 0.15
    np.testing.assert_array_equal(warmup(after, 10)(t), join([linear(0, 0.3, 10), after], [10])(t))


def test_join_gives_each_the_steps_since_its_own_began():
    schedule = join([lambda step: 100 + step, lambda step: 200 + step, lambda step: 300 + step], [3, 5])
    assert schedule(np.arange(8)).tolist() == [100, 101, 102, 200, 201, 300, 301, 302]


def test_join_asks_for_no_step_beyond():
    """Where the others would have no value, or overflow."""

    def checked(n):
        def schedule(step):
            assert (np.asarray(step) >= 0).all() and (np.asarray(step) <= n).all()
            return np.sqrt(step)

        return schedule

    join([checked(10), checked(20), checked(10**9)], [10, 30])(np.array([0, 9, 10, 29, 30, 10**9]))


@pytest.mark.parametrize("kind", ["linear", "cosine", "sqrt", "exponential"])
def test_warmup_stable_decay_is_continuous(kind):
    schedule = warmup_stable_decay(1.0, 1000, 3000, 2000, final=0.01, kind=kind)
    values = schedule(np.arange(7000))
    assert np.abs(np.diff(values)).max() < (0.03 if kind == "sqrt" else 0.003)
    assert values[0] == 0 and (values[1000:4001] == 1).all() and (values[6000:] == 0.01).all()
    assert (np.diff(values[4000:6000]) < 0).all()


def test_transformer_warmup():
    """Vaswani et al. (2017), equation 3, whose steps begin at 1."""
    d, n = 512, 4000
    t = np.arange(1.0, 20_000)
    paper = d**-0.5 * np.minimum(t**-0.5, t * n**-1.5)
    peak = (d * n) ** -0.5
    schedule = warmup(inverse_sqrt_decay(peak, n), n - 1, initial=peak / n)
    np.testing.assert_allclose(schedule(np.arange(len(t))), paper, rtol=1e-12)


def test_momentum_of_one_cycle():
    """The example in the docstring: the momentum is lowest where the rate is highest."""
    rate, mu = one_cycle(0.1, 100), one_cycle(0.85, 100, initial_div=0.85 / 0.95, final_div=1)
    np.testing.assert_allclose(mu(np.array([0, 30, 100])), [0.95, 0.85, 0.95])
    t = np.arange(101)
    assert rate(t).argmax() == mu(t).argmin() == 30


# --- In rules ---------------------------------------------------------------------------------------------------------


def test_as_any_hyper_parameter():
    """Of a rule, against its oracle, which calls the same schedules with integers."""
    hyper = {"learning_rate": warmup(cosine_decay(0.3, 5), 3), "momentum": linear(0.5, 0.9, 6)}
    grads = np.random.default_rng(0).normal(size=(10, 3))
    p, g = pytensor.shared(np.ones(3), name="p"), pt.vector("g")
    step = pytensor.function([g], [], updates=momentum([g], [p], **hyper), mode="FAST_COMPILE")
    for gradient, expected in zip(grads, oracles.momentum(np.ones(3), grads, **hyper), strict=True):
        step(gradient)
        np.testing.assert_allclose(p.get_value(), expected["param"], rtol=1e-12)

    hyper = {"learning_rate": step_decay(0.1, 4), "beta1": cyclic(0.95, 0.85, 2), "epsilon": constant(1e-6)}
    q = pytensor.shared(np.ones(3), name="q")
    step = pytensor.function([g], [], updates=adam([g], [q], **hyper), mode="FAST_COMPILE")
    for gradient, expected in zip(grads, oracles.adam(np.ones(3), grads, **hyper), strict=True):
        step(gradient)
        np.testing.assert_allclose(q.get_value(), expected["param"], rtol=1e-11)


def test_a_constant_brings_no_count():
    p = pytensor.shared(np.ones(3), name="p")
    assert list(sgd([p], [p], constant(0.1))) == [p]
    assert [v.name for v in sgd([p], [p], linear(0.1, 0, 10))] == ["p", "sgd/t"]


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_shared_arguments(dtype, floatx):
    """Values and counts that can be changed after compiling, in float64 where they are or where they are integers."""
    value = pytensor.shared(np.asarray(2, dtype), name="value")
    count = pytensor.shared(np.asarray(7, dtype), name="count")
    step = pt.lscalar("step")

    def make(value, count):
        yield constant(value)
        yield linear(0.3, value, count, begin=count)
        yield step_decay(value, count)
        yield piecewise_constant([count, 20], [value, 0.3, value])
        yield piecewise_interpolated([count, 20], [value, 0.3, value], kind="cosine")
        yield polynomial_decay(value, 0.1, count, power=value)
        yield exponential_decay(0.3, value, count, final=value)
        yield inverse_time_decay(0.3, value, count, power=value)
        yield inverse_sqrt_decay(value, count)
        yield cosine_decay(value, count)
        yield cosine_restarts(value, count, decay=0.3)
        yield one_cycle(value, count, initial_div=value)
        yield cyclic(0.3, value, count, mode="exp_range", gamma=value)
        yield warmup(value, count)
        yield warmup_stable_decay(value, count, count, count, kind="exponential", final=value)
        yield join([value, linear(0.3, value, count)], [count])

    with pytensor.config.change_flags(floatX=floatx):
        outputs = [schedule(step) for schedule in make(value, count)]
        f = pytensor.function([step], outputs, mode="FAST_COMPILE")
    for v, n in [(2, 7), (3, 1)]:
        value.set_value(np.asarray(v, dtype))
        count.set_value(np.asarray(n, dtype))
        for t in (0, 1, 5, 8, 40):
            expected = [schedule(t) for schedule in make(v, n)]
            np.testing.assert_allclose([float(x) for x in f(t)], expected, rtol=1e-12, atol=1e-16)


JAX_PROGRAM = """
    import warnings
    import numpy as np, pytensor, pytensor.tensor as pt
    import pytensor.link.jax.dispatch
    from symupdates import adam, sgd
    from symupdates.schedules import *
    warnings.simplefilter("error")
    assert pytensor.config.floatX == "float32"
    rate, n = pytensor.shared(np.float32(0.5), name="rate"), pytensor.shared(7, name="n")
    every = [
        step_decay(0.5, 3), piecewise_constant([2], [0.5, 0.1]), piecewise_interpolated([2, 7], [1, 2, 3], "cosine"),
        linear(0.5, 0.1, 10), polynomial_decay(rate, 0.1, 10, 2, 3), exponential_decay(0.5, 0.9, 3, True, 0.1),
        exponential_decay(0.5, 0.9, 3), inverse_time_decay(rate, 0.1, 3), inverse_sqrt_decay(0.5), cosine_decay(0.5, 9),
        cosine_restarts(0.5, 2), cosine_restarts(0.5, 2, 1), one_cycle(0.5, 10), cyclic(0.1, 0.5, 3, "triangular2"),
        cyclic(0.1, 0.5, 3, "exp_range", 0.9), warmup(cosine_decay(0.5, 10), 3), constant(0.5),
        warmup_stable_decay(rate, 3, 3, 3), join([0.1, linear(0.5, 0.1, 3)], [3]), inverse_time_decay(1, 1, 1, True),
        linear(rate, 1, n), cosine_restarts(rate, n), cyclic(0, rate, 1), exponential_decay(1, 0.9, 1), warmup(1, 1),
    ]
    updates = {}
    params = [pytensor.shared(np.zeros(2, "float32"), name=f"p{i}") for i in range(len(every))]
    for p, schedule in zip(params, every):
        updates |= sgd([pt.ones(2, "float32")], [p], schedule)
    step = pytensor.function([], [], updates=updates, mode="JAX")
    for _ in range(12):
        step()
    for variable in (rate, n):
        variable.set_value(np.asarray(variable.get_value()))
    for p, schedule in zip(params, every):
        t = pt.lvector()
        expected = -schedule(t).eval({t: np.arange(12)}, mode="FAST_COMPILE", on_unused_input="ignore")
        expected = np.broadcast_to(expected, 12).sum()
        assert p.get_value().dtype == "float32"
        np.testing.assert_allclose(p.get_value(), expected, rtol=2e-6, err_msg=repr(schedule))
"""


@pytest.mark.ci
@pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")
def test_jax_without_64_bits():
    """As PyTensor sets it up under floatX=float32: no warning, and the values in single precision."""
    environment = os.environ | {"PYTENSOR_FLAGS": "floatX=float32"}
    program = textwrap.dedent(JAX_PROGRAM)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr


# --- The object -------------------------------------------------------------------------------------------------------


def test_repr():
    assert repr(cosine_decay(0.1, 1000)) == "cosine_decay(0.1, 1000)"
    assert repr(cosine_decay(np.float64(0.1), steps=np.int32(1000))) == "cosine_decay(0.1, steps=1000)"
    nested = warmup(cosine_decay(0.1, 900, final=1e-3), 100)
    assert repr(nested) == "warmup(cosine_decay(0.1, 900, final=0.001), 100)"
    assert eval(repr(nested))(500) == nested(500)
    assert repr(piecewise_constant(np.array([1, 2]), (0.5, 0.25, 0.125))) == (
        "piecewise_constant([1, 2], [0.5, 0.25, 0.125])"
    )
    assert repr(one_cycle(0.1, 10, kind="linear")) == "one_cycle(0.1, 10, kind='linear')"
    rate = pytensor.shared(0.1, name="rate")
    assert repr(join([linear(0, rate, 9), adam, lambda t: t], [1, 2])) == (
        "join([linear(0, rate, 9), adam, <lambda>], [1, 2])"
    )


def test_functions_are_documented():
    assert not {name for name in schedules.__all__ if not getattr(schedules, name).__doc__}
    assert cosine_decay.__name__ == "cosine_decay" and cosine_decay.__module__ == "symupdates.schedules"


def test_arguments_are_kept():
    values = [0.3, 0.1]
    schedule = piecewise_constant([3], values)
    values[0] = 7
    assert schedule(0) == pickle.loads(pickle.dumps(schedule))(0) == 0.3


@every_schedule
def test_copies_and_pickles(schedule):
    t = np.arange(80)
    copies = [copy.copy(schedule), copy.deepcopy(schedule)]
    if "lambda" not in repr(schedule):
        copies.append(pickle.loads(pickle.dumps(schedule)))
    for other in copies:
        assert type(other) is Schedule and repr(other) == repr(schedule)
        np.testing.assert_array_equal(other(t), schedule(t))


def test_copies_of_shared_variables():
    """A deep copy has a rate of its own, and so has what was pickled."""
    rate = pytensor.shared(0.1, name="rate")
    schedule = warmup(constant(rate), 10)
    deep, pickled = copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))
    rate.set_value(0.2)
    values = [f(pt.constant(10)).eval(mode="FAST_COMPILE") for f in (schedule, copy.copy(schedule), deep, pickled)]
    np.testing.assert_allclose(values, [0.2, 0.2, 0.1, 0.1])


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: constant("0.1"), TypeError, "constant: value must be a real number or a scalar variable, not '0.1'"),
        (lambda: constant(True), TypeError, "value must be a real number"),
        (lambda: constant(1j), TypeError, "value must be a real number"),
        (lambda: constant(None), TypeError, "value must be a real number"),
        (lambda: constant([0.1, 0.2]), TypeError, "value must be a real number"),
        (lambda: constant(constant(0.1)), TypeError, "value must be a real number"),
        (lambda: constant(np.nan), ValueError, "value must be finite, but it is nan"),
        (lambda: constant(pt.vector("v")), TypeError, "value must be a real number or a scalar variable, but"),
        (lambda: constant(pt.zscalar("z")), TypeError, "value must be a real number or a scalar variable, but"),
        (lambda: cosine_decay(0.1), TypeError, r"cosine_decay\(\) missing 1 required positional argument: 'steps'"),
        (lambda: cosine_decay(0.1, 10, alpha=0), TypeError, "unexpected keyword argument 'alpha'"),
        (lambda: cosine_decay(0.1, 0), ValueError, "cosine_decay: steps must be a whole number of steps, at least 1"),
        (lambda: cosine_decay(0.1, 10.5), ValueError, "steps must be a whole number of steps.*10.5"),
        (lambda: cosine_decay(0.1, "10"), TypeError, "steps must be a real number"),
        (lambda: cosine_decay(0.1, pt.lvector("n")), TypeError, "steps must be"),
        (lambda: cosine_decay(0.1, 10, exponent=0), ValueError, "exponent must be finite and above 0, but it is 0"),
        (lambda: linear(0.1, 0, 10, begin=-1), ValueError, "linear: begin must be a whole number of steps, at least 0"),
        (lambda: polynomial_decay(0.1, 0, 10, power=-1), ValueError, "power must be finite and above 0"),
        (lambda: step_decay(0.1, 10, gamma=0), ValueError, "gamma must be finite and above 0"),
        (lambda: exponential_decay(0.1, -0.5, 10), ValueError, "rate must be finite and above 0"),
        (lambda: exponential_decay(0.1, 0.5, 10, final=0.2), ValueError, "from 0.1 a rate of 0.5 does not lead to 0.2"),
        (lambda: exponential_decay(0.1, 1.5, 10, final=0.05), ValueError, "does not lead to 0.05; change the rate"),
        (lambda: exponential_decay(0.1, 1, 10, final=0.05), ValueError, "does not lead"),
        (lambda: inverse_time_decay(0.1, -1), ValueError, "rate must be finite and above 0"),
        (lambda: inverse_time_decay(0.1, 1, power=0), ValueError, "power must be finite and above 0"),
        (lambda: cosine_restarts(0.1, 10, 0.5), ValueError, "multiplier must be at least 1, but it is 0.5"),
        (lambda: cosine_restarts(0.1, 10, pt.dscalar()), TypeError, "multiplier must be a number"),
        (lambda: one_cycle(0.1, 10, kind="cos"), ValueError, "kind must be one of 'cosine', 'linear', not 'cos'"),
        (lambda: one_cycle(0.1, 10, warmup_fraction=1.0), ValueError, "warmup_fraction must be below"),
        (lambda: one_cycle(0.1, 10, return_fraction=0.2), ValueError, "warmup_fraction must be below return_fraction"),
        (lambda: one_cycle(0.1, 10, final_div=0), ValueError, "final_div must be finite and above 0"),
        (
            lambda: cyclic(0, 1, 10, mode="exp"),
            ValueError,
            "mode must be one of 'triangular', 'triangular2', 'exp_range'",
        ),
        (lambda: cyclic(0, 1, 10, gamma=0.9), ValueError, "gamma is of mode 'exp_range' only"),
        (lambda: warmup("cosine", 10), TypeError, "warmup: schedule must be a schedule, a real number or a scalar"),
        (lambda: warmup(0.1, 0), ValueError, "warmup: steps must be a whole number of steps, at least 1"),
        (
            lambda: warmup_stable_decay(0.1, 1, 1, 1, kind="log"),
            ValueError,
            "kind must be one of 'linear', 'cosine', 'sqrt', 'exponential', not 'log'",
        ),
        (lambda: warmup_stable_decay(0.1, 1, 1, 1, kind="exponential"), ValueError, "final must be finite and above 0"),
        (lambda: warmup_stable_decay(0.1, 1, -1, 1), ValueError, "stable must be a whole number of steps, at least 0"),
        (lambda: piecewise_constant([1, 2], [1, 2]), ValueError, "values must be one more than boundaries.* 2 and 2"),
        (lambda: piecewise_constant([2, 1], [1, 2, 3]), ValueError, "boundaries must increase, but 1 follows 2"),
        (lambda: piecewise_constant([0], [1, 2]), ValueError, r"boundaries\[0\] must be a whole number of steps"),
        (lambda: piecewise_constant([1], [1, "x"]), TypeError, r"values\[1\] must be a real number"),
        (lambda: piecewise_constant(1, [1, 2]), TypeError, "boundaries must be a list, not 1"),
        (lambda: piecewise_interpolated([1], [1, 2], "sqrt"), ValueError, "kind must be one of 'linear', 'cosine'"),
        (lambda: join([constant(1)], [1]), ValueError, "join: schedules must be one more than boundaries"),
        (lambda: join([constant(1), "x"], [1]), TypeError, r"join: schedules\[1\] must be a schedule"),
        (lambda: join(constant(1), []), TypeError, r"join: schedules must be a list, not constant\(1\)"),
        (lambda: constant(1)(0j), TypeError, "the step of a schedule must be an integer"),
        (lambda: constant(1)("0"), TypeError, "the step of a schedule must be an integer"),
        (lambda: constant(1)(pt.bscalar() > 0), TypeError, "the step of a schedule must be an integer"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_symbolic_schedule_wants_a_symbolic_step():
    rate = pytensor.shared(0.1, name="rate")
    for schedule in (
        constant(rate),
        warmup(constant(rate), 10),
        join([1, linear(1, final=rate, steps=2)], [1]),
        piecewise_constant([1], [rate, 1]),
        join([1, lambda step: rate], [1]),
        warmup(lambda step: rate * step, 10),
    ):
        with pytest.raises(TypeError, match=r"(rate|is symbolic).*: call .* with a symbolic step"):
            schedule(np.arange(3))
        assert schedule(pt.lscalar()).ndim == 0


def test_no_truth_of_symbolic_values():
    """Whatever may be a variable is one."""
    x = [pt.dscalar(f"x{i}") for i in range(7)]
    for schedule in (
        exponential_decay(x[0], x[1], x[2], final=x[3]),
        one_cycle(*x[:5], return_fraction=x[5]),
        cyclic(*x[:3], mode="exp_range", gamma=x[3]),
        warmup_stable_decay(*x[:6], kind="exponential"),
        polynomial_decay(*x[:5]),
        cosine_decay(*x[:4]),
        piecewise_interpolated(x[:2], x[2:5]),
        join([x[0], x[1], x[2]], [x[3], 10]),
    ):
        assert schedule(pt.lscalar()).ndim == 0
