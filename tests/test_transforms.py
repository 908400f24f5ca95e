"""Transforms of updates: momentum, changed steps, decay, averages."""

from collections import OrderedDict
from functools import partial
from inspect import signature

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import (
    PYTHON,
    STEPS,
    TOLERANCE,
    assert_close,
    call,
    every_rule_once,
    make_param,
    rule_of_each_kind,
    values,
)
from loss_table import LOSS_ROWS
from pytensor.graph.basic import equal_computations
from table import ROWS

import symupdates
from symupdates import (
    adam,
    adamw,
    apply_ema,
    apply_lookahead,
    apply_momentum,
    apply_nesterov_momentum,
    apply_polyak_average,
    apply_weight_decay,
    averages,
    lbfgs,
    momentum,
    nesterov_momentum,
    rmsprop,
    schedule_free_sgd,
    sgd,
    swap_averages,
)
from symupdates.core import is_state
from symupdates.state import reset

PAIRS = [(apply_momentum, momentum), (apply_nesterov_momentum, nesterov_momentum)]
every_transform = pytest.mark.parametrize(
    "transform", [apply_momentum, apply_nesterov_momentum], ids=lambda transform: transform.__name__
)


@every_transform
@every_rule_once
def test_numbers_on_every_rule(transform, row):
    """A rule's steps, accelerated: the parameters only, not the rule's own state."""
    given = row.gradients(STEPS, row.shape)
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    p = make_param(row.shape, "float64", "p")
    rule = partial(row.oracle, **dict(row.structure), **row.hyper)
    expected = list(getattr(oracles, transform.__name__)(p.get_value(), given, rule, momentum=0.75))
    updates = transform(call(row, [g], [p]), momentum=0.75)
    velocity = list(updates)[-1]
    assert velocity.tag.symupdates.slot == "velocity"
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for t in range(STEPS):
        step(given[t])
        trajectory = [after["param"] for after in expected[: t + 1]]
        assert_close(p.get_value(), trajectory, 1e-12, "param")
        # The oracle knows the rule's step as a difference of parameters only, and so to their rounding.
        deviation = np.abs(velocity.get_value() - expected[t]["velocity"])
        assert (deviation <= 1e-14 * STEPS * np.max(np.abs(trajectory), axis=0)).all()


@pytest.mark.parametrize("transform, rule", PAIRS)
def test_on_sgd_it_is_the_rule(transform, rule, backend):
    g = pt.tensor("g", shape=(3,), dtype="float32")
    p, q = make_param((3,), "float32", "p"), make_param((3,), "float32", "p")
    updates = rule([g], [p], 0.1, 0.9) | transform(sgd([g], [q], 0.1), momentum=0.9)
    step = pytensor.function([g], [], updates=updates, mode=backend)
    for t in range(8):
        step(np.random.default_rng(t).normal(size=3).astype("float32"))
    for v in updates:
        assert v.get_value().dtype == v.dtype
    np.testing.assert_allclose(p.get_value(), q.get_value(), rtol=1e-5)


@every_transform
def test_only_parameters_by_default(transform):
    W, b = make_param((3, 2), "float64", "W"), make_param((2,), "float64")
    loss = (W**2).sum() + (b**2).sum()
    before = adam(loss, [W, b], learning_rate=lambda step: 1.0 / (step + 1))
    entries = list(before.items())
    after = transform(before)
    assert type(after) is OrderedDict and list(before.items()) == entries
    name = transform.__name__.removeprefix("apply_")
    assert list(after)[: len(before)] == list(before)
    assert [v.name for v in after][len(before) :] == [f"W/{name}/velocity", f"param[1]/{name}/velocity"]
    assert [v for v in before if after[v] is not before[v]] == [W, b]
    only = transform(before, params=iter([b]))
    assert [v for v in before if only[v] is not before[v]] == [b]
    assert [v.name for v in only if v not in before] == [f"param[1]/{name}/velocity"]


@every_transform
def test_foreign_keys(transform):
    """Integer counters and generators are left alone; a dict written by hand is accelerated whole."""
    W = make_param((3,), "float64", "W")
    count = pytensor.shared(0, name="count")
    rng = pytensor.shared(np.random.default_rng(0), name="rng")
    updates = {W: W - 1, count: count + 1, rng: rng}
    after = transform(updates, momentum=0.5)
    assert [v for v in updates if after[v] is not updates[v]] == [W]
    assert len(after) == 4


@every_transform
def test_rmsprop_stays_finite(transform):
    """Accelerating the accumulators as well, as Lasagne and PyMC do, makes this one NaN."""
    x = np.random.default_rng(0).normal(size=(50, 5))
    y = x @ np.arange(5.0)
    W = pytensor.shared(np.zeros(5), name="W")
    loss = ((pt.dot(x, W) - y) ** 2).mean()
    step = pytensor.function([], loss, updates=transform(rmsprop(loss, [W], learning_rate=0.01)), mode=PYTHON)
    losses = [float(step()) for _ in range(300)]
    assert losses[-1] < 1e-2 * losses[0]


