"""Calls without data, and with arguments that a function does not have."""

import gc
import inspect
import re
import weakref

import pytensor.tensor as pt
import pytest
from helpers import make_param

import symupdates
from symupdates import adam, apply_ema, chain, constraints, gradients, mechanic, rmsprop, schedules, sgd
from symupdates.core import awaits
from symupdates.core.arguments import FACTS
from symupdates.core.awaits import offering


@pytest.fixture
def problem():
    W = make_param((3, 2), "float64", "W")
    return (W**2).sum(), [W]


def moved_to(p):
    @awaits("x")
    def moved(x=None, by=1.0):
        return x + by * p

    return moved


def test_a_function_of_ones_own_is_not_kept():
    p = make_param((2,), "float64")
    p_is_there = weakref.ref(p)
    moved = moved_to(p)
    assert moved(pt.dvector()).ndim == 1
    assert moved().keywords == {"by": 1.0}
    del p, moved
    gc.collect()
    assert p_is_there() is None


def test_what_is_offered_is_taken_where_nothing_was_given():
    """By functions that have the argument, wherever they are called, and made for those that ask only."""

    @awaits("x")
    def scaled(x=None, by=None):
        return x, by

    made = []
    with offering(by=lambda: made.append(None) or 2.0):
        assert scaled(3.0, by=1.0) == (3.0, 1.0) and not made
        assert scaled().keywords == {"by": None} and not made
        with offering(other=lambda: 1 / 0):
            assert scaled(3.0) == scaled()(3.0) == (3.0, 2.0)
    assert scaled(3.0) == (3.0, None) and len(made) == 2


def test_a_signature_is_read_when_a_function_is_called():
    @awaits("x")
    def shifted(x=None, by=1.0):
        return x + by

    assert "__signature__" not in vars(shifted)
    assert list(inspect.signature(shifted).parameters) == ["x", "by"]
    assert shifted(1.0) == 2.0
    assert list(inspect.signature(shifted).parameters) == ["x", "by"]


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (
            adam,
            {"lr": 0.1},
            r"adam has no argument lr\. Did you mean learning_rate\? It takes loss_or_grads, par",
        ),
        (adam, {"betas": (0.9, 0.99)}, r"Did you mean beta1 or beta2\?"),
        (adam, {"beta_1": 0.9, "eps": 1e-8}, r"no argument beta_1, eps\. Did you mean beta1\? Did you mean epsilon\?"),
        (adam, {"epsilom": 1e-8}, r"Did you mean epsilon\?"),
        (adam, {"amsgrad": True}, r"It is a rule: amsgrad\(\)"),
        (adam, {"colour": "red"}, r"adam has no argument colour\. It takes loss_or_grads"),
        (sgd, {"momentum": 0.9}, r"sgd has no argument momentum\. .*apply_momentum\(momentum=.*: momentum\(\)"),
        (sgd, {"nesterov": True}, r"apply_nesterov_momentum\(momentum=.*nesterov_momentum\(\)"),
        (sgd, {"weight_decay": 0.1}, r"apply_weight_decay\(weight_decay=.*gradients\.add_l2\(.*adamw"),
        (sgd, {"decay": 0.1}, r"is a schedule: learning_rate=schedules"),
        (rmsprop, {"decay": 0.1}, r"Did you mean rho\? .* is a schedule"),
        (rmsprop, {"alpha": 0.1}, r"Did you mean rho or learning_rate\?"),
        (sgd, {"clipnorm": 1.0}, r"gradients\.clip_by_norm\("),
        (sgd, {"clipvalue": 1.0}, r"gradients\.clip_by_value\("),
        (sgd, {"global_clipnorm": 1.0}, r"gradients\.clip_by_total_norm\("),
        (sgd, {"use_ema": True}, r"apply_ema\("),
        (symupdates.sam, {"learning_rate": 0.1}, r"sam has no argument .* such as sgd\(learning_rate=\.\.\.\)"),
        (gradients.clip_by_value, {"clip_value": 1.0}, r"clip_by_value has no .* Did you mean limit\?"),
        (apply_ema, {"ema_momentum": 0.9}, r"apply_ema has no argument ema_momentum\. Did you mean decay\?"),
        (constraints.box, {"hi": 0.9}, r"box has no argument hi\. .*It takes x, low, high\."),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else None,
)
def test_unknown_arguments(function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(**arguments)
    with pytest.raises(TypeError, match=message):
        function()(pt.dscalar(), **arguments)


def test_arguments_by_position(problem):
    with pytest.raises(TypeError, match=r"^sgd: too many positional arguments\. It takes loss_or_grads, params, lear"):
        sgd(*problem, 0.1, 0.9)
    with pytest.raises(TypeError, match=r"^sgd: multiple values for argument 'learning_rate'\."):
        sgd(learning_rate=0.1)(*problem, 0.1)


def test_arguments_of_an_optimizer_made_of_others(problem):
    for optimizer, name in ((chain(sgd()), "chain"), (mechanic(sgd()), "mechanic")):
        with pytest.raises(
            TypeError, match=rf"{name} has no argument learning_rate\. .* takes loss_or_grads, params\."
        ):
            optimizer(*problem, learning_rate=0.1)
        with pytest.raises(TypeError, match=rf"^{name}: too many positional arguments"):
            optimizer(*problem, 0.1)
        with pytest.raises(ValueError, match=rf"{name}: params missing\. .*: {name}\(\)\.$"):
            optimizer(problem[0])


def test_facts_are_true():
    """Every name stands in the table once; those that are ours, and the calls it tells, are there."""
    theirs = [name for fact in FACTS for name in fact[0].split()]
    assert len(set(theirs)) == len(theirs)
    functions = [getattr(symupdates, name) for name in symupdates.__all__]
    functions += [getattr(gradients, name) for name in gradients.__all__]
    ours = {name for function in functions for name in inspect.signature(function).parameters}
    assert {name for fact in FACTS for name in fact[1].split()} <= ours
    calls = {call for fact in FACTS for call in re.findall(r"([a-z_.0-9]+)\((\w+=)?", fact[2])}
    assert len(calls) > 10
    for name, argument in calls - {("pytensor.function", "")}:
        if name.startswith("schedules."):
            assert getattr(schedules, name.removeprefix("schedules."))(0.01, 10_000)
            continue
        where = gradients if name.startswith("gradients.") else symupdates
        function = getattr(where, name.removeprefix("gradients."))
        assert not argument or argument[:-1] in inspect.signature(function).parameters
