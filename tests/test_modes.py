"""Our modes: donated arrays on JAX, loops apart on NUMBA, vectorised loops in C; threads."""

import copy
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import HAVE_JAX
from helpers import STEPS, call, make_param, rules, values
from pytensor.compile.mode import get_mode
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.special import log_softmax
from table import ROWS

import symupdates as su
from symupdates.modes import (
    CVM_SIMD,
    JAX_DONATED,
    NUMBA_PER_PARAMETER,
    PerParameterNumbaLinker,
    cvm_simd,
    numba_per_parameter,
    per_parameter,
    simd,
    threads,
)

needs_jax = pytest.mark.skipif(not HAVE_JAX, reason="JAX is not installed")


@needs_jax
@rules(pytest.mark.full, kinds={"adam", "muon"})
def test_numbers_are_those_without_donation(row):
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    dicts, steps = [], []
    for mode in ("JAX", JAX_DONATED):
        params = [make_param(row.shape, dtype, dtype) for dtype in ("float64", "float32")]
        dicts.append(call(row, [g, g], params))
        steps.append(pytensor.function([g], params[0].sum(), updates=dicts[-1], mode=mode))
    for given in row.gradients(STEPS, row.shape):
        one, other = (step(given) for step in steps)
        assert one == other
    for v, one, other in zip(dicts[0], *map(values, dicts), strict=True):
        assert one.tobytes() == other.tobytes(), v.name


@needs_jax
def test_old_values_are_gone_and_new_ones_are_not():
    """Whatever was replaced; not what the function only reads, nor its inputs and outputs."""
    import jax.numpy as jnp

    W, still = make_param((8,), "float32", "W"), make_param((8,), "float32", "still")
    g = pt.tensor("g", shape=(8,), dtype="float32")
    updates = su.adam([g * still], [W])
    step = pytensor.function([g], W, updates=updates, mode=JAX_DONATED)
    given = jnp.ones(8, "float32")
    before = step(given)
    old = [v.get_value(borrow=True) for v in updates]
    after = step(given)
    assert all(x.is_deleted() for x in old)
    assert not given.is_deleted()
    assert (np.asarray(before) != np.asarray(after)).all()
    assert len(su.state_dict(updates)) == 4
    su.to_numpy(updates)
    assert all(type(v.get_value(borrow=True)) is np.ndarray for v in updates)


# Rules that keep what they were given, or read the old state for the parameter once they have written the new one.
COPYING = {
    *("optimistic_gradient", "optimistic_adam", "adan", "hypergradient_sgd", "hypergradient_adam", "lion", "rprop"),
    *("centered_rmsprop", "ftrl", "sm3", "adopt", "shampoo", "dadapt_adam", "prodigy", "cocob"),
    *("psgd_kron", "scale_adapted_sghmc"),
}


@needs_jax
@pytest.mark.once
@rules(pytest.mark.ci, rows=[row for row in ROWS if row.name not in COPYING], kinds={"adagrad", "rmsprop", "adadelta"})
def test_no_array_is_copied(row):
    """As XLA does where state and parameter are computed from one old value, and not the one from the other."""
    shape = (64, 64)[: max(1, len(row.shape))]
    p = pytensor.shared(np.ones(shape, "float32"), name="p", shape=shape)
    g = pt.tensor("g", shape=shape, dtype="float32")
    step = pytensor.function([g], [], updates=call(row, [g], [p]), mode=JAX_DONATED)
    given = (np.ones(shape, "float32") if x.storage[0] is None else x.storage[0] for x in step.input_storage)
    compiled = step.vm.jit_fn.lower(*given).compile().as_text()
    assert "f32[64" in compiled and not re.findall(r"f32\[64\S* copy\(", compiled)