@every_transform
def test_twice_has_names_of_its_own(transform):
    W = make_param((3,), "float64", "W")
    name = transform.__name__.removeprefix("apply_")
    updates = sgd((W**2).sum(), [W])
    for _ in range(2):
        updates = transform(updates, momentum=lambda step: 0.5 / (1 + step))
    names = [v.name for v in updates]
    assert names == ["W", f"W/{name}/velocity", f"{name}/t", f"W/{name}_2/velocity", f"{name}_2/t"]
    assert all(is_state(v) for v in list(updates)[1:])


@every_transform
def test_waits_for_the_updates(transform):
    waiting = transform(momentum=0.5)
    assert isinstance(waiting, partial) and waiting.keywords == {"params": None, "momentum": 0.5}
    W = make_param((3,), "float64", "W")
    assert len(waiting(sgd((W**2).sum(), [W]))) == 2


@pytest.mark.parametrize("form", ["rule", "transform"])
def test_small_float32_steps_add_up(form, backend):
    """Steps far below the parameter's rounding still gather in the velocity."""
    p = pytensor.shared(np.full(3, 1.0, "float32"), name="p")
    g = pt.tensor("g", shape=(3,), dtype="float32")
    updates = momentum([g], [p], 1e-9, 0.9) if form == "rule" else apply_momentum(sgd([g], [p], 1e-9), momentum=0.9)
    velocity = list(updates)[1]
    step = pytensor.function([g], [], updates=updates, mode=backend)
    for _ in range(100):
        step(np.ones(3, "float32"))
    np.testing.assert_allclose(velocity.get_value(), -1e-8 * (1 - 0.9**100), rtol=1e-4)


def test_no_public_rule_is_missing_from_the_table():
    functions = {name: getattr(symupdates, name) for name in symupdates.__all__ if name != "get_or_compute_grads"}
    rules = {name for name, function in functions.items() if "loss_or_grads" in signature(function).parameters}
    of_the_loss = {row.name for row in LOSS_ROWS} | {"polyak_step", "dp_sgd"}  # which have tests of their own
    assert {row.name for row in ROWS} | of_the_loss == rules


# --- Steps measured, masked and averaged ------------------------------------------------------------------------------

RATE = 0.5  # that they are told, for not every rule has one
CHANGES = {
    "apply_trust_ratio": {"trust_coefficient": 0.75, "learning_rate": RATE},
    "apply_rms_clip": {"threshold": 2.0**-6, "learning_rate": RATE},
    "apply_cautious": {"xi": 0.5},
    "apply_schedule_free": {"beta": 0.75, "learning_rate": lambda step: RATE / (1 + step % 3)},
}


@pytest.mark.ci
@rule_of_each_kind
def test_changed_steps(row):
    """Each change of the steps of a rule, against the same of the oracle of that rule."""
    given = oracles.tame_gradients(STEPS, row.shape)
    g = pt.tensor("g", shape=row.shape, dtype="float64")
    rule = partial(row.oracle, **dict(row.structure), **row.hyper)
    updates, cases = {}, []
    for name, hyper in CHANGES.items():
        p = make_param(row.shape, "float64", name)
        expected = list(getattr(oracles, name)(p.get_value(), given, rule, **hyper))
        after = getattr(symupdates, name)(call(row, [g], [p]), **hyper)
        own = {slot_of(v): v for v in after if slot_of(v) in ("z", "average", "weights")}
        cases.append(({"param": p} | own, expected))
        updates |= after
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for t in range(STEPS):
        step(given[t])
        for variables, expected in cases:
            for slot, variable in variables.items():
                trajectory = np.array([after[slot] for after in expected[: t + 1]])
                label = f"{variable.name}, step {t}"
                assert_close(variable.get_value(), trajectory, 1e-10, label, elementwise=False)


@pytest.mark.ci
@pytest.mark.once
def test_changed_steps_on_backends(backend):
    """With schedules, at the rate of the rule; the sum of a mask and the norms of steps are what backends differ in."""
    given = oracles.tame_gradients(8, (4, 2)).astype("float32")
    g = pt.tensor("g", shape=(4, 2), dtype="float32")
    rate = lambda step: 0.25 / (1 + step % 3)  # noqa: E731
    hyper = {
        "apply_trust_ratio": {"trust_coefficient": 0.75},
        "apply_rms_clip": {"threshold": lambda step: 0.25 + step % 2},
        "apply_cautious": {"xi": 0.5},
        "apply_schedule_free": {"beta": 0.5},
    }
    updates, cases = {}, []
    for name, changes in hyper.items():
        p = make_param((4, 2), "float32", name)
        rule = lambda p, grads: oracles.heavy_ball(p, grads, learning_rate=rate, momentum=0.75)  # noqa: E731
        told = changes if name == "apply_cautious" else changes | {"learning_rate": rate}
        path = [
            after["param"] for after in getattr(oracles, name)(p.get_value().astype("float64"), given, rule, **told)
        ]
        cases.append((p, np.array(path)))
        updates |= getattr(symupdates, name)(symupdates.heavy_ball([g], [p], rate, momentum=0.75), **changes)
    step = pytensor.function([g], [], updates=updates, mode=backend)
    for t in range(8):
        step(given[t])
        for p, path in cases:
            assert p.get_value().dtype == "float32"
            assert_close(p.get_value(), path[: t + 1], TOLERANCE["float32"], p.name, elementwise=False)


