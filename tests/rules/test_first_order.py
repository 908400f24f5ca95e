"""What is known of momenta, signs and records of the gradients: closed forms, and where the peers differ."""

import json
from pathlib import Path

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON

import symupdates as su

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "first_order.json").read_text())
P, GRADS = np.array(GOLDEN["p"]), np.array(GOLDEN["gradients"])
STEPS = GOLDEN["steps"]


def train(rule, p, grads, dtype="float64", slot="param", **hyper):
    """The parameter, or another slot, at first and after each gradient."""
    p = pytensor.shared(np.array(p, dtype=dtype), name="p")
    grads = np.array(grads, dtype=dtype)
    g = pt.tensor("g", shape=grads.shape[1:], dtype=dtype)
    updates = rule([g], [p], **hyper)
    variables = {"param": p} | {v.tag.symupdates.slot: v for v in updates if v is not p}
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    path = [variables[slot].get_value()]
    for grad in grads:
        step(grad)
        path.append(variables[slot].get_value())
    return np.array(path)


def same(got, expected, rtol=1e-12):
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=0)


# --- Momenta ----------------------------------------------------------------------------------------------------------


def test_heavy_ball_dampened_by_its_momentum_steps_like_sgd():
    """On a constant gradient, from the first step on: torch does not dampen the first gradient."""
    grads = np.full((20, 3), [1.0, -2.0, 0.5])
    path = train(su.heavy_ball, np.zeros(3), grads, learning_rate=0.1, momentum=0.9, dampening=0.9)
    same(np.diff(path, axis=0), -0.1 * grads, rtol=1e-11)


@pytest.mark.parametrize("nesterov", [False, True])
def test_heavy_ball_is_momentum_while_the_rate_is_constant(nesterov):
    other = su.nesterov_momentum if nesterov else su.momentum
    path = train(su.heavy_ball, P, GRADS, learning_rate=0.1, momentum=0.75, nesterov=nesterov)
    same(path, train(other, P, GRADS, learning_rate=0.1, momentum=0.75))


def test_a_new_rate_reaches_heavy_ball_at_once_and_momentum_gradually():
    grads = np.ones((6, 1))
    rate = su.schedules.piecewise_constant([3], [0.1, 0.0])
    at_once = train(su.heavy_ball, [0.0], grads, learning_rate=rate)
    gradually = train(su.momentum, [0.0], grads, learning_rate=rate)
    same(at_once[:4], gradually[:4])
    assert (at_once[3:] == at_once[3]).all()
    same(np.diff(gradually[3:, 0]), -0.1 * (1 + 0.9 + 0.81) * 0.9 ** np.arange(1, 4))


def test_qhm_between_gradient_and_momentum():
    np.testing.assert_array_equal(
        train(su.qhm, P, GRADS, learning_rate=0.1, nu=0.0), train(su.sgd, P, GRADS, learning_rate=0.1)
    )
    plain, average = (np.diff(train(su.qhm, P, GRADS, nu=nu), axis=0) for nu in (0.0, 1.0))
    mixed = np.diff(train(su.qhm, P, GRADS, nu=0.25), axis=0)
    np.testing.assert_allclose(mixed, 0.75 * plain + 0.25 * average, rtol=1e-9, atol=1e-15)


def play(rule, **hyper):
    """The distance from the saddle of x y, which x is to minimise and y to maximise, at first and after 200 steps."""
    x, y = pytensor.shared(1.0, name="x"), pytensor.shared(1.0, name="y")
    step = pytensor.function([], [], updates=rule([y, -x], [x, y], **hyper), mode=PYTHON)
    for _ in range(200):
        step()
    return np.hypot(x.get_value(), y.get_value()) / np.sqrt(2)


def test_optimism_ends_a_game_that_gradient_steps_never_end():
    eta = 0.125
    same(play(su.sgd, learning_rate=eta), (1 + eta**2) ** 100)
    assert play(su.optimistic_gradient, learning_rate=eta) < 0.25


def test_optimistic_gradient_of_a_constant_gradient_is_sgd():
    grads = np.full((5, 3), [1.0, -2.0, 0.5])
    same(
        train(su.optimistic_gradient, P[:3], grads, learning_rate=0.1, beta=3.0),
        train(su.sgd, P[:3], grads, learning_rate=0.1),
    )


# --- Averaged SGD -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [0, 7])
def test_asgd_keeps_the_mean_of_the_path(begin):
    hyper = {"learning_rate": 0.1, "weight_decay": 0.25, "begin": begin}
    path = train(su.asgd, P, GRADS, **hyper)
    averages = train(su.asgd, P, GRADS, slot="average", **hyper)
    for t in range(1, len(path)):
        expected = path[t] if t <= begin else path[begin + 1 : t + 1].mean(axis=0)
        np.testing.assert_allclose(averages[t], expected, rtol=1e-12, atol=1e-12 * np.abs(path).max())


