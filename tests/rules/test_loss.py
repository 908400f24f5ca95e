"""Closed-form facts of the rules that take the loss, and how they go with the rest."""

import json
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, values
from pytensor.gradient import disconnected_grad, grad_scale
from scipy.optimize import minimize, rosen, rosen_der

import symupdates as su
from symupdates.rules.line_search import trial_in


def shared(value, name="p"):
    return pytensor.shared(np.asarray(value, dtype="float64"), name=name)


def train(updates, steps, outputs=None, mode=PYTHON):
    step = pytensor.function([], outputs, updates=updates, mode=mode)
    return [step() for _ in range(steps)]


# --- Gradients elsewhere ----------------------------------------------------------------------------------------------


def test_the_extragradient_finds_the_saddle_that_descent_circles():
    for rule, shrinks in ((su.extragradient, True), (su.sgd, False)):
        p, q = shared(1.0, "p"), shared(1.0, "q")
        train(rule(p * grad_scale(q, -1.0), [p, q], learning_rate=0.5), 60)
        assert bool(np.hypot(p.get_value(), q.get_value()) < 1e-2) is shrinks


def test_nag_is_nesterov_momentum_seen_from_behind():
    p, q = shared([1.0, -2.0]), shared([1.0, -2.0], "q")
    behind = su.nag((p**4).sum(), [p], learning_rate=0.01, momentum=0.75)
    ahead = su.nesterov_momentum((q**4).sum(), [q], learning_rate=0.01, momentum=0.75)
    step = pytensor.function([], [], updates=behind | ahead, mode=PYTHON)
    v = su.named(behind)["p/nag/velocity"]
    for _ in range(20):
        step()
        np.testing.assert_allclose(q.get_value(), p.get_value() + 0.75 * v.get_value(), rtol=1e-13)


def test_sam_on_a_quadratic(backend):
    """The gradient at p + cg is g + cHg on a quadratic, c being the radius over the norm."""
    H = np.diag([1.0, 4.0])
    p = shared([3.0, 1.0])
    loss = (p * pt.dot(H, p)).sum() / 2
    train(su.sam(loss, [p], rho=0.5, optimizer=su.sgd(learning_rate=1.0)), 1, mode=backend)
    g = H @ [3.0, 1.0]
    np.testing.assert_allclose(p.get_value(), [3.0, 1.0] - g - 0.5 * H @ g / 5, rtol=1e-14)


def test_asam_does_not_see_the_scale():
    """Parameters in other units make the same steps of the model, with steps in those units."""
    unit = np.array([8.0, 1 / 8])
    found = []
    for scale in (np.ones(2), unit):
        p = shared(scale * [3.0, 1.0])
        loss = ((p / scale) ** 4).sum()
        given = su.asam(loss, [p], eta=0.0, optimizer=lambda grads, params: {params[0]: grads[0]})
        found.append(given[p].eval() * scale)
    np.testing.assert_allclose(*found, rtol=1e-13)


@pytest.mark.parametrize("rule", [su.sam, su.asam, su.nag, su.extragradient])
def test_the_same_draws_at_both_points(rule):
    """Of a loss with a random slope, the gradient is the slope that was drawn, wherever it is taken."""
    generator = pytensor.shared(np.random.default_rng(3), name="generator")
    advanced, noise = pt.random.normal.make_node(generator, (4,), 0.0, 1.0).outputs
    p = shared(np.ones(4))
    rate = {"optimizer": su.sgd(learning_rate=1.0)} if rule in (su.sam, su.asam) else {"learning_rate": 1.0}
    rate |= {"momentum": 0.0} if rule is su.nag else {}
    updates = rule((noise * p).sum(), [p], **rate)
    drawn = train(updates | {generator: advanced}, 3, [noise, p - updates[p]])
    for slope, step in drawn:
        np.testing.assert_allclose(step, slope, rtol=1e-12)
    assert not np.array_equal(drawn[0][0], drawn[1][0])


def test_sam_takes_any_optimizer():
    p = shared([1.0, 2.0])
    rule = su.chain(su.gradients.clip_by_total_norm(max_norm=1.0), su.adam(learning_rate=0.5), su.apply_ema())
    updates = su.chain(su.sam(rho=su.schedules.constant(0.1), optimizer=rule), su.apply_if_finite())((p**2).sum(), [p])
    assert {"p/adam/m", "p/ema/average", "adam/t"} <= {v.name for v in updates}
    train(updates, 3)
    assert np.isfinite(p.get_value()).all() and np.abs(p.get_value() - [1, 2]).min() > 0.5
    for rule in (su.sam, su.asam):
        with pytest.raises(TypeError, match=f"{rule.__name__}: optimizer must be a rule"):
            rule((p**2).sum(), [p], optimizer=0.1)