def test_the_gradient_is_that_of_the_parameter():
    """Not that of another, where its next value is computed with both, and the other stands nearer."""
    W, b = (pytensor.shared(np.ones(2), name=name) for name in "Wb")
    updates = sgd((W - b).sum(), [W, b], learning_rate=1.0)
    updates[W] = pt.abs(pt.abs(updates[W])) + 0 * updates[b]
    step = pytensor.function([], [], updates=symupdates.apply_cautious(updates, params=[W]), mode=PYTHON)
    step()
    np.testing.assert_allclose(W.get_value(), 1 / 3)


def run(optimizer, steps=8, dtype="float64", scale=1.0, start=1.0):
    """The parameter at the end; in the mode that has no rewrites."""
    p = pytensor.shared(start * np.random.default_rng(0).normal(size=(4, 2)).astype(dtype), name="p")
    g = pt.tensor("g", shape=(4, 2), dtype=dtype)
    step = pytensor.function([g], [], updates=optimizer([g], [p]), mode=PYTHON)
    for t in range(steps):
        step((scale * np.random.default_rng(1 + t).normal(size=(4, 2))).astype(dtype))
    return p.get_value()


AS_RULES = {
    "lamb": (
        symupdates.chain(
            adam(learning_rate=0.1, epsilon=0.0),
            apply_weight_decay(weight_decay=0.25),
            symupdates.apply_trust_ratio(),
        ),
        symupdates.lamb(learning_rate=0.1, epsilon=0.0, weight_decay=0.25),
    ),
    "lars": (
        symupdates.chain(
            sgd(learning_rate=0.5),
            symupdates.apply_trust_ratio(trust_coefficient=0.125),
            apply_momentum(momentum=0.75),
        ),
        symupdates.lars(learning_rate=0.5, momentum=0.75, trust_coefficient=0.125),
    ),
    "adafactor": (
        symupdates.chain(rmsprop(learning_rate=0.25, rho=0.75, epsilon=0.0), symupdates.apply_rms_clip(threshold=0.5)),
        lambda grads, params: clipped_by_hand(rmsprop(grads, params, 0.25, rho=0.75, epsilon=0.0), 0.125),
    ),
    "schedule_free_sgd": (
        symupdates.chain(sgd(learning_rate=lambda step: 0.5 / (1 + step)), symupdates.apply_schedule_free(beta=0.75)),
        schedule_free_sgd(learning_rate=lambda step: 0.5 / (1 + step), beta=0.75),
    ),
    "schedule_free_adamw": (
        symupdates.chain(
            adamw(learning_rate=0.25, beta1=0.0, weight_decay=0.25), symupdates.apply_schedule_free(beta=0.75)
        ),
        symupdates.schedule_free_adamw(learning_rate=0.25, beta1=0.75, weight_decay=0.25),
    ),
    "sgd, which is never against its gradient": (
        symupdates.chain(sgd(learning_rate=0.25), symupdates.apply_cautious(xi=1.0)),
        sgd(learning_rate=0.25 * 8 / 9),
    ),
}


def clipped_by_hand(updates, bound):
    return {
        v: v + (x - v) / pt.maximum(1, pt.sqrt(((x - v) ** 2).mean()) / bound) if v.name == "p" else x
        for v, x in updates.items()
    }


@pytest.mark.parametrize("name", AS_RULES)
def test_what_rules_they_make(name):
    stages, rule = AS_RULES[name]
    np.testing.assert_allclose(run(stages), run(rule), rtol=1e-12)


def test_changed_steps_of_every_size():
    """Of huge and tiny weights and gradients in float32, the same as of usual ones, times their scale."""
    stages = {
        "trust ratio": lambda scale: symupdates.apply_trust_ratio(),
        "rms clip": lambda scale: symupdates.apply_rms_clip(threshold=0.5 * scale),
        "cautious": lambda scale: symupdates.apply_cautious(),
        "schedule-free": lambda scale: symupdates.apply_schedule_free(),
    }
    for name, stage in stages.items():
        ends = {}
        for scale in (1.0, 1e18, 1e-18, 1e30, 1e-30):
            optimizer = symupdates.chain(momentum(learning_rate=0.5, momentum=0.5), stage(scale))
            with np.errstate(over="ignore"):
                ends[scale] = run(optimizer, dtype="float32", scale=scale, start=np.float32(scale)) / scale
            np.testing.assert_allclose(ends[scale], ends[1.0], rtol=1e-4, err_msg=f"{name} at {scale}")


def test_nan_goes_through_what_changes_steps():
    """To the elements that a mask is for, and to all that share a norm."""
    g = pt.matrix("g")
    for stage, spared in (
        (symupdates.apply_trust_ratio(), 0),
        (symupdates.apply_rms_clip(), 0),
        (symupdates.apply_cautious(), 7),
    ):
        p = make_param((4, 2), "float64", "p")
        given = np.ones((4, 2))
        given[0, 0] = np.nan
        pytensor.function([g], [], updates=stage(sgd([g], [p])), mode=PYTHON)(given)
        assert np.isfinite(p.get_value()).sum() == spared


