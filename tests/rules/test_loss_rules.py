"""Generic tests: what every rule that takes the loss promises."""

from collections import OrderedDict
from functools import partial
from inspect import signature

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import on_backends
from helpers import PYTHON, STEPS, TOLERANCE, every_floatx, rules, scheduled, values
from loss_table import LOSS_KINDS, LOSS_ROWS
from oracles.loss import SHAPES, SIZES, Loss
from pytensor.compile import SharedVariable
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import ancestors, graph_inputs

from symupdates.core import is_state

every_rule = rules(rows=LOSS_ROWS)
every_rule_once = rules(pytest.mark.ci, pytest.mark.once, rows=LOSS_ROWS, kinds=LOSS_KINDS)
START = np.random.default_rng(5).normal(size=9)
NAMES = ("W", "b", "s")
PARTS = [slice(end - size, end) for end, size in zip(np.cumsum(SIZES), SIZES, strict=True)]


def new_params(dtypes="float64", suffix=""):
    dtypes = [dtypes] * 3 if isinstance(dtypes, str) else dtypes
    return [
        pytensor.shared(START[part].reshape(shape).astype(dtype), name=name + suffix, shape=shape)
        for part, shape, name, dtype in zip(PARTS, SHAPES, NAMES, dtypes, strict=True)
    ]


def new_batch(dtype="float64"):
    return pt.tensor("A", shape=(6, 9), dtype=dtype), pt.tensor("b", shape=(6,), dtype=dtype)


def model(params, batch):
    """The loss of oracles.loss.Loss, and its z = Ax - b."""
    A, b = batch
    W, v, s = params
    z = pt.dot(A[:, :6], W.flatten()) + pt.dot(A[:, 6:8], v) + A[:, 8] * s - b
    loss = pt.log(pt.cosh(z)).sum()
    for p, part in zip(params, PARTS, strict=True):
        c, d = (np.reshape(k[part], p.type.shape).astype(p.dtype) for k in (Loss.c, Loss.d))
        loss = loss + (c * p**4 / 4 - d * p**2 / 2).sum()
    return loss, z


def call(row, params, batch, **hyper):
    loss, z = model(list(params), batch)
    return row.rule(loss, params, **row.arguments(z), **(row.hyper | hyper))


def by_slot(row, updates, params):
    """The variables of each slot: one for each parameter, or for what belongs to the rule as a whole, one."""
    owners = {row.name, row.owner}
    found = {slot: [] for slot in row.keys} | {"param": list(params)}
    for v in updates:
        if is_state(v) and v.tag.symupdates.rule in owners:
            found.setdefault(v.tag.symupdates.slot, []).append(v)
    return {slot: found[slot] for slot in (*row.keys, *row.whole)}


class Case:
    """The updates of one set of parameters, and what the oracle says of them."""

    def __init__(self, row, updates, params, losses, **hyper):
        self.slots = by_slot(row, updates, params)
        told = row.structure if row.told is None else row.told
        start = vector([p.get_value() for p in params])
        self.expected = list(row.oracle(start, losses, **told, **(row.hyper | hyper)))
        assert len(self.expected) == STEPS and set(self.expected[0]) == set(self.slots)
        self.tolerance = max(TOLERANCE[p.dtype] for p in params)
        # What the rule makes of a float32's rounding of its parameters and gradients: much, where it divides
        # differences of them.
        self.rounded = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            steps = row.oracle(start, [RoundedLoss(f, rng) for f in losses], **told, **(row.hyper | hyper))
            self.rounded.append(list(with_rounding(steps, rng)))

    def check(self, t):
        for slot, variables in self.slots.items():
            for v in variables:
                assert v.get_value().dtype == v.dtype, f"{v.name} became {v.get_value().dtype}"
            got = joined(variables)
            trajectory = np.array([np.ravel(after[slot]) for after in self.expected[: t + 1]])
            rounded = np.array([[np.ravel(after[slot]) for after in run[: t + 1]] for run in self.rounded])
            amplified = 10 * np.abs(rounded - trajectory).max()
            if self.tolerance == TOLERANCE["float64"]:
                scale, amplified = np.abs(trajectory).max(axis=0), 2.0**-29 * amplified
            else:  # the roundings of a gradient, which is a sum, are those of its largest terms
                scale = np.abs(trajectory).max()
            bound = self.tolerance * scale + amplified
            worst = np.max(np.abs(got - trajectory[-1]) - bound)
            assert worst <= 0, f"{slot}, step {t}: {got} instead of {trajectory[-1]}"


