"""Every rule with every transform, against the bare rule driven by hand: by what it is called with, and set_value."""

from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, STEPS, TOLERANCE, assert_close, call, every_rule_once, make_param, rules, skip
from table import ROWS

import symupdates as su
from symupdates.core import is_state

USUAL_STEP = pytensor.shared(1.0)  # half of a rule's steps are longer; set for each


class Bare:
    """The rule alone, on one parameter."""

    def __init__(self, row, dtype):
        g = pt.tensor("g", shape=row.shape, dtype="float64")
        self.given = row.gradients(STEPS, row.shape)
        at_one_place = np.arange(16).reshape(row.shape) == 3
        self.bad = [np.where(at_one_place & (t % 5 in (0, 3)), np.nan, g) for t, g in enumerate(self.given)]
        self.start = make_param(row.shape, "float64").get_value()
        self.p = make_param(row.shape, dtype, "p")
        self.updates = call(row, [g], [self.p])
        self.step = pytensor.function([g], [], updates=self.updates, mode=PYTHON)
        path = [self.start, *(self.p.get_value() for _ in plainly(self))]
        self.usual_step = np.float32(
            np.median([np.linalg.norm(after - before) for before, after in pairwise(path)])
        ).item()

    def begin(self):
        self.p.set_value(self.start.astype(self.p.dtype))
        su.reset(self.updates)

    def values(self):
        return {slot_of(v): np.array(v.get_value()) for v in self.updates}

    def restore(self, values):
        """Go back a step; all but random generators, which a gate lets go on."""
        for v in self.updates:
            if slot_of(v) != "rng":
                v.set_value(values[slot_of(v)])

    def skip(self):
        skip(self.updates)


def slot_of(variable):
    return variable.tag.symupdates.slot if is_state(variable) else "param"


@cache
def bare_rule(place, dtype):
    return Bare(ROWS[place], dtype)


# --- Each composition, and the same by hand ---------------------------------------------------------------------------
# By hand: a generator that drives the bare rule and pauses after each call.


def plainly(bare):
    for g in bare.given:
        bare.step(g)
        yield


def clipped(bare):
    for g in bare.given:
        bare.step(g * min(1, 1 / np.linalg.norm(g)))
        yield


def penalized(bare):
    for g in bare.given:
        bare.step(g + 0.125 * bare.p.get_value())
        yield


def stepping(bare, change):
    """Make each step and then another of it: `change` is given the parameter before, after, and the count."""
    for t, g in enumerate(bare.given, start=1):
        before = bare.p.get_value()
        bare.step(g)
        bare.p.set_value(change(before, bare.p.get_value(), t).astype(bare.p.dtype))
        yield


def accelerated(bare, nesterov):
    v = 0

    def change(before, after, t):
        nonlocal v
        v = 0.75 * v + (after - before)
        return before + 0.75 * v + (after - before) if nesterov else before + v

    return stepping(bare, change)


def looking_ahead(bare):
    slow = bare.p.get_value()

    def change(before, after, t):
        nonlocal slow
        if t % 3:
            return after
        slow = slow + 0.25 * (after - slow)
        return slow

    return stepping(bare, change)


def finite_only(bare):
    for g in bare.bad:
        if np.isfinite(g).all():
            bare.step(g)
        else:
            bare.skip()
        yield


def bound(usual, step):
    """Short, then long: an adaptive rule that may not make its first step would else try the same for good."""
    return usual * 64.0 ** (step % 4 - 1)


def small_only(bare):
    for t, g in enumerate(bare.given):
        before = bare.values()
        bare.step(g)
        if not np.linalg.norm(bare.p.get_value() - before["param"]) <= bound(bare.usual_step, t):
            bare.restore(before)
        yield


def gathered(bare, mean):
    for t in range(0, STEPS, 3):
        for _ in range(2):
            bare.skip()
            yield
        bare.step(sum(bare.given[t : t + 3]) / (3 if mean else 1))
        yield


def frozen(bare):
    for t, g in enumerate(bare.given):
        if t >= 7:
            bare.step(g)
        else:
            bare.skip()
        yield


