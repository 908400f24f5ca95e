"""Generic tests: what every rule of the table promises."""

import pickle
from collections import OrderedDict
from functools import partial
from inspect import signature

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import on_backends
from helpers import (
    COMPILED_KINDS,
    FAST_COMPILE,
    PYTHON,
    STEPS,
    TOLERANCE,
    assert_close,
    call,
    every_floatx,
    every_rule,
    every_rule_in_ci,
    every_rule_once,
    make_param,
    rule_of_each_kind,
    scheduled,
    values,
)
from pytensor.compile import SharedVariable
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import ancestors, graph_inputs
from table import ROWS

import symupdates
from symupdates.core import is_state


class Case:
    """One parameter, its updates, and what the oracle says of it.

    If the rule draws, `stream` is the position of the parameter in the call.
    """

    def __init__(self, row, updates, p, gradients, stream=0, **hyper):
        self.keys = {"param": p} | {
            v.tag.symupdates.slot: v
            for v in updates
            if is_state(v) and v.tag.symupdates.rule == row.name and v.tag.symupdates.parameter in (p, None)
        }
        if "t" not in row.whole:  # that of a schedule
            self.keys.pop("t", None)
        assert set(self.keys) == {*row.keys_of(p), *row.whole}
        self.row = row
        given = dict(row.structure) | row.hyper | hyper | ({"stream": stream} if row.draws else {})
        steps = row.oracle(p.get_value().astype("float64"), gradients, **given)
        self.expected = list(steps)
        assert len(self.expected) == STEPS

    def check(self, step):
        tolerance = TOLERANCE[self.keys["param"].dtype]
        for slot, variable in self.keys.items():
            got = variable.get_value()
            assert got.dtype == variable.dtype, f"{variable.name} became {got.dtype}"
            trajectory = np.array([after[slot] for after in self.expected[: step + 1]], dtype="float64")
            if slot in self.row.bases:
                got, trajectory = np.abs(got), np.abs(trajectory)
            label = f"{self.keys['param'].name}, {slot}"
            assert_close(got, trajectory, tolerance, label, elementwise=not self.row.products)


SHAPES = {"vector": (16,), "matrix": (4, 3), "row": (1, 4), "scalar": ()}