@needs_jax
def test_a_float32_model_has_float32_arithmetic():
    """Behind sums as well, which PyTensor accumulates, and on JAX returns, in float64."""
    import jax

    W = make_param((8, 4), "float32", "W")
    x, y = pt.tensor("x", shape=(5, 8), dtype="float32"), pt.tensor("y", shape=(5,), dtype="int32")
    losses = -log_softmax(x @ W, axis=1)[pt.arange(5), y]
    loss = losses.sum() / (1 + (W**2).sum())
    step = pytensor.function([x, y], [loss, W.prod()], updates=su.sgd(loss, [W]), mode=JAX_DONATED)
    arrays = np.ones((5, 8), "float32"), np.zeros(5, "int32")
    assert [value.dtype for value in step(*arrays)] == ["float32", "float32"]
    assert "f64" not in str(jax.make_jaxpr(step.vm.jit_fn)(*arrays, W.get_value(borrow=True)))


@pytest.mark.ci
@needs_jax
def test_compositions_with_donation(tmp_path):
    """Values that two keys share, values that stay, swaps and checkpoints: no array is given away twice."""
    W = pytensor.shared(np.ones((4, 2), "float32"), name="W", shape=(4, 2))
    b = pytensor.shared(np.ones(2), name="b", shape=(2,))
    x = pt.tensor("x", shape=(5, 4), dtype="float32")
    loss = ((x @ W + b) ** 2).mean()
    optimizer = su.chain(
        su.gradients.add_noise(seed=0),
        su.accumulate(su.adam(learning_rate=su.schedules.linear(0.1, 0.0, 20)), every=2),
        su.apply_lookahead(every=2),
        su.apply_if_finite(),
        su.apply_ema(decay=0.5),
        su.adjustable(),
    )
    runs = []
    for mode in ("JAX", JAX_DONATED):
        W.set_value(np.ones((4, 2), "float32"))
        b.set_value(np.ones(2))
        updates = optimizer(loss, [W, b])
        step = pytensor.function([x], loss, updates=updates, mode=mode)
        rng = np.random.default_rng(0)
        for t in range(8):
            step(rng.normal(size=(5, 4)).astype("float32"))
            if t == 3:
                su.save(tmp_path / "run.ckpt", updates)
                su.swap_averages(updates)
            if t == 5:
                su.load(tmp_path / "run.ckpt", updates)
        runs.append(su.state_dict(updates))
    for name, value in runs[0].items():
        np.testing.assert_allclose(runs[1][name], value, rtol=1e-6, err_msg=name)


@needs_jax
def test_two_functions_on_the_same_parameters():
    W = make_param((8,), "float64", "W")
    up = pytensor.function([], [], updates=su.sgd((W**2).sum(), [W], 0.25), mode=JAX_DONATED)
    down = pytensor.function([], [], updates=su.sgd(-(W**2).sum(), [W], 0.5), mode=JAX_DONATED)
    read = pytensor.function([], W.sum(), mode="JAX")
    start = W.get_value()
    for _ in range(3):
        up()
        down()
        assert np.isfinite(read())
    np.testing.assert_allclose(W.get_value(), start, rtol=1e-12)


# --- NUMBA_PER_PARAMETER ----------------------------------------------------------------------------------------------


@pytest.mark.ci
@rules(pytest.mark.full, rows=[row for row in ROWS if row.name in ("sgd", "adam", "adagrad_window")], kinds={"sgd"})
def test_numbers_are_those_of_numba(row):
    """Of parameters of several shapes, dtypes and readers; with scheduled and shared hyper-parameters."""
    shapes = {"W": (4, 3), "V": (4, 3), "b": (3,), "c": ()}
    x = pt.tensor("x", shape=(5, 4), dtype="float64")
    dicts, steps = [], []
    for mode in ("NUMBA", NUMBA_PER_PARAMETER):
        params = [
            pytensor.shared(make_param(shape, "float32" if name == "b" else "float64").get_value(), name, shape=shape)
            for name, shape in shapes.items()
        ]
        W, V, b, c = params
        loss = ((pt.tanh(x @ W + b) - c * (x @ V)) ** 2).mean()
        updates = call(row, loss, params, learning_rate=su.schedules.inverse_time_decay(0.125, 0.5))
        dicts.append(updates)
        steps.append(pytensor.function([x], [loss, W.sum()], updates=updates, mode=mode))
    rng = np.random.default_rng(0)
    for _ in range(6):
        given = rng.normal(size=(5, 4))
        np.testing.assert_allclose(*(step(given) for step in steps), rtol=1e-12)
    for v, one, other in zip(dicts[0], *map(values, dicts), strict=True):
        assert one.dtype == other.dtype == v.dtype
        rtol = 1e-12 if v.name and not v.name.startswith("b") else 1e-5
        np.testing.assert_allclose(other, one, rtol=rtol, atol=rtol, err_msg=v.name)