def test_transforms_of_what_they_do():
    """Gates hold state and parameters; momentum, averages and decay go on from the step."""
    p = shared([1.0, 2.0])
    x = pt.dscalar("x")
    rule = su.chain(su.adahessian(learning_rate=0.125, seed=1), su.apply_if_finite(), su.apply_ema(decay=0.5))
    updates = rule((p**4).sum() * x, [p])
    step = pytensor.function([x], [], updates=updates, mode=PYTHON)
    step(1.0)
    names = [v for v in updates if "adahessian" in v.name and not v.name.endswith("rng")]
    before = values([p, *names])
    step(np.nan)
    for old, new in zip(before, values([p, *names]), strict=True):
        np.testing.assert_array_equal(old, new)
    step(1.0)
    assert not np.array_equal(before[0], p.get_value())

    p = shared([1.0, 2.0])
    rule = su.chain(su.extragradient(learning_rate=0.125), su.apply_momentum(momentum=0.5))
    more = rule((p**2).sum(), [p])
    train(more, 2)
    # p falls by 3/16 of itself: 1 → 13/16 → 13/16 (1 - 3/16) - 3/32
    np.testing.assert_allclose(p.get_value(), np.array([1.0, 2.0]) * (13 / 16 * 13 / 16 - 3 / 32), rtol=1e-14)


# --- Curvature --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short", [False, True])
def test_barzilai_and_borwein_on_a_quadratic(short):
    c = np.array([1.0, 3.0, 10.0, 30.0])
    p = shared(np.ones(4))
    train(su.barzilai_borwein((c * p**2).sum() / 2, [p], learning_rate=0.01, short=short), 60)
    assert np.abs(p.get_value()).max() < 1e-8  # gradient descent at its best rate: 3e-2


def test_the_signs_find_a_diagonal_exactly():
    """Where the Hessian is diagonal, z ⊙ Hz is its diagonal for any signs, and AdaHessian's first step is Newton's."""
    p = shared([1.0, -2.0, 0.5])
    train(su.adahessian((p**4).sum(), [p], learning_rate=1.0, epsilon=0.0), 1)
    np.testing.assert_allclose(p.get_value(), np.array([1.0, -2.0, 0.5]) * 2 / 3, rtol=1e-14)


def test_kernels_are_averaged():
    """AdaHessian takes for each element of a kernel the mean of its curvatures; for a matrix each its own."""
    c = np.arange(1.0, 13.0).reshape(2, 1, 2, 3)
    p = shared(np.ones((2, 1, 2, 3)))
    updates = su.adahessian((c * p**2).sum() / 2, [p], beta2=0.0)
    train(updates, 1)
    v = su.named(updates)["p/adahessian/v"].get_value()
    np.testing.assert_allclose(v, np.broadcast_to([[[[3.5**2]]], [[[9.5**2]]]], v.shape), rtol=1e-14)


def test_sophia_steps_are_bounded():
    """No coordinate moves by more than the rate; where the curvature is negative, by the rate."""
    p = shared([3.0, 1.0, 1e-3])
    loss = (np.array([1.0, -1.0, 1.0]) * p**2).sum()
    train(su.sophia_h(loss, [p], learning_rate=0.25, gamma=1.0, beta1=0.0, beta2=0.0), 1)
    np.testing.assert_allclose(p.get_value(), [2.75, 1.25, 0.75e-3], rtol=1e-14)


def test_drawn_classes_have_the_curvature_of_cross_entropy():
    """Its diagonal in the logits, p(1 - p) over the number of examples, is the mean of the estimates for each."""
    B, z = 4000, np.array([0.0, 1.0, 2.0])
    W = shared(np.tile(z, (B, 1)).reshape(40, 100, 3))
    updates = su.sophia_g([pt.zeros_like(W)], [W], beta2=0.0, logits=W, seed=0)
    train(updates, 1)
    h = next(v for v in updates if v.name.endswith("/h")).get_value()
    p = np.exp(z) / np.exp(z).sum()
    information = p * (1 - p)
    error = np.sqrt(information) * abs(1 - 2 * p) / np.sqrt(B)
    assert (abs(B * h.mean(axis=(0, 1)) - information) < 5 * error).all()