def test_an_infinite_threshold_is_none_at_any_rate():
    """At a rate of zero, with which a warmup begins, too."""
    g, p = pt.vector("g", dtype="float64"), pytensor.shared(np.ones(3), name="p")
    updates = symupdates.apply_rms_clip(sgd([g], [p], learning_rate=lambda step: 0.5 * step), threshold=np.inf)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for expected in ([1, 1, 1], [0.5, 0, -0.5]):
        step([1.0, 2.0, 3.0])
        assert p.get_value().tolist() == expected


def test_zero_weights_and_steps_have_no_ratio():
    g = pt.vector("g", dtype="float64")
    for start, given, end in ((0.0, 2.0, -1.0), (3.0, 0.0, 3.0)):
        p = pytensor.shared(np.full(2, start), name="p")
        updates = symupdates.apply_trust_ratio(sgd([g], [p], learning_rate=0.5))
        pytensor.function([g], [], updates=updates, mode=PYTHON)([given, given])
        np.testing.assert_array_equal(p.get_value(), end)


def test_where_nothing_tells_the_gradient():
    W, b = make_param((3,), "float64", "W"), make_param((3,), "float64")
    loss = (W**2).sum() + (b**2).sum()
    looked_up = symupdates.rows(W, np.array([1, 2]))
    for updates, names in (
        ({W: W - 0.1, b: b - 0.1}, r"W, param\[1\]"),
        (symupdates.loop(None, sgd(loss, [W, b]), n_steps=2)[1], r"W, param\[1\]"),
        (sgd((looked_up**2).sum(), [looked_up]), "W"),
    ):
        with pytest.raises(ValueError, match=f"apply_cautious: nothing tells the gradient of {names}; it goes after"):
            symupdates.apply_cautious(updates)


def test_the_gradient_is_that_which_the_rule_was_given():
    """Not the one before a transform of it, nor of another parameter, nor the sum in a batch that is not full."""
    W, b = (pytensor.shared(np.ones(2), name=name) for name in "Wb")
    x = pt.vector("x", dtype="float64")
    optimizer = symupdates.chain(
        symupdates.gradients.clip_by_total_norm(max_norm=1e-3),
        lambda grads: [-g for g in grads],
        symupdates.accumulate(momentum(learning_rate=1.0, momentum=0.5), every=2),
        symupdates.apply_cautious(),
    )
    updates = optimizer((W * x).sum() - (b * x).sum(), [W, b])
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    for given in ([1.0, 1.0], [1.0, 1.0], [-0.25, 1.0], [-0.25, 1.0]):
        step(given)
    # A step of both elements, each by two thirds; then of the second alone, for the velocity of the first is too large.
    clipped = np.array([[0.5, 0.5], np.array([-0.25, 1.0]) / np.sqrt(2 * (1 + 0.25**2))]) * 1e-3
    moved = clipped[0] * 2 / 3 + (0.5 * clipped[0] + clipped[1]) * [0, 1]
    np.testing.assert_allclose(W.get_value(), 1 + moved, rtol=1e-12)
    np.testing.assert_allclose(b.get_value(), 1 - moved, rtol=1e-12)


# --- Weight decay -----------------------------------------------------------------------------------------------------


RATES = {"number": 0.25, "schedule": lambda step: 0.25 / (1 + step), "variable": pytensor.shared(0.25, name="rate")}


def slot_of(variable):
    return variable.tag.symupdates.slot if is_state(variable) else variable.name


@pytest.mark.parametrize("rate", RATES.values(), ids=RATES)
@pytest.mark.parametrize("rule, decaying", [(adam, adamw), (symupdates.adamax, symupdates.adamaxw)])
def test_weight_decay_makes_adamw_of_adam(rule, decaying, rate):
    """The same expressions, of the same keys in the same order: no state, and no count of a schedule more."""
    given = [pt.tensor(shape=(3, 2), dtype="float64"), pt.tensor(shape=(2,), dtype="float32")]
    params = [make_param((3, 2), "float64", "W"), make_param((2,), "float32", "b")]
    updates = apply_weight_decay(rule(given, params, rate), weight_decay=0.125)
    expected = decaying(given, params, rate, weight_decay=0.125)
    assert [slot_of(v) for v in updates] == [slot_of(v) for v in expected]
    assert equal_computations(list(updates.values()), list(expected.values()), list(updates), list(expected))


