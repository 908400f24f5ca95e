"""What code written for lasagne.updates relies on."""

from collections import OrderedDict
from inspect import Parameter, signature

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param

import symupdates as updates

MOMENTS = [("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8)]
# Lasagne's names, positions and defaults; PyMC's where Lasagne has none, and for the rates that Lasagne asks for.
SIGNATURES = {
    "sgd": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3)],
    "momentum": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3), ("momentum", 0.9)],
    "nesterov_momentum": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3), ("momentum", 0.9)],
    "heavy_ball": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 1e-3),
        ("momentum", 0.9),
        ("dampening", 0.0),
        ("nesterov", False),
    ],
    "qhm": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3), ("momentum", 0.999), ("nu", 0.7)],
    "optimistic_gradient": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 1e-3),
        ("alpha", 1.0),
        ("beta", 1.0),
    ],
    "asgd": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.01),
        ("weight_decay", 1e-4),
        ("power", 0.75),
        ("begin", 0),
    ],
    "sign_sgd": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3)],
    "signum": [("loss_or_grads", None), ("params", None), ("learning_rate", 1e-3), ("beta", 0.9)],
    "lion": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 1e-4),
        ("beta1", 0.9),
        ("beta2", 0.99),
        ("weight_decay", 0.0),
    ],
    "rprop": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.01),
        ("eta_minus", 0.5),
        ("eta_plus", 1.2),
        ("min_step_size", 1e-6),
        ("max_step_size", 50.0),
    ],
    "adagrad": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 1.0),
        ("epsilon", 1e-6),
        ("initial_accumulator", 0.0),
    ],
    "centered_rmsprop": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.001),
        ("rho", 0.9),
        ("epsilon", 1e-6),
    ],
    "ftrl": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.1),
        ("beta", 1.0),
        ("l1", 0.0),
        ("l2", 0.0),
        ("initial_accumulator", 0.0),
    ],
    "sm3": [("loss_or_grads", None), ("params", None), ("learning_rate", 0.1), ("momentum", 0.9), ("epsilon", 1e-8)],
    "madgrad": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.01),
        ("momentum", 0.9),
        ("epsilon", 1e-6),
    ],
    "adagrad_window": [
        ("loss_or_grads", None),
        ("params", None),
        ("learning_rate", 0.001),
        ("epsilon", 0.1),
        ("n_win", 10),
    ],
    "rmsprop": [("loss_or_grads", None), ("params", None), ("learning_rate", 1.0), ("rho", 0.9), ("epsilon", 1e-6)],
    "adadelta": [("loss_or_grads", None), ("params", None), ("learning_rate", 1.0), ("rho", 0.95), ("epsilon", 1e-6)],
    "adam": [("loss_or_grads", None), ("params", None), ("learning_rate", 0.001), *MOMENTS],
    "adamw": [("loss_or_grads", None), ("params", None), ("learning_rate", 0.001), *MOMENTS, ("weight_decay", 0.01)],
    "adamax": [("loss_or_grads", None), ("params", None), ("learning_rate", 0.002), *MOMENTS],
    "amsgrad": [("loss_or_grads", None), ("params", None), ("learning_rate", 0.001), *MOMENTS],
    "apply_momentum": [("updates", None), ("params", None), ("momentum", 0.9)],
    "apply_nesterov_momentum": [("updates", None), ("params", None), ("momentum", 0.9)],
    "apply_weight_decay": [("updates", None), ("params", None), ("weight_decay", 0.01), ("learning_rate", None)],
    "apply_scale": [("updates", None), ("params", None), ("scale", 1.0)],
    "apply_lookahead": [("updates", None), ("params", None), ("every", 5), ("alpha", 0.5)],
    "apply_projection": [("updates", None), ("params", None), ("projection", updates.constraints.non_negative)],
    "apply_if_finite": [("updates", None), ("params", None), ("limit", None)],
    "apply_if_small": [("updates", None), ("params", None), ("max_norm", 1.0), ("limit", None)],
    "apply_freeze": [("updates", None), ("params", None), ("until", np.inf)],
    "apply_ema": [("updates", None), ("params", None), ("decay", 0.99), ("debias", True)],
    "apply_polyak_average": [("updates", None), ("params", None), ("begin", 0), ("every", 1)],
    "averages": [("updates", Parameter.empty)],
    "swap_averages": [("updates", Parameter.empty)],
    "adjustable": [("updates", None)],
    "loop": [("outputs", Parameter.empty), ("updates", Parameter.empty), ("sequences", None), ("n_steps", None)],
    "accumulate": [("optimizer", Parameter.empty), ("every", 4), ("mean", True), ("close", None)],
    "norm_constraint": [
        ("tensor_var", Parameter.empty),
        ("max_norm", Parameter.empty),
        ("norm_axes", None),
        ("epsilon", 1e-7),
    ],
    "total_norm_constraint": [
        ("tensor_vars", Parameter.empty),
        ("max_norm", Parameter.empty),
        ("epsilon", 1e-7),
        ("return_norm", False),
    ],
    "get_or_compute_grads": [("loss_or_grads", Parameter.empty), ("params", Parameter.empty)],
}


def test_signatures():
    assert set(updates.__all__) >= set(SIGNATURES)
    for name, expected in SIGNATURES.items():
        parameters = signature(getattr(updates, name)).parameters.values()
        assert [(q.name, q.default) for q in parameters] == expected, name