@pytest.mark.ci
def test_parameters_of_one_type_share_a_function(monkeypatch):
    compiled = []
    jit_compile = PerParameterNumbaLinker.jit_compile
    monkeypatch.setattr(
        PerParameterNumbaLinker, "jit_compile", lambda self, fn: compiled.append(fn) or jit_compile(self, fn)
    )
    params = [pytensor.shared(np.full((2, 3), 1.0 + i), name=f"p{i}", shape=(2, 3)) for i in range(12)]
    params.append(pytensor.shared(np.ones(2), name="q", shape=(2,)))
    params += [pytensor.shared(np.ones((3 + i, 4)), name=f"r{i}", shape=(3 + i, 4)) for i in range(3)]
    grads = [pt.tensor(shape=p.type.shape, dtype="float64") for p in params]
    updates = su.adam(grads, params, learning_rate=0.1)
    step = pytensor.function(grads, grads[0].sum(), updates=updates, mode=NUMBA_PER_PARAMETER)
    assert len(compiled) == 1 + 2  # the rest, matrices of any lengths, vectors
    held = [v.get_value(borrow=True) for v in updates if v.name != "adam/t"]
    step(*(p.get_value() for p in params))
    for v, old in zip(updates, held, strict=False):
        assert np.shares_memory(v.get_value(borrow=True), old), f"{v} is not updated in place"
    np.testing.assert_allclose(params[0].get_value(), np.full((2, 3), 0.9), rtol=1e-7)
    np.testing.assert_allclose(params[-1].get_value(), np.full((5, 4), 0.9), rtol=1e-7)


@pytest.mark.ci
def test_without_the_cache_of_pytensor():
    p, g = pytensor.shared(np.ones(3), name="p", shape=(3,)), pt.dvector()
    with pytensor.config.change_flags(numba__cache=False):
        step = pytensor.function([g], [], updates=su.sgd([g], [p], learning_rate=0.5), mode=NUMBA_PER_PARAMETER)
        step(np.ones(3))
    np.testing.assert_array_equal(p.get_value(), np.full(3, 0.5))


@pytest.mark.ci
@pytest.mark.skipif(not per_parameter.LazyIfElse, reason="PyTensor before 3.3 computes both branches")
def test_norms_share_a_function_and_a_branch_that_is_not_taken_is_not_compiled(monkeypatch):
    called = []
    jit_compile = PerParameterNumbaLinker.jit_compile
    monkeypatch.setattr(
        PerParameterNumbaLinker, "jit_compile", lambda self, fn: called.append(fn) or jit_compile(self, fn)
    )
    params = [pytensor.shared(np.ones((2, 2)), name=f"p{i}", shape=(2, 2)) for i in range(4)]
    grads = [pt.dmatrix() for _ in params]
    updates = su.sgd(su.gradients.clip_by_total_norm(grads, max_norm=8.0), params, learning_rate=1.0)
    step = pytensor.function(grads, [], updates=updates, mode=NUMBA_PER_PARAMETER)
    sizes = [len(nodes) for nodes in per_parameter.stages(step.maker.fgraph)]
    assert sizes[1::2] == [4, 1, 4]  # squares, the condition, parameters
    before = len(called)
    assert before <= 3 + 2  # what is between, squares, parameters
    step(*[np.full((2, 2), 4.0)] * 4)  # of norm 16
    np.testing.assert_allclose(params[0].get_value(), np.full((2, 2), -1.0), rtol=1e-12)
    assert len(called) == before + 1
    step(*[np.full((2, 2), 1e200)] * 4)  # whose square is infinite
    np.testing.assert_allclose(params[3].get_value(), np.full((2, 2), -3.0), rtol=1e-12)
    assert len(called) == before + 2
    step(*[np.zeros((2, 2))] * 4)
    step(*[np.full((2, 2), 1.0)] * 4)
    np.testing.assert_allclose(params[3].get_value(), np.full((2, 2), -4.0), rtol=1e-12)
    assert len(called) == before + 2