class RoundedLoss(Loss):
    """A loss whose value and gradient are rounded."""

    def __init__(self, loss, rng):
        super().__init__(loss.A, loss.b)
        self.rng = rng

    def value(self, x):
        return rounded(super().value(x), self.rng)

    def gradient(self, x):
        return rounded(super().gradient(x), self.rng)


def rounded(x, rng):
    """As float32 might do it."""
    return x * (1 + 2.0**-24 * rng.uniform(-1, 1, x.shape))


def with_rounding(steps, rng):
    """The steps of an oracle, whose parameter is rounded after each."""
    state = next(steps, None)
    while state is not None:
        yield state
        try:
            state = steps.send(rounded(state["param"], rng))
        except StopIteration:
            return


def joined(variables):
    """Their values as one vector; those with an axis before the parameter's, side by side."""
    owners = [v.tag.symupdates.parameter if is_state(v) else v for v in variables]
    rows = [p is not None and v.ndim > p.ndim for v, p in zip(variables, owners, strict=True)]
    values = [v.get_value() for v in variables]
    return vector([np.concatenate([x.reshape(len(x), -1) for x in values], axis=1)] if all(rows) else values)


def vector(arrays):
    return np.concatenate([np.ravel(x) for x in arrays]).astype("float64")


MIXED = ("float32", "float64", "float32")


