"""norm_constraint and total_norm_constraint."""

import numpy as np
import oracles
import pytensor
import pytensor.sparse
import pytensor.tensor as pt
import pytest
from test_rules import PYTHON

from symupdates import norm_constraint, sgd, total_norm_constraint

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shape, axes, summed",
    [
        ((4, 3), None, (0,)),
        ((4, 3, 2), None, (1, 2)),
        ((2, 3, 2, 2), None, (1, 2, 3)),
        ((2, 3, 2, 2, 1), None, (1, 2, 3, 4)),
        ((4,), (0,), (0,)),
        ((4, 3), [1], (1,)),
        ((4, 3), 1, (1,)),
        ((4, 3), (-1, 0), (0, 1)),
        ((2, 1, 2, 1, 2, 1), (0, 2), (0, 2)),
    ],
)
def test_norm_constraint(shape, axes, summed):
    value = RNG.normal(size=shape)
    value.flat[0] = 0
    got = norm_constraint(pt.as_tensor(value), 1.25, norm_axes=axes).eval(mode=PYTHON)
    np.testing.assert_allclose(got, oracles.norm_constraint(value, 1.25, summed), rtol=1e-14)
    assert np.sqrt((got**2).sum(axis=summed)).max() <= 1.25


def test_norm_constraint_of_zero_columns():
    value = np.ones((4, 2))
    value[:, 0] = 0
    assert np.array_equal(norm_constraint(pt.as_tensor(value), 1.0).eval(mode=PYTHON)[:, 0], np.zeros(4))


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norm_constraint_keeps_the_dtype(backend, dtype, floatx):
    """Of the tensor, at run time too; symbolic bounds of any dtype do."""
    value = RNG.normal(size=(4, 3)).astype(dtype)
    with pytensor.config.change_flags(floatX=floatx):
        x, bound = pt.tensor("x", shape=(4, 3), dtype=dtype), pt.scalar("bound", dtype="float64")
        outputs = [norm_constraint(x, bound), norm_constraint(x, np.float64(0.5)), norm_constraint(x, 1, epsilon=bound)]
        assert {out.dtype for out in outputs} == {dtype}
        got = pytensor.function([x, bound], outputs, mode=backend)(value, 0.5)
    assert {np.asarray(out).dtype for out in got} == {np.dtype(dtype)}
    rtol = {"float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(got[0], oracles.norm_constraint(value, 0.5, (0,)), rtol=rtol)
    np.testing.assert_allclose(got[1], got[0], rtol=rtol)
    np.testing.assert_allclose(got[2], oracles.norm_constraint(value, 1, (0,), epsilon=0.5), rtol=rtol)


@pytest.mark.parametrize("ndim", [0, 1, 6])
def test_norm_constraint_without_axes(ndim):
    with pytest.raises(ValueError, match=f"Unsupported tensor dimensionality {ndim} of W. Must specify `norm_axes`"):
        norm_constraint(pytensor.shared(np.ones((1,) * ndim), name="W"), 1.0)


def test_norm_constraint_errors():
    x = pt.matrix("x")
    with pytest.raises(TypeError, match="max_norm cannot be a schedule here"):
        norm_constraint(x, lambda step: 1.0)
    with pytest.raises(TypeError, match="tensor_var must be a dense tensor variable of float dtype, not i"):
        norm_constraint(pt.imatrix("i"), 1.0)
    with pytest.raises(ValueError, match="max_norm must be a scalar"):
        norm_constraint(x, [1.0, 2.0])
    with pytest.raises(TypeError, match="epsilon must be a real number"):
        norm_constraint(x, 1.0, epsilon="tiny")
    for axes in (2, (0, 0), (0, 5)):
        with pytest.raises(ValueError, match=r"axes|axis"):
            norm_constraint(x, 1.0, norm_axes=axes)


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_total_norm_constraint(backend, max_norm):
    """Outside and inside the ball; shapes and dtypes kept, at run time too."""
    given = [RNG.normal(size=s).astype(d) for s, d in [((3, 2), "float32"), ((), "float64"), ((4,), "float64")]]
    xs = [pt.tensor(shape=x.shape, dtype=x.dtype) for x in given]
    scaled, norm = total_norm_constraint((x for x in xs), max_norm, return_norm=True)
    assert type(scaled) is list
    *got, got_norm = pytensor.function(xs, [*scaled, norm], mode=backend)(*given)
    expected, expected_norm = oracles.total_norm_constraint([x.astype("float64") for x in given], max_norm)
    np.testing.assert_allclose(got_norm, expected_norm, rtol=1e-14)
    for x, a, b in zip(given, got, expected, strict=True):
        assert np.asarray(a).dtype == x.dtype
        np.testing.assert_allclose(a, b, rtol={"float32": 1e-6, "float64": 1e-13}[x.dtype.name])


def test_total_norm_constraint_stays_float32():
    with pytensor.config.change_flags(floatX="float64"):
        x = pt.tensor(shape=(3,), dtype="float32")
        scaled, norm = total_norm_constraint([x], np.float64(0.1), return_norm=True)
    assert norm.dtype == scaled[0].dtype == "float32"


def test_total_norm_constraint_of_nothing():
    assert total_norm_constraint([], 1.0) == []
    scaled, norm = total_norm_constraint([], 1.0, return_norm=True)
    assert scaled == [] and norm.eval(mode=PYTHON) == 0


def test_total_norm_constraint_of_infinity_and_nan():
    xs = [pt.tensor(shape=(2,), dtype="float64") for _ in range(2)]
    f = pytensor.function(xs, total_norm_constraint(xs, 1.0), mode=PYTHON)
    a, b = f([np.inf, 1.0], [1.0, 2.0])
    assert np.isnan(a[0]) and a[1] == 0 and not b.any()
    assert np.isnan(f([np.nan, 1.0], [1.0, 2.0])).all()


def test_total_norm_constraint_errors():
    with pytest.raises(TypeError, match=r"tensor_vars\[1\] must be a dense tensor variable of float dtype, not None"):
        total_norm_constraint([pt.vector(), None], 1.0)
    for x in (pt.ivector(), pt.zvector(), pytensor.sparse.csr_matrix()):
        with pytest.raises(TypeError, match=r"tensor_vars\[0\] must be a dense"):
            total_norm_constraint([x], 1.0)
    with pytest.raises(ValueError, match="max_norm must be a scalar"):
        total_norm_constraint([pt.vector()], pt.vector())


def test_the_clock_of_a_scheduled_bound_is_in_the_dict(backend):
    """A schedule of a gradient transform is advanced by the updates dict of whatever takes the gradients."""
    p = pytensor.shared(np.zeros(2), name="p")
    g = pt.tensor("g", shape=(2,), dtype="float64")
    grads = total_norm_constraint([g], lambda step: 1.0 + step, epsilon=lambda step: 0.0)
    updates = sgd(grads, [p], 1.0)
    assert [v.name for v in updates] == ["p", "total_norm_constraint/t"]
    step = pytensor.function([g], [], updates=updates, mode=backend)
    lengths = []
    for _ in range(3):
        before = np.array(p.get_value())
        step([30.0, 40.0])
        lengths.append(np.linalg.norm(p.get_value() - before))
    np.testing.assert_allclose(lengths, [1.0, 2.0, 3.0], rtol=1e-12)
