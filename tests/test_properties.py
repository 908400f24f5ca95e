"""The algebra of composition, for whatever gradients there may be."""

import copy
from functools import cache, partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from conftest import FULL
from helpers import PYTHON, call, every_rule_once, rules, skip
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from table import ROWS

import symupdates as su

SHAPES = {"W": (2, 3), "b": (3,), "c": ()}
DTYPES = {"W": "float64", "b": "float32", "c": "float64"}

floats = st.floats(-1e6, 1e6, width=32)
one_step = st.tuples(*(arrays("float64", shape, elements=floats) for shape in SHAPES.values()))
some_steps = st.lists(one_step, min_size=1, max_size=4)

# The same examples in every run.
few = settings(max_examples=50 if FULL else 6, derandomize=True, deadline=None, database=None)


class Run:
    """An optimizer on three parameters of several shapes and dtypes, compiled once."""

    def __init__(self, optimizer):
        grads = [pt.tensor(shape=shape, dtype="float64") for shape in SHAPES.values()]
        self.params = [pytensor.shared(np.zeros(SHAPES[name], DTYPES[name]), name=name) for name in SHAPES]
        self.updates = optimizer(grads, self.params)
        self.step = pytensor.function(grads, [], updates=self.updates, mode=PYTHON)

    def __call__(self, steps, begin=True):
        """The values of all keys after these steps, by name; None is a step that is held back."""
        if begin:
            for i, p in enumerate(self.params):
                p.set_value(np.linspace(-1, 1 + i, p.get_value().size, dtype=p.dtype).reshape(p.get_value().shape))
            su.reset(self.updates)
        for grads in steps:
            if grads is None:
                skip(self.updates)
            else:
                self.step(*grads)
        return su.state_dict(self.updates)


def rule_of(row):
    return partial(row.rule, **dict(row.structure), **row.hyper)


SAME = {
    "an infinite clip": lambda rule: su.chain(su.gradients.clip_by_total_norm(max_norm=np.inf), rule),
    "an infinite clip of each": lambda rule: su.chain(su.gradients.clip_by_norm(max_norm=np.inf), rule),
    "an infinite clip by value": lambda rule: su.chain(su.gradients.clip_by_value(limit=np.inf), rule),
    "one group": lambda rule: su.partition((..., rule)),
    "a chain of one": lambda rule: su.chain(rule),
    "no freezing": lambda rule: su.chain(rule, su.apply_freeze(until=0)),
    "no accumulation": lambda rule: su.accumulate(rule, every=1),
    "a box without walls": lambda rule: su.chain(
        rule, su.apply_projection(projection=su.constraints.box(low=-np.inf, high=np.inf))
    ),
    "an average beside it": lambda rule: su.chain(rule, su.apply_ema(decay=0.5)),
    "adjustable": lambda rule: su.chain(rule, su.adjustable()),
}


@cache
def bare(name):
    return Run(rule_of(next(row for row in ROWS if row.name == name)))


@cache
def composed(name, how):
    return Run(SAME[how](rule_of(next(row for row in ROWS if row.name == name))))


@pytest.mark.parametrize("how", SAME)
@pytest.mark.parametrize("name", ["sgd", "adam"])
@few
@given(steps=some_steps)
def test_it_is_the_rule_itself(name, how, steps):
    expected = bare(name)(steps)
    got = composed(name, how)(steps)
    for key, value in expected.items():
        if how == "adjustable":  # the rewrites of constants are not those of variables
            np.testing.assert_allclose(got[key], value, rtol=1e-5 if value.dtype == "float32" else 1e-12, atol=1e-30)
        else:
            np.testing.assert_array_equal(got[key], value, err_msg=key)


@cache
def with_schedules(name):
    row = next(row for row in ROWS if row.name == name)
    hyper = {key: su.schedules.constant(value) for key, value in row.hyper.items()}
    return Run(partial(row.rule, **dict(row.structure), **hyper))


@every_rule_once
@few
@given(steps=some_steps)
def test_a_constant_schedule_is_the_number(row, steps):
    expected, got = bare(row.name)(steps), with_schedules(row.name)(steps)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-5 if value.dtype == "float32" else 1e-12, atol=1e-30)


@cache
def in_groups(name):
    rule = rule_of(next(row for row in ROWS if row.name == name))
    return Run(su.partition(("b", rule), (lambda p: p.ndim == 0, rule), (..., rule)))