@pytest.mark.ci
@pytest.mark.once
def test_a_posterior_without_correlations_is_found():
    """Of a normal likelihood and a normal prior, from the mean loss of n examples."""
    c, mu, delta, n = np.repeat([1.0, 16.0], 500), np.repeat([2.0, -1.0], 500), 4.0, 20.0
    p = shared(np.zeros(1000))
    updates = su.ivon(
        (c * (p - mu) ** 2).sum() / 2 / n,
        [p],
        learning_rate=0.5,
        effective_sample_size=n,
        beta2=lambda t: 1 - 1 / (5 + t),
        weight_decay=delta / n,
        initial_hessian=4.0 / n,
        seed=0,
    )
    train(updates, 120)
    precision = n * (su.named(updates)["p/ivon/h"].get_value() + delta / n)
    np.testing.assert_allclose(precision.reshape(2, 500).mean(axis=1), [5.0, 20.0], rtol=0.05)
    np.testing.assert_allclose(p.get_value().reshape(2, 500).mean(axis=1), [0.4, -0.8], rtol=0.03)


def test_a_curvature_stays_positive():
    """Where all estimates of it are negative."""
    p = shared(np.zeros(20))
    updates = su.ivon(-(p**2).sum() * 50, [p], beta2=0.5, weight_decay=0.0, learning_rate=1e-6, seed=3)
    h = su.named(updates)["p/ivon/h"]
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(8):
        step()
        assert (h.get_value() > 0).all()


@pytest.mark.parametrize("rule", [su.sophia_h, su.esgd])
def test_curvature_is_estimated_now_and_then(rule):
    p = shared([3.0, 1.0])
    updates = rule((p**4).sum(), [p], learning_rate=0.01, every=3)
    slot = next(v for v in updates if v.name in ("p/sophia_h/h", "p/esgd/d"))
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    seen = []
    for _ in range(7):
        step()
        seen.append(slot.get_value().tolist())
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[5] != seen[6]
    with pytest.raises(ValueError, match="every must be a whole number"):
        rule((p**4).sum(), [p], every=0)


def test_loss_without_curvature():
    """A linear loss has no Hessian to speak of; the rules make steps all the same, or none."""
    for rule in (su.adahessian, su.sophia_h, su.esgd):
        p = shared([1.0, 2.0])
        train(rule((3.0 * p).sum(), [p], learning_rate=1e-6), 2)
        assert np.isfinite(p.get_value()).all() and (p.get_value() < [1, 2]).all()


# --- Quasi-Newton -----------------------------------------------------------------------------------------------------


def evaluations_of_scipy(start, goal):
    found = []

    def fun(x):
        found.append(rosen(x))
        return rosen(x), rosen_der(x)

    minimize(fun, start, jac=True, method="L-BFGS-B", options={"maxcor": 10, "ftol": 0, "gtol": 0})
    return next(n for n, f in enumerate(found, start=1) if f < goal)


STARTS = {"two": [-1.2, 1.0], "ten": [-1.2, 1.0] * 5, "far": [3.0, -2.0, 4.0, 1.0]}


@pytest.mark.parametrize(
    "start", [pytest.param(start, id=name, marks=[pytest.mark.ci] * (name != "two")) for name, start in STARTS.items()]
)
def test_rosenbrock_in_few_evaluations(start):
    x = shared(start, "x")
    loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    updates = su.lbfgs(loss, [x])
    evaluations = su.named(updates)["lbfgs/evaluations"]
    step = pytensor.function([], loss, updates=updates, mode=PYTHON)
    while step() > 1e-10:
        assert evaluations.get_value() < 200
    assert evaluations.get_value() <= 1.2 * evaluations_of_scipy(start, 1e-10)
    for _ in range(60):  # nothing is left to gain, and nothing is lost
        step()
    best = next(v for v in updates if v.name == "x/lbfgs/x")
    assert rosen(best.get_value()) < 1e-16 and rosen(x.get_value()) < 1e-16


@pytest.mark.long
@pytest.mark.ci
def test_rosenbrock_on_every_backend(backend):
    """In one call, by a loop, and of two parameters."""
    x, y = shared(-1.2, "x"), shared(1.0, "y")
    updates = su.lbfgs(100 * (y - x**2) ** 2 + (1 - x) ** 2, [x, y], memory=5)
    _, updates = su.loop(None, updates, n_steps=60)
    pytensor.function([], [], updates=updates, mode=backend)()
    np.testing.assert_allclose([x.get_value(), y.get_value()], 1, rtol=1e-6)


