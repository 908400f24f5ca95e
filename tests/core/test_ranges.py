"""Which numbers hyper-parameters may be."""

from functools import partial
from inspect import signature

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, call, every_rule_once, make_param
from loss_table import LOSS_ROWS

import symupdates as su
from symupdates import constraints, gradients, proximal, schedules
from symupdates.core.ranges import BOUND, DECAY, EXTENDED, FRACTION, PART, POSITIVE, REAL, Range

NAN, INF = float("nan"), float("inf")


def of_the_loss(rule, **given):
    p = make_param((3,), "float64", "p")
    return partial(rule, (p**2).sum(), [p], **given)


def of_gradients(rule, **given):
    return partial(rule, [pt.vector("g", dtype="float64")], [make_param((3,), "float64", "p")], **given)


def of_grads(transform, **given):
    return partial(transform, [pt.vector("g", dtype="float64")], **given)


def of_updates(transform, **given):
    p = make_param((3,), "float64", "p")
    return partial(transform, su.sgd((p**2).sum(), [p]), **given)


def of_a_matrix(function, *args, **given):
    return partial(function, pt.matrix("x", dtype="float64"), *args, **given)


REFUSED = [
    (of_gradients(su.adam, learning_rate=NAN), "adam: learning_rate must be finite, but it is nan"),
    (of_gradients(su.adam, learning_rate=INF), "adam: learning_rate must be finite, but it is inf"),
    (of_gradients(su.adam, beta2=1.0), "adam: beta2 must be at least 0 and below 1, but it is 1.0"),
    (of_gradients(su.adam, beta1=-0.5), "adam: beta1 must be at least 0 and below 1, but it is -0.5"),
    (of_gradients(su.adam, epsilon=-1e-8), "adam: epsilon must be finite and at least 0, but it is -1e-08"),
    (of_gradients(su.adamw, weight_decay=-1), "adamw: weight_decay must be finite and at least 0, but it is -1"),
    (of_gradients(su.momentum, momentum=1.5), "momentum: momentum must be at least 0 and at most 1"),
    (of_gradients(su.heavy_ball, dampening=-1), "heavy_ball: dampening must be at least 0 and at most 1"),
    (of_gradients(su.rmsprop, rho=1), "rmsprop: rho must be at least 0 and below 1, but it is 1"),
    (of_gradients(su.adagrad, initial_accumulator=-1.0), "adagrad: initial_accumulator must be finite and at least 0"),
    (of_gradients(su.ftrl, initial_accumulator=NAN), "ftrl: initial_accumulator must be finite and at least 0"),
    (of_gradients(su.ftrl, learning_rate=0.0), "ftrl: learning_rate must be finite and above 0"),
    (of_gradients(su.ftrl, beta=-1.0), "ftrl: beta must be finite and at least 0"),
    (of_gradients(su.yogi, initial_accumulator=-1.0), "yogi: initial_accumulator must be"),
    (of_gradients(su.madgrad, learning_rate=-1.0), "madgrad: learning_rate must be finite and at least 0"),
    (of_gradients(su.radam, threshold=3), "radam: threshold must be at least 4, but it is 3"),
    (of_gradients(su.nadam, momentum_decay=-1), "nadam: momentum_decay must be at least 0"),
    (of_gradients(su.qhadam, nu2=1.5), "qhadam: nu2 must be at least 0 and at most 1"),
    (of_gradients(su.adafactor, beta2_decay=0.8), "adafactor: beta2_decay must be finite and at most 0, but it is 0.8"),
    (of_gradients(su.adafactor, clip_threshold=0), "adafactor: clip_threshold must be above 0"),
    (of_gradients(su.muon, consistent_rms=NAN), "muon: consistent_rms must be finite and at least 0"),
    (of_gradients(su.fromage, min_norm=0.0), "fromage: min_norm must be finite and above 0"),
    (of_gradients(su.rprop, eta_minus=1.5), "rprop: eta_minus must be above 0 and at most 1"),
    (of_gradients(su.rprop, eta_plus=0.5), "rprop: eta_plus must be finite and at least 1"),
    (
        of_gradients(su.rprop, min_step_size=2, max_step_size=1),
        "rprop: min_step_size must be at most max_step_size, but they are 2 and 1",
    ),
    (of_gradients(su.prodigy, initial_distance=0), "prodigy: initial_distance must be finite and above 0"),
    (of_gradients(su.dog, relative_distance=-1), "dog: relative_distance must be finite and above 0"),
    (of_gradients(su.mechanic(su.sgd(), initial_scale=0.0)), "mechanic: initial_scale must be finite and above 0"),
    (of_gradients(su.sgld, learning_rate=-1.0), "sgld: learning_rate must be finite and at least 0"),
    (of_gradients(su.sgld, temperature=-1.0), "sgld: temperature must be finite and at least 0"),
    (
        of_gradients(su.sghmc, friction=0.1, noise_estimate=0.2),
        "sghmc: noise_estimate must be at most friction, but they are 0.2 and 0.1",
    ),
    (of_gradients(su.schedule_free_sgd, beta=1.5), "schedule_free_sgd: beta must be at least 0 and at most 1"),
    (of_the_loss(su.polyak_step, c=0), "polyak_step: c must be finite and above 0"),
    (of_the_loss(su.polyak_step, max_learning_rate=-1), "polyak_step: max_learning_rate must be at least 0"),
    (of_the_loss(su.sam, rho=-0.05), "sam: rho must be finite and at least 0"),
    (of_the_loss(su.lbfgs, c1=0.9, c2=0.1), "lbfgs: c1 must be at most c2, but they are 0.9 and 0.1"),
    (of_the_loss(su.lbfgs, c2=1), "lbfgs: c2 must be above 0 and below 1"),
    (of_the_loss(su.adahessian, hessian_power=2), "adahessian: hessian_power must be at least 0 and at most 1"),
    (of_grads(gradients.clip_by_value, limit=-1), "clip_by_value: limit must be at least 0, but it is -1"),
    (of_grads(gradients.clip_by_norm, max_norm=-1), "clip_by_norm: max_norm must be at least 0, but it is -1"),
    (of_grads(gradients.clip_by_total_norm, max_norm=NAN), "clip_by_total_norm: max_norm must be at least 0"),
    (of_grads(gradients.add_noise, eta=-1), "add_noise: eta must be finite and at least 0"),
    (partial(su.total_norm_constraint, [pt.vector()], -1), "total_norm_constraint: max_norm must be at least 0"),
    (of_updates(su.apply_if_small, max_norm=-1), "apply_if_small: max_norm must be at least 0"),
    (of_updates(su.apply_freeze, until=NAN), "apply_freeze: until must be at least 0"),
    (of_updates(su.apply_lookahead, alpha=2), "apply_lookahead: alpha must be at least 0 and at most 1"),
    (of_updates(su.apply_ema, decay=1.0), "apply_ema: decay must be at least 0 and below 1"),
    (of_updates(su.apply_weight_decay, weight_decay=-1), "apply_weight_decay: weight_decay must be finite and at"),
    (of_updates(su.apply_weight_decay, learning_rate=NAN), "apply_weight_decay: learning_rate must be finite"),
    (of_updates(su.apply_proximal, strength=-1), "apply_proximal: strength must be finite and at least 0"),
    (of_a_matrix(constraints.l2_ball, radius=-1), "l2_ball: radius must be at least 0, but it is -1"),
    (of_a_matrix(constraints.l1_ball, radius=NAN), "l1_ball: radius must be at least 0"),
    (of_a_matrix(constraints.simplex, total=NAN), "simplex: total must be finite and at least 0, but it is nan"),
    (of_a_matrix(constraints.max_norm, bound=-1), "max_norm: bound must be at least 0"),
    (of_a_matrix(constraints.box, low=2, high=1), "box: low must be at most high, but they are 2 and 1"),
    (of_a_matrix(constraints.box, low=NAN), "box: low must be a number, but it is nan"),
    (of_a_matrix(su.norm_constraint, -1), "norm_constraint: max_norm must be at least 0"),
    (of_a_matrix(su.norm_constraint, 1, epsilon=-1), "norm_constraint: epsilon must be finite and at least 0"),
    (of_a_matrix(proximal.l1, -1), "l1: step_size must be finite and at least 0"),
    (of_a_matrix(proximal.elastic_net, 1, l1_ratio=2), "elastic_net: l1_ratio must be at least 0 and at most 1"),
    # What is known of a schedule, or of a variable.
    (
        of_gradients(su.adam, beta1=lambda step: 1.0),
        "the value of the schedule of adam: beta1 must be at least 0 and below 1, but it is 1.0",
    ),
    (
        of_gradients(su.adam, beta1=schedules.constant(1.0)),
        "the value of the schedule of adam: beta1 must be at least 0 and below 1",
    ),
    (of_gradients(su.sgd, learning_rate=pt.constant(NAN)), "sgd: learning_rate must be finite"),
]


