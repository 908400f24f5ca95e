"""Transforms of gradients."""

from functools import partial
from inspect import signature

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON

import symupdates
from symupdates import apply_if_finite, chain, gradients, sgd

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
    assert {transform.__name__ for transform, _, _ in CASES} | random | {*IN_TIME} == set(gradients.__all__)


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
@pytest.mark.ci
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


# --- In time ----------------------------------------------------------------------------------------------------------

# Those that are tested over several updates, with hyper-parameters and other arguments. Norms rise and fall; the sixth
# and the tenth are far above the others.
IN_TIME = {
    "clip_by_percentile": ({"percentile": 40.0}, {"window": 5}),
    "clip_by_zscore": ({"threshold": 1.5, "decay": 0.75}, {"warmup": 3}),
    "orthograd": ({}, {}),
    "grokfast": ({"decay": 0.75, "amplification": 3.0}, {}),
    "mars": ({"beta": 0.875, "gamma": 0.25, "max_norm": 2.0}, {}),
}
SIZES = [1.0, 2.0, 1.5, 1.0, 2.0, 40.0, 1.0, 3.0, 0.5, 20.0, 1.0, 1.5]
STEPS = [[size * np.random.default_rng(t).normal(size=s) for s in SHAPES[:3]] for t, size in enumerate(SIZES)]


def scheduled(value):
    return lambda step: value * (4 - step % 3) / 4


def in_time(names, dtypes, mode, scale=1.0):
    """What each of them makes of the gradients of each update, as the steps of plain descent tell."""
    inputs = [pt.tensor(shape=s, dtype=d) for s, d in zip(SHAPES, dtypes, strict=False)]
    start = [scale * value.astype(g.dtype) for g, value in zip(inputs, VALUES, strict=False)]
    updates, seen = {}, {}
    for name in names:
        params = [pytensor.shared(value, name=f"{name}{i}") for i, value in enumerate(start)]
        transformed = apply(getattr(gradients, name), arguments_of(name, scale), inputs, params)
        assert [(x.dtype, x.type.shape) for x in transformed] == [(g.dtype, g.type.shape) for g in inputs]
        # For the parameters are to stay as they are.
        seen[name] = [
            pytensor.shared(np.zeros_like(value), name=f"{p} seen") for p, value in zip(params, start, strict=True)
        ]
        updates |= sgd(transformed, seen[name], learning_rate=-1.0)
    step = pytensor.function(inputs, [], updates=updates, mode=mode)
    for grads in STEPS:
        for v in [v for of_one in seen.values() for v in of_one]:
            v.set_value(np.zeros_like(v.get_value()))
        step(*((scale * g).astype(x.dtype) for g, x in zip(grads, inputs, strict=False)))
        yield {name: [v.get_value() for v in of_one] for name, of_one in seen.items()}


def arguments_of(name, scale):
    hyper, structure = IN_TIME[name]
    return {key: scheduled(x * scale if key == "max_norm" else x) for key, x in hyper.items()} | structure


def check_in_time(names, dtypes, mode, scale=1.0, rtol=2e-5):
    n = len(dtypes)
    params = [scale * v.astype("float64") for v in VALUES[:n]]
    steps = [[scale * g for g in grads[:n]] for grads in STEPS]
    expected = {name: list(getattr(oracles, name)(steps, params, **arguments_of(name, scale))) for name in names}
    for t, got in enumerate(in_time(names, dtypes, mode, scale)):
        for name, tensors in got.items():
            for x, right in zip(tensors, expected[name][t], strict=True):
                label = f"{name} of {scale}, update {t}"
                atol = rtol * np.abs(right).max()
                np.testing.assert_allclose(x.astype("float64"), right, rtol=rtol, atol=atol, err_msg=label)


def test_numbers_in_time():
    """Over several updates, with schedules; what they keep is advanced by the dict of a rule."""
    check_in_time(IN_TIME, ["float64"] * 3, PYTHON, rtol=1e-12)
    check_in_time(IN_TIME, ["float32", "float64", "float32"], PYTHON)


@pytest.mark.ci
@pytest.mark.once
def test_numbers_in_time_on_backends(backend):
    check_in_time(["clip_by_percentile", "clip_by_zscore", "grokfast"], ["float32"], backend)


def test_scales_in_time():
    """Gradients of every size in float32 are changed as others are: none goes by a unit, but the bound of mars."""
    for scale in (1e30, 1e-30):
        with np.errstate(over="ignore"):
            check_in_time(IN_TIME, ["float32"], PYTHON, scale)


def test_something_is_clipped_and_something_is_not():
    """Or the tests above would see nothing."""
    for name in ("clip_by_percentile", "clip_by_zscore", "mars"):
        ratios = [
            np.linalg.norm(right[0]) / np.linalg.norm(given[0])
            for right, given in zip(getattr(oracles, name)(STEPS, None, **arguments_of(name, 1.0)), STEPS, strict=True)
        ]
        assert min(ratios) < 0.9 and (name == "mars" or ratios.count(1) > 1), name


def test_adaptive_clipping_by_an_infinite_factor_is_none():
    """Of weights that are zero, too."""
    g = pt.vector("g", dtype="float64")
    [clipped] = gradients.clip_adaptively([g], [pytensor.shared(np.zeros(2))], clipping=np.inf, epsilon=0.0)
    assert pytensor.function([g], clipped, mode=PYTHON)([3.0, 4.0]).tolist() == [3, 4]


