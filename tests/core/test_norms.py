"""Norms of huge and of tiny tensors, in whatever takes one."""

from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON

import symupdates as su
from symupdates import constraints, gradients, proximal
from symupdates.core import norm, rescaled

WIDE = np.longdouble
PATTERN = np.array([[3.0, -4.0], [1.0, 0.25]])
# Powers of two up to the ends of each dtype, and where squares are no numbers any more. JAX has nothing between zero
# and the smallest normal number.
EXPONENTS = {
    "float32": (-122, -90, -70, -64, -40, -33, -20, 0, 30, 62, 64, 90, 110, 125),
    "float64": (-1018, -800, -600, -520, -511, -450, -100, 0, 300, 510, 512, 700, 900, 1021),
}


def total(x):
    return np.sqrt((x**2).sum())


def of_columns(x):
    return np.sqrt((x**2).sum(axis=0, keepdims=True))


def sizes(dtype):
    """A matrix of each size; two with zeros, and one of the largest numbers there are."""
    given = [(PATTERN * WIDE(2) ** e).astype(dtype) for e in EXPONENTS[dtype]]
    largest = np.finfo(dtype).max
    others = given[-1] * np.array([1, 0], dtype), np.zeros((2, 2), dtype), np.array([[largest, -largest], [largest, 1]])
    return [*given, *(x.astype(dtype) for x in others)]


# What takes a norm and gives a tensor of the same shape, and the same in extended precision.
CASES = {
    "clip_by_total_norm": (lambda x: gradients.clip_by_total_norm([x], 5.0)[0], lambda x: x * min(1, 5 / total(x))),
    "clip_by_norm": (lambda x: gradients.clip_by_norm([x], 5.0)[0], lambda x: x * min(1, 5 / total(x))),
    "normalize": (lambda x: gradients.normalize([x])[0], lambda x: x / (total(x) + WIDE(1e-6))),
    "total_norm_constraint": (
        lambda x: su.total_norm_constraint([x], 5.0)[0],
        lambda x: x * (min(total(x), 5) / (total(x) + WIDE(1e-7))),
    ),
    "norm_constraint": (
        lambda x: su.norm_constraint(x, 5.0),
        lambda x: x * (np.minimum(of_columns(x), 5) / (of_columns(x) + WIDE(1e-7))),
    ),
    "unit_norm": (constraints.unit_norm(), lambda x: x / np.where(of_columns(x) > 0, of_columns(x), 1)),
    "max_norm": (constraints.max_norm(bound=3.0), lambda x: x * np.minimum(1, 3 / of_columns(x))),
    "l2_ball": (constraints.l2_ball(radius=0.5), lambda x: x * min(1, WIDE(0.5) / total(x))),
    **{
        f"to 2 ** {e}": (
            lambda x, e=e: rescaled(x, norm(x).or_one(), np.asarray(2.0**e, x.dtype)),
            lambda x, e=e: x / (total(x) or 1) * WIDE(2) ** e,
        )
        for e in (120, -100)
    },
    "group_lasso": (
        partial(proximal.group_lasso, step_size=0.25),
        lambda x: x * np.maximum(1 - WIDE(0.25) / of_columns(x), 0),
    ),
}


@pytest.mark.parametrize("dtype", EXPONENTS)
def test_every_size(dtype):
    check_every_size(list(CASES), dtype, PYTHON)


def test_every_size_on_backends(backend_and_dtype):
    backend, dtype = backend_and_dtype
    names = ["clip_by_total_norm", "norm_constraint", "max_norm", "to 2 ** 120", "to 2 ** -100"]
    check_every_size(names, dtype, backend)