class Runs:
    """Parameters that a rule trains, each with its case; in one function, but each call of the rule is a dict."""

    def __init__(self, row):
        self.row = row
        self.shapes = {"usual": row.shape} | SHAPES
        self.given = {name: row.gradients(STEPS, shape) for name, shape in self.shapes.items()}
        self.given["matrix"] = [g.astype("float32") for g in self.given["matrix"]]
        self.grads = {
            name: pt.tensor(name, shape=shape, dtype="float32" if name == "matrix" else "float64")
            for name, shape in self.shapes.items()
        }
        self.cases, self.updates = [], OrderedDict()
        self.full = row.hyper["learning_rate"]
        self.rate = pytensor.shared(np.float32(self.full), name="rate")

    def add(self, dtypes, hyper=None, told=None):
        """Parameters of these shapes and dtypes; what the oracle is told of the hyper-parameters, if it differs."""
        params = {name: make_param(self.shapes[name], dtype, name) for name, dtype in dtypes.items()}
        updates = call(self.row, [self.grads[name] for name in dtypes], params.values(), **(hyper or {}))
        for i, (name, p) in enumerate(params.items()):
            self.cases.append(Case(self.row, updates, p, self.given[name], stream=i, **(told or hyper or {})))
        self.updates |= updates

    def add_scheduled(self, name, dtype):
        self.add({name: dtype}, {name: scheduled(value) for name, value in self.row.hyper.items()})

    def add_rated(self, name, dtype):
        """With a shared learning rate, which is set while training."""

        def halved(step):
            return self.full if step < STEPS // 2 else self.full / 2

        self.add({name: dtype}, {"learning_rate": self.rate}, {"learning_rate": halved})

    def check(self, mode):
        """Each step agrees with the oracle; a resumed run repeats the rest, bit for bit."""
        inputs = {name: g for name, g in self.grads.items() if any(c.keys["param"].name == name for c in self.cases)}
        step = pytensor.function(list(inputs.values()), [], updates=self.updates, mode=mode)
        for t in range(STEPS):
            if t == STEPS // 2:
                self.rate.set_value(np.float32(self.full / 2))
                saved = values(self.updates)
            step(*(self.given[name][t] for name in inputs))
            for case in self.cases:
                case.check(t)

        uninterrupted = values(self.updates)
        for variable, value in zip(self.updates, saved, strict=True):
            variable.set_value(value)
        for t in range(STEPS // 2, STEPS):
            step(*(self.given[name][t] for name in inputs))
        for variable, got, expected in zip(self.updates, values(self.updates), uninterrupted, strict=True):
            assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes(), f"{variable} is not resumed"


@every_rule
@pytest.mark.once
def test_numbers(row):
    """Of every shape and dtype, with fixed and scheduled hyper-parameters, and with a shared rate."""
    runs = Runs(row)
    dtypes = {"usual": "float64", "vector": "float64", "matrix": "float32", "row": "float32", "scalar": "float64"}
    if row.shape == SHAPES["vector"]:
        del dtypes["vector"]
    for together in [{name: dtype} for name, dtype in dtypes.items()] if row.coupled else [dtypes]:
        runs.add(together)
    runs.add_scheduled("usual", "float64")
    runs.add_rated("usual", "float32")
    runs.check(PYTHON)


def compiles_long(name, backend):
    return backend == "NUMBA" and name in ("soap", "psgd_kron")


@on_backends(ROWS, COMPILED_KINDS, compiles_long)
def test_numbers_on_backends(row, backend, dtype):
    """With all hyper-parameters scheduled, where floatX is the other dtype."""
    with pytensor.config.change_flags(floatX={"float32": "float64", "float64": "float32"}[dtype]):
        runs = Runs(row)
        runs.add_scheduled("usual", dtype)
        runs.check(backend)


@every_rule_once
def test_floatx_does_not_matter(row):
    """The expressions are the same."""
    graphs = []
    for floatx in ("float32", "float64"):
        with pytensor.config.change_flags(floatX=floatx):
            runs = Runs(row)
            runs.add_rated("matrix", "float32")
            runs.add_scheduled("usual", "float64")
            graphs.append((list(runs.updates.values()), [*runs.updates, *runs.grads.values(), runs.rate]))
    (xs, in_xs), (ys, in_ys) = graphs
    assert equal_computations(xs, ys, in_xs, in_ys)


@every_rule_once
def test_loss_list_and_tuple_agree(row):
    """The expressions are the same, and those of any iterable of parameters."""
    x = pt.tensor("x", shape=(5, 3), dtype="float64")
    params = [make_param((3, 2), "float64", "W"), make_param((2,), "float64", "b")]
    loss = ((x @ params[0] + params[1]) ** 2).mean()
    expected = call(row, loss, params)
    for given in (pytensor.grad(loss, params), tuple(pytensor.grad(loss, params))):
        updates = call(row, given, iter(params))
        assert [v.name for v in updates] == [v.name for v in expected]
        assert equal_computations(list(updates.values()), list(expected.values()), [*updates, x], [*expected, x])


@pytest.mark.parametrize("row", [row for row in ROWS if row.coupled], ids=lambda row: row.name)
def test_coupled_rules_see_one_vector(row):
    """Several parameters train as the one vector of all their elements."""
    given = oracles.gradients(STEPS, (18,))
    start = make_param((18,), "float64").get_value()
    parts = {"a": ((16,), slice(0, 16)), "b": ((2, 1), slice(16, 18))}
    params = [pytensor.shared(start[part].reshape(shape), name=name) for name, (shape, part) in parts.items()]
    grads = [pt.tensor(shape=shape, dtype="float64") for shape, _ in parts.values()]
    updates = call(row, grads, params)
    step = pytensor.function(grads, [], updates=updates, mode=PYTHON)
    path = []
    drawn = {"stream": np.repeat([0, 1], [16, 2]), "place": np.r_[0:16, 0:2]} if row.draws else {}
    for t, after in enumerate(row.oracle(start, given, **dict(row.structure), **row.hyper, **drawn)):
        step(*(given[t][part].reshape(shape) for shape, part in parts.values()))
        path.append(after["param"])
        got = np.concatenate([p.get_value().ravel() for p in params])
        assert_close(got, np.array(path), TOLERANCE["float64"], f"step {t}")


@rule_of_each_kind
def test_kinds_of_hyper_parameter_agree(row):
    """Every way to give the same number gives the same bits."""
    inputs = {}

    def new_input(value):
        x = pt.scalar(dtype="float32")
        inputs[x] = value
        return x

    forms = {
        "number": lambda v: v,
        "NumPy scalar": np.float32,
        "0-d array": np.asarray,
        "shared float32": lambda v: pytensor.shared(np.float32(v)),
        "shared float64": lambda v: pytensor.shared(np.asarray(v)),
        "symbolic": lambda v: pytensor.shared(np.array([v])).sum(),
        "input": new_input,
        "schedule to a number": lambda v: lambda step: v,
        "schedule to a variable": lambda v: lambda step: pt.constant(np.float32(v)) + 0 * step,
    }
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    updates, params = OrderedDict(), []
    for make in forms.values():
        hyper = {name: make(value) for name, value in row.hyper.items()}
        for dtype in ("float32", "float64"):
            params.append(make_param(row.shape, dtype))
            updates |= call(row, [g], params[-1:], **hyper)
    step = pytensor.function([g, *inputs], [], updates=updates, mode=PYTHON)
    before = values(params)
    for given in row.gradients(3, row.shape):
        step(given, *inputs.values())
    for kind in (0, 1):
        first, *others = values(params)[kind::2]
        assert not np.array_equal(first, before[kind])
        assert len(others) == len(forms) - 1
        for name, other in zip(list(forms)[1:], others, strict=True):
            np.testing.assert_array_equal(first, other, err_msg=name)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "float32", "float64"])