def test_what_is_no_number_is_not_kept():
    """It goes through, and the next are clipped as if it had not been."""
    for name in ("clip_by_percentile", "clip_by_zscore"):
        hyper, structure = IN_TIME[name]
        ends = []
        for broken in ([], [np.nan], [np.inf], [np.nan, np.inf, np.nan]):
            g, p = pt.vector("g", dtype="float64"), pytensor.shared(np.zeros(2), name="p")
            updates = sgd(getattr(gradients, name)([g], **hyper, **structure), [p], learning_rate=-1.0)
            step = pytensor.function([g], [], updates=updates, mode=PYTHON)
            for x in [*broken, 1.0, 2.0, *broken, 1.5, 1.0, *broken, 2.0]:
                step([x, 0.0])
                assert np.isfinite(p.get_value()).all() == np.isfinite(x) or np.isinf(x)
                assert all(np.isfinite(v.get_value()).all() for v in list(updates)[1:])
                p.set_value(np.zeros(2))
            step([40.0, 0.0])
            ends.append([v.get_value() for v in updates])
        assert ends[0][0][0] < 10
        for end in ends[1:]:
            for a, b in zip(end, ends[0], strict=True):
                np.testing.assert_array_equal(a, b)


def test_state_of_transforms(params):
    """Of a parameter, named after it, reset with it, and held by a gate; of the whole."""
    g = [pt.tensor(shape=x.shape, dtype=x.dtype) for x in GIVEN]
    names = {
        "clip_by_percentile": ["clip_by_percentile/norms", "clip_by_percentile/seen"],
        "clip_by_zscore": ["clip_by_zscore/deviation", "clip_by_zscore/mean", "clip_by_zscore/seen"],
        "grokfast": ["grokfast/t", *(f"p{i}/grokfast/average" for i in range(4))],
        "mars": ["mars/t", *(f"p{i}/mars/previous" for i in range(4))],
    }
    for name, own in names.items():
        gated = chain(getattr(gradients, name)(), sgd(), apply_if_finite())
        updates = gated(g, params)
        found = symupdates.named(updates)
        assert sorted(v for v in found if name in v) == own
        step = pytensor.function(g, [], updates=updates, mode=PYTHON)
        step(*GIVEN)
        before = {key: found[key].get_value() for key in own}
        assert all(np.any(x != 0) for key, x in before.items() if "deviation" not in key)
        step(*(x * np.nan for x in GIVEN))
        for key, x in before.items():
            np.testing.assert_array_equal(found[key].get_value(), x, err_msg=key)
        symupdates.reset(updates)
        assert not any(np.any(found[key].get_value() != 0) for key in own)


def test_along_the_weights():
    """Nothing is left, not rounding errors at full length; and where there are no weights, all is."""
    p = [pytensor.shared(x, name="p") for x in (np.full(7, 0.3), np.array(2.0), np.zeros(3), np.array([3.0, 4.0]))]
    given = [np.full(7, -1.7), np.array(3.0), np.ones(3), np.array([1.0, 0.0])]
    got = pytensor.function([], gradients.orthograd(list(map(pt.as_tensor, given)), p), mode=PYTHON)()
    for x, right in zip(got, ([0] * 7, 0, [1, 1, 1], [0.8, -0.6]), strict=True):
        np.testing.assert_allclose(x, right, rtol=1e-14)
    plain = gradients.orthograd([pt.as_tensor(given[3])], p[3:], rescale=False)
    np.testing.assert_allclose(pytensor.function([], plain, mode=PYTHON)()[0], [0.64, -0.48], rtol=1e-14)


def test_zero_gradients_stay_zero(params):
    grads = [pt.tensor(shape=g.shape, dtype=g.dtype) for g in GIVEN]
    for transform, hyper, _ in CASES[:9]:
        f = pytensor.function(grads, apply(transform, hyper, grads, params), mode=PYTHON)
        for got in f(*(0 * g for g in GIVEN)):
            assert not got.any(), transform.__name__
    for name in IN_TIME:
        (got,) = apply(getattr(gradients, name), {}, [pt.zeros_like(params[0])], params[:1])
        assert not pytensor.function([], got, mode=PYTHON)().any(), name


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
    with pytest.raises(ValueError, match="clip_by_percentile: window must be a whole number of at least 1"):
        gradients.clip_by_percentile(grads, window=0)
    with pytest.raises(ValueError, match="clip_by_percentile: percentile must be at least 0 and at most 100"):
        gradients.clip_by_percentile(grads, percentile=101)
    with pytest.raises(ValueError, match="clip_by_zscore: warmup must be a whole number of at least 2"):
        gradients.clip_by_zscore(grads, warmup=1)
    with pytest.raises(TypeError, match="orthograd: rescale must be True or False"):
        gradients.orthograd(grads, params, rescale="no")
    for transform in (gradients.grokfast, gradients.mars):
        with pytest.raises(ValueError, match=f"{transform.__name__}: got 4 gradients for 3 parameters"):
            transform(grads, params[:3])
        rows = symupdates.rows(params[0], [0, 1])
        with pytest.raises(TypeError, match="cannot train rows of p0: it needs its parameters whole"):
            transform([rows * 2], [rows])
    with pytest.raises(TypeError, match="params must be a list"):
        gradients.add_l1(grads)