def check_every_size(names, dtype, mode):
    x = pt.matrix("x", dtype=dtype)
    f = pytensor.function([x], [CASES[name][0](x) for name in names], mode=mode)
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    for value in sizes(dtype):
        with np.errstate(over="ignore"):
            outputs = f(value)
        for name, got in zip(names, outputs, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                exact = np.nan_to_num(CASES[name][1](value.astype(WIDE)), nan=0.0)
            deviation = np.abs(np.asarray(got).astype(WIDE) - exact)
            # What comes near the smallest normal number may be zero, itself or as a part of the largest element.
            near_zero = 8 * np.finfo(dtype).tiny * max(1, np.abs(exact).max())
            assert (deviation <= tolerance * np.abs(exact) + near_zero).all(), (name, value, got, exact)
    with np.errstate(invalid="ignore"):
        clipped = f(np.array([[-np.inf, 1], [2, 3]], dtype))[names.index("clip_by_total_norm")]
    np.testing.assert_array_equal(clipped, [[np.nan, 0], [0, 0]])


# --- Steps of rules ---------------------------------------------------------------------------------------------------
# In float32, from the pattern times a power of two, with the transposed pattern times another as the gradient.


def lars(p, g):
    return p - WIDE(0.1) * WIDE(0.001) * total(p) * (g / total(g))


def lamb(p, g):
    u = g / (np.abs(g) + WIDE(1e-6))
    return p - WIDE(0.001) * total(p) / total(u) * u


def fromage(p, g):
    return (p - WIDE(0.01) * total(p) * (g / total(g))) / np.sqrt(1 + WIDE(0.01) ** 2)


def dog(p, g):
    return p - WIDE(1e-6) * (1 + total(p)) / np.sqrt(total(g) ** 2 + WIDE(1e-8)) * g


def adaptive(p, g):
    return p - g * np.minimum(1, np.maximum(of_columns(p), WIDE(1e-3)) / 100 / of_columns(g))


AGC = su.chain(gradients.clip_adaptively(), su.sgd(learning_rate=1.0))
GRADIENTS = EXPONENTS["float32"]
STEPS = {
    "lars": (su.lars(), lars, 0, GRADIENTS),
    "lars of huge weights": (su.lars(), lars, 100, GRADIENTS),
    "lars of tiny weights": (su.lars(), lars, -100, GRADIENTS),
    "fromage": (su.fromage(), fromage, 0, [e for e in GRADIENTS if e >= -10]),
    "clip_adaptively": (AGC, adaptive, 0, [e for e in GRADIENTS if e >= -10]),
    "clip_adaptively to huge weights": (AGC, adaptive, 100, [e for e in GRADIENTS if e >= 90]),
    "clip_adaptively to tiny weights": (AGC, adaptive, -100, [e for e in GRADIENTS if e >= -110]),
    # The squares of their gradients are state.
    "lamb of huge weights": (su.lamb(weight_decay=0.0), lamb, 100, [0, 40]),
    "lamb of tiny weights": (su.lamb(weight_decay=0.0), lamb, -100, [0, 40]),
    "dog of huge weights": (su.dog(), dog, 100, [0, 40]),
    "l_dog of huge weights": (su.l_dog(), dog, 100, [0, 40]),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name):
    optimizer, expected, exponent, exponents = STEPS[name]
    start = np.ldexp(PATTERN, exponent).astype("float32")
    g, p = pt.matrix("g", dtype="float32"), pytensor.shared(start)
    updates = optimizer([g], [p])
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for e in exponents:
        given = np.ldexp(PATTERN.T, e).astype("float32")
        p.set_value(start)
        su.reset(updates)
        with np.errstate(over="ignore"):
            step(given)
        moved = expected(start.astype(WIDE), given.astype(WIDE))
        np.testing.assert_allclose(p.get_value().astype(WIDE), moved, rtol=1e-6, err_msg=f"2 ** {e}")
        assert (p.get_value() != start).any(), e


def test_distances():
    """The distance covered, too, of dog."""
    start = np.ldexp(PATTERN, 90).astype("float32")
    for rule in (su.dog, su.l_dog):
        p = pytensor.shared(start, name="p")
        updates = rule([pt.ones((2, 2), dtype="float32")], [p])
        p.set_value(np.float32(1.5) * start)
        with np.errstate(over="ignore"):
            pytensor.function([], [], updates=updates, mode=PYTHON)()
        (distance,) = (v for v in updates if v.name.endswith("distance"))
        np.testing.assert_allclose(distance.get_value(), total(start.astype(WIDE)) / 2, rtol=1e-6)


def test_muon_goes_by_the_direction():
    """That of gradients is the same for all that are not tiny."""
    ends = []
    for e in (20, 70, 120):
        p = pytensor.shared(PATTERN.astype("float32"))
        with np.errstate(over="ignore"):
            pytensor.function([], [], updates=su.muon([np.ldexp(PATTERN, e).astype("float32")], [p]), mode=PYTHON)()
        ends.append(p.get_value())
    assert not np.array_equal(ends[0], PATTERN)
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, rtol=1e-6)


