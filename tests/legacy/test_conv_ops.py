"""Convolution and pooling as Ops: against loops by hand, SciPy, torch's numbers, and differences; on every backend."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import FULL, on_backends
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from symupdates.theano.conv_ops import (
    Correlate,
    CorrelateByFilters,
    CorrelateByInputs,
    Pool,
    PoolMaxima,
    PoolSpread,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "conv.json").read_text())
PYTHON = pytensor.compile.mode.Mode("py", "minimum_compile")
MODES = ["max", "sum", "average_inc_pad", "average_exc_pad"]


def performed(op, *inputs):
    """What `perform` computes, without compiling anything."""
    node = op.make_node(*(pt.as_tensor_variable(x) for x in inputs))
    storage = [[None]]
    defaults = [v.data for v in node.inputs[len(inputs) :]]
    op.perform(node, [*map(np.asarray, inputs), *defaults], storage)
    (value,) = storage[0]
    assert value.dtype == node.outputs[0].dtype
    assert all(n in (None, m) for n, m in zip(node.outputs[0].type.shape, value.shape, strict=True))
    return value


# --- By hand ----------------------------------------------------------------------------------------------------------


def correlation_by_hand(x, w, dy, border, strides, dilation, groups):
    """The result, and what stands for images and filters where `dy` stands for it, place by place and tap by tap."""
    n, filters = x.shape[0], w.shape[0]
    extents = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    pairs = {
        "valid": [(0, 0) for _ in extents],
        "half": [(e // 2, e // 2) for e in extents],
        "full": [(e - 1, e - 1) for e in extents],
    }.get(border, border)
    whole = np.pad(x, [(0, 0), (0, 0), *pairs])
    lengths = [(m - e) // s + 1 for m, e, s in zip(whole.shape[2:], extents, strides, strict=True)]
    y, by_x, by_w = np.zeros((n, filters, *lengths)), np.zeros(whole.shape), np.zeros(w.shape)
    channels = w.shape[1]
    for f in range(filters):
        group = slice(f // (filters // groups) * channels, (f // (filters // groups) + 1) * channels)
        for place in np.ndindex(*lengths):
            for tap in np.ndindex(*w.shape[2:]):
                at = [i * s + k * d for i, s, k, d in zip(place, strides, tap, dilation, strict=True)]
                met, number = (slice(None), group, *at), dy[(slice(None), f, *place)]
                y[(slice(None), f, *place)] += whole[met] @ w[(f, slice(None), *tap)]
                by_x[met] += np.outer(number, w[(f, slice(None), *tap)])
                by_w[(f, slice(None), *tap)] += number @ whole[met]
    inner = tuple(slice(a, m - b) for m, (a, b) in zip(whole.shape[2:], pairs, strict=True))
    return y, by_x[(slice(None), slice(None), *inner)], by_w


@st.composite
def correlations(draw):
    ndim = draw(st.integers(1, 3))

    def numbers(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=ndim, max_size=ndim)))

    taps, strides, dilation, groups = numbers(1, 3), numbers(1, 3), numbers(1, 2), draw(st.integers(1, 2))
    border = draw(st.sampled_from(["valid", "half", "full", None]))
    border = border or tuple(zip(numbers(0, 2), numbers(0, 2), strict=True))
    places = [max((k - 1) * d + 1, 1) + more for k, d, more in zip(taps, dilation, numbers(0, 3), strict=True)]
    channels, filters = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-4, 5, (draw(st.integers(0, 2)), channels * groups, *places)).astype("float64")
    w = rng.integers(-4, 5, (filters * groups, channels, *taps)).astype("float32")
    return x, w, (border, strides, dilation, groups)


@settings(max_examples=100 if FULL else 25, deadline=None)
@given(correlations())
def test_correlations_by_hand(case):
    x, w, op = case
    y = performed(Correlate(*op), x, w.astype("float64"))
    dy = np.random.default_rng(0).integers(-4, 5, y.shape).astype("float64")
    right, by_x, by_w = correlation_by_hand(x, w, dy, *op)
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(performed(CorrelateByInputs(*op), dy, w.astype("float64"), x), by_x)
    np.testing.assert_array_equal(performed(CorrelateByFilters(*op), dy, x, w), by_w)


@settings(max_examples=100 if FULL else 25, deadline=None)
@given(correlations())
def test_correlations_by_scipy(case):
    x, w, (_, strides, dilation, groups) = case
    whole = tuple(slice(None, None, s) for s in strides)
    y = performed(Correlate("full", strides, dilation, groups), x, w.astype("float64"))
    spread = np.zeros((*w.shape[:2], *((k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True))))
    spread[(..., *(slice(None, None, d) for d in dilation))] = w
    for n in range(x.shape[0]):
        for f in range(w.shape[0]):
            channels = f // (w.shape[0] // groups) * w.shape[1] + np.arange(w.shape[1])
            right = sum(correlate(x[n, c], s, "full", "direct") for c, s in zip(channels, spread[f], strict=True))
            np.testing.assert_allclose(y[n, f], right[whole], atol=1e-12)


def test_no_buffer_is_larger_than_the_windows_of_a_minibatch():
    x, w = np.ones((16, 3, 20, 20)), np.ones((8, 3, 5, 5))
    op, dy = Correlate("half", (1, 1)), np.ones((16, 8, 20, 20))
    windows = 16 * 3 * 25 * 20 * 20 * 8  # bytes
    for kind, inputs in [(Correlate, (x, w)), (CorrelateByInputs, (dy, w, x)), (CorrelateByFilters, (dy, x, w))]:
        node, storage = op.sibling(kind).make_node(*map(pt.as_tensor_variable, inputs)), [[None]]
        tracemalloc.start()
        node.op.perform(node, inputs, storage)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert windows < most < windows + 3 * dy.nbytes


def pooling_by_hand(x, mode, ignore_border, size, stride, pad):
    """The result, and for each window where it is and by what it is divided."""
    ndim = len(size)
    lengths = x.shape[-ndim:]
    counts = []
    for n, w, s, p in zip(lengths, size, stride, pad, strict=True):
        if ignore_border:  # as Theano writes it
            counts.append(max((n + 2 * p - w) // s + 1, 0))
        else:
            counts.append((n - 1) // s + 1 if s >= w else max(0, (n - 1 - w + s) // s) + 1)
    z, where = np.empty((*x.shape[:-ndim], *counts)), {}
    for place in np.ndindex(*counts):
        window, divisor = (...,), 1
        for i, n, w, s, p in zip(place, lengths, size, stride, pad, strict=True):
            start, end = i * s, min(i * s + w, n + 2 * p)
            inside = max(start, p), min(end, n + p)
            divisor *= {"average_inc_pad": end - start, "average_exc_pad": inside[1] - inside[0]}.get(mode, 1)
            window += (slice(inside[0] - p, inside[1] - p),)
        axes = tuple(range(-ndim, 0))
        z[(..., *place)] = x[window].max(axes) if mode == "max" else x[window].sum(axes) / divisor
        where[place] = window, divisor
    return z, where


def spread_by_hand(x, z, dz, mode, where):
    """The derivative: Theano gives all of it to each element that is the maximum."""
    dx = np.zeros(x.shape)
    for place, (window, divisor) in where.items():
        shape = (*x.shape[: x.ndim - len(place)], *(1 for _ in place))
        number, top = dz[(..., *place)].reshape(shape), z[(..., *place)].reshape(shape)
        dx[window] += number / divisor if mode != "max" else number * (x[window] == top)
    return dx


@st.composite
def poolings(draw):
    ndim, mode, ignore_border = draw(st.integers(1, 3)), draw(st.sampled_from(MODES)), draw(st.booleans())
    size, stride = (tuple(draw(st.integers(1, 3)) for _ in range(ndim)) for _ in range(2))
    pad = tuple(draw(st.integers(0, w - 1)) if ignore_border else 0 for w in size)
    places = [draw(st.integers(1, 6)) for _ in size]
    leading = draw(st.lists(st.integers(0, 2), max_size=2))
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 3, (*leading, *places)).astype("float64")  # ties
    return x, (ignore_border, mode, ndim), (size, stride, pad)


@settings(max_examples=100 if FULL else 40, deadline=None)
@given(poolings())
def test_poolings_by_hand(case):
    x, op, vectors = case
    z, where = pooling_by_hand(x, op[1], op[0], *vectors)
    np.testing.assert_allclose(performed(Pool(*op), x, *vectors), z, rtol=1e-14)
    rng = np.random.default_rng(0)
    dz, v = rng.integers(-4, 5, z.shape).astype("float64"), rng.integers(-4, 5, x.shape).astype("float64")
    dx = performed(PoolSpread(*op), dz, x, z, *vectors)
    np.testing.assert_allclose(dx, spread_by_hand(x, z, dz, op[1], where), rtol=1e-14, atol=1e-14)
    if op[1] == "max":
        sums = performed(PoolMaxima(*op), v, x, z, *vectors)
        for place, (window, _) in where.items():
            top = np.expand_dims(z[(..., *place)], tuple(range(-op[2], 0)))
            right = (v[window] * (x[window] == top)).sum(tuple(range(-op[2], 0)))
            np.testing.assert_array_equal(sums[(..., *place)], right)


def test_poolings_of_integers_and_of_what_is_not_a_number():
    x = np.array([[3, 1, 2, 5], [0, 4, 7, 6]], "int8")
    for mode, right in [("max", [[4, 7]]), ("sum", [[8, 20]]), ("average_exc_pad", [[2, 5]])]:
        value = performed(Pool(True, mode, 2), x, (2, 2))
        np.testing.assert_array_equal(value, right)
        assert value.dtype == "int8"
    low = np.full((2, 2), -np.inf)
    np.testing.assert_array_equal(performed(Pool(True), low, (2, 2), (1, 1), (1, 1)), np.full((3, 3), -np.inf))
    low[0, 1] = np.nan
    assert np.isnan(performed(Pool(True), low, (2, 2))).all()


# --- On every backend -------------------------------------------------------------------------------------------------


def rows(kind):
    return [SimpleNamespace(name=f"{kind}{i}", **case) for i, case in enumerate(GOLDEN[kind])]


@pytest.fixture
def arrays(row, dtype):
    """The numbers of a row, in a dtype."""
    return SimpleNamespace(
        **{k: np.array(v, dtype) for k, v in vars(row).items() if k in "x w y z dx dy dz dw".split()}
    )


def torch_correlation(row):
    border = row.op["border"]
    return border if isinstance(border, str) else tuple(map(tuple, border)), *(row.op[k] for k in list(row.op)[1:])


@pytest.mark.parametrize("row", rows("convolutions"), ids=lambda row: row.name)
def test_correlations_as_torch_has_them(row):
    op = torch_correlation(row)
    x, w, dy = (np.array(value, "float32") for value in (row.x, row.w, row.dy))
    np.testing.assert_array_equal(performed(Correlate(*op), x, w), row.y)
    np.testing.assert_array_equal(performed(CorrelateByInputs(*op), dy, w, x), row.dx)
    np.testing.assert_array_equal(performed(CorrelateByFilters(*op), dy, x, w), row.dw)


@pytest.mark.parametrize("row", rows("poolings"), ids=lambda row: row.name)
def test_poolings_as_torch_has_them(row):
    op, vectors = (True, row.mode, len(row.size)), (row.size, row.stride, row.pad)
    x, dz = np.array(row.x, "float64"), np.array(row.dz, "float64")
    z = performed(Pool(*op), x, *vectors)
    np.testing.assert_allclose(z, row.z, rtol=1e-14)
    np.testing.assert_allclose(performed(PoolSpread(*op), dz, x, z, *vectors), row.dx, rtol=1e-14, atol=1e-14)


def type_of(array):
    """Of unknown shape."""
    return pt.tensor(dtype=array.dtype.name, shape=(None,) * array.ndim)


def compiles_long(name, backend):
    return backend != "JAX" and name not in ("convolutions0", "convolutions10", "poolings0", "poolings12")


@on_backends(rows("convolutions")[::4] + rows("convolutions")[10:11], (), compiles_long)
def test_correlations_on_every_backend(row, backend, dtype, arrays):
    """The result and both derivatives, each through its own derivatives too: all are what torch has."""
    op = Correlate(*torch_correlation(row))
    x, w, dy = (type_of(value) for value in (arrays.x, arrays.w, arrays.dy))
    dx, dw = pytensor.grad((op(x, w) * dy).sum(), [x, w])
    again = pytensor.grad((dx * x).sum(), dy), pytensor.grad((dw * w).sum(), dy)  # twice what it was given: y
    f = pytensor.function([x, w, dy], [op(x, w), dx, dw, *again], mode=backend)
    values = f(arrays.x, arrays.w, arrays.dy)
    for value, right in zip(values, [arrays.y, arrays.dx, arrays.dw, arrays.y, arrays.y], strict=True):
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, right)


@pytest.mark.long
def test_reshaping_between_layers_on_every_backend(backend):
    """Its derivative needs the shape of what has been pooled, which for JAX must not be computed."""
    x, w = pt.tensor4("x", dtype="float64"), pt.tensor4("w", dtype="float64")
    z = Pool(True, "sum")(Correlate()(x, w), (2, 2))
    total = (z.reshape((z.shape[0], -1)) * pt.constant(np.arange(4.0))).sum()
    f = pytensor.function([x, w], pytensor.grad(total, [x, w]), mode=backend)
    by_x, by_w = f(np.ones((1, 1, 5, 5)), np.ones((1, 1, 2, 2)))
    assert by_w.tolist() == [[[[4 * 6.0] * 2] * 2]]
    assert by_x[0, 0].tolist() == [
        [0, 0, 1, 2, 1],
        [0, 0, 2, 4, 2],
        [2, 4, 6, 8, 4],
        [4, 8, 10, 12, 6],
        [2, 4, 5, 6, 3],
    ]


@on_backends(rows("poolings")[::4], (), compiles_long)
def test_poolings_on_every_backend(row, backend, dtype, arrays):
    op = Pool(True, row.mode, len(row.size))
    x, dz = type_of(arrays.x), type_of(arrays.dz)
    z = op(x, row.size, row.stride, row.pad)
    dx = pytensor.grad((z * dz).sum(), x)
    again = pytensor.grad((dx * x).sum(), dz)
    f = pytensor.function([x, dz], [z, dx, again], mode=backend)
    value, derivative, back = f(arrays.x, arrays.dz)
    assert value.dtype == derivative.dtype == dtype
    close = {"rtol": 1e-5 if dtype == "float32" else 1e-13, "atol": 1e-6}
    np.testing.assert_allclose(value, arrays.z, **close)
    np.testing.assert_allclose(derivative, arrays.dx, **close)
    np.testing.assert_allclose(back, arrays.z, **close)  # the transpose of the derivative, of x itself


def test_borders_and_ties_of_pooling_on_every_backend(backend):
    """What torch has not: reduced windows at the end, and elements that are the maximum together."""
    x = np.array([[0, 1, 1, 2, 2], [1, 1, 0, 2, 0], [3, 0, 3, 0, 1]], "float64")
    dz = np.array([[1, 2, 4], [8, 16, 32]], "float64")
    v, d = type_of(x), type_of(dz)
    outputs, rights = [], []
    for mode in ("max", "average_inc_pad"):
        z = Pool(False, mode)(v, (2, 2), (2, 2), (0, 0))
        outputs += [z, pytensor.grad((z * d).sum(), v)]
        right, where = pooling_by_hand(x, mode, False, (2, 2), (2, 2), (0, 0))
        rights += [right, spread_by_hand(x, right, dz, mode, where)]
    for value, right in zip(pytensor.function([v, d], outputs, mode=backend)(x, dz), rights, strict=True):
        np.testing.assert_array_equal(value, right)
    np.testing.assert_array_equal(rights[0], [[1, 2, 2], [3, 3, 1]])
    np.testing.assert_array_equal(rights[1][:2, :2], [[0, 1], [1, 1]])


def test_shapes_that_do_not_fit_raise_errors_on_every_backend(backend):
    x, w = pt.tensor4("x", dtype="float64"), pt.tensor4("w", dtype="float64")
    f = pytensor.function([x, w], Correlate()(x, w), mode=backend)
    for shape in [(1, 2, 4, 4), (1, 3, 2, 4)]:
        with pytest.raises(ValueError, match="do not fit"):
            f(np.ones(shape), np.ones((2, 3, 3, 3)))


def test_windows_that_are_computed(backend):
    """JAX has to know them; elsewhere what is not possible is found when it is given."""
    x, size, pad = pt.matrix("x", dtype="float64"), pt.lvector("size"), pt.lvector("pad")
    z = Pool(True, "sum")(x, size, None, pad)
    if backend == "JAX":
        with pytest.raises(NotImplementedError, match="to be constant"):
            pytensor.function([x, size, pad], z, mode=backend)(np.ones((4, 4)), [2, 2], [0, 0])
        return
    f = pytensor.function([x, size, pad], z, mode=backend)
    np.testing.assert_array_equal(f(np.ones((4, 5)), [2, 3], [0, 1]), [[4, 6], [4, 6]])
    with pytest.raises(ValueError, match=r"possible|smaller than the windows"):
        f(np.ones((4, 5)), [2, 3], [2, 0])


# --- Derivatives ------------------------------------------------------------------------------------------------------


RNG = np.random.default_rng(1)
X, W = RNG.normal(size=(2, 2, 4, 5)), RNG.normal(size=(2, 1, 2, 2))
OP = Correlate(((1, 0), (0, 2)), (2, 1), (1, 2), 2)
POOLS = [(False, "max"), (True, "max"), (True, "average_exc_pad")]


def pooled(x, ignore_border, mode):
    return Pool(ignore_border, mode)(x, (2, 3), (2, 2), (1, 1) if ignore_border else None)


FUNCTIONS = {
    "correlation": (lambda x, w: OP(x, w), [X, W]),
    **{f"pool {mode} {borders}": (lambda x, b=borders, m=mode: pooled(x, b, m), [X]) for borders, mode in POOLS},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_first_and_second_order_by_differences(name):
    function, points = FUNCTIONS[name]

    def derivatives(*inputs):
        return pt.concatenate([g.ravel() for g in pytensor.grad((function(*inputs) ** 3).sum(), list(inputs))])

    with pytensor.config.change_flags(cxx=""):
        for f in (function, derivatives):
            pytensor.gradient.verify_grad(f, points, rng=np.random.default_rng(2), mode=PYTHON)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_r_operators_by_differences(name):
    function, points = FUNCTIONS[name]
    inputs = [pt.tensor(dtype="float64", shape=p.shape) for p in points]
    tangents = [np.random.default_rng(3).normal(size=p.shape) for p in points]
    forward = getattr(pytensor.gradient, "pushforward", None) or pytensor.gradient.Rop
    y = function(*inputs)
    f = pytensor.function(inputs, [y, forward(y, inputs, [pt.constant(t) for t in tangents])], mode=PYTHON)
    before, after = (f(*(p + h * t for p, t in zip(points, tangents, strict=True)))[0] for h in (-1e-6, 1e-6))
    np.testing.assert_allclose(f(*points)[1], (after - before) / 2e-6, rtol=1e-6, atol=1e-8)


# --- Types, errors and imports ----------------------------------------------------------------------------------------


def test_static_shapes_and_dtypes():
    x, w = pt.tensor(dtype="float32", shape=(None, 4, 9, None)), pt.tensor(dtype="float32", shape=(6, 2, 3, None))
    y = Correlate("half", (2, 1), (1, 1), 2)(x, w)
    assert y.type == pt.TensorType("float32", (None, 6, 5, None))
    assert [g.type for g in pytensor.grad(y.sum(), [x, w])] == [x.type, w.type]
    assert Pool(True)(x, (3, 3), (2, 2), (1, 1)).type.shape == (None, 4, 5, None)
    assert Pool(False)(x, pt.lvector(), None, None).type.shape == (None, 4, None, None)
    assert Correlate()(pt.tensor(dtype="uint8", shape=(1, 1, 3, 3)), pt.tensor4(dtype="float32")).dtype == "float32"


def test_how_many_images_and_filters_there_are_is_known_before_anything_is_computed():
    """A length that is found in a result is asked of that before it is rewritten, which is computed once more."""
    x, w = pt.tensor4("x", dtype="float64"), pt.tensor4("w", dtype="float64")
    y = Correlate()(x, w)
    z = Pool(True)(y, (2, 2))
    mode = pytensor.compile.mode.Mode("py", "fast_compile")
    f = pytensor.function([x, w], [y.shape[0], y.shape[1], z.shape[0], z.shape[1]], mode=mode)
    assert not [node for node in f.maker.fgraph.apply_nodes if isinstance(node.op, Correlate | Pool)]
    assert [int(n) for n in f(np.ones((2, 1, 5, 5)), np.ones((3, 1, 2, 2)))] == [2, 3, 2, 3]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Correlate(strides=(1, 0)),
            ValueError,
            "Correlate: strides and dilation must be one to three positive",
        ),
        (lambda: Correlate(dilation=(1,)), ValueError, "strides and dilation"),
        (lambda: Correlate(groups=0), ValueError, "groups must be positive"),
        (lambda: Correlate(((1, 1), (-1, 0))), ValueError, "border must be"),
        (lambda: CorrelateByInputs(((1, 1),)), ValueError, "CorrelateByInputs: border must be"),
        (lambda: Correlate()(pt.tensor4(dtype="int8"), pt.tensor4(dtype="int8")), TypeError, "not in int8"),
        (lambda: Correlate()(pt.tensor3(), pt.tensor4()), TypeError, "4 axes"),
        (lambda: Correlate(groups=2)(np.ones((1, 4, 3, 3)), np.ones((3, 2, 1, 1))), ValueError, "3 filters cannot be"),
        (lambda: Correlate()(np.ones((1, 1, 3, 3)), np.ones((1, 2, 1, 1))), ValueError, "do not fit"),
        (
            lambda: CorrelateByInputs()(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 4, 4))),
            ValueError,
            r"\(1, 1, 3, 3\), not \(1, 1, 2, 2\)",
        ),
        (lambda: Pool(True, "median"), ValueError, "mode must be"),
        (lambda: Pool(True, ndim=4), ValueError, "ndim must be"),
        (lambda: Pool(True)(pt.vector(), (1, 1)), TypeError, "has 1 axes"),
        (lambda: Pool(True)(pt.matrix(), (1.5, 1)), TypeError, "size must be 2 integers"),
        (lambda: Pool(True)(pt.matrix(), (2, 2), (1, 1, 1)), TypeError, "stride must be 2 integers"),
        (lambda: Pool(True)(pt.matrix(), (2, 2), None, (2, 0)), ValueError, "padding smaller than the windows"),
        (lambda: Pool(False)(pt.matrix(), (2, 2), None, (1, 0)), ValueError, "ignore_border=True only"),
        (lambda: Pool(True)(pt.matrix(), (2, 0)), ValueError, "must be positive"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_backends_are_imported_only_when_they_are_compiled_for():
    program = (
        "import sys, symupdates.theano.conv_ops as ops, pytensor.tensor as pt, pytensor; x = pt.tensor4('x');"
        "pytensor.function([x], ops.Pool(True)(x, (2, 2)), mode=pytensor.compile.mode.Mode('py', 'fast_run'));"
        "assert not {'jax', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=Path(__file__).parents[2])