@pytest.mark.parametrize("make, message", REFUSED, ids=[message.split(",")[0] for _, message in REFUSED])
def test_numbers_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make()


@every_rule_once
def test_every_hyper_parameter_is_a_number(row):
    p, g = make_param(row.shape, "float64", "p"), pt.tensor("g", shape=row.shape, dtype="float64")
    for name, value in row.hyper.items():
        with pytest.raises(ValueError, match=f"{row.name}: {name} must be .* but it is nan"):
            call(row, [g], [p], **{name: NAN})
        is_optional = signature(row.rule).parameters[name].default is None
        no_numbers = [True, np.ma.masked_array(value, mask=True), np.ma.masked_array(value), "1", 1j]
        for no_number in no_numbers + [None] * (not is_optional):
            with pytest.raises(TypeError, match=f"{row.name}: {name} must"):
                call(row, [g], [p], **{name: no_number})


@pytest.mark.parametrize("row", LOSS_ROWS, ids=lambda row: row.name)
def test_those_of_the_loss_too(row):
    p = make_param((3,), "float64", "p")
    z = p - 1
    for name in row.hyper:
        with pytest.raises(ValueError, match=f"{row.name}: {name} must be .* but it is nan"):
            row.rule((z**2).sum(), [p], **row.arguments(z), **row.hyper | {name: NAN})