def test_sam_looks_in_the_same_distance():
    """On a steep quadratic, the gradient is that at the end of a step of fixed length."""
    for rule, scale in ((su.sam, 1), (su.asam, np.abs(PATTERN))):
        p = pytensor.shared(PATTERN.astype("float32"))
        steepness = np.float32(2.0**70)
        arguments = {"eta": 0.0} if rule is su.asam else {}
        loss = (p**2).sum() * (steepness / 2)
        updates = rule(loss, [p], rho=0.5, optimizer=su.sgd(learning_rate=2.0**-70), **arguments)
        with np.errstate(over="ignore"):
            pytensor.function([], [], updates=updates, mode=PYTHON)()
        scaled = scale * PATTERN
        np.testing.assert_allclose(p.get_value(), -0.5 * scale * scaled / np.linalg.norm(scaled), rtol=1e-4)


def test_polyak_step():
    """The loss over the norm of the gradient is the length of the step; of a linear loss, it is zero there."""
    for e in (-70, 0, 70):
        c = np.ldexp(PATTERN, e).astype("float32")
        p = pytensor.shared(PATTERN.astype("float32"))
        loss = (p * c).sum()
        updates = su.polyak_step(loss, [p], max_learning_rate=np.inf)
        with np.errstate(over="ignore"):
            pytensor.function([], [], updates=updates, mode=PYTHON)()
        np.testing.assert_allclose(p.get_value(), 0, atol=1e-6)


def test_a_gate_of_huge_steps():
    g = np.ldexp(PATTERN, 70).astype("float32")
    for bound, is_open in ((2.0**80, True), (2.0**70, False)):
        p = pytensor.shared(PATTERN.astype("float32"))
        updates = su.apply_if_small(su.sgd([pt.as_tensor(g)], [p], learning_rate=1.0), max_norm=bound)
        with np.errstate(over="ignore"):
            pytensor.function([], [], updates=updates, mode=PYTHON)()
        assert np.array_equal(p.get_value(), PATTERN) != is_open


# --- The norm itself --------------------------------------------------------------------------------------------------


def test_the_largest_norm():
    """More than any number of the dtype: infinite, and what is divided by it is right nevertheless."""
    x = pt.vector("x", dtype="float32")
    clipped, n = gradients.clip_by_total_norm([x], 1.0, return_norm=True)
    with np.errstate(over="ignore"):
        got, value = pytensor.function([x], [*clipped, n], mode=PYTHON)(np.full(4, np.finfo("float32").max))
    assert value == np.inf
    np.testing.assert_allclose(got, 0.5, rtol=1e-6)


def test_of_several_dtypes():
    """What is far below the norm is zero there, and nothing is NaN: also where all is zero."""
    xs = [pt.vector("x", dtype="float32"), pt.vector("y", dtype="float64")]
    f = pytensor.function(xs, gradients.normalize(xs, epsilon=0.25), mode=PYTHON)
    for small, large, expected in ((1.0, 0.75, 1 / 1.5), (0.0, 0.0, 0.0), (0.0, 1e-200, 0.0)):
        got, _ = f(np.array([small], "float32"), np.array([large]))
        np.testing.assert_allclose(got, [expected], rtol=1e-6)
    x, y = f(np.array([3.0], "float32"), np.array([1e300]))
    np.testing.assert_allclose(x, 0)
    np.testing.assert_allclose(y, 1, rtol=1e-15)


def test_usual_values_keep_their_bits():
    """It is the root of the sum of squares as it is, where that is a usual number."""
    for dtype in ("float32", "float64"):
        x = pt.vector("x", dtype=dtype)
        usual = pt.sqrt(pt.sum(x**2))
        f = pytensor.function([x], [norm(x).value, usual], mode=PYTHON)
        for e in (-10, 0, 10):
            n, expected = f(np.ldexp(np.random.default_rng(0).normal(size=100), e).astype(dtype))
            assert n == expected and n.dtype == dtype


