"""Rows of a table as a parameter: what a step touches, and nothing else."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import NEEDS_JAX
from helpers import FAST_COMPILE, PYTHON, TOLERANCE, IdleNumbaLinker, call
from pytensor.compile.mode import Mode, get_mode
from table import ROWS

import symupdates
from symupdates import gradients, rows, schedules
from symupdates.core import is_state

V, D = 9, 3
# Lookups of six steps: rows that come back, rows that come twice, by a negative number too, and rows that never come.
LOOKUPS = np.array([[0, 2, 2, 8], [1, -1, 2, -9], [-2, 7, 7, 7], [0, 3, -6, 3], [2, 1, 0, 8], [8, 8, -1, -1]])
STEPS = len(LOOKUPS)
TOUCHED = np.unique(LOOKUPS % V)
UNTOUCHED = np.setdiff1d(np.arange(V), TOUCHED)
CONSTANT = np.random.default_rng(1).normal(size=(STEPS, *LOOKUPS.shape[1:], D))

# Rules that go element by element, and count nothing: of them, a row sees the steps at which it was looked up.
BY_ROW = (
    "sgd momentum nesterov_momentum qhm sign_sgd signum lion adagrad rmsprop adadelta centered_rmsprop ftrl".split()
)
ROW = {row.name: row for row in ROWS}
REFUSED = {
    *("adagrad_window", "sm3", "novograd", "lars", "lamb", "fromage"),
    *("muon", "normuon", "adamuon", "adafactor", "shampoo", "soap", "psgd_kron"),
    *("dadapt_adam", "prodigy", "dog", "l_dog", "dowg", "hypergradient_sgd", "hypergradient_adam"),
    *("noisy_sgd", "sgld", "psgld", "sghmc", "scale_adapted_sghmc", "sgnht", "baoab"),
}


# The graphs of the backends, without their compilers.
REWRITTEN = {
    "CVM": Mode("py", get_mode("CVM").provided_optimizer),
    "NUMBA": Mode(IdleNumbaLinker(), get_mode("NUMBA").provided_optimizer),
}


def make_table(dtype="float64", shape=(V, D), name="E", static=False):
    value = np.random.default_rng(0).normal(size=shape).astype(dtype)
    return pytensor.shared(value, name=name, shape=shape if static else None)


def summed(t, dtype="float64"):
    """The gradient of the table at a step of `train`, by hand."""
    g = np.zeros((V, D))
    for i, c in zip(LOOKUPS[t], CONSTANT[t].astype(dtype), strict=True):
        g[i] += c
    return g


def train(optimizer, E, mode=PYTHON, index_dtype="int64", take=rows):
    """Train a table on a loss that is linear in what is looked up; return the dict, and all values after each step."""
    i, c = pt.vector("i", dtype=index_dtype), pt.matrix("c", dtype=E.dtype)
    x = take(E, i)
    updates = optimizer((x * c).sum(), [x if take is rows else E])
    step = pytensor.function([i, c], updates=updates, mode=mode)
    after = []
    for index, constant in zip(LOOKUPS, CONSTANT, strict=True):
        step(index.astype(index_dtype), constant.astype(E.dtype))
        after.append({slot_of(v): np.array(v.get_value()) for v in updates})
    return updates, after


def slot_of(v):
    return v.tag.symupdates.slot if is_state(v) else "param"


def by_row(row, p, dtype="float64"):
    """What the oracle of a rule says of each row, given the steps at which it was looked up: a dict for each step."""
    after, start = [{} for _ in range(STEPS)], {}
    for r in TOUCHED:
        steps = [t for t in range(STEPS) if r in LOOKUPS[t] % V]
        trajectory = iter(row.oracle(p[r], [summed(t, dtype)[r] for t in steps], **dict(row.structure), **row.hyper))
        for t in range(steps[0], STEPS):
            if t in steps:
                start[r] = next(trajectory)
            for slot, value in start[r].items():
                after[t].setdefault(slot, {})[r] = value
    return after


# --- The rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [PYTHON, REWRITTEN["CVM"]], ids=["plain", "rewritten"])
@pytest.mark.parametrize("name", BY_ROW)
def test_each_row_is_trained_by_the_steps_that_look_it_up(name, mode):
    row, E = ROW[name], make_table()
    start = E.get_value()
    updates, after = train(partial(call, row), E, mode)
    assert [slot_of(v) for v in updates] == list(row.keys_of(E))
    assert {v.name for v in updates} == {"E"} | {f"E/{name}/{slot}" for slot in row.slots_of(E)}
    blank = {slot_of(v): np.zeros_like(start) for v in updates} | {"param": start}
    for slot in {"accu", "n"} & blank.keys():
        blank[slot] += dict(row.structure).get("initial_accumulator", 0.0)
    for t, expected in enumerate(by_row(row, start)):
        for slot, values in expected.items():
            for r, value in values.items():
                np.testing.assert_allclose(after[t][slot][r], value, rtol=1e-12, err_msg=f"{slot} of row {r}, step {t}")
            others = np.setdiff1d(np.arange(V), list(values))
            np.testing.assert_array_equal(after[t][slot][others], blank[slot][others])


def lazy_adam(p, beta1=0.9, beta2=0.999, learning_rate=0.01, epsilon=1e-8, weight_decay=0.0):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t in range(STEPS):
        for r in set(LOOKUPS[t] % V):
            g = summed(t)[r]
            m[r] = beta1 * m[r] + (1 - beta1) * g
            v[r] = beta2 * v[r] + (1 - beta2) * g**2
            alpha = learning_rate * np.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
            p[r] -= alpha * m[r] / (np.sqrt(v[r]) + epsilon) + learning_rate * weight_decay * p[r]
        yield {"param": p.copy(), "m": m.copy(), "v": v.copy(), "t": t + 1}


@pytest.mark.parametrize("decay", [None, 0.25])
def test_adam_is_lazy(decay):
    rule = symupdates.adam if decay is None else partial(symupdates.adamw, weight_decay=decay)
    E = make_table()
    expected = list(lazy_adam(E.get_value(), weight_decay=decay or 0.0))
    _, after = train(rule(learning_rate=0.01), E)
    for got, want in zip(after, expected, strict=True):
        assert got.keys() == want.keys()
        for slot in want:
            np.testing.assert_allclose(got[slot], want[slot], rtol=1e-12, err_msg=slot)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "ftrl"])
def test_the_same_as_the_table_to_the_last_bit(name):
    runs = []
    for take in (rows, lambda E, i: E[i]):
        E = make_table("float32")
        if name == "ftrl":  # which begins there
            E.set_value(np.zeros_like(E.get_value()))
        runs.append(train(partial(call, ROW[name]), E, REWRITTEN["CVM"], take=take)[1])
    for sparse, dense in zip(*runs, strict=True):
        for slot in dense:
            np.testing.assert_array_equal(sparse[slot], dense[slot])


@pytest.mark.parametrize("name", [name for name in ROW if name not in {*BY_ROW, *REFUSED}])
def test_any_rule_that_goes_by_element(name):
    """At the first step, a row that is looked up moves as it does with the table for a parameter."""
    sparse, dense = make_table(), make_table()
    start = sparse.get_value()
    _, (after, *_) = train(partial(call, ROW[name]), sparse)
    _, (want, *_) = train(partial(call, ROW[name]), dense, take=lambda E, i: E[i])
    here = np.unique(LOOKUPS[0] % V)
    for slot in want:
        if np.ndim(want[slot]):
            np.testing.assert_allclose(after[slot][here], want[slot][here], rtol=1e-12, err_msg=slot)
        else:
            np.testing.assert_array_equal(after[slot], want[slot])
    np.testing.assert_array_equal(sparse.get_value()[UNTOUCHED], start[UNTOUCHED])
    if ROW[name].hyper.get("learning_rate") != 0:
        assert np.abs(sparse.get_value()[TOUCHED] - start[TOUCHED]).max() > 0 or name == "adopt"


@pytest.mark.parametrize("name", [row.name for row in ROWS])
@pytest.mark.parametrize("shape", [(V, D), (V,)])
def test_which_rules_are_refused(name, shape):
    x = rows(make_table(shape=shape), pt.lvector())
    if name not in REFUSED:
        call(ROW[name], (x**2).sum(), [x])
        return
    with pytest.raises(TypeError, match=f"{name} cannot train rows of E: .* Give the table itself"):
        call(ROW[name], (x**2).sum(), [x])


@pytest.mark.parametrize(
    "optimizer",
    [
        symupdates.accumulate(symupdates.sgd(learning_rate=0.1)),
        symupdates.mechanic(symupdates.sgd(learning_rate=0.1)),
        symupdates.sam(optimizer=symupdates.sgd(learning_rate=0.1)),
        symupdates.spsa(),
        symupdates.nag(),
        symupdates.extragradient(),
        symupdates.lbfgs(),
        symupdates.line_search(symupdates.sgd(learning_rate=0.1)),
        symupdates.adahessian(),
        symupdates.polyak_step(),
        symupdates.barzilai_borwein(),
    ],
    ids=lambda optimizer: getattr(getattr(optimizer, "func", optimizer), "__name__", ""),
)
def test_what_needs_whole_parameters_is_refused(optimizer):
    x = rows(make_table(), pt.lvector())
    with pytest.raises(TypeError, match="cannot train rows of E"):
        optimizer((x**2).sum(), [x])


# --- Lookups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index_dtype", ["int8", "int32", "uint8", "uint64"])
def test_every_dtype_of_the_index(index_dtype):
    E, want = make_table("float32"), make_table("float32")
    i = pt.vector("i", dtype=index_dtype)
    for table, x in ((E, rows(E, i)), (want, want[i])):
        p = x if table is E else table
        step = pytensor.function([i], updates=symupdates.sgd((x**3).sum(), [p], 0.5), mode=PYTHON)
        step(np.array([3, 0, 8, 3, -1 if index_dtype.startswith("i") else 8], index_dtype))
    np.testing.assert_array_equal(E.get_value(), want.get_value())


INDICES = [np.array([[0, 2], [8, 2], [-1, 0]], "int32"), np.array([8, 2, -1]), np.array(-7)]


def several(E, take):
    """A loss of three lookups in one table: a matrix of words, a vector, and one word."""
    # Of known shapes, for JAX.
    i, j, k = (pt.tensor(name, shape=x.shape, dtype=x.dtype) for name, x in zip("ijk", INDICES, strict=True))
    xs = [take(E, index) for index in (i, j, k)]
    loss = (xs[0].sum(axis=1) * xs[1] * xs[2]).sum() + (xs[1] ** 2).sum()
    return [i, j, k], xs, loss


def trained_by_several(mode, dtype, optimizer):
    values = []
    for take in (rows, lambda E, i: E[i]):
        E, W = make_table(dtype, static=True), pytensor.shared(np.ones(D, dtype), name="W")
        inputs, xs, loss = several(E, take)
        updates = optimizer(loss + (W * xs[1][0]).sum(), [*xs, W] if take is rows else [E, W])
        step = pytensor.function(inputs, updates=updates, mode=mode)
        for _ in range(2):
            step(*INDICES)
        values.append([np.array(v.get_value()) for v in updates])
    return values


@pytest.mark.parametrize("mode", [PYTHON, pytest.param("JAX", marks=NEEDS_JAX)])
def test_several_lookups_in_one_table(mode):
    sparse, dense = trained_by_several(mode, "float64", symupdates.adagrad(learning_rate=0.125))
    assert len(sparse) == 4
    for got, want in zip(sparse, dense, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    start, touched = make_table().get_value(), np.array([0, 2, 8])
    np.testing.assert_array_equal(np.delete(sparse[1], touched, axis=0), np.delete(start, touched, axis=0))
    assert (sparse[1][touched] != start[touched]).all()


def test_every_backend(backend_and_dtype):
    backend, dtype = backend_and_dtype
    row, E = ROW["adagrad"], make_table(dtype, static=True)
    start = E.get_value()
    _, after = train(partial(call, row), E, backend)
    expected = by_row(row, start.astype("float64"), dtype)
    for got, want in zip(after, expected, strict=True):
        for slot, values in want.items():
            assert got[slot].dtype == dtype
            for r, value in values.items():
                np.testing.assert_allclose(got[slot][r], value, rtol=TOLERANCE[dtype])
    np.testing.assert_array_equal(after[-1]["param"][UNTOUCHED], start[UNTOUCHED])


@pytest.mark.parametrize("shape", [(V,), (V, 1), (V, 2, 2)])
def test_rows_of_every_shape(shape):
    for index in (pt.lvector("i"), pt.lmatrix("i")):
        E, want = make_table(shape=shape, static=True), make_table(shape=shape)
        for table, x in ((E, rows(E, index)), (want, want[index])):
            updates = symupdates.adagrad((x**3).sum(), [x if table is E else table], 0.5)
            step = pytensor.function([index], updates=updates, mode=PYTHON)
            step(np.array([1, 3, -1, 8])[: 4 if index.ndim == 1 else None].reshape((4,) if index.ndim == 1 else (2, 2)))
        np.testing.assert_allclose(E.get_value(), want.get_value(), rtol=1e-14)


def test_no_lookups_move_nothing_and_count():
    E, i = make_table(), pt.lvector("i")
    start, x = E.get_value(), rows(E, i)
    updates = symupdates.adam((x**2).sum(), [x])
    pytensor.function([i], updates=updates, mode=PYTHON)(np.zeros(0, "int64"))
    np.testing.assert_array_equal(E.get_value(), start)
    assert symupdates.named(updates)["adam/t"].get_value() == 1


def test_lookups_that_are_constant():
    E = make_table()
    x = rows(E, [2, 4, 2])
    pytensor.function([], updates=symupdates.sgd(x.sum(), [x], 1.0), mode=PYTHON)()
    np.testing.assert_allclose(make_table().get_value() - E.get_value(), [[n] * D for n in [0, 0, 2, 0, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize("bad", [V, -V - 1])
def test_out_of_range(bad):
    E, i = make_table(), pt.lvector("i")
    x = rows(E, i)
    # Of this loss, the gradient needs no value of the table.
    step = pytensor.function([i], updates=symupdates.sgd(x.sum(), [x], 1.0), mode=REWRITTEN["CVM"])
    with pytest.raises(IndexError):
        step([0, bad])
    np.testing.assert_array_equal(E.get_value(), make_table().get_value())


@pytest.mark.parametrize("floatx", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_that_of_the_table(dtype, floatx):
    with pytensor.config.change_flags(floatX=floatx):
        E, i = make_table(dtype), pt.lvector("i")
        x = rows(E, i)
        updates = symupdates.adam((x.astype("float64") ** 2).sum(), [x], learning_rate=0.1)
        for v, value in updates.items():
            assert v.type.in_same_class(value.type)
            assert v.dtype == (dtype if v.ndim else "int64")


# --- What composes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        gradients.clip_by_total_norm(max_norm=0.5),
        gradients.clip_by_norm(max_norm=0.5),
        gradients.clip_by_value(limit=0.25),
        gradients.sign(),
        gradients.zero_nans(),
    ],
    ids=lambda transform: transform.func.__name__,
)
def test_gradient_transforms_see_the_gradient_of_the_table(transform):
    optimizer = symupdates.chain(transform, symupdates.adagrad(learning_rate=0.125))
    # One lookup, for clip_by_norm goes by parameters, which several would be.
    runs = [train(optimizer, make_table(), take=take)[1] for take in (rows, lambda E, i: E[i])]
    for sparse, dense in zip(*runs, strict=True):
        np.testing.assert_allclose(sparse["param"], dense["param"], rtol=1e-13)


def test_gradients_of_several_lookups_are_summed_in_one_place():
    E = make_table()
    inputs, xs, loss = several(E, rows)
    grads = symupdates.get_or_compute_grads(loss, xs)
    raw = pytensor.grad(loss, xs)
    results = pytensor.function(inputs, [*grads, *raw], mode=PYTHON)(*INDICES)
    want, got, nonzero = np.zeros((V, D)), np.zeros((V, D)), np.zeros(V)
    for index, once, each in zip(INDICES, results[:3], results[3:], strict=True):
        assert once.shape == each.shape
        np.add.at(want, index, each)
        np.add.at(got, index, once)
        np.add.at(nonzero, index, (once != 0).all(axis=-1))
    np.testing.assert_allclose(got, want, rtol=1e-13)
    assert nonzero.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 1]
    assert symupdates.get_or_compute_grads(raw, xs) is raw


def test_gradients_that_are_given_are_summed_by_the_rule():
    values = []
    for given in (True, False):
        E = make_table()
        inputs, xs, loss = several(E, rows)
        updates = symupdates.adagrad(pytensor.grad(loss, xs) if given else loss, xs, 0.125)
        pytensor.function(inputs, updates=updates, mode=PYTHON)(*INDICES)
        values.append(E.get_value())
    np.testing.assert_array_equal(*values)


def test_a_penalty_counts_lookups():
    E, i = make_table(), pt.lvector("i")
    x = rows(E, i)
    optimizer = symupdates.chain(gradients.add_l2(coefficient=0.5), symupdates.sgd(learning_rate=1.0))
    pytensor.function([i], updates=optimizer(x.sum() * 0, [x]), mode=PYTHON)([3, 5, 3])
    start = make_table().get_value()
    np.testing.assert_allclose(E.get_value()[[3, 5, 4]], start[[3, 5, 4]] * [[0.0], [0.5], [1.0]], atol=1e-15)


def test_a_penalty_in_the_chain_is_that_in_the_loss():
    values = []
    for in_loss in (True, False):
        E, i = make_table(), pt.lvector("i")
        x = rows(E, i)
        optimizer = symupdates.sgd(learning_rate=0.5)
        if not in_loss:
            optimizer = symupdates.chain(gradients.add_l2(coefficient=0.25), optimizer)
        loss = pt.tanh(x).sum() + (0.125 * (x**2).sum() if in_loss else 0)
        pytensor.function([i], updates=optimizer(loss, [x]), mode=PYTHON)([3, 5, 3])
        values.append(E.get_value())
    np.testing.assert_allclose(*values, rtol=1e-14)


def test_schedules_plateaus_and_groups():
    E, W, i = make_table(), pytensor.shared(np.ones(D), name="W"), pt.lvector("i")
    x = rows(E, i)
    loss = ((x * W) ** 2).sum()
    optimizer = symupdates.partition(
        ("^E$", symupdates.adagrad(learning_rate=schedules.reduce_on_plateau(0.5, loss))),
        (..., symupdates.sgd(learning_rate=lambda t: 0.5 / (1 + t))),
    )
    updates = optimizer(loss, [x, W])
    step = pytensor.function([i], updates=updates, mode=PYTHON)
    step([1, 1])
    start = make_table().get_value()
    G = 4 * start[1]
    np.testing.assert_allclose(E.get_value()[1], start[1] - 0.5 * G / np.sqrt(G**2 + 1e-6), rtol=1e-13)
    np.testing.assert_allclose(W.get_value(), 1 - 0.5 * 4 * start[1] ** 2, rtol=1e-13)
    selected = symupdates.partition(([x], symupdates.sgd(learning_rate=0.1)), (..., None))(loss, [x, W])
    assert list(selected) == [E]


def test_checkpoints_and_averages_are_of_the_table(tmp_path):
    E, i = make_table(), pt.lvector("i")
    x = rows(E, i)
    optimizer = symupdates.chain(symupdates.adagrad(learning_rate=0.5), symupdates.apply_ema(decay=0.5, debias=False))
    updates = optimizer((x**2).sum(), [x])
    step = pytensor.function([i], updates=updates, mode=PYTHON)
    start = E.get_value()
    step([1, 4])
    assert {name: a.shape for name, a in symupdates.state_dict(updates).items()} == {
        "E/adagrad/accu": (V, D),
        "E": (V, D),
        "E/ema/average": (V, D),
    }
    symupdates.save(tmp_path / "run", updates)
    (average,) = [v.get_value() for v in symupdates.averages(updates).values()]
    np.testing.assert_allclose(average, (start + E.get_value()) / 2, rtol=1e-14)
    first = E.get_value()
    step([2, 4])
    second = E.get_value()
    (average_2,) = [v.get_value() for v in symupdates.averages(updates).values()]
    np.testing.assert_allclose(average_2, (average + second) / 2, rtol=1e-14)  # of all rows
    symupdates.load(tmp_path / "run", updates)
    np.testing.assert_array_equal(E.get_value(), first)
    step([2, 4])
    np.testing.assert_array_equal(E.get_value(), second)
    symupdates.reset(updates)
    assert not symupdates.named(updates)["E/adagrad/accu"].get_value().any()


def test_momentum_and_decay_as_transforms_are_of_all_rows():
    E, i = make_table(), pt.lvector("i")
    x = rows(E, i)
    optimizer = symupdates.chain(
        symupdates.sgd(learning_rate=0.5),
        symupdates.apply_momentum(momentum=0.5),
        symupdates.apply_weight_decay(weight_decay=0.25, learning_rate=1.0),
    )
    step = pytensor.function([i], updates=optimizer(x.sum(), [x]), mode=PYTHON)
    p, v = E.get_value(), np.zeros((V, D))
    for index in ([1, 1, 4], [2]):
        step(index)
        u = np.zeros((V, D))
        np.add.at(u, index, -0.5)
        v = 0.5 * v + u
        p = p + v - 0.25 * p
        np.testing.assert_allclose(E.get_value(), p, rtol=1e-13)


def test_many_steps_in_one_call():
    values = []
    for looped in (True, False):
        E, i = make_table(), pt.lvector("i")
        x = rows(E, i)
        loss = (x**2).sum()
        updates = symupdates.adam(loss, [x], learning_rate=0.125)
        if looped:
            order = pt.lmatrix("order")
            losses, updates = symupdates.loop(loss, updates, {i: order})
            out = pytensor.function([order], losses, updates=updates, mode=PYTHON)(LOOKUPS)
        else:
            step = pytensor.function([i], loss, updates=updates, mode=PYTHON)
            out = np.array([step(index) for index in LOOKUPS])
        values.append([out, *(v.get_value() for v in updates)])
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


# --- Graphs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", REWRITTEN)
@pytest.mark.parametrize("gated", [False, True])
def test_nothing_has_the_size_of_the_table_and_all_is_in_place(mode, gated):
    E, i = make_table("float32", static=True), pt.lvector("i")
    x = rows(E, i)
    loss = (pt.tanh(x) ** 2).sum()
    updates = symupdates.adam(loss, [x])
    if gated:
        updates = symupdates.apply_freeze(symupdates.apply_if_finite(updates), until=3)
    fgraph = pytensor.function([i], loss, updates=updates, mode=REWRITTEN[mode]).maker.fgraph
    sources = {fgraph.outputs[o]: fgraph.inputs[k] for o, k in fgraph.update_mapping.items()}
    tables = {v for v in sources.values() if v.ndim == 2}
    assert len(tables) == 3
    for output, variable in sources.items():
        if variable in tables:
            # The table goes in, and out again with some rows written over.
            node = output.owner
            assert [node.inputs[k] for k in node.op.destroy_map[node.outputs.index(output)]] == [variable]
            # PyTensor 3.3 has numba write in the loop that computes.
            assert type(node.op).__name__ == "FusedElemwise" or node.op.set_instead_of_inc
            tables.add(output)
    for node in fgraph.apply_nodes:
        assert not any(v.type.shape == (V, D) for v in node.outputs if v not in tables), f"{node} makes a table"
    floats = {v.dtype for v in fgraph.variables if getattr(v, "dtype", "").startswith("float") and v.ndim}
    assert floats == {"float32"}


def test_only_what_is_written_is_looked_at_by_gates():
    E, i = make_table(), pt.lvector("i")
    start = E.get_value()
    start[5] = np.nan  # where no step goes
    E.set_value(start)
    x, c = rows(E, i), pt.dscalar("c")
    updates = symupdates.apply_if_finite(symupdates.adagrad((x * c).sum(), [x], 0.5))
    step = pytensor.function([i, c], updates=updates, mode=FAST_COMPILE)
    step([1, 1], np.inf)
    np.testing.assert_array_equal(E.get_value(), start)
    step([1, 1], 1.0)
    np.testing.assert_allclose(E.get_value()[1], start[1] - 0.5 * 2 / np.sqrt(4 + 1e-6))


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_errors_of_rows():
    E, i = make_table(), pt.lvector("i")
    with pytest.raises(TypeError, match="table must be a shared dense tensor"):
        rows(pt.matrix(), i)
    with pytest.raises(ValueError, match="scalar, which has no rows"):
        rows(pytensor.shared(np.asarray(1.0), name="s"), i)
    with pytest.raises(TypeError, match=r"index must be of integers, but .* float64"):
        rows(E, pt.dvector())
    with pytest.raises(TypeError, match="the places where the mask is true"):
        rows(E, pt.vector(dtype="bool"))
    integers = pytensor.shared(np.arange(4), name="n")
    with pytest.raises(TypeError, match="parameter n cannot be trained: its dtype is int64"):
        symupdates.sgd(rows(integers, i).sum() * 1.0, [rows(integers, i)], 0.1)


def test_a_plain_lookup_says_what_to_write():
    E, i = make_table(), pt.lvector("i")
    with pytest.raises(ValueError, match=r"symupdates\.rows\(table, index\)"):
        symupdates.sgd(E[i].sum(), [E[i]], 0.1)


def test_errors_name_the_table():
    E, i, j = make_table(), pt.lvector("i"), pt.lvector("j")
    x, y = rows(E, i), rows(E, j)
    with pytest.raises(ValueError, match="both E and rows of it are among the parameters"):
        symupdates.sgd(x.sum(), [x, E], 0.1)
    with pytest.raises(ValueError, match="duplicate parameters"):
        symupdates.sgd(x.sum(), [x, x], 0.1)
    with pytest.raises(ValueError, match="the loss does not depend on E"):
        symupdates.sgd(x.sum(), [y], 0.1)
    with pytest.raises(ValueError, match=r"gradient of E has shape \(\?,\), but E has shape \(\?, \?\)"):
        symupdates.sgd([pt.dvector()], [x], 0.1)
    for loss in (x.sum() * y.sum(), x.sum() + (E**2).sum()):
        with pytest.raises(ValueError, match="depends on E by more than the rows given"):
            symupdates.sgd(loss, [x], 0.1)
    with pytest.raises(ValueError, match="more than one of the dicts updates E"):
        symupdates.partition(([x], symupdates.sgd(learning_rate=0.1)), (..., symupdates.adam()))(
            x.sum() + y.sum(), [x, y]
        )


def test_what_is_not_to_be_trained_may_read_the_table():
    E, i, j = make_table(), pt.lvector("i"), pt.lvector("j")
    x = rows(E, i)
    fixed = pytensor.gradient.disconnected_grad(E[j])
    step = pytensor.function([i, j], updates=symupdates.sgd((x * fixed).sum(), [x], 1.0), mode=PYTHON)
    step([1], [2])
    start = make_table().get_value()
    np.testing.assert_allclose(E.get_value()[1], start[1] - start[2], rtol=1e-14)


# --- torch ------------------------------------------------------------------------------------------------------------

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rows.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=["defaults", "other"])
def test_adam_is_sparse_adam(case):
    E, i, g = pytensor.shared(np.array(GOLDEN["table"]), name="E"), pt.lvector("i"), pt.dmatrix("g")
    updates = symupdates.adam([g], [rows(E, i)], **case["hyper"])
    step = pytensor.function([i, g], updates=updates, mode=PYTHON)
    assert len(GOLDEN["index"]) == len(case["table"]) == 8
    for index, grads, table in zip(GOLDEN["index"], GOLDEN["grads"], case["table"], strict=True):
        step(index, grads)
        np.testing.assert_allclose(E.get_value(), table, rtol=1e-12)
