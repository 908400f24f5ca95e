"""symupdates.theano: legacy calls have Theano's results, by hand; what cannot be served says so; install and run."""

import collections
import copy
import importlib.util
import inspect
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import scipy.sparse
import symupdates.theano.tensor as T
from scipy.special import expit, log_softmax, softmax
from scipy.stats import truncnorm
from symupdates.theano.gof.graph import inputs as inputs_of
from symupdates.theano.sandbox.rng_mrg import MRG_RandomStreams
from symupdates.theano.scan_module import scan_op
from symupdates.theano.tensor.nnet import bn
from symupdates.theano.tensor.shared_randomstreams import RandomStreams

import symupdates
import symupdates.theano as theano
from symupdates.theano import names
from symupdates.theano.modules import modules

X = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, -0.25]])


@pytest.fixture(autouse=True)
def quick_to_compile():
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


@pytest.fixture
def installed():
    """Theano's name for the modules, and all as before afterwards."""
    theano.install()
    yield
    theano.uninstall()


def values(*expressions):
    return theano.function([], list(expressions))()


# --- The table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", names.RENAMED, ids=lambda row: row.name)
def test_what_was_renamed_is_there_and_served(row):
    module, _, name = row.pytensor.rpartition(".")
    there = getattr(importlib.import_module(module), name)
    thing = served(row.name)
    assert thing is there or there in thing.__mro__  # and what is true of the one is true of the other


@pytest.mark.parametrize("row", names.ABSENT, ids=lambda row: row.name)
def test_what_is_absent_can_be_imported_and_raises_an_error_when_it_is_used(row):
    thing = served(row.name)
    if not isinstance(thing, type):  # a module, all of whose names are absent
        thing = thing.anything
    assert not isinstance(1, thing)
    with pytest.raises(RuntimeError, match=f"{row.name}.* is not there"):
        thing(1, key=2)


@pytest.mark.parametrize("row", [*names.SILENT, *names.CHANGED, *names.DROPPED], ids=lambda row: row.name)
def test_what_was_changed_or_dropped_is_served(row):
    if row.name.endswith(("__bool__", "default_update")):
        assert not row.name.startswith("theano.tensor.nnet")
    else:
        served(row.name)


def served(name):
    thing, path = theano, "symupdates.theano"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        thing = sys.modules.get(path) or getattr(thing, part)
    return thing


def test_functions_that_a_module_is_named_after_are_functions():
    x = T.constant(X)
    hidden = {"tensor.var", "tensor.sort", "compile.function", "scan_module.scan"}
    parents = {path: served(f"theano.{path}".rpartition(".")[0]) for path in modules()}
    own = {path for path, parent in parents.items() if getattr(parent, path.rpartition(".")[2]) is modules()[path]}
    assert set(modules()) - own == hidden
    for value, right in zip(values(T.var(x, axis=0), T.sort(x)), [X.var(axis=0), np.sort(X)], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)


def test_names_that_are_nowhere_are_attribute_errors_with_what_is_known():
    with pytest.raises(AttributeError, match=r"no theano\.tensor\.no_such_thing"):
        T.no_such_thing  # noqa: B018
    assert not hasattr(theano, "no_such_thing")
    with pytest.raises(ImportError):
        from symupdates.theano.tensor.nnet import no_such_thing  # noqa: F401


def test_what_is_in_what_is_absent_is_absent_too():
    array = theano.sandbox.cuda.cuda_ndarray.cuda_ndarray.CudaNdarray
    assert {array: "a class"}[array] and not isinstance(X, array)
    with pytest.raises(RuntimeError, match=r"cuda_ndarray\.cuda_ndarray\.CudaNdarray is not there"):
        array(X)
    assert copy.deepcopy(array) is array  # as a class, it has nothing of Python's own that it lacks


def test_there_is_no_gpu_to_be_found():
    assert theano.sandbox.cuda.cuda_available is False
    assert theano.sandbox.cuda.dnn.dnn_available() is False
    with pytest.raises(RuntimeError, match="mode='JAX'"):
        theano.sandbox.cuda.basic_ops.gpu_contiguous(T.matrix())
    from symupdates.theano.gpuarray.subtensor import GpuIncSubtensor

    assert not isinstance(T.matrix()[0].owner.op, GpuIncSubtensor)
    with pytest.raises(RuntimeError, match="mode='JAX'"):
        theano.gpuarray.dnn.GpuDnnConv(T.tensor4(), T.tensor4())


# --- Silent differences -----------------------------------------------------------------------------------------------


def test_softmax_is_of_each_row():
    np.testing.assert_allclose(values(T.nnet.softmax(T.constant(X)))[0], softmax(X, axis=1), rtol=1e-12)
    assert T.nnet.softmax(T.vector()).ndim == 2
    np.testing.assert_allclose(values(T.nnet.softmax(T.constant(X[0])))[0], softmax(X[:1], axis=1), rtol=1e-12)
    np.testing.assert_allclose(values(T.nnet.logsoftmax(T.constant(X)))[0], log_softmax(X, axis=1), rtol=1e-12)
    with pytest.raises(ValueError, match="softmax takes a matrix"):
        T.nnet.softmax(T.tensor3("x"))


def test_the_first_argument_of_a_draw_is_its_size():
    for srng in (MRG_RandomStreams(5), RandomStreams(5)):
        drawn = [
            srng.normal((40, 50)),
            srng.normal((40, 50), 3.0, 10.0),
            srng.normal(size=(40, 50), avg=3, std=10),
            srng.uniform((40, 50)),
            srng.uniform((40, 50), -2.0, 4.0),
            srng.uniform(size=(40, 50), low=-2.0, high=4.0),
            srng.binomial((40, 50), 1, 0.3),
            srng.binomial((40, 50), p=0.3, dtype="float32"),
            srng.binomial(size=(40, 50), n=10, p=0.3),
        ]
        moments = [(0, 1), (3, 10), (3, 10), (0.5, 12**-0.5), (1, 3**0.5), (1, 3**0.5)]
        moments += [(0.3, 0.21**0.5), (0.3, 0.21**0.5), (3, 2.1**0.5)]
        for x, (mean, std) in zip(values(*drawn), moments, strict=True):
            assert x.shape == (40, 50)
            assert abs(x.mean() - mean) < 5 * std / 2000**0.5
            assert 0.9 < x.std() / std < 1.1
        assert [x.dtype for x in drawn] == ["float64"] * 6 + ["int64", "float32", "int64"]