COMPOSITIONS = {
    "clip": (lambda rule: su.chain(su.gradients.clip_by_total_norm(max_norm=1.0), rule), clipped),
    "penalty": (lambda rule: su.chain(su.gradients.add_l2(coefficient=0.125), rule), penalized),
    "partition": (lambda rule: su.partition(([], su.sgd()), (..., rule)), plainly),
    "adjustable": (lambda rule: su.chain(rule, su.adjustable()), plainly),
    "momentum": (lambda rule: su.chain(rule, su.apply_momentum(momentum=0.75)), partial(accelerated, nesterov=False)),
    "Nesterov": (
        lambda rule: su.chain(rule, su.apply_nesterov_momentum(momentum=0.75)),
        partial(accelerated, nesterov=True),
    ),
    "weight decay": (
        lambda rule: su.chain(rule, su.apply_weight_decay(weight_decay=0.25, learning_rate=0.5)),
        partial(stepping, change=lambda before, after, t: after - 0.125 * before),
    ),
    "scale": (
        lambda rule: su.chain(rule, su.apply_scale(scale=0.375)),
        partial(stepping, change=lambda before, after, t: before + 0.375 * (after - before)),
    ),
    "projection": (
        lambda rule: su.chain(rule, su.apply_projection(projection=su.constraints.box(low=-0.5, high=0.75))),
        partial(stepping, change=lambda before, after, t: np.clip(after, -0.5, 0.75)),
    ),
    "proximal": (
        lambda rule: su.chain(rule, su.apply_proximal(strength=0.25, learning_rate=0.5)),
        partial(stepping, change=lambda before, after, t: np.sign(after) * np.maximum(np.abs(after) - 0.125, 0)),
    ),
    "lookahead": (lambda rule: su.chain(rule, su.apply_lookahead(every=3, alpha=0.25)), looking_ahead),
    "if finite": (lambda rule: su.chain(rule, su.apply_if_finite()), finite_only),
    "if small": (
        lambda rule: su.chain(rule, su.apply_if_small(max_norm=lambda step: bound(USUAL_STEP, step))),
        small_only,
    ),
    "accumulate": (lambda rule: su.accumulate(rule, every=3), partial(gathered, mean=True)),
    "counted": (lambda rule: su.accumulate(rule, every=pytensor.shared(np.int64(3))), partial(gathered, mean=True)),
    "sum": (lambda rule: su.accumulate(rule, every=3, mean=False), partial(gathered, mean=False)),
    "freeze": (lambda rule: su.chain(rule, su.apply_freeze(until=7)), frozen),
    "average": (lambda rule: su.chain(rule, su.apply_ema(decay=0.75)), plainly),
}


SOME = ["momentum", "lookahead", "if finite", "accumulate", "freeze"]


def composed(row, dtype, compositions):
    """The compositions of a rule in one dict: it, and for each the parameter and state by slot."""
    inputs = {name: pt.tensor(name, shape=row.shape, dtype="float64") for name in ("given", "bad")}
    rule = partial(row.rule, **dict(row.structure), **row.hyper)
    updates, keys = {}, {}
    for name in compositions:
        compose, _ = COMPOSITIONS[name]
        p = make_param(row.shape, dtype, name)
        more = compose(rule)([inputs["bad" if name == "if finite" else "given"]], [p])
        keys[name] = {slot_of(v): v for v in more if v is p or (is_state(v) and v.tag.symupdates.rule == row.name)}
        updates |= more
    return list(inputs.values()), updates, keys


def check(row, dtype, mode, compositions=tuple(COMPOSITIONS)):
    bare = bare_rule(ROWS.index(row), dtype)
    USUAL_STEP.set_value(bare.usual_step)
    inputs, updates, keys = composed(row, dtype, compositions)
    step = pytensor.function(inputs, [], updates=updates, mode=mode, on_unused_input="ignore")
    paths = {name: [] for name in compositions}
    for given, bad in zip(bare.given, bare.bad, strict=True):
        step(given, bad)
        for name, variables in keys.items():
            paths[name].append({slot: np.array(v.get_value()) for slot, v in variables.items()})
            assert all(v.get_value().dtype == v.dtype for v in variables.values()), name
    for name in compositions:
        _, by_hand = COMPOSITIONS[name]
        bare.begin()
        slots = {*row.keys_of(bare.p), *row.whole}
        assert slots <= set(keys[name])
        expected = {slot: [] for slot in slots}
        for t, _ in enumerate(by_hand(bare)):
            for slot, value in bare.values().items():
                expected[slot].append(value.astype("float64"))
                got, trajectory = paths[name][t][slot], np.array(expected[slot])
                if slot in row.bases:
                    got, trajectory = np.abs(got), np.abs(trajectory)
                assert_close(got, trajectory, TOLERANCE[dtype], f"{name}: {slot}, step {t}")
        assert t == STEPS - 1
        moved = np.ptp([after["param"] for after in paths[name]], axis=0)
        assert (moved > 0).any(), f"{name}: nothing moved"


@pytest.mark.ci
@pytest.mark.once
@rules(pytest.mark.full, kinds={"adam", "sm3", "muon"})
def test_all(row):
    check(row, "float64", PYTHON)


@pytest.mark.ci
@every_rule_once
def test_some_on_every_rule(row):
    check(row, "float64", PYTHON, SOME)


ADAM = next(row for row in ROWS if row.name == "adam")


@pytest.mark.ci
@pytest.mark.long
def test_all_on_every_backend(backend_and_dtype):
    backend, dtype = backend_and_dtype
    check(ADAM, dtype, backend)


@pytest.mark.ci
def test_some_on_every_backend(backend):
    check(ADAM, "float32", backend, SOME)


@every_rule_once
def test_the_gates_have_work(row):
    """Some steps are small enough, and some are not; some gradients are finite, and some are not."""
    bare = bare_rule(ROWS.index(row), "float64")
    bare.begin()
    path = [bare.start, *(bare.p.get_value() for _ in small_only(bare))]
    stood = sum(np.array_equal(a, b) for a, b in pairwise(path))
    assert 0 < stood < STEPS
    assert 0 < sum(not np.isfinite(g).all() for g in bare.bad) < STEPS
