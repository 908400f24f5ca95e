"""What rules that know the loss by its values promise: estimates that are right in the mean, and no differentiation."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, values
from oracles.loss import normals, signs
from pytensor.gradient import disconnected_grad
from pytensor.graph.op import Op

import symupdates as su
from symupdates import schedules

each_rule = pytest.mark.parametrize("rule", [su.spsa, su.mezo])
MOVES = su.sgd(learning_rate=1.0)  # the step is the estimate


def shared(value, name="p", dtype="float64"):
    return pytensor.shared(np.asarray(value, dtype=dtype), name=name)


def train(updates, steps, outputs=None, mode=PYTHON):
    step = pytensor.function([], outputs, updates=updates, mode=mode)
    return [step() for _ in range(steps)]


class BlackBox(Op):
    """A Python function of a vector, which PyTensor cannot differentiate."""

    itypes = (pt.dvector,)
    otypes = (pt.dscalar,)

    def __init__(self, function):
        self.function = function

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.asarray(self.function(inputs[0]))


# --- The estimate -----------------------------------------------------------------------------------------------------

RUNS = 1000
H = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 1.0]])
W, B = np.array([1.0, -2.0, 0.5]), 1.5


@pytest.mark.parametrize(("rule", "samples"), [(su.spsa, 1), (su.mezo, 2)])
def test_a_quadratic_has_its_gradient_in_the_mean(rule, samples):
    """And the variance of the docstrings, of two parameters, over many runs whose directions are their own."""
    w, b = shared(W, "w"), shared(B, "b")
    loss = (w * pt.dot(H, w)).sum() / 2 + b * w[0] + b**2
    updates = rule(loss, [w, b], samples=samples, seed=3, optimizer=MOVES)
    _, runs = su.vectorize(None, updates, n_runs=RUNS)
    train(runs, 1)
    ws, bs = (v.get_value() for v in list(runs)[:2])
    estimates = np.column_stack([W - ws, B - bs])
    g = np.array([*(H @ W + [B, 0, 0]), W[0] + 2 * B])
    own = {su.spsa: -1, su.mezo: 1}[rule]
    variance = (g @ g + own * g**2) / samples
    assert (abs(estimates.mean(axis=0) - g) < 5 * np.sqrt(variance / RUNS)).all()
    np.testing.assert_allclose(estimates.var(axis=0), variance, rtol=0.2)


def test_the_bias_of_a_cubic():
    """Along one sign the slope of p³ is 3p² + c²; along a normal z, it is z(3p² + z²c²)."""
    p, c = shared([2.0]), 0.5
    train(su.spsa((p**3).sum(), [p], perturbation=c, optimizer=MOVES), 1)
    np.testing.assert_allclose(p.get_value(), 2 - (12 + c**2), rtol=1e-14)
    p.set_value([2.0])
    train(su.mezo((p**3).sum(), [p], perturbation=c, seed=5, optimizer=MOVES), 1)
    z = normals(5, 0, (1,))
    np.testing.assert_allclose(p.get_value(), 2 - z * (z * (12 + z**2 * c**2)), rtol=1e-12)


@each_rule
def test_the_same_draws_at_both_points(rule):
    """Of a loss with a random slope and a random height, the estimate is that of the slope that was drawn."""
    generator = pytensor.shared(np.random.default_rng(3), name="generator")
    advanced, noise = pt.random.normal.make_node(generator, (2,), 0.0, 1.0).outputs
    p = shared(1.0)
    updates = rule(noise[0] * p + 1e3 * noise[1], [p], seed=1, optimizer=MOVES)
    drawn = train(updates | {generator: advanced}, 3, [noise, p - updates[p]])
    squares = [1.0] * 3 if rule is su.spsa else [normals(1, t, (1,))[0] ** 2 for t in range(3)]
    for (slope, _), estimate, square in zip(*zip(*drawn, strict=True), squares, strict=True):
        np.testing.assert_allclose(estimate, slope * square, rtol=1e-8)


def test_a_difference_in_the_wider_dtype():
    """A loss of float64 is not rounded to the parameters' float32 before it is subtracted, nor integers wrapped."""
    p = shared([2.0], dtype="float32")
    train(su.spsa(1e9 + 3 * p.sum().astype("float64"), [p], optimizer=MOVES), 1)
    np.testing.assert_allclose(p.get_value(), -1.0, rtol=1e-4)
    for dtype in ("uint8", "int64", "bool"):
        p = shared([0.0], dtype="float32")
        up = (p[0] > 0).astype(dtype)
        train(su.spsa(up, [p], perturbation=0.5, optimizer=MOVES), 1)
        assert p.get_value() == -1, dtype
    p = shared([0.0], dtype="float32")
    train(su.spsa((p[0] < 0).astype("uint8"), [p], perturbation=0.5, optimizer=MOVES), 1)
    assert p.get_value() == 1


# --- Losses without gradients -----------------------------------------------------------------------------------------


def test_nothing_is_differentiated(monkeypatch):
    """Neither where that would be an error, nor where it would be zero."""

    def refuse(*args, **kwargs):
        raise AssertionError("differentiated")

    monkeypatch.setattr(pytensor, "grad", refuse)
    monkeypatch.setattr(pytensor.gradient, "Lop", refuse)
    p = shared([3.0, -1.0])
    boxed = BlackBox(lambda x: np.sum((x - 1) ** 2))(p)
    for loss in (boxed, disconnected_grad((p - 1) ** 2).sum(), abs(pt.round(64 * (p - 1))).sum().astype("int64")):
        p.set_value([3.0, -1.0])
        optimizer = su.chain(su.adam(learning_rate=0.125), su.apply_if_finite(), su.apply_ema(decay=0.9))
        updates = su.spsa(loss, [p], perturbation=0.0625, samples=2, seed=1, optimizer=optimizer)
        train(updates, 80)
        assert np.abs(su.named(updates)["p/ema/average"].get_value() - 1).max() < 0.15