def test_dtypes_of_draws_are_as_theano_s():
    srng = MRG_RandomStreams()
    with pytensor.config.change_flags(floatX="float32"):
        drawn = [srng.normal((2,)), srng.uniform((2,)), srng.normal((2,), avg=np.zeros(2)), srng.binomial((2,))]
        drawn += [srng.binomial((2,), dtype=theano.config.floatX), srng.normal((2,), dtype="floatX")]
        assert [x.dtype for x in drawn] == ["float32", "float32", "float64", "int64", "float32", "float32"]
        assert [x.dtype for x in values(*drawn)] == [x.dtype for x in drawn]
    assert srng.uniform((2,), dtype="float32").dtype == "float32"


def test_draws_advance_at_every_call():
    x = T.matrix("x")
    srng = MRG_RandomStreams(seed=9)
    dropped = x * srng.binomial(x.shape, p=0.5, dtype="float64")
    for function in (theano.function, pytensor.function):
        f = function([x], [dropped, dropped + 0])
        first, second = f(np.ones((5, 6))), f(np.ones((5, 6)))
        np.testing.assert_array_equal(*first)  # one draw, however often it is used
        assert not np.array_equal(first[0], second[0])
    still = theano.function([x], dropped, no_default_updates=True)
    np.testing.assert_array_equal(still(np.ones((5, 6))), still(np.ones((5, 6))))


def test_seeds_repeat_draws():
    def draw(srng):
        return theano.function([], [srng.normal((3,)), srng.uniform((3,))])

    srng = MRG_RandomStreams(7)
    f = draw(srng)
    first = [f() for _ in range(3)]
    np.testing.assert_array_equal(first, [draw(MRG_RandomStreams(7))() for _ in range(1)] + first[1:])
    srng.seed(7)
    again = [f() for _ in range(3)]
    srng.seed()
    np.testing.assert_array_equal(again, [f() for _ in range(3)])
    np.testing.assert_array_equal(values(MRG_RandomStreams().normal((3,))), values(MRG_RandomStreams().normal((3,))))
    assert not np.array_equal(values(RandomStreams().normal((3,))), values(RandomStreams().normal((3,))))
    lists = [values(MRG_RandomStreams([1, 2, 3, 4, 5, k]).normal((3,)))[0].tolist() for k in (6, 6, 7)]
    assert lists[0] == lists[1] != lists[2]
    with pytest.raises(ValueError, match="must not be 0"):
        MRG_RandomStreams(0)


def test_sizes_of_all_kinds():
    srng, x, n = MRG_RandomStreams(1), T.tensor3("x"), T.iscalar("n")
    size = T.lvector("size")
    drawn = [srng.normal(x.shape), srng.normal((n, 2)), srng.normal([n, x.shape[1]]), srng.normal(size, ndim=2)]
    drawn += [srng.uniform(low=T.constant(np.zeros((2, 1))), high=T.constant(np.ones(3))), srng.uniform(4)]
    f = theano.function([x, n, size], drawn)
    shapes = [value.shape for value in f(np.zeros((2, 3, 4)), 5, [6, 7])]
    assert shapes == [(2, 3, 4), (5, 2), (5, 3), (6, 7), (2, 3), (4,)]
    with pytest.raises(ValueError, match="give ndim"):
        srng.normal(size)


def test_uniform_numbers_of_float32_are_never_zero_or_one():
    for dtype in ("float32", "float64"):
        u = MRG_RandomStreams(1).uniform((2,), dtype=dtype)
        ends = values(theano.clone(u, {drawn_in(u): T.constant(np.array([0, 1], dtype))}))[0]
        assert ends.dtype == dtype
        assert ends[0] > 0
        assert ends[1] < 1
        assert np.isfinite(np.log(-np.log(ends))).all()


def drawn_in(x):
    """What NumPy's generator has drawn, in an expression."""
    return next(
        v
        for v in pytensor.graph.traversal.ancestors([x])
        if v.owner is not None and isinstance(v.owner.op, pt.random.op.RandomVariable) and v is v.owner.outputs[1]
    )


def test_draws_are_differentiable_in_mean_and_deviation():
    mu, sigma = theano.shared(2.0), theano.shared(3.0)
    z = MRG_RandomStreams(3).normal((4,), avg=mu, std=sigma)
    x, by_mu, by_sigma = values(z, *T.grad(z.sum(), [mu, sigma]))
    assert by_mu == 4
    np.testing.assert_allclose(by_sigma, ((x - 2) / 3).sum(), rtol=1e-12)


def test_counts_and_orders():
    srng = RandomStreams(11)
    p = np.array([[0.98, 0.01, 0.01], [0.01, 0.49, 0.50]])
    f = theano.function(
        [],
        [
            srng.multinomial(pvals=np.tile(p, (500, 1)), dtype="float32"),
            srng.multinomial(n=7, pvals=p),
            srng.multinomial(size=(1000,), n=2, pvals=[0.2, 0.8]),
            srng.permutation(size=(3,), n=5),
            srng.random_integers((2000,), 1, 3),
            srng.choice((2000,), a=np.array([2, 4, 8]), p=[0.5, 0.25, 0.25]),
            srng.choice((3,), a=3, replace=False),
            srng.choice(size=2, replace=False, p=np.tile([[0.7, 0.2, 0.1]], (3000, 1))),
            srng.shuffle_row_elements(T.constant(X)),
            srng.poisson((2000,), lam=4.0),
        ],
    )
    one_hot, seven, pairs, orders, integers, chosen, all_three, two, shuffled, counts = f()
    assert one_hot.dtype == "float32"
    assert (one_hot.sum(axis=1) == 1).all()
    assert abs(one_hot.reshape(500, 2, 3).mean(axis=0) - p).max() < 5 * (0.25 / 500) ** 0.5
    assert seven.sum(axis=1).tolist() == [7, 7]
    assert pairs.shape == (1000, 2)
    assert abs(pairs[:, 0].mean() - 0.4) < 5 * (0.32 / 1000) ** 0.5
    assert np.sort(orders, axis=1).tolist() == [[0, 1, 2, 3, 4]] * 3
    assert abs(np.bincount(integers, minlength=4) / 2000 - [0, 1 / 3, 1 / 3, 1 / 3]).max() < 0.05
    assert {value: (chosen == value).mean().round(1) for value in (2, 4, 8)}[2] == 0.5
    assert sorted(all_three) == [0, 1, 2]
    assert (two[:, 0] != two[:, 1]).all()
    different = values(srng.multinomial_wo_replacement(n=2, pvals=np.tile([[0.7, 0.2, 0.1]], (300, 1))))[0]
    assert (different[:, 0] != different[:, 1]).all()
    assert values(srng.binomial((50,), prob=1.0))[0].tolist() == [1] * 50
    first_then_second = np.mean((two[:, 0] == 0) & (two[:, 1] == 1))
    assert abs(first_then_second - 0.7 * 0.2 / 0.3) < 5 * (0.25 / 3000) ** 0.5
    assert np.sort(shuffled, axis=1).tolist() == np.sort(X, axis=1).tolist()
    assert abs(counts.mean() - 4) < 5 * (4 / 2000) ** 0.5


