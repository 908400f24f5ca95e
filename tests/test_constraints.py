"""Lasagne's constraints, and projections."""

import numpy as np
import oracles
import pytensor
import pytensor.sparse
import pytensor.tensor as pt
import pytest
from helpers import PYTHON

from symupdates import apply_projection, constraints, norm_constraint, sgd, total_norm_constraint

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


def test_norm_constraint_keeps_the_dtype(backend_and_dtype):
    """Of the tensor, at run time too, where floatX is the other; symbolic bounds of any dtype do."""
    backend, dtype = backend_and_dtype
    value = RNG.normal(size=(4, 3)).astype(dtype)
    with pytensor.config.change_flags(floatX={"float32": "float64", "float64": "float32"}[dtype]):
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


# --- Projections ------------------------------------------------------------------------------------------------------


def to_simplex(x, total):
    """By bisection: what to take from each for the rest above zero to sum to the total."""
    low, high = x.min() - total, x.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(x - middle, 0).sum() > total else (low, middle)
    return np.maximum(x - low, 0)


def to_l1(x, radius):
    return x if np.abs(x).sum() <= radius else np.sign(x) * to_simplex(np.abs(x), radius)


def to_l2(x, radius):
    return x * min(1, radius / np.linalg.norm(x))


def along(axis, function, *args):
    return lambda x: np.apply_along_axis(function, axis, x, *args)


PROJECTIONS = {
    "non_negative": (constraints.non_negative(), lambda x: np.maximum(x, 0)),
    "box": (constraints.box(low=-0.25, high=0.5), lambda x: np.clip(x, -0.25, 0.5)),
    "unit_norm": (constraints.unit_norm(), along(0, lambda x: x / np.linalg.norm(x))),
    "unit_norm axes": (constraints.unit_norm(axes=(0, 1)), lambda x: x / np.linalg.norm(x)),
    "max_norm": (constraints.max_norm(bound=1.5), along(0, to_l2, 1.5)),
    "max_norm axes": (constraints.max_norm(bound=1.5, axes=1), along(1, to_l2, 1.5)),
    "l2_ball": (constraints.l2_ball(radius=1.5), lambda x: to_l2(x, 1.5)),
    "l2_ball axes": (constraints.l2_ball(radius=1.5, axes=(1,)), along(1, to_l2, 1.5)),
    "simplex": (constraints.simplex(total=2.0), lambda x: to_simplex(x.ravel(), 2.0).reshape(x.shape)),
    "simplex axis": (constraints.simplex(axis=1), along(1, to_simplex, 1.0)),
    "l1_ball": (constraints.l1_ball(radius=2.0), lambda x: to_l1(x.ravel(), 2.0).reshape(x.shape)),
    "l1_ball axis": (constraints.l1_ball(axis=-1), along(1, to_l1, 1.0)),
    "l1_ball inside": (constraints.l1_ball(radius=100), lambda x: x),
}


def test_every_projection_is_here():
    assert {name.split()[0] for name in PROJECTIONS} | {"norm_constraint", "total_norm_constraint"} == set(
        constraints.__all__
    )


@pytest.mark.long
@pytest.mark.ci
def test_projections(backend_and_dtype):
    """Against their definitions, in the dtype of the tensor."""
    backend, dtype = backend_and_dtype
    x = pt.matrix("x", dtype=dtype)
    value = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    value[:, 2] /= 4  # within the bounds
    outputs = pytensor.function([x], [project(x) for project, _ in PROJECTIONS.values()], mode=backend)(value)
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    for i, (name, (_, expected)) in enumerate(PROJECTIONS.items()):
        got = np.asarray(outputs[i])
        assert got.dtype == dtype and got.shape == value.shape, name
        np.testing.assert_allclose(got, expected(value.astype("float64")), rtol=0, atol=tolerance, err_msg=name)
    got = dict(zip(PROJECTIONS, outputs, strict=True))
    np.testing.assert_array_equal(got["l1_ball inside"], value)
    np.testing.assert_array_equal(np.asarray(got["max_norm"])[:, 2], value[:, 2])


def test_projecting_twice_is_projecting_once():
    x = pt.matrix("x", dtype="float64")
    once = [project(x) for project, _ in PROJECTIONS.values()]
    twice = [project(y) for y, (project, _) in zip(once, PROJECTIONS.values(), strict=True)]
    outputs = pytensor.function([x], once + twice, mode=PYTHON)(np.random.default_rng(0).normal(size=(5, 3)))
    for name, got, again in zip(PROJECTIONS, outputs, outputs[len(once) :], strict=False):
        np.testing.assert_allclose(again, got, rtol=0, atol=2e-14, err_msg=name)