def test_asgd_without_decay_is_sgd():
    same(train(su.asgd, P, GRADS, weight_decay=0.0), train(su.sgd, P, GRADS, learning_rate=0.01))


def test_asgd_serves_its_averages():
    p = pytensor.shared(np.ones(3), name="p")
    updates = su.asgd((p**2).sum(), [p], learning_rate=0.25, weight_decay=0.0)
    ((parameter, average),) = su.averages(updates).items()
    assert parameter is p and average in updates
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    step()
    step()
    su.swap_averages(updates)
    same(p.get_value(), np.full(3, (0.5 + 0.25) / 2))


@pytest.mark.parametrize("case", GOLDEN["asgd_averages"], ids=lambda case: str(case["arguments"]))
def test_the_averages_of_torch(case):
    names = {"lr": "learning_rate", "lambd": "weight_decay", "alpha": "power"}
    hyper = {names[name]: value for name, value in case["arguments"].items() if name != "t0"}
    hyper["begin"] = case["arguments"]["t0"] + 1
    expected = np.array(case["averages"])
    same(train(su.asgd, P, GRADS, slot="average", **hyper)[STEPS], expected)
    same(np.array([state["average"] for state in oracles.asgd(P, GRADS, **hyper)])[np.array(STEPS) - 1], expected)


# --- Signs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [su.sign_sgd, su.signum, su.lion])
def test_steps_of_signs_have_equal_size_whatever_the_gradients(rule):
    path = train(rule, P, GRADS, learning_rate=0.125)
    steps = np.abs(np.diff(path, axis=0))
    never = (GRADS == 0).all(axis=0)
    assert (steps[:, never] == 0).all() and never.any()
    begun = np.cumsum(GRADS != 0, axis=0) > 0
    moves = begun & (GRADS != 0 if rule is su.sign_sgd else True)
    np.testing.assert_allclose(steps[moves], 0.125, rtol=1e-13)
    assert (steps[~moves] == 0).all()
    np.testing.assert_array_equal(path, train(rule, P, GRADS * 2.0**9, learning_rate=0.125))


def test_lion_with_decay_stays_within_its_ball():
    """Its steps and its decay are in balance at 1/λ."""
    path = train(su.lion, [3.0, 0.0], np.full((200, 2), -1.0), learning_rate=0.125, weight_decay=0.5)
    assert (path <= [3.0, 2.0]).all()
    np.testing.assert_allclose(path[-1], 2.0, rtol=1e-4)


def test_the_steps_of_rprop():
    """Grown by 1.2 while the sign stays; where it changed, halved and not made; then made in either direction."""
    grads = np.array([[1.0], [1e-30], [1e5], [-1.0], [-2.0], [-2.0], [0.0], [-1.0], [1.0], [1.0]])
    steps = -np.diff(train(su.rprop, [0.0], grads, "float32")[:, 0].astype("float64")) / 0.01
    down = 1.44 * 0.5
    np.testing.assert_allclose(
        steps, [1, 1.2, 1.44, 0, -down, -1.2 * down, 0, -1.2 * down, 0, 0.6 * down], rtol=1e-4, atol=1e-8
    )


def test_rprop_keeps_a_nan_unless_it_is_zeroed():
    """Behind `zero_nans`, the steps are those of torch, which takes the sign of NaN for zero."""
    grads = [[1.0, 1.0], [np.nan, 1.0], [1.0, 1.0], [1.0, 1.0]]
    path = train(su.rprop, [1.0, 1.0], grads, learning_rate=0.1)
    assert np.isnan(path[2:, 0]).all() and np.isfinite(path[:, 1]).all()
    path = train(su.chain(su.gradients.zero_nans(), su.rprop(learning_rate=0.1)), [1.0, 1.0], grads)
    same(path[1:], [[0.9, 0.9], [0.9, 0.78], [0.8, 0.636], [0.68, 0.4632]])