def test_multinomial_takes_probabilities_as_float32_rounds_them():
    p = np.full((2000, 3), np.float32(1 / 3) + np.float32(1e-7), "float32")
    counts = values(MRG_RandomStreams(1).multinomial(pvals=p))[0]
    assert (counts.sum(axis=1) == 1).all()
    assert values(MRG_RandomStreams(1).multinomial(pvals=np.zeros((2, 3))))[0].tolist() == [[0, 0, 1]] * 2


def test_truncated_normal():
    srng = MRG_RandomStreams(2)
    x, scaled = values(srng.normal((4000,), 1.0, 2.0, truncate=True), srng.truncated_normal((4000,), 0.0, 1.0))
    expected = truncnorm(-2, 2, loc=1, scale=2)
    assert abs(x - 1).max() <= 4
    assert abs(x.mean() - 1) < 5 * expected.std() / 4000**0.5
    assert abs(x.std() / expected.std() - 1) < 0.05
    assert abs(scaled.std() - 1) < 0.05


def test_types_are_of_patterns_not_of_shapes():
    assert T.TensorType("float32", (0, 1)) == pt.TensorType("float32", shape=(None, 1))
    assert T.TensorType("floatX", [False] * 3)("x").type.shape == (None,) * 3
    assert isinstance(T.matrix().type, T.TensorType)
    assert T.tensor("int32", (False, True), "x").type == pt.TensorType("int32", shape=(None, 1))
    assert theano.shared(np.ones((1, 2)), broadcastable=(True, False)).type.shape == (1, None)
    assert T.matrix("x", "int32").dtype == "int32"
    assert (T.scalar("s", dtype="float32").dtype, T.tensor4("t", "int8").ndim) == ("float32", 4)


def test_shared_variables_and_constants_are_no_tensor_variables():
    x = T.vector()
    kinds = [x, x + 1, theano.shared(X), T.constant(X)]
    assert [isinstance(v, T.TensorVariable) for v in kinds] == [True, True, False, False]
    assert [isinstance(v, T.sharedvar.SharedVariable) for v in kinds] == [False, False, True, False]
    assert all(isinstance(v, theano.Variable) and isinstance(v, theano.gof.Variable) for v in kinds)


def test_inputs_of_a_graph_are_a_list_in_theano_s_order():
    x, y, z = T.scalars("x", "y", "z")
    assert inputs_of([(x + y) * z]) == [x, y, z]
    assert inputs_of([x * (y + z)]) == [x, y, z]
    assert inputs_of([z, y, x]) == [x, y, z]
    assert theano.gof.graph.ancestors([x * y])[1:] == [x, y]


# --- theano.tensor ----------------------------------------------------------------------------------------------------


def test_renamed_functions():
    x = T.constant(X)
    found = values(T.inv(x + 3), T.abs_(x), T.sgn(x), T.sqr(x), T.stack(x, x), T.stack([x, x], axis=2), x.flatten())
    expected = [1 / (X + 3), abs(X), np.sign(X), X**2, np.stack([X, X]), np.stack([X, X], axis=2), X.ravel()]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(value, right)
    assert T.flatten(T.tensor3(), outdim=2).ndim == 2
    one = values(T.stack(T.constant(1.0), T.constant(2.0), T.constant(3.0)))[0]
    assert one.tolist() == [1, 2, 3]
    stacks = values(T.stack([x, x], 1), T.stack(tensors=[x, x], axis=1), T.stack(x), *T.split(x, [1, 2], 2, axis=1))
    for value, right in zip(stacks, [*[np.stack([X, X], axis=1)] * 2, X[None], X[:, :1], X[:, 1:]], strict=True):
        np.testing.assert_array_equal(value, right)
    assert theano._asarray([1], dtype="float32").dtype == "float32"
    assert theano.version.short_version == theano.version.version == theano.__version__


def test_broadcasting_patterns():
    x = T.matrix("x")
    assert T.addbroadcast(x, 0).broadcastable == (True, False)
    assert T.patternbroadcast(x, (False, True)).broadcastable == (False, True)
    alone = T.alloc(0.5, 1, x.shape[1])
    forgotten = [T.unbroadcast(alone, 0), T.patternbroadcast(alone, (False, False))]
    assert [alone.broadcastable, *(y.broadcastable for y in forgotten)] == [(True, False), (False,) * 2, (False,) * 2]
    state = theano.shared(X)  # which a script may update, as Keras' recurrent layers do
    assert T.unbroadcast(state, 0, 1) is T.patternbroadcast(state, (False, False)) is state
    f = theano.function([x], [*forgotten, T.grad((T.unbroadcast(x, 0) ** 2).sum(), x)])
    for value, right in zip(f(X[:1]), [np.full((1, 3), 0.5)] * 2 + [2 * X[:1]], strict=True):
        np.testing.assert_array_equal(value, right)
    h, updates = theano.scan(
        lambda s, h: h + s, sequences=x, outputs_info=[T.unbroadcast(T.alloc(np.zeros(()), 1, 3), 0)]
    )
    np.testing.assert_array_equal(theano.function([x], h[-1], updates=updates)(X), X.sum(axis=0, keepdims=True))


def test_products_of_batches():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    c, d = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 5, 4, 6))
    A, B, C, D = map(T.constant, (a, b, c, d))
    found = values(
        T.batched_dot(A, B),
        T.batched_dot(A, B[:, :, 0]),
        T.batched_dot(A[:, 0], B),
        T.batched_dot(A[:, 0], A[:, 1]),
        T.batched_dot(A[:, 0, 0], B),
        T.batched_tensordot(C, D, [[2, 3], [2, 1]]),
    )
    expected = [a @ b, (a @ b)[:, :, 0], (a @ b)[:, 0], (a[:, 0] * a[:, 1]).sum(1), a[:, 0, 0, None, None] * b]
    expected.append(np.einsum("niab,nbaj->nij", c, d))
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)


