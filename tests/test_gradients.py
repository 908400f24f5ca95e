"""Transforms of gradients."""

from functools import partial
from inspect import signature

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON

from symupdates import gradients, sgd

RNG = np.random.default_rng(0)
SHAPES = [(4, 3), (2, 3, 2), (5,), ()]
DTYPES = ["float64", "float32", "float32", "float64"]
GIVEN = [np.asarray(RNG.normal(size=s), dtype=d) for s, d in zip(SHAPES, DTYPES, strict=True)]
VALUES = [np.asarray(RNG.normal(size=s), dtype=d) for s, d in zip(SHAPES, DTYPES, strict=True)]
VALUES[0][:, 1] = 0  # a unit that starts at zero
TOTAL = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in GIVEN))


def unit_norm(x):
    axes = None if x.ndim < 2 else (0,) if x.ndim == 2 else tuple(range(1, x.ndim))
    return np.sqrt((x**2).sum(axis=axes, keepdims=True))


def adaptive(g, p):
    bound = 0.5 * np.maximum(unit_norm(p), 1e-3)
    return np.where(unit_norm(g) > bound, g * bound / unit_norm(g), g)


def centralized(g):
    return g if g.ndim < 2 else g - g.mean(axis=0 if g.ndim == 2 else tuple(range(1, g.ndim)), keepdims=True)


# Each transform, its hyper-parameters, and the same in NumPy for one gradient and its parameter.
CASES = [
    (gradients.clip_by_value, {"limit": 0.5}, lambda g, p: np.clip(g, -0.5, 0.5)),
    (gradients.clip_by_norm, {"max_norm": 1.5}, lambda g, p: g * min(1, 1.5 / np.sqrt((g**2).sum()))),
    (gradients.clip_by_total_norm, {"max_norm": 1.5}, lambda g, p: g * 1.5 / TOTAL),
    (gradients.clip_by_total_norm, {"max_norm": 1e3}, lambda g, p: g),
    (gradients.clip_adaptively, {"clipping": 0.5}, adaptive),
    (gradients.normalize, {"epsilon": 0.25}, lambda g, p: g / (TOTAL + 0.25)),
    (gradients.centralize, {}, lambda g, p: centralized(g)),
    (gradients.zero_nans, {}, lambda g, p: g),
    (gradients.sign, {}, lambda g, p: np.sign(g)),
    (gradients.add_l2, {"coefficient": 0.125}, lambda g, p: g + 0.125 * p),
    (gradients.add_l1, {"coefficient": 0.125}, lambda g, p: g + 0.125 * np.sign(p)),
]


def apply(transform, hyper, grads, params):
    takes = {"params": params} if "params" in signature(transform).parameters else {}
    return transform(grads, **takes, **hyper)


@pytest.fixture
def params():
    return [pytensor.shared(value, name=f"p{i}", shape=value.shape) for i, value in enumerate(VALUES)]


def test_every_transform_has_a_case():
    random = {"add_noise"}  # test_random.py
    assert {transform.__name__ for transform, _, _ in CASES} | random == set(gradients.__all__)


@pytest.mark.once
def test_numbers(backend_and_dtype, params):
    """All of them in one function: values, shapes and dtypes, at run time too, whatever floatX is."""
    backend, floatx = backend_and_dtype
    with pytensor.config.change_flags(floatX=floatx):
        grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
        outputs = []
        for transform, hyper, _ in CASES:
            out = apply(transform, {name: np.float64(value) for name, value in hyper.items()}, grads, params)
            assert type(out) is list
            assert [(x.dtype, x.type.shape) for x in out] == [(g.dtype.name, g.shape) for g in GIVEN]
            outputs += out
        f = pytensor.function(grads, outputs, mode=backend)
    results = iter(f(*GIVEN))
    for transform, _, expected in CASES:
        for g, p in zip(GIVEN, VALUES, strict=True):
            got = np.asarray(next(results))
            assert got.dtype == g.dtype, transform.__name__
            exact = expected(g.astype("float64"), p.astype("float64"))
            np.testing.assert_allclose(
                got, exact, rtol={"float32": 2e-6, "float64": 1e-13}[g.dtype.name], err_msg=transform.__name__
            )


@pytest.mark.once
def test_within_the_bound_nothing_changes(backend, params):
    """To the last bit, which Lasagne's total_norm_constraint does not keep."""
    grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
    transforms = {"clip_by_value": 9.7, "clip_by_norm": 9.7, "clip_by_total_norm": 9.7, "clip_adaptively": 9.7e5}
    outputs = []
    for name, bound in transforms.items():
        transform = getattr(gradients, name)
        (hyper,) = (q for q in ("limit", "max_norm", "clipping") if q in signature(transform).parameters)
        outputs += apply(transform, {hyper: bound}, grads, params)
    results = iter(pytensor.function(grads, outputs, mode=backend)(*GIVEN))
    for name in transforms:
        for g in GIVEN:
            np.testing.assert_array_equal(next(results), g, err_msg=name)


def test_zero_gradients_stay_zero(params):
    grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
    for transform, hyper, _ in CASES[:9]:
        f = pytensor.function(grads, apply(transform, hyper, grads, params), mode=PYTHON)
        for got in f(*(0 * g for g in GIVEN)):
            assert not got.any(), transform.__name__


def test_norm_for_monitoring():
    x = pt.vector(dtype="float32")
    scaled, norm = gradients.clip_by_total_norm([x], max_norm=1.0, return_norm=True)
    assert norm.dtype == "float32"
    f = pytensor.function([x], [*scaled, norm], mode=PYTHON)
    got, n = f(np.array([3, 4], "float32"))
    np.testing.assert_allclose(got, [0.6, 0.8], rtol=1e-6)
    assert n == 5


def test_nan_and_infinity():
    x = pt.vector(dtype="float64")
    f = pytensor.function([x], gradients.zero_nans([x]), mode=PYTHON)
    np.testing.assert_array_equal(f([np.nan, np.inf, 1.0])[0], [0, np.inf, 1])
    f = pytensor.function([x], gradients.clip_by_value([x], 2.0), mode=PYTHON)
    np.testing.assert_array_equal(f([np.nan, np.inf, -np.inf])[0], [np.nan, 2, -2])


@pytest.mark.parametrize("transform, hyper, _", CASES, ids=[c[0].__name__ for c in CASES])
def test_waiting_and_scheduled(transform, hyper, _, params):
    """Without gradients, a partial; schedules bring a clock into the dict of the rule; nothing is mutated."""
    waiting = transform(**hyper)
    assert isinstance(waiting, partial) and waiting.keywords | hyper == waiting.keywords
    grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
    before = list(grads)
    scheduled = {name: lambda step, value=value: value / (1 + step) for name, value in hyper.items()}
    updates = sgd(apply(transform, scheduled, grads, params), params)
    assert grads == before
    assert [v.name for v in updates][4:] == [f"{transform.__name__}/t"] * bool(hyper)


def test_errors(params):
    grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
    with pytest.raises(TypeError, match=r"clip_by_value: grads\[1\] must be a dense tensor variable of float dtype"):
        gradients.clip_by_value([grads[0], None], 1.0)
    with pytest.raises(ValueError, match="clip_by_norm: max_norm must be a scalar"):
        gradients.clip_by_norm(grads, [1.0, 2.0])
    with pytest.raises(ValueError, match="add_l2: got 4 gradients for 3 parameters"):
        gradients.add_l2(grads, params[:3])
    with pytest.raises(TypeError, match="params must be a list"):
        gradients.add_l1(grads)