def test_a_trial_too_far():
    """Where the loss is infinite or not a number, the search comes back."""
    p = shared([1.0, 0.5])
    loss = (p - pt.log(p)).sum() + (p**2).sum()  # not a number for negative p
    updates = su.lbfgs(loss, [p], learning_rate=64.0)
    losses = train(updates, 60, loss)
    assert not np.isfinite(losses).all()
    np.testing.assert_allclose(p.get_value(), 0.5, rtol=1e-7)


def test_a_search_that_ends_in_vain():
    """A minimum that is no root of the gradient: the search is given up, and the best point is kept."""
    p = shared([1.0])
    updates = su.lbfgs(abs(p).sum(), [p], max_trials=4)
    best = next(v for v in updates if v.name == "p/lbfgs/x")
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    found = []
    for _ in range(40):
        step()
        found.append(abs(best.get_value().item()))
    assert found == sorted(found, reverse=True) and found[-1] < 1e-3


def test_pairs_outlive_a_search_that_gained_something():
    """It is given up at a lower point than it began: what is known of the curvature stays."""
    p, rate = shared(1.0), shared(0.95, "rate")
    updates = su.lbfgs(50 * p**2, [p], learning_rate=rate, c2=0.1, max_trials=2)
    step = pytensor.function([], p, updates=updates, mode=PYTHON)
    step()
    rate.set_value(0.6)
    np.testing.assert_allclose([step() for _ in range(4)], [0.05, 0.02, -0.07, 0.02], rtol=1e-12)
    assert su.named(updates)["p/lbfgs/s"].get_value()[-1] == pytest.approx(-0.95, rel=1e-12)


def test_a_trial_keeps_off_the_ends_of_the_bracket():
    """The minimum of the cubic, inside; a tenth from an end, if it is nearer; in the middle, if there is none."""
    for ends, expected in (
        ((0.0, 0.0, -1.0, 2.0, 0.0, 1.0), 1.0),  # the parabola x²/2 - x
        ((0.0, 0.0, -0.01, 1.0, 0.495, 1.0), 0.1),  # of x²/2 - x/100, it is 0.01
        ((0.0, 0.0, -0.99, 1.0, -0.49, 0.01), 0.9),  # of x²/2 - 0.99 x, it is 0.99
        ((0.0, 0.0, -1.0, 1.0, np.nan, 1.0), 0.5),
        ((1.0, 0.0, -1.0, 1.0, 0.0, -1.0), 4.0),  # open: four times as far
    ):
        bracket = [pt.constant(x, dtype="float64") for x in ends]
        assert trial_in(bracket, pt.constant(1.0, dtype="float64")).eval() == pytest.approx(expected, rel=1e-12)


# --- Linear systems in the curvature ----------------------------------------------------------------------------------


def test_least_squares_in_one_step():
    """A linear model is solved by one step of as many iterations as it has parameters."""
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(8, 3)), rng.normal(size=8)
    p = shared(np.zeros(3))
    r = pt.dot(A, p) - b
    train(su.gauss_newton((r**2).sum() / 2, [p], damping=0.0, outputs=r, iterations=3), 1)
    np.testing.assert_allclose(p.get_value(), np.linalg.lstsq(A, b, rcond=None)[0], rtol=1e-12)


def test_gauss_newton_fits_a_curve():
    """Residuals of zero: convergence is quadratic."""
    t = np.linspace(0, 2, 20)
    a, k = shared(1.0, "a"), shared(0.0, "k")
    r = a * pt.exp(-k * t) - 2.5 * np.exp(-1.3 * t)
    train(su.gauss_newton((r**2).sum() / 2, [a, k], damping=1e-8, outputs=[r], iterations=2), 9)
    np.testing.assert_allclose([a.get_value(), k.get_value()], [2.5, 1.3], rtol=1e-12)


def test_levenberg_marquardt_goes_down_the_valley():
    """Rosenbrock's function as squares, where the whole step of Gauss and Newton first climbs to a loss of 1172."""
    p = shared(np.array([-1.2, 1.0]))
    r = pt.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])
    loss = (r**2).sum() / 2
    losses = train(su.levenberg_marquardt(loss, [p], outputs=r, iterations=2), 40, loss)
    assert np.all(np.diff(losses) <= 0) and np.any(np.diff(losses) == 0)
    np.testing.assert_allclose(p.get_value(), 1, rtol=1e-12)


def test_levenberg_marquardt_stays_where_the_loss_is_no_number():
    """The step from 8 for the square of a logarithm is p log p: to where there is none."""
    p = shared(8.0)
    r = pt.log(p)
    updates = su.levenberg_marquardt(r**2 / 2, [p], damping=1e-6, outputs=r, iterations=1)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    with np.errstate(invalid="ignore"):
        step()
        assert [v.get_value().item() for v in updates] == [8.0, 2.0, 4.0]
        for _ in range(40):
            step()
    np.testing.assert_allclose(p.get_value(), 1, rtol=1e-12)