def test_linear_algebra():
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    A, b = T.constant(a), T.constant([1.0, 2.0])
    found = values(
        T.nlinalg.matrix_inverse(A),
        T.nlinalg.det(A),
        T.nlinalg.trace(A),
        T.slinalg.cholesky(A),
        T.slinalg.solve(A, b),
        T.slinalg.solve_lower_triangular(A, b),
        T.slinalg.solve_upper_triangular(A, b),
        T.nlinalg.alloc_diag(b),
        theano.dot(theano.sparse.as_sparse_variable(scipy.sparse.csr_matrix(a)), A),
    )
    expected = [np.linalg.inv(a), 11, 7, np.linalg.cholesky(a), np.linalg.solve(a, [1, 2])]
    expected += [np.linalg.solve(np.tril(a), [1, 2]), np.linalg.solve(np.triu(a), [1, 2]), np.diag([1, 2]), a @ a]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)


def test_tiles():
    x, reps = T.constant(X), T.lvector("reps")
    n = T.constant(2)
    found = theano.function(
        [reps],
        [
            T.tile(x, 2),
            T.tile(x, (n, 1)),
            T.tile(x, [2, 3], ndim=3),
            T.tile(x, 2, ndim=3),
            T.tile(x, [n, 1, 3], 3),
            T.tile(x, reps, ndim=3),
        ],
    )([2, 1])
    for value, right in zip(found, [2, (2, 1), (1, 2, 3), (1, 1, 2), (2, 1, 3), (1, 2, 1)], strict=True):
        np.testing.assert_array_equal(value, np.tile(X, right))
    with pytest.raises(ValueError, match="at least 2"):
        T.tile(x, 2, ndim=1)


def test_ops_that_code_asks_for():
    table, index = theano.shared(X), T.lvector("index")
    looked_up = table[index]
    assert isinstance(looked_up.owner.op, T.AdvancedSubtensor1)
    assert looked_up.owner.inputs == [table, index]
    assert isinstance(table.take(index, axis=0).owner.op, T.subtensor.AdvancedSubtensor1)
    for other in (table[0], table + 1, T.set_subtensor(looked_up, 0.0)):
        assert not isinstance(other.owner.op, T.AdvancedSubtensor1)
    found = values(*T.basic.MaxAndArgmax()(table, 1), *T.MaxAndArgmax([0])(table), T.nnet.softmax_op(table))
    for value, right in zip(found, [X.max(1), X.argmax(1), X.max(0), X.argmax(0), softmax(X, axis=1)], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)
    assert T.nnet.softmax(table).owner.op == T.nnet.nnet.softmax_op
    assert theano.sandbox.linalg.psd(table) is theano.sandbox.linalg.ops.psd(table) is table
    assert isinstance(theano.sparse.csr_matrix().type, theano.sparse.SparseType)
    lone = theano.Variable(T.dscalar), theano.gof.Variable(T.dscalar, name="v"), T.TensorVariable(T.dscalar)
    assert all(isinstance(v, theano.Variable) and v.owner is None for v in lone)
    assert not isinstance(table.owner, theano.Variable)


def test_scans_have_inputs_and_outputs(installed):
    total, _ = theano.scan(lambda x, s: 2 * s + x, sequences=T.dvector("x"), outputs_info=np.zeros(()))
    ops = {v.owner.op for v in theano.gof.graph.ancestors([total]) if v.owner is not None}
    (op,) = (op for op in ops if isinstance(op, scan_op.Scan))
    assert (len(op.inputs), len(op.outputs)) == (2, 1)
    assert set(op.inputs) <= set(inputs_of(op.outputs))


def test_rewrites_of_nodes():
    @theano.gof.local_optimizer([T.tanh])
    def double(node):
        return [2 * node.inputs[0]] if node.op == T.tanh else None

    x = T.scalar("x")
    graph = theano.gof.FunctionGraph([x], [T.tanh(x)], clone=False)
    assert double.transform(graph, graph.outputs[0].owner)[0].eval({x: 3.0}) == 6
    assert str(double) == "double"
    assert theano.gof.OpRemove(T.tanh).transform(graph, graph.outputs[0].owner) == [x]
    (renamed,) = theano.gof.OpSub(T.tanh, T.exp).transform(graph, graph.outputs[0].owner)
    assert renamed.owner.op == T.exp
    assert callable(T.opt.register_canonicalize) and callable(T.opt.register_specialize)
    assert T.opt.Assert("must be positive")(x, T.gt(x, 0)).eval({x: 2.0}) == 2


def test_tools_of_tests():
    from symupdates.theano.tests import unittest_tools as utt

    utt.verify_grad(lambda x: x**3, [X])
    with pytest.raises(Exception, match="error"):
        utt.verify_grad(theano.gradient.zero_grad, [X], rng=np.random.RandomState(utt.seed_rng(4)))
    assert utt.fetch_seed() == 666
    assert callable(theano.tests.breakpoint.PdbBreakpoint)


def test_classes_and_order():
    x = T.constant(X)
    found = values(
        T.extra_ops.to_one_hot(T.constant([2, 0]), 3),
        T.topk(x, 2),
        T.argtopk(x, -1, axis=0),
        T.extra_ops.repeat(x, 2, axis=1),
        T.max_and_argmax(x, axis=1)[1],
    )
    assert found[0].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert found[0].dtype == pytensor.config.floatX
    assert np.sort(found[1], axis=1).tolist() == [[0.5, 2.0], [0.0, 3.0]]
    assert found[2].tolist() == [[1, 0, 1]]
    assert found[3].tolist() == np.repeat(X, 2, axis=1).tolist()
    assert found[4].tolist() == [2, 1]


# --- theano.tensor.nnet -----------------------------------------------------------------------------------------------