def test_readers_come_before_what_they_read_is_changed():
    """Each in the step of the other: both read the old values."""
    p, q = (pytensor.shared(np.full(3, value), name=name, shape=(3,)) for name, value in (("p", 1.0), ("q", 2.0)))
    step = pytensor.function([], p + q, updates={p: p + 2 * q, q: q - p}, mode=NUMBA_PER_PARAMETER)
    np.testing.assert_array_equal(step(), np.full(3, 3.0))
    assert p.get_value()[0] == 5 and q.get_value()[0] == 1


@pytest.mark.ci
def test_what_is_read_of_a_loop_comes_after_it():
    """The squares of a penalty, which PyTensor fuses with the update: the loops are still apart."""
    params = [pytensor.shared(np.full((2, 3), 1.0 + i), name=f"p{i}", shape=(2, 3)) for i in range(6)]
    loss = pt.add(*((p**2).sum() for p in params))
    updates = su.momentum(loss, params, su.schedules.inverse_time_decay(0.25, 1.0))
    step = pytensor.function([], loss, updates=updates, mode=NUMBA_PER_PARAMETER)
    before, loops, *_ = per_parameter.stages(step.maker.fgraph)
    assert len(loops) == 6 and before
    losses = [step() for _ in range(3)]
    start = 6 * (1 + 4 + 9 + 16 + 25 + 36)
    # p ← p + v, v ← 0.9 v - 2 η p with η = 1/4, 1/8: 1 becomes 1/2, then 1/2 - 0.45 - 1/8.
    np.testing.assert_allclose(losses, [start, start / 4, start * 0.075**2], rtol=1e-12)


@pytest.mark.ci
def test_what_is_no_loop_waits_for_the_loops_that_read_it():
    """Rows set in place in a table that a loop reads: the loop reads the old ones."""
    E, p = (pytensor.shared(np.full((3, 2), value), name=name) for name, value in (("E", 1.0), ("p", 2.0)))
    updates = {E: pt.set_subtensor(E[1], 7.0), p: p + E}
    step = pytensor.function([], [], updates=updates, mode=NUMBA_PER_PARAMETER)
    step()
    np.testing.assert_array_equal(p.get_value(), np.full((3, 2), 3.0))
    np.testing.assert_array_equal(E.get_value(), [[1, 1], [7, 7], [1, 1]])
    step()
    np.testing.assert_array_equal(p.get_value(), [[4, 4], [10, 10], [4, 4]])


def test_a_loop_that_reads_what_waits_for_a_loop_waits_too():
    E, p, q = (
        pytensor.shared(np.full((3, 2), value), name=name) for name, value in zip("Epq", (1.0, 2.0, 3.0), strict=True)
    )
    written = pt.set_subtensor(E[1], 7.0)
    updates = {E: written, p: p + E, q: q + written}
    step = pytensor.function([], [], updates=updates, mode=NUMBA_PER_PARAMETER)
    assert [len(nodes) for nodes in per_parameter.stages(step.maker.fgraph)] == [0, 1, 1, 1]
    step()
    np.testing.assert_array_equal(p.get_value(), np.full((3, 2), 3.0))
    np.testing.assert_array_equal(q.get_value(), [[4, 4], [10, 10], [4, 4]])