@pytest.mark.long
def test_its_gradient(backend):
    """Through it, as through any expression, for usual and for huge tensors."""
    x = pt.vector("x", dtype="float64")
    f = pytensor.function([x], pytensor.grad(norm(x).value, x), mode=backend)
    for e in (0, 600, -600):
        np.testing.assert_allclose(f(np.ldexp([3.0, -4.0], e)), [0.6, -0.8], rtol=1e-14)


# --- NaN --------------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "lars": su.lars(),
    "lamb": su.lamb(),
    "fromage": su.fromage(),
    "novograd": su.novograd(),
    "muon": su.muon(),
    "dog": su.dog(),
    "dowg": su.dowg(),
    "clip": su.chain(gradients.clip_by_total_norm(), su.sgd()),
    "clip by unit": su.chain(gradients.clip_adaptively(), su.sgd()),
    "normalize": su.chain(gradients.normalize(), su.sgd()),
    "unit norm": su.chain(su.sgd(), su.apply_projection(projection=constraints.unit_norm(axes=(0, 1)))),
    "simplex": su.chain(su.sgd(), su.apply_projection(projection=constraints.simplex())),
    "l1 ball": su.chain(su.sgd(), su.apply_projection(projection=constraints.l1_ball())),
    "nuclear norm": su.chain(su.sgd(), su.apply_proximal(operator=proximal.nuclear_norm)),
    "barzilai_borwein": su.barzilai_borwein(),
}


def test_nan_goes_through():
    """To all that has the norm in common: a NaN norm is no zero norm, of which the others took raw steps."""
    check_that_nan_goes_through(OPTIMIZERS, PYTHON)


@pytest.mark.long
def test_nan_goes_through_on_backends(backend):
    check_that_nan_goes_through(["lars", "simplex"], backend)


def check_that_nan_goes_through(names, mode):
    g = pt.tensor("g", shape=(2, 2), dtype="float32")
    params = [pytensor.shared(np.full((2, 2), 0.5, "float32"), name=name, shape=(2, 2)) for name in names]
    updates = {}
    for p, name in zip(params, names, strict=True):
        updates |= OPTIMIZERS[name]([g], [p])
    step = pytensor.function([g], [], updates=updates, mode=mode)
    step(np.ones((2, 2), "float32"))
    assert all(np.isfinite(p.get_value()).all() for p in params)
    step(np.array([[np.nan, np.nan], [1, 1]], "float32"))
    assert {p.name for p in params if not np.isnan(p.get_value()).all()} == set()


def test_nan_in_conjugate_gradients():
    """To all parameters: the length of the step is theirs together."""
    for rule in ("gauss_newton", "natural_gradient"):
        p, x = pytensor.shared(np.ones(2), name="p"), pt.dvector("x")
        r = p * x - 1
        given = {"outputs": r} if rule == "gauss_newton" else {"divergence": (r**2).sum()}
        updates = getattr(su, rule)((r**2).sum() / 2, [p], iterations=1, **given)
        step = pytensor.function([x], [], updates=updates, mode=PYTHON)
        step([np.nan, 2.0])
        assert np.isnan(p.get_value()).all(), rule


def test_trust_is_one_where_a_norm_is_zero():
    """Weights that begin at zero move, and without gradients nothing does; as before."""
    g = pt.vector("g", dtype="float64")
    for rule, arguments in ((su.lars, {"momentum": 0.0}), (su.lamb, {"weight_decay": 0.0})):
        for start, given in ((0.0, 2.0), (3.0, 0.0)):
            p = pytensor.shared(np.full(2, start))
            step = pytensor.function([g], [], updates=rule([g], [p], learning_rate=0.5, **arguments), mode=PYTHON)
            step([given, given])
            raw = given if rule is su.lars else np.sign(given)
            np.testing.assert_allclose(p.get_value(), start - 0.5 * raw, rtol=1e-5)