def test_activations():
    x, nnet = T.constant(X * 3), T.nnet
    x32 = T.constant(X.astype("float32"))
    found = values(
        nnet.relu(x),
        nnet.relu(x, 0.1),
        nnet.elu(x),
        nnet.elu(x, 2.0),
        nnet.selu(x),
        nnet.softsign(x),
        nnet.softplus(x),
        nnet.sigmoid(x),
        nnet.hard_sigmoid(x),
        nnet.softmax_with_bias(x, T.constant([0.0, 1.0, 0.5])),
    )
    x = X * 3
    low = x < 0
    expected = [
        np.maximum(x, 0),
        np.where(low, 0.1 * x, x),
        np.where(low, np.exp(x) - 1, x),
        np.where(low, 2 * (np.exp(x) - 1), x),
        1.0507009873554805 * np.where(low, 1.6732632423543772 * (np.exp(x) - 1), x),
        x / (1 + abs(x)),
        np.log1p(np.exp(x)),
        expit(x),
        np.minimum(np.maximum(0.2 * x + 0.5, 0), 1),
        softmax(x + np.array([0, 1, 0.5]), axis=1),
    ]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)
    for f in (nnet.relu, nnet.elu, nnet.softsign, nnet.hard_sigmoid, nnet.ultra_fast_sigmoid, nnet.softmax):
        assert f(x32).dtype == "float32"
    zero = theano.shared(0.0)
    assert values(T.grad(nnet.relu(zero), zero), T.grad(nnet.relu(zero, 0.2), zero)) == [0.5, 0.6]


def test_ultra_fast_sigmoid():
    x = np.linspace(-12, 12, 201)
    found = values(T.nnet.ultra_fast_sigmoid(T.constant(x)))[0]
    assert abs(found - expit(x)).max() < 0.03
    by_hand = [0.5 + 0.75 * 0.5 / 1.5, 0.5 * (1.935409070603099 + 0.0458812946797165 * 0.8), 0.997527376843365]
    near, far, end = values(T.nnet.ultra_fast_sigmoid(T.constant([1.0, 5.0, 8.0])))[0]
    np.testing.assert_allclose([near, far, end], by_hand, rtol=1e-12)


def test_cross_entropies():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]])
    p, classes = softmax(logits, axis=1), np.array([2, 1])
    target = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    bits = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    nnet, c = T.nnet, T.constant(classes)
    found = values(
        nnet.categorical_crossentropy(T.constant(p), c),
        nnet.categorical_crossentropy(T.constant(p), T.constant(target)),
        nnet.categorical_crossentropy(nnet.softmax(T.constant(logits)), c),
        nnet.crossentropy_categorical_1hot(T.constant(p), c),
        nnet.binary_crossentropy(T.constant(expit(logits)), T.constant(bits)),
        nnet.sigmoid_binary_crossentropy(T.constant(logits), T.constant(bits)),
        *nnet.crossentropy_softmax_argmax_1hot_with_bias(T.constant(logits - 1), T.constant(np.ones(3)), c),
        *nnet.crossentropy_softmax_max_and_argmax_1hot(T.constant(logits), c)[2:],
    )
    of_classes = -np.log(p[[0, 1], classes])
    of_bits = -(bits * np.log(expit(logits)) + (1 - bits) * np.log(expit(-logits)))
    expected = [of_classes, -(target * np.log(p)).sum(axis=1), of_classes, of_classes, of_bits, of_bits]
    expected += [of_classes, p, [0, 1], p.max(axis=1), [0, 1]]
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)
    with pytest.raises(TypeError, match="axes"):
        nnet.categorical_crossentropy(T.tensor3(), T.vector())
    with pytest.raises(TypeError, match="cast the classes"):
        nnet.categorical_crossentropy(T.matrix(), T.vector())


def test_cross_entropies_of_a_softmax_stay_finite():
    logits = theano.shared(np.array([[0.0, 900.0], [900.0, 0.0]]))
    losses = T.nnet.categorical_crossentropy(T.nnet.softmax(logits), T.constant([0, 0]))
    one_hot = T.nnet.categorical_crossentropy(T.nnet.softmax(logits), T.constant([[1.0, 0.0], [1.0, 0.0]]))
    found = values(losses, one_hot, T.grad(losses.sum(), logits))
    for value, right in zip(found, [[900, 0], [900, 0], [[-1, 1], [0, 0]]], strict=True):
        np.testing.assert_allclose(value, right, atol=1e-12)


def test_batch_normalization():
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(2, 3, size=(5, 2, 4)), rng.normal(size=2), rng.normal(size=2)
    mean, variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    before, spread = rng.normal(size=2), rng.uniform(1, 2, size=2)
    train = bn.batch_normalization_train(
        *map(T.constant, (x, gamma, beta)), "spatial", 1e-3, 0.25, T.constant(before), T.constant(spread)
    )
    test = bn.batch_normalization_test(*map(T.constant, (x, gamma, beta, before, spread)), axes="spatial", epsilon=1e-3)
    plain = T.nnet.batch_normalization(*map(T.constant, (x[:, :, 0], gamma, beta, before, spread)))
    per_activation = bn.batch_normalization_train(T.constant(x[:, :, 0]), T.constant(gamma), T.constant(beta))[0]
    column, m = (slice(None), None), 20
    std = np.sqrt(variance + 1e-3)
    y = x[:, :, 0]
    wide = [T.constant(value[None, :, None]) for value in (gamma, beta)]
    kept = values(*bn.batch_normalization_train(T.constant(x), *wide, axes=[2, 0]))[:2]
    np.testing.assert_allclose(kept[1], mean[None, :, None], rtol=1e-10)
    inside = (x - mean[column]) / np.sqrt(variance + 1e-4)[column] * gamma[column] + beta[column]
    np.testing.assert_allclose(kept[0], inside, rtol=1e-10)
    expected = [
        (x - mean[column]) / std[column] * gamma[column] + beta[column],
        mean,
        1 / std,
        0.75 * before + 0.25 * mean,
        0.75 * spread + 0.25 * variance * m / (m - 1),
        (x - before[column]) / np.sqrt(spread + 1e-3)[column] * gamma[column] + beta[column],
        (y - before) / spread * gamma + beta,
        (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-4) * gamma + beta,
    ]
    for value, right in zip(values(*train, test, plain, per_activation), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10)
    with pytest.raises(ValueError, match="both running_mean and running_var"):
        bn.batch_normalization_train(T.matrix(), T.vector(), T.vector(), running_mean=T.vector())


def test_hierarchical_softmax_and_the_rest_of_nnet():
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(3, 2)), np.array([[4], [0], [3]])
    W1, b1, W2, b2 = (rng.normal(size=shape) for shape in [(2, 2), (2,), (2, 2, 3), (2, 3)])
    arguments = (T.constant(x), 3, 5, 2, 3, *map(T.constant, (W1, b1, W2, b2)))
    every, one = values(T.nnet.h_softmax(*arguments), T.nnet.h_softmax(*arguments, target=T.constant(target)))
    of_class = softmax(x @ W1 + b1, axis=1)
    right = np.hstack([of_class[:, k, None] * softmax(x @ W2[k] + b2[k], axis=1) for k in range(2)])[:, :5]
    np.testing.assert_allclose(every, right, rtol=1e-12)
    np.testing.assert_allclose(one, right[[0, 1, 2], [4, 0, 3]], rtol=1e-12)
    table, order = T.nnet.confusion_matrix(T.constant([2, 0, 2, 2, 0, 1]), T.constant([0, 0, 2, 2, 0, 2]))
    table, order, ones = values(table, order, T.nnet.prepend_1_to_each_row(T.constant(X)))
    assert (table.tolist(), order.tolist()) == ([[2, 0, 0], [0, 0, 1], [1, 0, 2]], [0, 1, 2])
    assert ones.tolist() == np.hstack([np.ones((2, 1)), X]).tolist()