def test_spalls_gains_where_values_are_noisy():
    """Two values whose noise is independent, as of a measurement: the gains average it out."""
    rng = np.random.default_rng(0)
    c, mu, sigma = np.array([1.0, 2.0, 4.0]), np.array([1.0, -1.0, 0.5]), 0.25
    p = shared([0.0, 0.0, 0.0])
    loss = BlackBox(lambda x: (c * (x - mu) ** 2).sum() / 2 + sigma * rng.normal())(p)
    decay, a, A = schedules.inverse_time_decay, 1.0, 40
    optimizer = su.sgd(learning_rate=decay(a / (A + 1) ** 0.602, rate=1.0, steps=A + 1, power=0.602))
    updates = su.spsa(loss, [p], perturbation=decay(sigma, rate=1.0, power=0.101), seed=2, optimizer=optimizer)
    train(updates, 400)
    assert np.abs(p.get_value() - mu).max() < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.long
@pytest.mark.ci
def test_a_jumping_loss_on_every_backend(backend, dtype):
    """The number of examples on the wrong side of a line, in one call of many steps."""
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(dtype)
    is_above = x[:, 0] > x[:, 1]
    w = shared([1.0, 1.0], "w", dtype)
    wrong = pt.neq(pt.dot(x, w) > 0, is_above).sum()
    updates = su.spsa(wrong, [w], perturbation=0.5, samples=2, seed=1, optimizer=su.sgd(learning_rate=0.03125))
    assert np.sum((x @ w.get_value() > 0) != is_above) > 20
    _, looped = su.loop(None, updates, n_steps=40)
    pytensor.function([], [], updates=looped, mode=backend)()
    assert np.sum((x @ w.get_value() > 0) != is_above) <= 2 and w.get_value().dtype == dtype


# --- With the rest ----------------------------------------------------------------------------------------------------


@each_rule
def test_a_gate_that_was_closed_does_not_meet_the_same_direction_again(rule):
    p, x = shared([1.0, 2.0]), pt.dscalar("x")
    updates = su.chain(rule(seed=4, optimizer=MOVES), su.apply_if_finite())((p**2).sum() * x, [p])
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    step(np.nan)
    np.testing.assert_array_equal(p.get_value(), [1.0, 2.0])
    step(1.0)
    draw = signs if rule is su.spsa else normals
    z = draw(4, 1, (2,))
    np.testing.assert_allclose(p.get_value(), np.array([1.0, 2.0]) - 2 * z * (z @ [1.0, 2.0]), rtol=1e-12)


def test_a_reset_draws_the_same_again():
    p = shared([1.0, 2.0])
    updates = su.mezo((p**2).sum(), [p], seed=4, optimizer=su.momentum(learning_rate=0.01))
    assert [v.name for v in updates] == ["p", "p/momentum/velocity", "mezo/rng"]
    train(updates, 3)
    first = p.get_value()
    su.reset(updates)
    p.set_value([1.0, 2.0])
    train(updates, 3)
    np.testing.assert_array_equal(p.get_value(), first)


def test_around_a_rule_by_hand():
    """It is known what the parameter is, and what is only updated beside it; and the directions go on."""
    p, seen = shared([1.0]), shared(0.0, "seen")
    by_hand = su.spsa(seed=4, optimizer=lambda grads, params: {params[0]: params[0] - grads[0], seen: seen + 1})
    updates = su.apply_ema(by_hand(p.sum(), [p]), decay=0.5)
    assert [v.name for v in updates] == ["p", "seen", "spsa/rng", "p/ema/average", "ema/t"]


def test_groups_and_windows_are_inside():
    """One direction for all groups; the estimates of several minibatches for one step."""
    w, b, x = shared([1.0, -2.0], "w"), shared(0.5, "b"), pt.dscalar("x")
    groups = su.partition(("w", su.sgd(learning_rate=0.5)), (..., su.sgd(learning_rate=0.25)))
    updates = su.spsa(x * (w.sum() + b), [w, b], seed=4, optimizer=su.accumulate(groups, every=2))
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    step(1.0)
    np.testing.assert_array_equal(w.get_value(), [1.0, -2.0])
    step(3.0)
    z = [signs(4, t, (2, 1)) for t in range(2)]
    mean = (z[0] * z[0].sum() + 3 * z[1] * z[1].sum()) / 2
    np.testing.assert_allclose([*w.get_value(), b.get_value()], [1, -2, 0.5] - mean * [0.5, 0.5, 0.25], rtol=1e-12)


def test_a_perturbation_that_is_set_while_training():
    p = shared([2.0])
    updates = su.adjustable(su.spsa((p**3).sum(), [p], perturbation=0.5, optimizer=su.sgd(learning_rate=1.0)))
    su.hyperparameters(updates)["spsa/perturbation"].set_value(0.25)
    before = values([p])
    train(updates, 1)
    np.testing.assert_allclose(before[0] - p.get_value(), 12 + 0.25**2, rtol=1e-13)