def test_projections_of_other_shapes():
    for shape in ((), (4,), (2, 3, 2)):
        value = np.random.default_rng(0).normal(size=shape) + 4
        x = pt.tensor("x", shape=(None,) * len(shape), dtype="float64")
        outputs = [constraints.simplex(x), constraints.l1_ball(x), constraints.l2_ball(x), constraints.box(x)]
        simplex, l1, l2, box = pytensor.function([x], outputs, mode=PYTHON)(value)
        assert {y.shape for y in (simplex, l1, l2, box)} == {shape}
        np.testing.assert_allclose(simplex, to_simplex(value.ravel(), 1.0).reshape(shape), atol=1e-14)
        np.testing.assert_allclose(np.abs(l1).sum(), 1, rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(l2), 1, rtol=1e-12)
    zero = pytensor.function([], constraints.unit_norm(pt.zeros((3, 2))), mode=PYTHON)()
    np.testing.assert_array_equal(zero, np.zeros((3, 2)))


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_projections_of_nothing(backend, static):
    """Of parameters without elements: as they are."""
    of_any_shape = {name: project for name, (project, _) in PROJECTIONS.items()}
    of_any_shape["norm_constraint"] = lambda x: norm_constraint(x, 1.0)
    shapes = [(0, 3), (3, 0)] if static else [(None, None)]
    for shape in shapes:
        x = pt.matrix("x", dtype="float32", shape=shape)
        f = pytensor.function([x], [project(x) for project in of_any_shape.values()], mode=backend)
        for given in [shape] if static else [(0, 3), (3, 0), (0, 0)]:
            assert {np.asarray(y).shape for y in f(np.zeros(given, "float32"))} == {given}


def test_projections_of_no_vectors_and_of_other_shapes_of_nothing():
    for shape in ((0,), (2, 0, 3)):
        p = pytensor.shared(np.zeros(shape), name="p")
        for projection in (constraints.simplex(), constraints.l1_ball(), constraints.l2_ball(), constraints.box()):
            updates = apply_projection(sgd([pt.zeros_like(p)], [p]), projection=projection)
            pytensor.function([], [], updates=updates, mode=PYTHON)()
            assert p.get_value().shape == shape


def test_huge_elements_on_the_simplex():
    """What is far below the largest is zero; what is near it is left, whatever its size."""
    x = pt.vector("x", dtype="float32")
    f = pytensor.function([x], [constraints.simplex(x), constraints.l1_ball(x)], mode=PYTHON)
    largest = np.finfo("float32").max
    for given, simplex, l1 in (
        ([1e20, 1e20, 1.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]),
        ([largest, -largest, 1.0], [1.0, 0.0, 0.0], [0.5, -0.5, 0.0]),
        ([1e-30, 2e-30, 0.0], [1 / 3] * 3, [1e-30, 2e-30, 0.0]),
    ):
        with np.errstate(over="ignore"):
            got = f(np.array(given, "float32"))
        np.testing.assert_allclose(got[0], simplex, rtol=1e-6)
        np.testing.assert_allclose(got[1], l1, rtol=1e-6)


def test_projected_descent(backend):
    """The constrained minimum of a quadratic, whose unconstrained one is outside; by any function, too."""
    target = np.array([2.0, -1.0, 0.5])
    cases = {
        "simplex": (constraints.simplex(), to_simplex(target, 1.0)),
        "ball": (constraints.l2_ball(radius=0.5), to_l2(target, 0.5)),
        "function": (lambda x: x - x.mean(), target - target.mean()),
    }
    updates, params = {}, []
    for name, (projection, _) in cases.items():
        params.append(pytensor.shared(np.zeros(3, "float32"), name=name))
        loss = ((params[-1] - target) ** 2).sum()
        updates |= apply_projection(sgd(loss, params[-1:], 0.1), projection=projection)
    step = pytensor.function([], [], updates=updates, mode=backend)
    for _ in range(200):
        step()
    for p, (_, expected) in zip(params, cases.values(), strict=True):
        np.testing.assert_allclose(p.get_value(), expected, atol=1e-5)


def test_wrong_projections():
    x = pt.vector("x")
    with pytest.raises(ValueError, match="max_norm: Unsupported tensor dimensionality 1 of x"):
        constraints.max_norm(x)
    with pytest.raises(TypeError, match="box: low cannot be a schedule"):
        constraints.box(x, low=lambda step: 1.0)
    with pytest.raises(ValueError, match="l1_ball: radius must be a scalar"):
        constraints.l1_ball(x, radius=[1.0])
    with pytest.raises(TypeError, match="simplex: x must be a dense tensor variable of float dtype"):
        constraints.simplex(pt.ivector())