# --- Functions, loops and graphs --------------------------------------------------------------------------------------


def test_inputs_with_defaults_and_updates():
    x, y, total = T.dscalars("x", "y", "total")
    f = theano.function([x, theano.In(y, value=2.0)], x * y)
    assert (f(3.0), f(3.0, 5.0), f(3.0, y=7.0), f(x=3.0)) == (6, 15, 21, 6)
    assert theano.function([x, theano.Param(y, default=2.0, name="by")], x * y)(3.0, by=4.0) == 12
    accumulate = theano.function([x, theano.In(total, value=10.0, update=total + x)], total)
    assert [accumulate(1.0), accumulate(2.0), accumulate(4.0)] == [10, 11, 13]
    accumulate["total"] = 0.5
    assert (accumulate(1.0), accumulate["total"]) == (0.5, 1.5)
    f["x"] = 4.0
    assert (f(), f["x"]) == (8, 4)
    f = theano.function([x, theano.In(y, value=2.0)], x * y)
    assert copy.copy(f)(3.0) == 6
    with pytest.raises(TypeError, match="needs a value for the input x"):
        f()
    with pytest.raises(TypeError, match="no input 'z'"):
        f(1.0, z=3.0)
    with pytest.raises(TypeError, match="inputs must be a list"):
        theano.function(x, x)
    with pytest.raises(ValueError, match="give value"):
        theano.In(total, update=total + 1)


def test_outputs_with_names_and_the_keywords_of_function():
    x, n = T.fvector("x"), theano.shared(0)
    f = theano.function(
        [x, T.scalar("unused")],
        {"twice": 2 * x, "n": n},
        updates={n: n + 1},
        givens=[],
        mode="FAST_COMPILE",
        allow_input_downcast=True,
        on_unused_input="ignore",
        profile=False,
        name="f",
    )
    out = f(np.array([1.0, 2.0]), 0.0)
    assert (out["twice"].tolist(), int(out["n"]), f.name) == ([2, 4], 0, "f")
    assert int(f([0.0], 1)["n"]) == 1


def test_default_updates_of_legacy_code():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        count, other = theano.shared(0), theano.shared(np.zeros(1))
        count.default_update = count + 1
        other.default_update = other[0] + T.ones((1,)) * count  # of a static shape that the variable has not
    f = theano.function([], other.sum())
    assert [float(f()) for _ in range(3)] == [0, 0, 1]
    assert [float(theano.function([], other.sum(), no_default_updates=[other])()) for _ in range(2)] == [3, 3]
    assert int(count.get_value()) == 3
    assert float(theano.function([], count, updates=[(count, count * 10)])()) == 3
    assert int(count.get_value()) == 30


def test_default_updates_behind_an_input_are_none_of_the_function():
    x, srng = T.matrix("x"), MRG_RandomStreams(3)
    z = x.sum() + srng.normal((1, x.shape[0], 3))
    given = np.ones((1, 2, 3))
    assert theano.function([z], z + 1)(given).tolist() == (given + 1).tolist()
    assert theano.function([theano.In(z, value=given)], z + 1)().tolist() == (given + 1).tolist()
    assert theano.function([], z + 1, givens={z: given})().tolist() == (given + 1).tolist()
    noise = srng.normal(())
    f = theano.function([z], z.sum() + noise)
    assert f(given) != f(given)


def test_eval_makes_default_updates(installed):
    m = theano.shared(np.ones(3), name="m")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        m.default_update = 0.5 * m + T.constant(np.ones((2, 3))).mean(axis=0)
    y, x = T.dscalar("y"), T.dvector("x")
    z = (x + m).sum() * y
    given = {x: [1.0, 2.0, 3.0], y: 2.0}
    assert [float(z.eval(given)) for _ in range(2)] == [2 * 9, 2 * 10.5]
    assert len(z._fn_cache) == 1
    assert float(y.eval({"y": 3.0})) == 3


def test_the_tutorial_of_random_numbers():
    srng = RandomStreams(seed=234)
    u, v = srng.uniform((2, 2)), srng.normal((2, 2))
    f = theano.function([], [u, v])
    generator = u.rng.get_value(borrow=True)
    generator.seed(89234)
    u.rng.set_value(generator, borrow=True)
    first, state = f()[0], v.rng.get_value(borrow=True).get_state()
    second = f()
    u.rng.get_value(borrow=True).seed(89234)
    v.rng.get_value(borrow=True).set_state(state)
    again = f()
    np.testing.assert_array_equal(again, [first, second[1]])
    assert isinstance(u.rng, T.shared_randomstreams.RandomStateSharedVariable)
    copied = u.rng.get_value()
    copied.seed(1)
    assert u.rng.get_value().get_state() != copied.get_state()