@rules(pytest.mark.ci, pytest.mark.once, rows=[row for row in ROWS if not (row.coupled or row.draws)])
@few
@given(steps=some_steps)
def test_groups_of_one_rule_are_the_rule(row, steps):
    expected, got = bare(row.name)(steps), in_groups(row.name)(steps)
    for key in set(expected) & set(got):
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)
    slots = {f"{p}/{row.name}/{slot}" for p in bare(row.name).params for slot in row.slots_of(p)}
    assert slots | set(SHAPES) <= set(expected) & set(got)


@cache
def accumulated(name):
    return Run(su.accumulate(rule_of(next(row for row in ROWS if row.name == name)), every=4))


@pytest.mark.ci
@every_rule_once
@few
@given(steps=st.lists(one_step, min_size=4, max_size=12))
def test_accumulation_is_the_mean(row, steps):
    """Of whole numbers, whose sums are exact, and so their fourths: a step may enlarge rounding errors at will."""
    steps = [tuple(np.round(x) for x in step) for step in steps]
    means = []
    for i in range(0, len(steps) - 3, 4):
        means += [None] * 3 + [tuple(sum(parts) / 4 for parts in zip(*steps[i : i + 4], strict=True))]
    means += [None] * (len(steps) % 4)
    expected, got = bare(row.name)(means), accumulated(row.name)(steps)
    for key, value in expected.items():
        # A coupled rule carries the roundings of its float32 gradients into everything.
        in_float32 = row.coupled or value.dtype == "float32"
        np.testing.assert_allclose(got[key], value, rtol=2e-5 if in_float32 else 1e-12, atol=1e-25)


@every_rule_once
@few
@given(before=some_steps, after=some_steps)
def test_save_load_continue(row, before, after, tmp_path_factory):
    run = bare(row.name)
    uninterrupted = run(before + after)
    file = tmp_path_factory.mktemp("run") / "run.ckpt"
    run(before)
    su.save(file, run.updates)
    run(after[:1])
    su.load(file, run.updates)
    for key, value in run(after, begin=False).items():
        assert value.tobytes() == uninterrupted[key].tobytes(), key


TRANSFORMS = [
    su.apply_momentum,
    su.apply_nesterov_momentum,
    # At a rate of their own, as not every rule has one.
    su.apply_weight_decay(learning_rate=0.5),
    su.apply_proximal(learning_rate=0.5),
    su.apply_scale,
    su.apply_trust_ratio(learning_rate=0.5),
    su.apply_rms_clip(learning_rate=0.5),
    su.apply_schedule_free(learning_rate=0.5),
    su.apply_cautious,
    su.apply_lookahead,
    su.apply_projection,
    su.apply_if_finite,
    su.apply_if_small,
    su.apply_freeze,
    su.apply_ema,
    su.apply_polyak_average,
    su.apply_swag,
    su.adjustable,
]


def test_every_transform_is_here():
    named = {name for name in su.__all__ if name.startswith("apply_") or name == "adjustable"}
    assert {getattr(transform, "func", transform).__name__ for transform in TRANSFORMS} == named


@pytest.mark.ci
@every_rule_once
@few
@given(chosen=st.lists(st.sampled_from(TRANSFORMS), max_size=6))
def test_transforms_never_change_their_input(row, chosen):
    """In any order, any number of times: the dict given, its variables and their tags stay; the new one is closed."""
    params = [pytensor.shared(np.zeros(SHAPES[name], DTYPES[name]), name=name) for name in SHAPES]
    updates = call(row, [pt.tensor(shape=shape, dtype="float64") for shape in SHAPES.values()], params)
    for transform in chosen:
        entries = list(updates.items())
        names = [v.name for v in updates]
        tags = [copy.copy(v.tag) for v in updates]
        after = transform(updates)
        assert list(updates.items()) == entries
        assert [v.name for v in updates] == names
        assert [vars(v.tag) for v in updates] == [vars(tag) for tag in tags]
        assert list(after)[: len(updates)] == list(updates)
        assert len({v.name for v in after}) == len(after)
        for v, value in after.items():
            assert v.type.is_super(value.type)
        updates = after
    read = {v for v in pytensor.graph.traversal.graph_inputs(updates.values()) if su.core.is_state(v)}
    assert read <= set(updates)