@pytest.fixture
def network():
    W, b = make_param((3, 2), "float64", "W"), make_param((2,), "float64", "b", seed=1)
    x = pt.tensor("x", shape=(4, 3), dtype="float64")
    return {"W": W, "b": b}, x, (pt.tanh(x @ W + b) ** 2).mean()


DATA = np.random.default_rng(0).normal(size=(4, 3))


def train(x, dictionary, steps=3):
    step = pytensor.function([x], [], updates=dictionary, mode=PYTHON, on_unused_input="ignore")
    for _ in range(steps):
        step(DATA)


def test_entries_are_rewritten_and_dicts_merged(network):
    """Scaled steps, clipped weights, running statistics, a rate that decays inside the updates."""
    params, x, loss = network
    rate = pytensor.shared(np.float64(0.5), name="rate")
    mean = pytensor.shared(np.zeros(3), name="mean")
    steps = updates.nesterov_momentum(loss, params.values(), learning_rate=rate, momentum=0.9)
    for p in params.values():
        steps[p] = pt.clip(p + 2.0 * (steps[p] - p), -0.25, 0.25)
    steps[rate] = rate * 0.5
    steps.update({mean: 0.9 * mean + 0.1 * x.mean(axis=0)})
    extra = [(pytensor.shared(0, name="count"), pt.constant(1, dtype="int64"))]
    merged = OrderedDict(list(steps.items()) + extra)
    train(x, merged)
    assert rate.get_value() == 0.5**4
    assert np.abs(params["W"].get_value()).max() <= 0.25
    assert mean.get_value().any()


def test_state_is_saved_by_position(network):
    params, x, loss = network
    steps = updates.adam(loss, list(params.values()))
    train(x, steps)
    saved = [p.get_value() for p in steps.keys()]
    train(x, steps)
    reached = [p.get_value() for p in steps.keys()]
    again = updates.adam(loss, list(params.values()))
    for p, value in zip(again.keys(), saved, strict=True):
        p.set_value(value)
    train(x, again)
    for p, value in zip(again.keys(), reached, strict=True):
        np.testing.assert_array_equal(p.get_value(), value)


def test_iterables_of_parameters(network):
    params, _, loss = network
    W, b = params.values()
    for some in (
        [W, b],
        (W, b),
        {W, b},
        {W: 1, b: 2},
        params.values(),
        (p for p in (W, b)),
        OrderedDict.fromkeys((W, b)),
    ):
        assert {v for v in updates.adagrad(loss_or_grads=loss, params=some) if v in (W, b)} == {W, b}


def test_gradients_parked_in_shared_variables(network):
    """Gradients are computed by one function and applied by another."""
    params, x, loss = network
    parked = [pytensor.shared(np.zeros_like(p.get_value())) for p in params.values()]
    grads = updates.get_or_compute_grads(loss, params.values())
    park = pytensor.function([x], loss, updates=dict(zip(parked, grads, strict=True)), mode=PYTHON)
    apply = pytensor.function([], [], updates=updates.sgd(parked, params.values(), learning_rate=0.5), mode=PYTHON)
    before = [p.get_value() for p in params.values()]
    park(DATA)
    apply()
    for p, old, g in zip(params.values(), before, parked, strict=True):
        np.testing.assert_allclose(p.get_value(), old - 0.5 * g.get_value(), rtol=1e-14)


def test_gradients_of_something_else(network):
    """BinaryConnect: the gradient at the binarized weights is applied to the weights."""
    params, x, _ = network
    W, b = params.values()
    binary = pt.sign(W)
    loss = (pt.tanh(x @ binary + b) ** 2).mean()
    grads = pytensor.grad(loss, [binary, b])
    before = W.get_value()
    train(x, updates.rmsprop(grads, [W, b], learning_rate=0.01))
    assert np.abs(W.get_value() - before).min() > 0


def test_optimizers_as_objects(network):
    """Names, partials and functions handed around, called positionally and by keyword."""
    params, x, loss = network
    for optimizer, arguments in {
        updates.sgd: (0.1,),
        updates.momentum: (0.1, 0.9),
        updates.adam: (1e-3, 0.9, 0.999, 1e-8),
        getattr(updates, "adadelta"): (),  # noqa: B009
    }.items():
        by_position = optimizer(loss, list(params.values()), *arguments)
        by_keyword = optimizer(loss_or_grads=loss, params=list(params.values()))
        assert [v.name for v in by_position] == [v.name for v in by_keyword]
    train(x, by_position)


def test_rates_of_their_own(network):
    params, x, loss = network
    steps = OrderedDict()
    for p, rate in zip(params.values(), (0.1, 0.0), strict=True):
        steps.update(updates.adam(loss, [p], learning_rate=rate))
    W, b = (p.get_value() for p in params.values())
    train(x, steps)
    assert np.abs(params["W"].get_value() - W).min() > 0
    np.testing.assert_array_equal(params["b"].get_value(), b)


def test_star_import():
    names = {}
    exec("from symupdates import *", names)
    assert set(names) - {"__builtins__"} == set(updates.__all__)
    # Names that a script would rather have from NumPy, Lasagne or itself.
    assert not set(names) & {"load", "save", "reset", "random", "linear", "constant", "sign", "normalize", "summary"}