@pytest.mark.ci
def test_compositions_apart(tmp_path):
    """Gates, averages, generators and counts; saved on one mode and loaded on the other."""
    W = pytensor.shared(np.ones((4, 2), "float32"), name="W", shape=(4, 2))
    g = pt.tensor("g", shape=(4, 2), dtype="float32")
    optimizer = su.chain(
        su.gradients.clip_by_total_norm(max_norm=1.0),
        su.accumulate(su.adam(learning_rate=0.1), every=2),
        su.apply_if_finite(),
        su.apply_ema(decay=0.5),
        su.adjustable(),
    )
    updates = optimizer([g], [W])
    plain = pytensor.function([g], [], updates=updates, mode="NUMBA")
    apart = pytensor.function([g], [], updates=updates, mode=NUMBA_PER_PARAMETER)
    rng = np.random.default_rng(0)
    gs = [rng.normal(size=(4, 2)).astype("float32") for _ in range(6)]
    su.save(tmp_path / "start.ckpt", updates)
    for given in gs:
        plain(given)
    expected = su.state_dict(updates)
    su.load(tmp_path / "start.ckpt", updates)
    for given in gs:
        apart(given)
    for name, value in su.state_dict(updates).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_nothing_apart():
    """Without updates, and with none that is a loop in place, it is NUMBA."""
    x = pt.dvector("x")
    assert pytensor.function([x], x.sum(), mode=NUMBA_PER_PARAMETER)(np.ones(3)) == 3
    p = pytensor.shared(np.ones((2, 2)), name="p", shape=(2, 2))
    pytensor.function([], [], updates={p: p @ p}, mode=NUMBA_PER_PARAMETER)()
    np.testing.assert_array_equal(p.get_value(), np.full((2, 2), 2.0))


def test_errors_change_nothing():
    p = pytensor.shared(np.ones(3), name="p")
    x = pt.dvector("x")
    step = pytensor.function([x], [], updates=su.sgd([x], [p]), mode=NUMBA_PER_PARAMETER)
    with pytest.raises(ValueError, match="incompatible shape in axis 0"):
        step(np.ones(4))
    np.testing.assert_array_equal(p.get_value(), np.ones(3))


# --- CVM_SIMD ---------------------------------------------------------------------------------------------------------


def loops(step):
    return [node for node in step.maker.fgraph.apply_nodes if isinstance(node.op, simd.VectorizedLoop)]


def quotient(p, q):
    """Updates that are the same to the bit by any compiler that computes them in their own dtype."""
    root = pt.sqrt(q)
    return {p: p / (root + np.asarray(10.1, p.dtype)), q: root}


def stepped(p, q):
    """The same in NumPy."""
    return p / (np.sqrt(q) + p.dtype.type(10.1)), np.sqrt(q)


@pytest.fixture(scope="module", params=["float32", "float64"])
def pair(request):
    """Two arrays, and the function that steps them."""
    p, q = (pytensor.shared(np.ones((1, 1, 1), request.param), name=name) for name in "pq")
    return p, q, pytensor.function([], [], updates=quotient(p, q), mode=CVM_SIMD)


def as_they_are(x, y):
    return x, y