@every_rule_once
def test_whole_rates_of_any_dtype(row, dtype):
    """The learning rate 1 as a shared variable of any dtype, in any precision of the parameter."""
    for param in ("float32", "float64"):
        p = make_param((3,), param)
        rate = pytensor.shared(np.asarray(1, dtype=dtype))
        updates = call(row, [pt.tensor("g", shape=(3,), dtype="float64")], [p], learning_rate=rate)
        assert updates[p].dtype == param


def test_hyper_parameters_are_rounded_to_the_parameter_first():
    """0.1 as a number, in float64 and in float32 trains a float32 parameter by the same bits."""
    row = next(row for row in ROWS if row.name == "adam")
    g = pt.tensor("g", shape=(16,), dtype="float32")
    params, updates = [], OrderedDict()
    for form in (float, np.float64, np.float32, lambda v: pytensor.shared(np.asarray(v, dtype="float32"))):
        params.append(make_param((16,), "float32"))
        updates |= row.rule([g], params[-1:], form(0.1), form(0.9), form(0.999), form(1e-8))
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for given in oracles.gradients(5, (16,)):
        step(given.astype("float32"))
    first, *others = values(params)
    for other in others:
        np.testing.assert_array_equal(first, other)


@every_rule_in_ci
def test_keys(row):
    """A fresh OrderedDict; keys in the documented order, unique, named and tagged; values of their keys' types."""
    params = [
        make_param((2, 3), "float32", "W"),
        pytensor.shared(np.zeros((3, 1)), shape=(3, 1)),
        make_param((), "float64", "W"),
    ]
    grads = [pt.tensor(shape=(None,) * p.ndim, dtype="float64") for p in params]
    given = list(params), list(grads)
    updates = call(row, grads, params)
    assert type(updates) is OrderedDict
    assert (params, grads) == given

    names = ["W[0]", "param[1]", "W[2]"]
    expected = [(p, n, slot) for p, n in zip(params, names, strict=True) for slot in row.keys_of(p)]
    if row.order != "by parameter":
        expected.sort(key=lambda entry: (entry[2] == "param") == (row.order == "params last"))
    expected += [(None, "", slot) for slot in row.whole]
    assert len(updates) == len(expected)
    for (key, value), (p, name, slot) in zip(updates.items(), expected, strict=True):
        assert isinstance(key, SharedVariable)
        assert value.dtype == key.dtype and key.type.is_super(value.type), key
        if slot == "param":
            assert key is p and not is_state(key)
        else:
            assert key.name == f"{name}/{row.name}/{slot}".lstrip("/")
            assert key.tag.symupdates[:3] == (row.name, slot, p)
            if p is not None and key.tag.symupdates.shape == (...,) and key.dtype == p.dtype:
                assert key.type == p.type
                assert key.get_value(borrow=True).flags.c_contiguous

    again = call(row, grads, params)
    state = [v for v in again if is_state(v)]
    assert not set(state) & set(updates)
    assert [v.name for v in again] == [v.name for v in updates]