@pytest.mark.long
def test_masked_adamw(backend):
    """To the last bit: groups at rates of their own, scheduled and not, in both precisions."""
    fast, slow = {"learning_rate": lambda step: 0.25 / (1 + step)}, {"learning_rate": 0.125}
    masked = symupdates.chain(
        symupdates.partition(("^fast", adam(**fast)), (..., adam(**slow))),
        apply_weight_decay(params=lambda p: p.ndim > 1, weight_decay=0.5),
    )
    by_hand = symupdates.partition(
        ("^fast W", adamw(**fast, weight_decay=0.5)),
        ("^fast", adam(**fast)),
        ("W", adamw(**slow, weight_decay=0.5)),
        (..., adam(**slow)),
    )
    names = [f"{pace} {name}" for pace in ("fast", "slow") for name in ("W", "b")]
    shapes = {"W": (3, 2), "b": (2,)}
    made = [
        [make_param(shapes[name[-1]], dtype, name) for name in names for dtype in ("float32", "float64")]
        for _ in range(2)
    ]
    grads = [p.type() for p in made[0]]
    updates = masked(grads, made[0]) | by_hand(grads, made[1])
    step = pytensor.function(grads, [], updates=updates, mode=backend)
    start = values(made[0])
    for t in range(5):
        step(*(np.random.default_rng(t).normal(size=p.get_value().shape).astype(p.dtype) for p in made[0]))
    for p, got, expected, before in zip(made[0], values(made[0]), values(made[1]), start, strict=True):
        assert got.tobytes() == expected.tobytes() and not np.array_equal(got, before), p.name


def of_adam(t):
    """The bias corrections of the rows that have Adam's."""
    return (1 - 0.765625**t) ** 0.5 / (1 - 0.875**t)


NO_RATE = {"rprop", "cocob"}
# What a rule has found, where that is another rate than its hyper-parameter: of this, its state and the count of steps.
FOUND = {
    "asgd": lambda eta, state, t: eta / (1 + 0.25 * eta * (t - 1)) ** 0.625,
    "sgld": lambda eta, state, t: eta / 2,
    "psgld": lambda eta, state, t: eta / 2,
    "dadapt_adam": lambda eta, state, t: eta * of_adam(t) * max(state["before"]["distance"], 0.5),
    "prodigy": lambda eta, state, t: eta * of_adam(t) * max(state["before"]["distance"], 0.5),
    "dog": lambda eta, state, t: eta * state["distance"] / np.sqrt(state["accu"] + 2.0**-20),
    "l_dog": lambda eta, state, t: eta * state["distance"] / np.sqrt(state["accu"] + 2.0**-20),
    "dowg": lambda eta, state, t: eta * state["squared_distance"] / (np.sqrt(state["accu"]) + 2.0**-20),
    "hypergradient_sgd": lambda eta, state, t: eta + state["learned"],
    "hypergradient_adam": lambda eta, state, t: eta + state["learned"],
}


@every_rule_once
def test_weight_decay_at_the_rate_of_every_rule(row):
    g, p = pt.tensor("g", shape=row.shape, dtype="float64"), make_param(row.shape, "float64", "p")
    plain = call(row, [g], [p], learning_rate=lambda step: row.hyper["learning_rate"] / (1 + step))
    if row.name in NO_RATE:
        with pytest.raises(ValueError, match="apply_weight_decay: nothing tells the rate at which p moves"):
            apply_weight_decay(plain)
        return
    decayed = apply_weight_decay(plain, weight_decay=0.5)
    assert list(decayed) == list(plain)
    step = pytensor.function([g], [p, plain[p] - decayed[p]], updates=plain, mode=PYTHON)

    def state():
        return {slot_of(v): np.array(v.get_value()) for v in plain}

    for t, given in enumerate(oracles.gradients(3, row.shape), start=1):
        before = state()
        at, decay = step(given)
        rate = FOUND.get(row.name, lambda eta, state, t: eta)
        rate = rate(row.hyper["learning_rate"] / t, state() | {"before": before}, t)
        # A difference of large numbers, and so to their rounding.
        atol = 1e-14 * max(np.abs(at).max(), np.abs(p.get_value()).max())
        np.testing.assert_allclose(decay, rate * 0.5 * at, rtol=1e-9, atol=atol)


def test_the_rate_of_rules_around_others():
    W = pytensor.shared(np.ones(3), name="W")
    loss = (W**2).sum()
    decay = apply_weight_decay(weight_decay=0.5)
    inner = sgd(learning_rate=0.25)
    for optimizer in (
        symupdates.sam(optimizer=inner),
        symupdates.chain(inner, apply_momentum(momentum=0.5), symupdates.apply_scale(scale=0.125)),
        symupdates.chain(inner, symupdates.adjustable()),
        symupdates.chain(inner, apply_weight_decay(weight_decay=0.0, learning_rate=3.0), symupdates.apply_if_finite()),
        symupdates.nag(learning_rate=0.25),
        symupdates.extragradient(learning_rate=0.25),
        symupdates.barzilai_borwein(learning_rate=0.25),
    ):
        plain = optimizer(loss, [W])
        difference = plain[W] - decay(plain)[W]
        np.testing.assert_allclose(difference.eval(mode=PYTHON), 0.25 * 0.5, rtol=1e-12)