def test_streams_take_the_state_of_others():
    one, other = MRG_RandomStreams(5), MRG_RandomStreams(6)
    one.normal(())
    other.rstate = one.rstate
    np.testing.assert_array_equal(*values(one.normal((3,)), other.normal((3,))))
    one.inc_rstate()
    other.normal(())
    np.testing.assert_array_equal(*values(one.normal((3,)), other.normal((3,))))
    other.rstate = [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(*values(other.normal((3,)), MRG_RandomStreams([1, 2, 3, 4, 5, 6]).normal((3,))))


def test_scan_returns_outputs_and_updates():
    x, srng = T.matrix("x"), MRG_RandomStreams(4)
    total, updates = theano.scan(lambda row, h: h + row, sequences=[x], outputs_info=[T.zeros_like(x[0])])
    assert not updates
    both, updates = theano.scan(lambda row: [row.sum(), row * srng.normal(row.shape)], sequences=x)
    f = theano.function([x], [total, *both], updates=updates)
    first, second = f(X), f(X)
    np.testing.assert_allclose(first[0], np.cumsum(X, axis=0), rtol=1e-12)
    np.testing.assert_allclose(first[1], X.sum(axis=1), rtol=1e-12)
    noise = np.array([first[2], second[2]])[:, :, 0:1] / X[:, 0:1].clip(0.5)
    assert len(np.unique(noise[:, 0])) == 2
    folded, _ = theano.foldl(lambda row, h: h * 2 + row, x, T.zeros_like(x[0]))
    mapped, _ = theano.map(lambda row: row.max(), x)
    reduced, _ = theano.reduce(lambda row, h: h + row, x, T.zeros_like(x[0]))
    found = theano.function([x], [folded, mapped, reduced])(X)
    for value, right in zip(found, [2 * X[0] + X[1], X.max(axis=1), X.sum(axis=0)], strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-12)


def test_a_scan_draws_anew_in_every_step_and_call():
    drawn, updates = theano.scan(lambda: MRG_RandomStreams(6).uniform((2,)), n_steps=4)
    f = theano.function([], drawn, updates=updates)
    assert len(np.unique([f(), f()])) == 16


def test_clone():
    x, y, w = T.scalar("x"), T.scalar("y"), theano.shared(2.0, name="w")
    z = x * w + y
    assert theano.function([x, y], theano.clone(z, replace={x: y, y: x}))(3.0, 10.0) == 10 * 2 + 3
    copy, given = theano.clone([z, x], replace=[(x, T.constant(np.asarray(5.0)))])
    assert theano.function([y], [copy, given])(1.0) == [11, 5]
    own = theano.clone(w, share_inputs=False)
    assert own is not w
    w.set_value(7.0)
    assert own.get_value() == 7  # a common value
    assert w not in inputs_of([theano.clone(z, share_inputs=False)])
    assert w not in inputs_of([theano.clone(z, copy_inputs=False)])
    with pytest.raises(TypeError):
        theano.clone(z, {x: T.vector()})
    assert theano.gof.graph.is_same_graph(x * w + 1, y * w + 1, givens={x: y})
    assert set(inputs_of([z], blockers=[z.owner.inputs[0]])) == {y}
    assert theano.clone(z, share_inputs=True).eval({x: 1.0, y: 1.0}) == 8
    assert theano.gof.graph.is_same_graph(theano.clone(z), z)
    assert not theano.gof.graph.is_same_graph(z, z + 1)


def test_gradients_ifelse_printing_and_updates():
    x = theano.shared(3.0)
    constant = theano.gradient.consider_constant(x**2)
    through = theano.gradient.disconnected_grad(x) * x
    found = values(*(T.grad(y, x) for y in (constant * x, through, theano.gradient.grad_clip(x, -1, 1) ** 2)))
    assert found == [9, 3, 1]
    assert theano.ifelse.ifelse(T.gt(x, 2), x, -x).eval() == 3
    assert "exp" in theano.pp(T.exp(T.scalar("s"))).lower()
    updates = theano.updates.OrderedUpdates([(x, x + 1)])
    updates.update(theano.OrderedUpdates())
    theano.function([], [], updates=updates)()
    assert (x.get_value(), theano.compat.OrderedDict) == (4, collections.OrderedDict)

    @theano.compile.ops.as_op(itypes=[T.dvector], otypes=[T.dvector])
    def backwards(a):
        return a[::-1]

    assert backwards(T.constant([1.0, 2.0])).eval().tolist() == [2, 1]


def test_config(monkeypatch):
    assert (theano.config.device, theano.config.lib.cnmem, theano.config.dnn.enabled) == ("cpu", 0.0, "False")
    assert theano.config.compute_test_value == "off"
    monkeypatch.setattr(pytensor.config, "floatX", pytensor.config.floatX)
    theano.config.floatX = "float32"
    assert pytensor.config.floatX == "float32" == T.config.floatX
    theano.config.optimizer = "fast_compile"  # which PyTensor fixes at its import
    theano.config.warn.subtensor_merge_bug = False
    with theano.change_flags(floatX="float64", compute_test_value="off"):
        assert T.matrix().dtype == "float64"
    with pytest.raises(ValueError, match="mode='JAX'"):
        theano.config.device = "gpu"
    with pytest.raises(AttributeError, match=r"nor PyTensor has the flag lib\.nothing"):
        theano.config.lib.nothing  # noqa: B018


def test_a_variable_in_a_condition_is_true_where_there_is_a_theano():
    mask = T.scalar("mask")
    with pytest.raises(TypeError, match="boolean"):
        bool(mask)
    theano.install()
    assert all([mask, mask + 1, T.constant(0.0), theano.shared(0), T.eq(mask, 1), T.matrix().sum()])
    for comparison in (mask < 1, mask <= 1, mask > 1, 1 >= mask):
        with pytest.raises(TypeError, match=r"has no truth before it is computed; .*T\.switch"):
            bool(comparison)
    theano.uninstall()
    with pytest.raises(TypeError, match="boolean"):
        bool(mask)


# --- Test values ------------------------------------------------------------------------------------------------------


@pytest.fixture
def computing(installed):
    with theano.config.change_flags(compute_test_value="ignore"):
        yield
    assert theano.config.compute_test_value == "off"


def given(x, value):
    x.tag.test_value = np.asarray(value, x.dtype)
    return x


def test_a_graph_is_computed_while_it_is_built(computing):
    x, W = given(T.matrix(), X), theano.shared(np.ones((3, 2)))
    y = T.nnet.softmax(T.dot(x, W) * [[0.0, 1.0]])
    right = softmax(X @ np.ones((3, 2)) * [[0, 1]], axis=1)
    np.testing.assert_allclose(y.tag.test_value, right, rtol=1e-12)
    np.testing.assert_allclose(theano.gof.op.get_test_value(y), right, rtol=1e-12)
    assert T.grad(T.sqr(x).sum(), x).tag.test_value.tolist() == (2 * X).tolist()
    assert theano.gof.op.get_test_value(W).shape == (3, 2)
    assert theano.gof.op.get_test_value(T.constant(2)) == theano.gof.op.get_test_value(2) == 2
    with pytest.raises(ValueError, match=r"shape|aligned|mismatch"):
        T.dot(x, theano.shared(np.ones((2, 2))))
    f = theano.function([x], y)
    np.testing.assert_allclose(f(2 * X), softmax(2 * X @ np.ones((3, 2)) * [[0, 1]], axis=1), rtol=1e-12)


def test_what_has_no_test_value_is_passed_over(computing):
    x, y = given(T.vector(), [1, 2]), T.vector("without")
    assert not hasattr((x + y).tag, "test_value")
    with pytest.raises(AttributeError):
        theano.gof.op.get_test_value(y)
    with theano.change_flags(compute_test_value="off"):
        assert not hasattr((x + 1).tag, "test_value")


def test_test_values_of_loops_and_draws(computing):
    x = given(T.vector(), [1, 2, 3])
    sums, _ = theano.scan(lambda each, before: each * 2 + before, x, [T.constant(np.array(0.5))])
    assert sums.tag.test_value.tolist() == [2.5, 6.5, 12.5]
    assert (sums[-1] + 1).tag.test_value == 13.5
    if "compute_test_value" not in vars(type(pytensor.config)):  # PyTensor 2 cannot differentiate the loop after that
        assert theano.function([x], T.grad(sums.sum(), x))([1.0, 2.0, 3.0]).tolist() == [6, 4, 2]
    draw = MRG_RandomStreams(1).uniform((4,), low=2, high=3)
    assert np.all((draw.tag.test_value > 2) & (draw.tag.test_value < 3))


def test_test_values_are_not_overwritten_in_place(computing):
    table = theano.shared(np.zeros(3))
    assert T.set_subtensor(table[1], 5.0, inplace=True).tag.test_value.tolist() == [0, 5, 0]
    assert table.get_value().tolist() == [0, 0, 0]


def test_without_install_pytensor_is_as_it_was():
    before = vars(pytensor.graph.op.Op)["__call__"]
    theano.install()
    theano.uninstall()
    assert vars(pytensor.graph.op.Op)["__call__"] is before


# --- install, uninstall, run ------------------------------------------------------------------------------------------


def test_install_registers_theano_and_uninstall_takes_it_back(installed):
    import theano.tensor.nnet.bn
    import theano.tensor.signal.pool
    from lasagne.updates import adam
    from theano import tensor
    from theano.sandbox.rng_mrg import MRG_RandomStreams as Streams

    namespace = {}
    exec("from theano.tensor import *", namespace)
    assert sys.modules["theano"] is theano
    assert (tensor, Streams, adam) == (T, MRG_RandomStreams, symupdates.adam)
    assert namespace["stack"] is T.stack
    assert namespace["tanh"] is pt.tanh
    theano.install()  # again does nothing
    finders = len(sys.meta_path)
    theano.uninstall()
    assert len(sys.meta_path) == finders - 1 and sys.modules.get("lasagne.updates") is not symupdates
    assert not [name for name in sys.modules if name.split(".")[0] == "theano"]
    assert not hasattr(inspect, "getargspec")
    theano.uninstall()


def test_names_of_older_python_and_numpy(installed):
    assert inspect.getargspec(lambda a, b=1, *c: 0) == (["a", "b"], "c", None, (1,))
    assert inspect.getargspec(theano.function).args[:3] == ["inputs", "outputs", "mode"]  # as Keras asks
    assert np.cast["float32"]([1]).dtype == np.cast[np.float32](2).dtype == "float32"
    for name in ("Callable", "Iterator", "MutableMapping", "MutableSequence", "MutableSet", "Set"):
        assert getattr(collections, name) is getattr(collections.abc, name)
    assert np.prod([2, 3]) == 6


def test_pkg_resources_where_there_are_none(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    theano.install()
    import pkg_resources

    assert pkg_resources.get_distribution("numpy").version == np.__version__
    with pytest.raises(pkg_resources.DistributionNotFound):
        pkg_resources.get_distribution("no-such-thing")
    assert os.path.samefile(pkg_resources.resource_filename("symupdates", "__init__.py"), symupdates.__file__)
    version = pkg_resources.parse_version
    assert version("0.8.0") < version("v0.10rc1") == version("0.10.0") < version("1")
    with pytest.raises(ValueError, match="'new' does not begin with a number"):
        version("new")
    theano.uninstall()
    assert "pkg_resources" not in sys.modules


def test_install_refuses_a_real_theano(monkeypatch, tmp_path):
    (tmp_path / "theano").mkdir()
    (tmp_path / "theano" / "__init__.py").write_text("version = '1.0.5'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="there is a theano at"):
        theano.install()
    import theano as real

    with pytest.raises(RuntimeError, match="imported already"):
        theano.install()
    assert sys.modules.pop("theano") is real


def test_flags_of_the_environment(monkeypatch):
    monkeypatch.setattr(pytensor.config, "floatX", pytensor.config.floatX)
    monkeypatch.setenv("THEANO_FLAGS", "floatX=float8")
    with pytest.raises(ValueError, match="float8"):
        theano.install()
    assert "theano" not in sys.modules
    monkeypatch.setenv("THEANO_FLAGS", "floatX=float32,device=cpu,optimizer=fast_compile,nvcc.fastmath=True")
    theano.install()
    theano.uninstall()
    assert pytensor.config.floatX == "float32"
    monkeypatch.setenv("THEANO_FLAGS", "device=gpu0")
    with pytest.warns(UserWarning, match="asks for the device gpu0"):
        theano.install()
    theano.uninstall()


def test_the_command_runs_a_script_as_python_does(tmp_path):
    script = tmp_path / "script.py"
    (tmp_path / "beside.py").write_text("here = __file__\n")
    script.write_text(
        textwrap.dedent("""
            import os, pickle, sys
            import theano, theano.tensor as T
            import beside
            class Local(object):
                pass
            assert type(pickle.loads(pickle.dumps(Local()))) is Local
            assert __name__ == "__main__" and os.path.samefile(os.path.dirname(beside.here), sys.path[0])
            print(__file__, sys.argv, T.nnet.softmax(T.vector()).ndim, theano.__name__)
            sys.exit(3)
        """)
    )
    command = [sys.executable, "-W", "error", "-m", "symupdates.theano"]
    done = subprocess.run([*command, str(script), "-a", "1"], capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 3)
    assert done.stdout == f"{script} {[str(script), '-a', '1']} 2 symupdates.theano\n"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("none.py", None, "there is no file none.py"),
        (".", None, "there is no file ."),
        ("old.py", b"import theano\nprint 'a'\n", "If it is Python 2, 2to3 -w"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_script(name, content, why, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(symupdates.__file__))}
    command = [sys.executable, "-m", "symupdates.theano", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and why in done.stderr and name in done.stderr
    assert content is not None or done.stderr.count("\n") == 1


def test_the_command_explains_itself():
    done = subprocess.run([sys.executable, "-m", "symupdates.theano"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: python -m symupdates.theano script.py" in done.stderr