def test_names_are_unique_whatever_the_parameters_are_called():
    p, q = make_param((3,), "float64", "p"), make_param((3,), "float64", "p/adagrad/accu")
    clips = [symupdates.total_norm_constraint([pt.vector(), pt.vector()], lambda step: 1.0 + step) for _ in range(2)]
    grads = [first + second for first, second in zip(*clips, strict=True)]
    names = [v.name for v in symupdates.adagrad(grads, [p, q])]
    assert names == [
        "p/adagrad/accu_2",
        "p",
        "p/adagrad/accu/adagrad/accu",
        "p/adagrad/accu",
        "total_norm_constraint/t",
        "total_norm_constraint/t_2",
    ]
    params = [make_param((), "float64", name) for name in ("W", "W", "W[1]", None, "param[3]", "W[0]")]
    assert len({v.name for v in symupdates.amsgrad([pt.scalar() for _ in params], params) if v not in params}) == 19


@every_rule_once
def test_a_schedule_brings_one_clock(row):
    p, q = make_param((3, 2), "float64", "p"), make_param((2, 1), "float32", "q")
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.5 / (1 + step)

    grads = [pt.matrix(), pt.matrix()]
    updates = call(row, grads, [p, q], **dict.fromkeys(row.hyper, schedule))
    assert len(seen) == len(row.hyper) and len(set(seen)) == 1
    (clock,) = set(seen)
    assert clock.name == f"{row.name}/t" and clock.dtype == "int64" and clock.get_value() == 0
    assert list(updates)[-1] is clock and [v for v in updates if v.name == clock.name] == [clock]
    seen.clear()
    other = call(row, grads, [p, q], learning_rate=schedule)
    assert clock not in other and seen[0] in other


@every_rule
def test_every_shared_variable_that_moves_is_a_key(row):
    """The dict is closed: what its expressions read is a key, a hyper-parameter or a gradient."""
    p = make_param((3, 2), "float64", "p")
    rate = pytensor.shared(0.5)
    g = pt.matrix("g")
    hyper = {name: scheduled(value) for name, value in row.hyper.items()} | {"learning_rate": rate}
    updates = call(row, [g], [p], **hyper)
    read = {v for v in graph_inputs(updates.values()) if isinstance(v, SharedVariable)}
    assert read | {p} == set(updates) | {rate}  # a rule may read its parameter through the gradient alone


@every_rule_in_ci
@every_floatx
def test_a_float32_parameter_has_float32_arithmetic(row, floatx):
    with pytensor.config.change_flags(floatX=floatx):
        p = make_param((3, 2), "float32", "p")
        g = pt.tensor("g", shape=(3, 2), dtype="float32")
        updates = call(row, [g], [p])
        dtypes = {v.dtype for v in ancestors(updates.values()) if hasattr(v, "dtype")}
        assert dtypes <= {"float32", "int64", "int8", "bool", "uint32"}