def test_the_rate_is_that_which_is_set():
    W = pytensor.shared(np.ones(3), name="W")
    optimizer = symupdates.chain(sgd(learning_rate=0.0), apply_weight_decay(weight_decay=0.5), symupdates.adjustable())
    updates = optimizer((W**2).sum(), [W])
    assert [v.name for v in updates] == ["W", "sgd/learning_rate", "weight_decay/weight_decay"]
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    step()
    assert W.get_value().tolist() == [1, 1, 1]
    symupdates.named(updates)["sgd/learning_rate"].set_value(0.25)
    step()
    np.testing.assert_allclose(W.get_value(), 1 - 0.25 * 2 - 0.125)


def test_the_rate_of_rows():
    E = pytensor.shared(np.ones((4, 2)), name="E")
    looked_up = symupdates.rows(E, np.array([1, 2]))
    updates = apply_weight_decay(sgd((looked_up**2).sum(), [looked_up], 0.25), weight_decay=0.5)
    pytensor.function([], [], updates=updates, mode=PYTHON)()
    np.testing.assert_allclose(E.get_value()[:, 0], [0.875, 0.375, 0.375, 0.875])


def test_where_nothing_tells_the_rate():
    W, b = make_param((3,), "float64", "W"), make_param((3,), "float64")
    loss = (W**2).sum() + (b**2).sum()
    _, looped = symupdates.loop(None, sgd(loss, [W, b]), n_steps=2)
    for updates in (
        {W: W - 0.1, b: b - 0.1},
        symupdates.lbfgs(loss, [W, b]),
        symupdates.polyak_step(loss, [W, b]),
        looped,
    ):
        with pytest.raises(ValueError, match=r"the rate at which W, param\[1\] moves; give learning_rate, as that"):
            apply_weight_decay(updates)
        with pytest.raises(ValueError, match="apply_proximal: nothing tells the rate"):
            symupdates.apply_proximal(updates)
        assert list(apply_weight_decay(updates, learning_rate=1.0))[:2] == list(updates)[:2]


def test_weight_decay_of_some():
    W, b = make_param((3, 2), "float32", "W"), make_param((2,), "float64", "b")
    loss = (W**2).sum() + (b**2).sum()
    before = sgd(loss, [W, b], learning_rate=0.0)
    for some in ([W], lambda p: p.ndim > 1, (v for v in [W]), "^W"):
        after = apply_weight_decay(before, params=some, weight_decay=0.25)
        assert list(after) == [W, b] and after[b] is before[b]
    start = W.get_value(), b.get_value()
    decayed = apply_weight_decay(before, weight_decay=lambda step: 0.5 / (1 + step), learning_rate=1.0)
    step = pytensor.function([], [], updates=decayed)
    for _ in range(2):
        step()
    for p, value in zip((W, b), start, strict=True):
        np.testing.assert_allclose(p.get_value(), value * 0.5 * 0.75, rtol=1e-6)
    assert apply_weight_decay(before, params=[]) == before
    assert apply_weight_decay(before, params=...)[b] is not before[b]
    with pytest.raises(ValueError, match=r"apply_weight_decay: params: the function <lambda> selects none of .* W, b"):
        apply_weight_decay(before, params=lambda p: False)
    with pytest.raises(TypeError, match="apply_weight_decay: weight_decay must be a real number"):
        apply_weight_decay(before, weight_decay=None)


# --- Averages ---------------------------------------------------------------------------------------------------------


def ema(trajectory, decay):
    """optax's form: from zero, divided by what its weights have gathered."""
    a = 0
    for p in trajectory:
        a = decay * a + (1 - decay) * p
    return a / (1 - decay ** len(trajectory))


def plain_ema(trajectory, start, decay):
    for p in trajectory:
        start = decay * start + (1 - decay) * p
    return start


def averaged(trajectory, begin, every):
    """The mean of every so many parameters after the first ones; the last of these until then."""
    chosen = trajectory[begin + every - 1 :: every]
    if len(trajectory) <= begin or not chosen:
        return trajectory[min(begin, len(trajectory)) - 1] if begin else None
    return np.mean(chosen, axis=0)


def test_averages(backend):
    """Each kind against its definition, in both precisions; the parameters train as without them."""
    kinds = {
        "debiased": (partial(apply_ema, decay=0.75), lambda path, start: ema(path, 0.75)),
        "plain": (partial(apply_ema, decay=0.75, debias=False), lambda path, start: plain_ema(path, start, 0.75)),
        "polyak": (apply_polyak_average, lambda path, start: np.mean(path, axis=0)),
        "late": (partial(apply_polyak_average, begin=3, every=2), lambda path, start: averaged(path, 3, 2)),
    }
    g = pt.tensor("g", shape=(16,), dtype="float64")
    updates, cases = {}, []
    for name, (transform, expected) in kinds.items():
        for dtype in ("float32", "float64"):
            p = make_param((16,), dtype, f"{name} {dtype}")
            before = sgd([g], [p], learning_rate=0.5)
            after = transform(before)
            assert after[p] is before[p] and list(before) == [p]
            updates |= after
            cases.append((p, averages(after)[p], expected, p.get_value(), []))
    step = pytensor.function([g], [], updates=updates, mode=backend)
    for given in np.random.default_rng(0).normal(size=(10, 16)):
        step(given)
        for p, average, expected, start, path in cases:
            path.append(np.array(p.get_value(), dtype="float64"))
            assert average.get_value().dtype == p.dtype
            value = expected(path, start.astype("float64"))
            # Values of order one: a rounding or two of each step add up.
            atol = 20 * np.finfo(p.dtype).eps
            np.testing.assert_allclose(average.get_value(), value, rtol=0, atol=atol)