LAYOUTS = {
    "contiguous": as_they_are,
    "fortran": lambda x, y: (np.asfortranarray(x), np.asfortranarray(y)),
    "of two orders": lambda x, y: (np.asfortranarray(x), y),
    "strided": lambda x, y: (x[::2, ::3, ::2], y[::-2, ::-3, ::-2]),
    "of one column": lambda x, y: (x[:, :, :1], y[:, :, 2:3]),
    "rows": lambda x, y: (x[1:3, 2:], y[2:4, :-2]),
    "one element": lambda x, y: (x[:1, :1, :1], y[:1, :1, :1]),
    "empty": lambda x, y: (x[:, :0], y[:, :0]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_updated_in_place(pair, layout):
    """In the arithmetic of its dtype, to the bit: by a constant in double, many elements in float32 would differ."""
    p, q, step = pair
    rng = np.random.default_rng(0)
    arrays = LAYOUTS[layout](*(rng.uniform(1, 2, (6, 15, 35)).astype(p.dtype) for _ in range(2)))
    expected = stepped(*arrays)
    assert len(loops(step)) == 1
    for v, array in zip((p, q), arrays, strict=True):
        v.set_value(array, borrow=True)
    step()
    for v, array, value in zip((p, q), arrays, expected, strict=True):
        assert v.get_value(borrow=True) is array
        np.testing.assert_array_equal(array, value)


def test_unequal_shapes_change_nothing(pair):
    p, q, step = pair
    for shape, message in (((2, 4, 1), "Input dimension mismatch"), ((2, 1, 1), "Runtime broadcasting not allowed")):
        p.set_value(np.ones((2, 3, 1), p.dtype))
        q.set_value(np.ones(shape, p.dtype))
        with pytest.raises(ValueError, match=message):
            step()
        assert (p.get_value() == 1).all() and (q.get_value() == 1).all()


def test_functions_are_copied_and_pickled(pair):
    p, q, step = pair
    p.set_value(np.full((2, 2, 2), 2, p.dtype))
    q.set_value(np.full((2, 2, 2), 1, p.dtype))
    for copied in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert len(loops(copied)) == 1
        copied()
        values = [x.storage[0] for x in copied.input_storage]
        for value, expected in zip(values, stepped(*(v.get_value() for v in (p, q))), strict=True):
            np.testing.assert_array_equal(value, expected)


def test_memory_that_two_arrays_share_is_read_in_order():
    """As by "CVM": each element is added to the one before it, which was changed just before."""
    memory = np.arange(100.0)
    p = pytensor.shared(memory[1:], name="p", borrow=True)
    g = pt.dvector("g")
    step = pytensor.function([pytensor.In(g, borrow=True)], [], updates={p: p + g}, mode=CVM_SIMD)
    assert len(loops(step)) == 1
    step(memory[:-1])
    np.testing.assert_array_equal(memory, np.arange(100.0).cumsum())


def test_what_is_broadcast_new_or_a_whole_number():
    """Scalars of other dtypes, rows, and a result that is read by others, which PyTensor fuses with the update."""
    p = pytensor.shared(np.arange(6.0).reshape(2, 3), name="p", shape=(2, 3))
    row = pytensor.shared(np.array([1.0, 2.0, 4.0]), name="row", shape=(3,))
    n, held = pytensor.shared(np.asarray(2), name="n"), pt.bscalar("held")
    updates = {p: pt.switch(held, p, p * n - row), n: n + 1}
    step = pytensor.function([held], (p**2).sum(), updates=updates, mode=CVM_SIMD)
    assert len(loops(step)) == 1
    assert step(1) == 55 and step(0) == 55
    np.testing.assert_array_equal(p.get_value(), [[-1, 1, 2], [8, 10, 11]])
    assert n.get_value() == 4


def test_what_is_left_to_pytensor():
    """What has one element for good, dtypes that C does not have, and operations that raise errors."""
    x, y = pt.dvector("x"), pt.lvector("y")
    alone = [pt.dscalar() * 3, pt.tensor(shape=(1, 1), dtype="float64") * 3, x.astype("float16"), x + 1j, y // y]
    graph = FunctionGraph(outputs=[*alone, x / 3, y + y, pt.switch(y > 3, pt.exp(x / 3), 0.0)], clone=False)
    simd.VectorizedLoops().rewrite(graph)
    left = [not isinstance(v.owner.op, simd.VectorizedLoop) for v in graph.outputs]
    assert left == [True] * len(alone) + [False] * 3
    assert sum(isinstance(node.op, simd.VectorizedLoop) for node in graph.apply_nodes) == 6


@pytest.mark.ci
@rules(pytest.mark.full, rows=[row for row in ROWS if row.name in ("sgd", "adam", "amsgrad", "lion")], kinds={"adam"})
def test_numbers_are_those_of_cvm(row):
    """Of float64 and float32 parameters, with a scheduled rate."""
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    dicts, steps = [], []
    for mode in ("CVM", CVM_SIMD):
        params = [make_param(row.shape, dtype, dtype) for dtype in ("float64", "float32")]
        dicts.append(call(row, [g, g], params, learning_rate=su.schedules.inverse_time_decay(0.125, 0.5)))
        steps.append(pytensor.function([g], [], updates=dicts[-1], mode=mode))
    left = [node for node in steps[1].maker.fgraph.apply_nodes if type(node.op) is Elemwise]
    assert loops(steps[1]) and all(simd.is_scalar(node.outputs[0]) for node in left)
    for given in row.gradients(STEPS, row.shape):
        for step in steps:
            step(given)
    for v, one, other in zip(dicts[0], *map(values, dicts), strict=True):
        tolerance = 1e-13 if v.dtype == "float64" else 1e-5
        np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance, err_msg=v.name)


@pytest.mark.ci
def test_the_debugger_finds_nothing():
    """That it overwrites what it says, and gives what Python gives."""
    p, q = (pytensor.shared(np.full((2, 3), value), name=name) for name, value in (("p", 2.0), ("q", 1.0)))
    debugger = type(get_mode("DebugMode"))(optimizer=CVM_SIMD.provided_optimizer)
    step = pytensor.function([], [], updates=quotient(p, q), mode=debugger)
    expected = stepped(p.get_value(), q.get_value())
    step()
    assert len(loops(step)) == 1
    for v, value in zip((p, q), expected, strict=True):
        np.testing.assert_array_equal(v.get_value(), value)


# --- Threads ----------------------------------------------------------------------------------------------------------

LARGE = 3 * per_parameter.PIECE + 12345


@pytest.mark.parametrize("make", [cvm_simd, numba_per_parameter], ids=["C", "numba"])
def test_any_number_of_threads_computes_the_same(make, monkeypatch):
    """To the bit, in a vector and in a matrix of rows that are no multiple of a vector's length."""
    workers, used = per_parameter.workers, []
    monkeypatch.setattr(per_parameter, "workers", lambda process: used.append(process) or workers(process))
    rng = np.random.default_rng(0)
    start = [rng.uniform(1, 2, (1 + LARGE // 1003, 1003)).astype("float32") for _ in range(2)]
    expected = stepped(*start)
    for number in (1, 3):
        p, q = (pytensor.shared(value.copy(), name=name) for name, value in zip("pq", start, strict=True))
        pytensor.function([], [], updates=quotient(p, q), mode=make(number))()
        results = [v.get_value() for v in (p, q)]
        if number == 1:
            alone = results
        for one, result, value in zip(alone, results, expected, strict=True):
            assert one.tobytes() == result.tobytes()
            np.testing.assert_allclose(result, value, rtol=1e-6)
    assert used == ([os.getpid()] * 2 if make is numba_per_parameter else [])


def test_by_default_threads_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    assert threads.usable() == 3


@pytest.mark.parametrize("number", [1, 3])
def test_an_interrupt_leaves_no_array_half_done(number):
    x = pt.dvector("x")
    node = Elemwise(pytensor.scalar.sqr, {0: 0})(x).owner

    def loop(x):
        np.square(x, out=x)
        if x[0] == 4:
            raise KeyboardInterrupt

    value = np.full(LARGE, 3.0)
    value[0] = 2
    with pytest.raises(KeyboardInterrupt):
        per_parameter.in_pieces(loop, node, number)(value)
    assert value[0] == 4 and (value[1:] == 9).all()


FORKED = """
import os, signal, sys
import numpy as np, pytensor, pytensor.tensor as pt
from symupdates.modes import cvm_simd, numba_per_parameter
p = pytensor.shared(np.ones({size}), name="p")
steps = [pytensor.function([], [], updates={{p: p * 2}}, mode=mode(3)) for mode in (cvm_simd, numba_per_parameter)]
for step in steps: step()
if (child := os.fork()) == 0:
    signal.alarm(60)
    for step in steps: step()
    os._exit(int((p.get_value() != 16).any()))
sys.exit(os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_forked_process_goes_on():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED.format(size=LARGE)], check=True)


@pytest.mark.parametrize("make", [cvm_simd, numba_per_parameter])
def test_numbers_of_threads_that_there_are_not(make):
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"threads is at least 1.* not {number}"):
            make(number)
    for number in (2.0, "2", True):
        with pytest.raises(TypeError, match=f"threads is a number of threads.* not {number!r}"):
            make(number)