def test_levenberg_marquardt_at_a_minimum():
    """Where rounding leaves nothing to gain every step is rejected; the damping ends at its bound."""
    p = pytensor.shared(np.float32(1), name="p")
    r = pt.stack([p - np.float32(0.1), p + np.float32(0.1)])
    updates = su.levenberg_marquardt((r**2).sum() / 2, [p], outputs=r, iterations=1)
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    for _ in range(100):
        step()
    at_end = [v.get_value().item() for v in updates]
    assert abs(at_end[0]) < 1e-6 and at_end[1:] == [2.0**46, 2.0**46]


@pytest.mark.once
def test_the_natural_gradient_is_gauss_newton_of_natural_parameters():
    """Of a softmax's logits (Martens, 2020, section 9.2)."""
    rng = np.random.default_rng(0)
    X, label = rng.normal(size=(10, 4)), rng.integers(0, 3, 10)
    found = []
    for rule in (su.gauss_newton, su.natural_gradient):
        W = shared(np.full((4, 3), 0.1), "W")
        z = pt.dot(pt.tanh(X), W)
        logq = pt.special.log_softmax(z, axis=-1)
        old = disconnected_grad(logq)
        given = {
            su.gauss_newton: {"outputs": z},
            su.natural_gradient: {"divergence": (pt.exp(old) * (old - logq)).sum(-1).mean()},
        }[rule]
        loss = -logq[np.arange(10), label].mean()
        train(rule(loss, [W], iterations=5, damping=0.01, **given), 3)
        found.append(W.get_value())
    np.testing.assert_allclose(*found, rtol=1e-10)


def test_the_natural_gradient_does_not_see_the_parametrisation():
    """The rate of a Poisson distribution, by its logarithm or by itself: the same step of it, to first order."""
    moves = []
    for start, rate_of in ((np.log(3.0), pt.exp), (3.0, lambda x: x)):
        x = shared(start, "x")
        rate = rate_of(x)
        old = disconnected_grad(rate)
        divergence = old * (pt.log(old) - pt.log(rate)) + rate - old
        updates = su.natural_gradient(
            rate - 5 * pt.log(rate), [x], learning_rate=1e-4, damping=0.0, divergence=divergence, iterations=1
        )
        train(updates, 1)
        moves.append(rate.eval() - 3)
    np.testing.assert_allclose(moves, 1e-4 * 2, rtol=1e-3)


def test_what_stands_between_has_to_be_given():
    p = shared([1.0])
    with pytest.raises(TypeError, match="gauss_newton: outputs must be given"):
        su.gauss_newton((p**2).sum(), [p])
    with pytest.raises(TypeError, match="natural_gradient: divergence must be given"):
        su.natural_gradient((p**2).sum(), [p])
    with pytest.raises(ValueError, match="iterations must be a whole number"):
        su.gauss_newton((p**2).sum(), [p], outputs=p, iterations=0)
    with pytest.raises(ValueError, match="memory must be a whole number"):
        su.lbfgs((p**2).sum(), [p], memory=0)


# --- What optax computed ----------------------------------------------------------------------------------------------

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "loss.json").read_text())
each_case = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['rule']}-{case['loss']}")


@each_case
def test_golden(case):
    A, b, c = (np.array(GOLDEN[name]) for name in "Abc")
    x = shared(GOLDEN["x"], "x")
    loss = {
        "log cosh": pt.log(pt.cosh(pt.dot(A, x) - b)).sum() + (x**4).sum() / 4,
        "quadratic": (c * x**2).sum() / 2,
    }[case["loss"]]
    hyper = dict(case["hyper"])
    if "optimizer" in case:
        hyper["optimizer"] = getattr(su, case["optimizer"])(**case["optimizer_hyper"])
    for name, value in case.get("corrected", {}).items():
        hyper[name] = lambda t, value=value: value * (1 - hyper["beta1"] ** (t + 1))
    updates = getattr(su, case["rule"])(loss, [x], **hyper)
    if case.get("weight_decay"):
        updates = su.apply_weight_decay(
            updates, weight_decay=case["weight_decay"], learning_rate=hyper["learning_rate"]
        )
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    assert len(case["params"]) == 20
    for golden in case["params"]:
        step()
        np.testing.assert_allclose(x.get_value(), golden, rtol=1e-12, atol=0)