def test_the_step_sizes_of_rprop_stay_within_their_bounds():
    grads = np.stack([np.ones(200), (-1.0) ** (np.arange(200) // 2)], axis=1)
    sizes = train(su.rprop, [0.0, 0.0], grads, slot="step_size")
    assert sizes[-1].tolist() == [50.0, 1e-6]
    assert sizes[0].tolist() == [0.0, 0.0]
    same(sizes[1], [0.01, 0.01])


def test_rprop_of_optax_is_one_update_late():
    """Its first step is zero, and then it makes those of the update before, but where the sign has changed since."""
    golden = np.array(GOLDEN["optax_rprop"]["steps"])
    hyper = GOLDEN["optax_rprop"]["arguments"]
    asked_for = np.diff(train(su.rprop, P, GRADS, **hyper), axis=0)
    signs = train(su.rprop, P, GRADS, slot="sign", **hyper)
    changed = signs[1:-1] * GRADS[1:] < 0
    late = np.vstack([np.zeros_like(P), np.where(changed, 0, asked_for[:-1])])
    np.testing.assert_allclose(golden, late, rtol=1e-12, atol=1e-14 * np.abs(P).max())
    assert (golden[0] == 0).all() and (asked_for[0] != 0).sum() >= 7
    assert np.abs(golden - asked_for).max() > 0.01


# --- Records of the gradients -----------------------------------------------------------------------------------------


def test_adagrad_begins_with_what_it_is_given():
    path = train(su.adagrad, [1.0], [[3.0]], learning_rate=1.0, epsilon=0.0, initial_accumulator=16.0)
    same(path, [[1.0], [1.0 - 3 / 5]])


def test_the_decay_of_torchs_adagrad_is_a_schedule():
    (case,) = (case for case in GOLDEN["torch"] if "lr_decay" in case["arguments"])
    taking_part = (GRADS != 0).all(axis=0)
    rate = su.schedules.inverse_time_decay(case["arguments"]["lr"], case["arguments"]["lr_decay"])
    path = train(su.adagrad, P[taking_part], GRADS[:, taking_part], learning_rate=rate, epsilon=0.0)
    same(path[STEPS], case["params"])


def test_adam_without_momentum_is_rmsprop_with_a_correction():
    """As the docstring says; and a decay of zero is a decay."""
    hyper = {"learning_rate": 0.01, "beta1": 0.0, "beta2": 0.9, "epsilon": 0.0}
    average, expected = np.zeros(1), [np.ones(1)]
    for t, g in enumerate(GRADS[:, :1], start=1):
        average = 0.9 * average + 0.1 * g**2
        expected.append(expected[-1] - 0.01 * g / np.sqrt(average / (1 - 0.9**t)))
    same(train(su.adam, [1.0], GRADS[:, :1], **hyper), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centered_rmsprop_has_a_variance(dtype):
    """Never below zero, and zero in the end for a gradient that stays: its form as a difference is lost in rounding."""
    rng = np.random.default_rng(0)
    grads = np.stack([np.full(300, 1e6), 1e6 + rng.normal(size=300)], axis=1)
    variance = train(su.centered_rmsprop, np.zeros(2), grads, dtype, slot="variance")
    path = train(su.centered_rmsprop, np.zeros(2), grads, dtype)
    assert np.isfinite(path).all() and (variance >= 0).all()
    last = grads[-150:, 1].astype(dtype).astype("float64")
    weights = 0.1 * 0.9 ** np.arange(150)[::-1]
    mean = (weights * last).sum()
    same(variance[-1, 1], (weights * (last - mean) ** 2).sum(), rtol=0.01 if dtype == "float64" else 0.5)


def test_centered_rmsprop_is_rmsprop_where_gradients_cancel():
    """The mean of alternating gradients is small: the limits of both are those of a steady alternation."""
    grads = np.resize([[1.0], [-1.0]], (400, 1))
    hyper = {"learning_rate": 0.01, "rho": 0.99, "epsilon": 0.0}
    centered, plain = (np.abs(np.diff(train(rule, [0.0], grads, **hyper)[-3:, 0])) for rule in RMS)
    mean = 0.01 / 1.99
    same(centered / plain, np.full(2, 1 / np.sqrt(1 - mean**2)), rtol=1e-3)


RMS = (su.centered_rmsprop, su.rmsprop)


def test_ftrl_without_penalties_is_adagrad_from_zero():
    expected, n = np.zeros_like(P), np.zeros_like(P)
    path = train(su.ftrl, np.zeros_like(P), GRADS, learning_rate=0.5, beta=0.25)
    for t, g in enumerate(GRADS):
        n = n + g**2
        expected = expected - 0.5 * g / (0.25 + np.sqrt(n))
        np.testing.assert_allclose(path[t + 1], expected, rtol=1e-11, atol=1e-15)


def test_ftrl_is_the_minimum_of_what_it_promises():
    """Of all linearised losses, the distances to all iterates, weighted, and the penalties."""
    rng = np.random.default_rng(0)
    grads = rng.normal(0.2, 1.0, (30, 4))
    alpha, beta, l1, l2 = 0.5, 0.25, 2.0, 0.125
    path = train(su.ftrl, np.zeros(4), grads, learning_rate=alpha, beta=beta, l1=l1, l2=l2)
    roots = np.sqrt(np.cumsum(grads**2, axis=0))
    sigma = np.diff(roots, axis=0, prepend=0.0) / alpha
    w = np.linspace(-2, 2, 400001)
    for i in range(4):
        objective = grads[:, i].sum() * w + l1 * np.abs(w) + (l2 + beta / alpha) * w**2 / 2
        for s, x in zip(sigma[:, i], path[:-1, i], strict=True):
            objective += s * (w - x) ** 2 / 2
        assert abs(w[objective.argmin()] - path[-1, i]) <= 2e-5


def test_the_zeros_of_ftrl_are_exact():
    """Two features of eight matter; the others end at zero, to the last bit, and sgd leaves none there."""
    rng = np.random.default_rng(0)
    x = pt.tensor("x", shape=(8,), dtype="float64")
    truth = np.array([2.0, -1.0, 0, 0, 0, 0, 0, 0])
    found = {}
    for name, rule in {"ftrl": su.ftrl(learning_rate=0.5, l1=20.0), "sgd": su.sgd(learning_rate=0.01)}.items():
        w = pytensor.shared(np.zeros(8), name="w")
        step = pytensor.function([x], [], updates=rule(((w - truth) @ x) ** 2, [w]), mode=PYTHON)
        for _ in range(500):
            step(rng.normal(size=8))
        found[name] = w.get_value()
    assert (found["ftrl"][2:] == 0).all()
    np.testing.assert_allclose(found["ftrl"][:2], truth[:2], atol=0.2)
    assert (found["sgd"] != 0).all()


def test_ftrl_never_divides_zero_by_zero():
    with np.errstate(all="ignore"):
        path = train(su.ftrl, [3.0, 3.0], [[0.0, 1.0], [0.0, 0.0]], beta=0.0)
    assert path[:, 0].tolist() == [3.0, 0.0, 0.0]
    assert np.isfinite(path).all()


def test_sm3_of_a_vector_is_adagrad():
    hyper = {"learning_rate": 0.5, "epsilon": 1e-6}
    same(train(su.sm3, P, GRADS, momentum=0.0, **hyper), train(su.adagrad, P, GRADS, **hyper))


def test_sm3_keeps_rows_and_columns():
    """Each record is at least what AdaGrad has summed there, and exact where the squares are those of rows."""
    p, grads = P.reshape(2, 5), GRADS.reshape(-1, 2, 5)
    rows, columns = (train(su.sm3, p, grads, slot=f"accu_{axis}") for axis in (0, 1))
    assert rows.shape[1:] == (2,) and columns.shape[1:] == (5,)
    covered = np.minimum(rows[:, :, None], columns[:, None, :])[1:]
    assert (covered >= np.cumsum(grads**2, axis=0) * (1 - 1e-12)).all()
    by_row = np.repeat(GRADS[:, [0, 5], None], 5, axis=2)
    hyper = {"learning_rate": 0.5, "epsilon": 1e-6}
    same(train(su.sm3, p, by_row, momentum=0.0, **hyper), train(su.adagrad, p, by_row, **hyper))


def test_sm3_never_steps_further_than_its_rate():
    path = train(su.sm3, P.reshape(5, 1, 2), GRADS.reshape(-1, 5, 1, 2), learning_rate=0.25)
    assert np.abs(np.diff(path, axis=0)).max() <= 0.25 * (1 + 1e-12)


def test_the_first_step_of_madgrad():
    """The cube root of the squared gradient, times the square of that of the rate."""
    g = np.array([8.0, -0.001])
    path = train(su.madgrad, [1.0, 1.0], [g], learning_rate=0.125, momentum=0.0, epsilon=0.0)
    same(path[1], 1 - 0.25 * np.cbrt(g))


def test_madgrad_goes_from_where_it_began():
    p = pytensor.shared(np.array([1.0, 2.0]), name="p")
    updates = su.madgrad((p**2).sum(), [p])
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(5):
        step()
    x0 = su.named(updates)["p/madgrad/x0"]
    assert x0.get_value().tolist() == [1.0, 2.0]
    su.reset(updates)
    assert x0.get_value().tolist() == p.get_value().tolist() != [1.0, 2.0]


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 0), (2, 0, 3)])
def test_sm3_leaves_empty_arrays_in_peace(backend, shape):
    p = pytensor.shared(np.zeros(shape, "float32"), name="p")
    g = pt.tensor("g", shape=(None,) * p.ndim, dtype="float32")
    updates = su.sm3([g], [p])
    pytensor.function([g], [], updates=updates, mode=backend)(np.zeros(shape, "float32"))
    assert p.get_value().shape == shape
    assert [v.get_value().shape for v in updates][: p.ndim] == [(n,) for n in shape]