def test_evaluating_at_the_averages_and_swapping_them():
    W, b = make_param((3,), "float32", "W"), make_param((), "float64", "b")
    loss = (W**2).sum() + b**2
    updates = apply_ema(adam(loss, [W, b], learning_rate=0.1), params=[W], decay=0.5)
    assert list(averages(updates)) == [W]
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(3):
        step()
    evaluate = pytensor.function([], W * b, givens=averages(updates), mode=PYTHON)
    at_averages = evaluate()
    before = values(updates)
    assert not np.array_equal(at_averages, W.get_value() * b.get_value())
    swap_averages(updates)
    np.testing.assert_array_equal(W.get_value() * b.get_value(), at_averages)
    swap_averages(updates)
    for old, new in zip(before, values(updates), strict=True):
        np.testing.assert_array_equal(old, new)
    for function in (averages, swap_averages):
        with pytest.raises(ValueError, match="keep no averages; add apply_ema"):
            function(sgd(loss, [W, b]))


# --- SWAG -------------------------------------------------------------------------------------------------------------


def moments(path, rank):
    """Maddox et al. (2019), algorithm 1: the mean, the variances, and the last deviations from the mean at the time."""
    means = [np.mean(path[: n + 1], axis=0) for n in range(len(path))]
    variance = np.mean(np.square(path), axis=0) - means[-1] ** 2
    return means[-1], variance, [p - a for p, a in zip(path, means, strict=True)][-rank:]


@pytest.mark.ci
@pytest.mark.once
def test_swag(backend):
    """Against its definition, in both precisions; the parameters train as without."""
    g = pt.tensor("g", shape=(4,), dtype="float64")
    params = [make_param((4,), dtype, dtype) for dtype in ("float32", "float64")]
    before = sgd([g, g], params, learning_rate=0.5)
    updates = symupdates.apply_swag(before, begin=2, every=2, rank=3)
    assert [updates[p] for p in params] == [before[p] for p in params]
    found = symupdates.named(updates)
    step = pytensor.function([g], [], updates=updates, mode=backend)
    paths = [[], []]
    for t, given in enumerate(np.random.default_rng(0).normal(size=(13, 4)), start=1):
        step(given)
        for p, path in zip(params, paths, strict=True):
            kept = {slot: found[f"{p.name}/swag/{slot}"].get_value() for slot in ("mean", "variance", "deviations")}
            assert all(x.dtype == p.dtype for x in kept.values())
            if t > 2 and t % 2 == 0:
                path.append(p.get_value().astype("float64"))
            if t <= 2:
                np.testing.assert_array_equal(kept["mean"], p.get_value())
            if not path:
                assert not kept["variance"].any() and not kept["deviations"].any()
                continue
            mean, variance, last = moments(path, rank=3)
            atol = 20 * np.finfo(p.dtype).eps
            np.testing.assert_allclose(kept["mean"], mean, rtol=0, atol=atol)
            np.testing.assert_allclose(kept["variance"], variance, rtol=0, atol=atol)
            rows = [kept["deviations"][i % 3] for i in range(len(path))][-3:]
            np.testing.assert_allclose(rows, last, rtol=0, atol=atol)
    assert found["swag/collected"].get_value() == len(paths[0]) == 5
    assert list(averages(updates).values()) == [found[f"{p.name}/swag/mean"] for p in params]


def test_swag_draws():
    """Their mean and covariance, also that of two parameters, within five standard errors; seeds; what is not there."""
    W, b = make_param((2,), "float64", "W"), make_param((), "float32", "b")
    g, h = pt.vector("g", dtype="float64"), pt.scalar("h", dtype="float64")
    plain = sgd([g, h], [W, b], learning_rate=0.5)
    updates = symupdates.apply_swag(plain, rank=4)
    step = pytensor.function([g, h], [], updates=updates, mode=PYTHON)
    with pytest.raises(ValueError, match="swag_draws: these updates keep no deviations; add apply_swag"):
        symupdates.swag_draws(plain)
    path = []
    for given in np.random.default_rng(0).normal(size=(8, 2)):
        if len(path) < 2:
            with pytest.raises(ValueError, match=f"swag_draws: {len(path)} of at least 2 updates"):
                symupdates.swag_draws(updates)
        step(given, given.sum())
        path.append([*W.get_value(), b.get_value()])
        if len(path) not in (3, 8):
            continue
        mean, variance, last = moments(np.array(path), rank=4)
        k = len(last)
        covariance = np.diag(variance) / 2 + np.transpose(last) @ last / (2 * (k - 1))
        n = 40_000
        drawn = symupdates.swag_draws(updates, draws=n, seed=1)
        assert [(p, x.shape, x.dtype.name) for p, x in drawn.items()] == [(W, (n, 2), "float64"), (b, (n,), "float32")]
        together = np.column_stack([drawn[W], drawn[b]])
        sizes = np.sqrt(np.diag(covariance))
        assert (np.abs(together.mean(axis=0) - mean) < 5 * sizes / np.sqrt(n)).all()
        error = np.abs(np.cov(together.T) - covariance) / np.outer(sizes, sizes)
        assert (error < 5 * np.sqrt(2 / n)).all()
    again, other = (symupdates.swag_draws(updates, draws=n, seed=seed)[W] for seed in (1, 2))
    np.testing.assert_array_equal(again, drawn[W])
    assert not np.array_equal(other, again)
    for arguments, words in (
        ({"begin": -1}, "begin"),
        ({"every": 0}, "every"),
        ({"rank": 1}, "rank must be .* least 2"),
    ):
        with pytest.raises(ValueError, match=f"apply_swag: {words}"):
            symupdates.apply_swag(plain, **arguments)
    with pytest.raises(ValueError, match="swag_draws: draws must be a whole number of at least 1"):
        symupdates.swag_draws(updates, draws=0)
    with pytest.raises(ValueError, match="swag_draws: seed must not be negative"):
        symupdates.swag_draws(updates, seed=-1)