@every_rule
def test_the_function_itself(row):
    """Partials, defaults and the signature."""
    parameters = list(signature(row.rule).parameters.values())
    assert [q.name for q in parameters[:2]] == ["loss_or_grads", "params"]
    assert all(q.default is None for q in parameters[:2])
    hyper = {q.name: q.default for q in parameters[2:]}
    structure = dict(row.structure)
    assert [name for name in hyper if name not in structure] == list(row.hyper)
    assert [name for name in hyper if name not in row.hyper] == list(structure)

    waiting = row.rule()
    assert isinstance(waiting, partial) and not waiting.args and waiting.keywords == hyper
    waiting = row.rule(learning_rate=0.5)
    assert waiting.keywords == hyper | {"learning_rate": 0.5}
    p = make_param((3,), "float64", "p")
    waiting.keywords["learning_rate"] = 0.25
    assert [v.name for v in waiting([pt.vector()], [p])] == [v.name for v in row.rule([pt.vector()], [p])]
    with pytest.raises(ValueError, match=rf"{row.name}: params missing.*{row.name}\(learning_rate=\.\.\."):
        row.rule(0.5)
    with pytest.raises(ValueError, match=f"{row.name}: loss_or_grads missing"):
        row.rule(params=[p])
    with pytest.raises(TypeError):
        row.rule(rate=0.5)
    assert all(name in row.rule.__doc__ for name in ("Parameters", "Returns", "References", ".. math::", *hyper))


@every_rule
def test_nothing_to_train(row):
    assert call(row, [], []) == call(row, (), ()) == call(row, pt.scalar(), []) == OrderedDict()
    for nothing in (iter([]), (p for p in []), {}, set()):
        with pytest.raises(ValueError, match=f"params is empty: .* the {type(nothing).__name__} that was given"):
            call(row, [], nothing)


def test_empty_and_length_one(backend):
    """Arrays without elements are left in peace; axes of length one that the types do not know of train."""
    params = [make_param(shape, "float32", str(shape)) for shape in [(3, 0), (3, 1)]]
    grads = [pt.tensor(shape=(None,) * p.ndim, dtype="float32") for p in params]
    known = pytensor.shared(np.ones((3, 1), "float32"), shape=(3, 1), name="known")
    params.append(known)
    grads.append(grads[-1])
    updates = symupdates.rmsprop(grads, params, learning_rate=0.5, rho=0.0)
    step = pytensor.function(grads[:-1], [], updates=updates, mode=backend)
    before = values(params)
    step(*(np.full(p.get_value().shape, -2, "float32") for p in params[:-1]))
    for p, old in zip(params, before, strict=True):
        assert p.get_value().dtype == "float32"
        np.testing.assert_allclose(p.get_value(), old + 0.5, rtol=1e-6)


@every_rule_in_ci
def test_resume_in_a_new_dict(row):
    """State carried over by name into a dict built anew continues the run bit for bit."""
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    given = row.gradients(6, row.shape)

    def build():
        updates = call(row, [g], [make_param(row.shape, "float64", "p")], learning_rate=scheduled(0.5))
        return updates, pytensor.function([g], [], updates=updates, mode=PYTHON)

    updates, step = build()
    for t in range(3):
        step(given[t])
    saved = {v.name: v.get_value() for v in updates}
    for t in range(3, 6):
        step(given[t])
    resumed, step = build()
    for v in resumed:
        v.set_value(saved[v.name])
    for t in range(3, 6):
        step(given[t])
    assert len(saved) == len(updates)
    for got, expected in zip(values(resumed), values(updates), strict=True):
        np.testing.assert_array_equal(got, expected)


@every_rule_once
def test_a_pickled_function_trains_on(row):
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    p = make_param(row.shape, "float64", "p")
    step = pytensor.function([g], p + 0, updates=call(row, [g], [p]), mode=FAST_COMPILE)
    given = row.gradients(3, row.shape)
    step(given[0])
    again = pickle.loads(pickle.dumps(step))
    step(given[1])
    again(given[1])
    np.testing.assert_array_equal(step(given[2]), again(given[2]))