class Runs:
    """Sets of parameters, each trained by a call of the rule, all in one function."""

    def __init__(self, row):
        self.row = row
        self.losses = list(oracles.losses(STEPS, same=row.same))
        self.batch = new_batch()
        self.cases, self.updates = [], OrderedDict()
        self.first = next(iter(row.hyper))
        self.rate = pytensor.shared(np.float32(row.hyper[self.first]), name="rate")

    def add(self, dtypes, hyper=None, told=None):
        """Parameters of these dtypes; what the oracle is told of the hyper-parameters, if it differs."""
        params = new_params(dtypes, str(len(self.cases)))
        updates = call(self.row, params, self.batch, **(hyper or {}))
        self.cases.append(Case(self.row, updates, params, self.losses, **(told or hyper or {})))
        self.updates |= updates

    def add_scheduled(self, dtypes):
        self.add(dtypes, {name: scheduled(value) for name, value in self.row.hyper.items()})

    def add_rated(self, dtypes):
        """With a shared hyper-parameter, the first, which is set while training."""
        full = self.row.hyper[self.first]
        self.add(dtypes, {self.first: self.rate}, {self.first: lambda t: full if t < STEPS // 2 else full / 2})

    def check(self, mode):
        """Each step agrees with the oracle; a resumed run repeats the rest, bit for bit."""
        step = pytensor.function(self.batch, [], updates=self.updates, mode=mode)
        for t, f in enumerate(self.losses):
            if t == STEPS // 2:
                self.rate.set_value(self.rate.get_value() / 2)
                saved = values(self.updates)
            step(f.A, f.b)
            for case in self.cases:
                case.check(t)

        uninterrupted = values(self.updates)
        for variable, value in zip(self.updates, saved, strict=True):
            variable.set_value(value)
        for f in self.losses[STEPS // 2 :]:
            step(f.A, f.b)
        for variable, got, expected in zip(self.updates, values(self.updates), uninterrupted, strict=True):
            assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes(), f"{variable} is not resumed"


@every_rule
@pytest.mark.once
def test_numbers(row):
    """Of both dtypes, and of both at once; with fixed and scheduled hyper-parameters, and with a shared one."""
    with pytensor.config.change_flags(floatX="float32"):
        runs = Runs(row)
        runs.add(MIXED)
        runs.add_scheduled("float64")
        runs.add_rated("float32")
        runs.check(PYTHON)


def compiles_long(name, backend):
    return backend != "JAX" and name not in ("nag", "sam", "lbfgs")


@on_backends(LOSS_ROWS, {"nag"}, compiles_long)
def test_numbers_on_backends(row, backend, dtype):
    """With all hyper-parameters scheduled, where floatX is the other dtype."""
    with pytensor.config.change_flags(floatX={"float32": "float64", "float64": "float32"}[dtype]):
        runs = Runs(row)
        runs.add_scheduled(dtype)
        runs.check(backend)


@every_rule_once
def test_floatx_does_not_matter(row):
    """The expressions are the same."""
    graphs = []
    for floatx in ("float32", "float64"):
        with pytensor.config.change_flags(floatX=floatx):
            runs = Runs(row)
            runs.add(MIXED)
            graphs.append((list(runs.updates.values()), [*runs.updates, *runs.batch]))
    (xs, in_xs), (ys, in_ys) = graphs
    assert equal_computations(xs, ys, in_xs, in_ys)


@every_rule
def test_gradients_are_refused_if_they_are_not_enough(row):
    params = new_params()
    loss, z = model(params, new_batch())
    grads = pytensor.grad(loss, params)
    if row.takes_gradients:
        names = [v.name for v in call(row, params, new_batch())]
        assert [v.name for v in row.rule(tuple(grads), params, **row.arguments(z))] == names
        return
    for given in (grads, tuple(grads)):
        with pytest.raises(TypeError, match=rf"{row.name} takes the loss, not gradients.*Give the scalar loss"):
            row.rule(given, params, **row.arguments(z))


@every_rule_once
def test_keys(row):
    """A fresh OrderedDict; keys in the documented order, unique, named and tagged; values of their keys' types."""
    params = new_params(("float32", "float64", "float32"))
    given = list(params)
    updates = call(row, params, new_batch("float32"))
    assert type(updates) is OrderedDict and params == given
    expected = [(p, f"{p.name}/", slot) for p in params for slot in row.keys]
    if row.order == "params first":
        expected.sort(key=lambda entry: entry[2] != "param")
    expected += [(None, "", slot) for slot in row.whole]
    owners = {None: row.name} | dict.fromkeys(params, row.owner or row.name)
    assert len(updates) == len(expected)
    for (key, value), (p, name, slot) in zip(updates.items(), expected, strict=True):
        assert isinstance(key, SharedVariable)
        assert value.dtype == key.dtype and key.type.is_super(value.type), key
        if slot == "param":
            assert key is p and not is_state(key)
        else:
            assert key.name == f"{name}{owners[p]}/{slot}"
            assert key.tag.symupdates[:3] == (owners[p], slot, p)
            if p is not None and key.ndim == p.ndim and key.dtype == p.dtype:
                assert key.type == p.type
    again = call(row, params, new_batch("float32"))
    assert not {v for v in again if is_state(v)} & set(updates)
    assert [v.name for v in again] == [v.name for v in updates]


@every_rule_once
def test_a_schedule_brings_one_clock(row):
    params = new_params()
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.5 / (1 + step)

    updates = call(row, params, new_batch(), **dict.fromkeys(row.hyper, schedule))
    assert len(seen) == len(row.hyper) and len(set(seen)) == 1
    (clock,) = set(seen)
    assert clock.name == f"{row.name}/t" and clock.dtype == "int64" and clock.get_value() == 0
    assert [v for v in updates if v.name == clock.name] == [clock]
    assert all(is_state(v) and v.tag.symupdates.parameter is None for v in list(updates)[list(updates).index(clock) :])


@every_rule_once
def test_every_shared_variable_that_moves_is_a_key(row):
    """The dict is closed: what its expressions read is a key, a hyper-parameter or of the loss."""
    params = new_params()
    rates = {name: pytensor.shared(value) for name, value in row.hyper.items()}
    updates = call(row, params, new_batch(), **rates)
    read = {v for v in graph_inputs(updates.values()) if isinstance(v, SharedVariable)}
    assert read == {*updates, *rates.values()}


@every_rule_once
@every_floatx
def test_a_float32_parameter_has_float32_arithmetic(row, floatx):
    with pytensor.config.change_flags(floatX=floatx):
        params = new_params("float32")
        updates = call(row, params, new_batch("float32"))
        dtypes = {v.dtype for v in ancestors(updates.values()) if hasattr(v.type, "dtype")}
        assert dtypes <= {"float32", "int64", "int8", "uint32", "uint8", "bool", "int32"}


@every_rule_once
def test_the_function_itself(row):
    """Partials, defaults and the signature."""
    parameters = list(signature(row.rule).parameters.values())
    assert [q.name for q in parameters[:2]] == ["loss_or_grads", "params"]
    assert all(q.default is None for q in parameters[:2])
    hyper = {q.name: q.default for q in parameters[2:]}
    params = new_params()
    loss, z = model(params, new_batch())
    arguments = row.arguments(z)
    assert {*hyper} >= {*row.hyper, *arguments}

    waiting = row.rule()
    assert isinstance(waiting, partial) and not waiting.args and waiting.keywords == hyper
    first = next(iter(row.hyper))
    waiting = row.rule(**arguments)
    waiting.keywords[first] = 0.25
    assert [v.name for v in waiting(loss, params)] == [v.name for v in row.rule(loss, params, **arguments)]
    with pytest.raises(ValueError, match=rf"{row.name}: params missing"):
        row.rule(0.5)
    with pytest.raises(ValueError, match=f"{row.name}: loss_or_grads missing"):
        row.rule(params=params)
    assert all(name in row.rule.__doc__ for name in ("Parameters", "Returns", "References", ".. math::", *hyper))


@every_rule
def test_nothing_to_train(row):
    assert row.rule(pt.scalar(), [], **row.arguments(pt.vector()), **row.hyper) == OrderedDict()


@every_rule
def test_at_rest(row):
    """Where gradients and parameters are zero, nothing becomes infinite or not a number."""
    p = pytensor.shared(np.zeros(3), name="p")
    z = 2 * p
    updates = row.rule((z**2).sum(), [p], **row.arguments(z), **row.hyper)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    assert all(np.isfinite(value).all() for value in values(updates))
    if row.rests:
        np.testing.assert_array_equal(p.get_value(), 0)


@every_rule_once
def test_resume_in_a_new_dict(row):
    """State carried over by name into a dict built anew continues the run bit for bit."""
    losses = list(oracles.losses(6, same=row.same))

    def build():
        params, batch = new_params(), new_batch()
        first = next(iter(row.hyper))
        updates = call(row, params, batch, **{first: scheduled(row.hyper[first])})
        return updates, pytensor.function(batch, [], updates=updates, mode=PYTHON)

    updates, step = build()
    for f in losses[:3]:
        step(f.A, f.b)
    saved = {v.name: v.get_value() for v in updates}
    for f in losses[3:]:
        step(f.A, f.b)
    resumed, step = build()
    for v in resumed:
        v.set_value(saved[v.name])
    for f in losses[3:]:
        step(f.A, f.b)
    assert len(saved) == len(updates)
    for got, expected in zip(values(resumed), values(updates), strict=True):
        np.testing.assert_array_equal(got, expected)