STAND_INS = {
    "slow": lambda loss, params: apply_lookahead(adam(loss, params, learning_rate=0.1), every=3),
    "schedule-free": partial(schedule_free_sgd, learning_rate=0.1),
    "search": partial(lbfgs, learning_rate=64.0),
    "debiased": lambda loss, params: apply_ema(sgd(loss, params, learning_rate=0.1), decay=0.5),
}


@pytest.mark.parametrize("optimizer", STAND_INS.values(), ids=STAND_INS)
def test_what_stands_in_for_the_parameters(optimizer):
    """It does from the beginning on; it is not the parameters; and it is put in their place and back."""
    W, b = make_param((3,), "float32", "W"), make_param((), "float64", "b")
    updates = optimizer((W**4).sum() + b**2, [W, b])
    for p, stand_in in averages(updates).items():
        np.testing.assert_array_equal(stand_in.get_value(), p.get_value())
    assert list(averages(updates)) == [W, b]
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    step()
    step()
    before = values([W, *averages(updates).values()])
    assert not np.array_equal(before[0], before[1])
    swap_averages(updates)
    np.testing.assert_array_equal(W.get_value(), before[1])
    swap_averages(updates)
    np.testing.assert_array_equal(W.get_value(), before[0])


def test_the_last_that_stands_in_counts():
    W = make_param((3,), "float64", "W")
    updates = apply_ema(apply_lookahead(sgd((W**2).sum(), [W])))
    assert averages(updates)[W].name == "W/ema/average"
    assert averages(apply_lookahead(updates))[W].name == "W/lookahead_2/slow"


def test_the_slow_weights_stand_in():
    """They are where every so many steps end; and the best point of a search is never worse than one before."""
    W = make_param((3,), "float64", "W")
    updates = apply_lookahead(sgd((W**2).sum(), [W], learning_rate=0.25), every=2, alpha=0.5)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    start = W.get_value()
    for factor in (1, 1 + 0.5 * (0.25 - 1), 1 - 0.375):
        step()
        np.testing.assert_allclose(averages(updates)[W].get_value(), factor * start, rtol=1e-14)


def test_a_search_is_evaluated_at_the_best_point():
    W = make_param((3,), "float64", "W")
    loss = (W**4).sum()
    updates = lbfgs(loss, [W], learning_rate=64.0)
    step = pytensor.function([], loss, updates=updates, mode=PYTHON)
    evaluate = pytensor.function([], loss, givens=averages(updates), mode=PYTHON)
    trials, found = zip(*((step(), evaluate()) for _ in range(20)), strict=True)
    assert max(np.diff(found)) <= 0 < max(np.diff(trials))
    assert found[-1] <= min(trials)


def test_wrong_averages():
    W = make_param((3,), "float64", "W")
    updates = sgd((W**2).sum(), [W])
    for begin in (-1, 1.5, True, None):
        with pytest.raises(ValueError, match="begin must be a whole number of at least 0"):
            apply_polyak_average(updates, begin=begin)
    with pytest.raises(ValueError, match="every must be a whole number of at least 1"):
        apply_polyak_average(updates, every=0)
    with pytest.raises(ValueError, match="apply_ema: decay must be a scalar"):
        apply_ema(updates, decay=[0.9])


def test_averages_are_kept_and_reset_with_the_rest():
    W = make_param((3,), "float64", "W")
    updates = apply_polyak_average(apply_ema(sgd((W**2).sum(), [W], 0.1), debias=False))
    assert [v.name for v in updates] == ["W", "W/ema/average", "W/polyak_average/average", "polyak_average/t"]
    pytensor.function([], [], updates=updates, mode=PYTHON)()
    reset(updates)
    for average in list(updates)[1:3]:
        assert not np.array_equal(average.get_value(), 2 * W.get_value())
    W.set_value(2 * W.get_value())
    reset(updates)
    for average in list(updates)[1:3]:
        np.testing.assert_array_equal(average.get_value(), W.get_value())