def test_what_is_symbolic_is_the_users():
    """A shared variable may have any value, and be given a better one before it is used; so may expressions."""
    p, g = make_param((3,), "float64", "p"), pt.vector("g", dtype="float64")
    beta = pytensor.shared(1.5, name="beta")
    updates = su.adam([g], [p], learning_rate=pt.dscalar("rate"), beta1=beta, beta2=lambda step: 2.0 + step)
    assert p in updates
    constraints.box(pt.vector("x"), low=beta, high=0.0)
    adjusted = su.adjustable(su.sgd([g], [p]))
    su.named(adjusted)["sgd/learning_rate"].set_value(NAN)


def test_what_makes_sense_at_the_ends():
    """Infinite bounds are none; a rate may be negative, to climb, or zero, to stand; numbers may be of any kind."""
    g, p = pt.vector("g", dtype="float64"), make_param((3,), "float64", "p")
    none = {
        gradients.clip_by_value: {"limit": INF},
        gradients.clip_by_norm: {"max_norm": INF},
        gradients.clip_by_total_norm: {"max_norm": INF},
    }
    outputs = [transform([g], **given)[0] for transform, given in none.items()]
    outputs += [constraints.l2_ball(g, radius=INF), constraints.l1_ball(g, radius=INF)]
    outputs += [constraints.box(g, low=-INF, high=INF), constraints.max_norm(g, bound=INF, axes=0)]
    given = np.array([3.0, -4.0, 5.0])
    for got in pytensor.function([g], outputs, mode=PYTHON)(given):
        np.testing.assert_array_equal(got, given)
    zeros = [constraints.l2_ball(g, radius=0), constraints.l1_ball(g, radius=0), constraints.simplex(g, total=0)]
    for got in pytensor.function([g], [*zeros, *gradients.clip_by_norm([g], 0)], mode=PYTHON)(given):
        assert not got.any()
    start = p.get_value()
    pytensor.function([g], [], updates=su.sgd([g], [p], learning_rate=-1), mode=PYTHON)(given)
    np.testing.assert_array_equal(p.get_value(), start + given)
    for number in (0, np.int8(0), np.float16(0.5), np.array(0.5), 1e-300):
        su.adam([g], [p], beta1=number, epsilon=number, learning_rate=number)


def test_ranges_in_words():
    words = {
        REAL: "finite",
        EXTENDED: "a number",
        POSITIVE: "finite and above 0",
        BOUND: "at least 0",
        DECAY: "at least 0 and below 1",
        PART: "at least 0 and at most 1",
        FRACTION: "above 0 and below 1",
        Range(high=0, has_high=True): "finite and at most 0",
    }
    assert {allowed: str(allowed) for allowed in words} == words
    assert [x for x in (-1, 0, 0.5, 1, 2, INF, NAN) if DECAY.has(x)] == [0, 0.5]
    assert [x for x in (-1, 0, 0.5, 1, 2, INF, NAN) if BOUND.has(x)] == [0, 0.5, 1, 2, INF]
    assert [x for x in (-INF, -1, 0, INF, NAN) if EXTENDED.has(x)] == [-INF, -1, 0, INF]
