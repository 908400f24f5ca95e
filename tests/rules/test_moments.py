"""Closed-form facts of Adam's variants, what they are of each other, and where optax has something else."""

import json
from functools import partial

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param
from table import ROWS
from test_golden import GOLDEN

import symupdates as su
from symupdates import schedules

ETA = 0.5
RULES = [row.rule for row in ROWS if row.rule.__module__ in ("symupdates.rules.adam", "symupdates.rules.moments")]
every = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


def trajectory(rule, grads, start=None, dtype="float64", mode=PYTHON):
    """The values of one parameter, its start included."""
    grads = np.asarray(grads, dtype)
    p = pytensor.shared(np.zeros(grads.shape[1:], dtype) if start is None else np.asarray(start, dtype), name="p")
    g = pt.tensor("g", shape=p.get_value().shape, dtype=dtype)
    step = pytensor.function([g], [], updates=rule([g], [p]), mode=mode)
    path = [p.get_value()]
    for given in grads:
        step(given)
        path.append(p.get_value())
    return np.array(path)


def corrected(epsilon, beta2):
    """The epsilon with which Adam's step is that of the rules that add it after the correction."""
    return lambda t: epsilon * (1 - beta2 ** (t + 1)) ** 0.5


GIVEN = np.array([3e-4, -2.0, 7e5])
MU = 0.875 * (1 - 0.96 ** np.array([0.5, 1.0]) / 2)

FIRST_STEPS = {
    "adamaxw": (su.adamaxw(beta1=0.875, epsilon=0.0, weight_decay=0.0), np.sign(GIVEN)),
    "nadam": (
        su.nadam(beta1=0.875, epsilon=0.0, momentum_decay=0.5),
        np.sign(GIVEN) * (1 + MU[1] * 0.125 / (1 - MU[0] * MU[1])),
    ),
    "nadam of constant momentum": (
        su.nadam(beta1=0.875, epsilon=0.0, momentum_decay=np.inf),
        np.sign(GIVEN) * (1 + 0.875 / 1.875),
    ),
    "radam": (su.radam(beta1=0.875), GIVEN),
    "adabelief": (su.adabelief(beta1=0.875, epsilon=1e-30), np.sign(GIVEN) / 0.875),
    "yogi": (su.yogi(epsilon=0.0, initial_accumulator=0.0), np.sign(GIVEN)),
    "novograd": (su.novograd(epsilon=0.0), GIVEN / np.linalg.norm(GIVEN)),
    "adan": (su.adan(epsilon=0.0), np.sign(GIVEN)),
    "ademamix": (su.ademamix(beta3=0.75, alpha=3.0, epsilon=0.0), 1.75 * np.sign(GIVEN)),
    "simplified_ademamix": (su.simplified_ademamix(alpha=3.0, epsilon=0.0), 4 * np.sign(GIVEN)),
    "adopt": (su.adopt(), 0 * GIVEN),
    "qhadam": (su.qhadam(nu1=0.25, nu2=0.75, epsilon=0.0), np.sign(GIVEN)),
    "optimistic_adam": (su.optimistic_adam(epsilon=0.0), np.sign(GIVEN)),
    "laprop": (su.laprop(epsilon=0.0), np.sign(GIVEN)),
    "adam_atan2": (su.adam_atan2(), np.sign(GIVEN) * np.pi / 4),
}


@pytest.mark.parametrize("name", FIRST_STEPS)
def test_first_step(name):
    rule, expected = FIRST_STEPS[name]
    start, end = trajectory(partial(rule, learning_rate=ETA), [GIVEN])
    np.testing.assert_allclose(end - start, -ETA * expected, rtol=1e-12, atol=0)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_rest_without_gradients(rule, dtype):
    """With the defaults; only the decay goes on."""
    start = [0.0, 1.0, -3.0]
    path = trajectory(rule, np.zeros((5, 3)), start, dtype)
    keywords = rule().keywords
    remaining = 1 - keywords["learning_rate"] * keywords.get("weight_decay", 0)
    np.testing.assert_allclose(path[-1], np.array(start) * remaining**5, rtol=1e-6)


SCALE_FREE = {
    "adamaxw": su.adamaxw(epsilon=0.0),
    "nadamw": su.nadamw(epsilon=0.0),
    "novograd": su.novograd(epsilon=0.0),
    "adan": su.adan(epsilon=0.0),
    "ademamix": su.ademamix(epsilon=0.0),
    "simplified_ademamix": su.simplified_ademamix(epsilon=0.0, alpha=2.0),
    "qhadam": su.qhadam(epsilon=0.0, nu2=0.5),
    "optimistic_adam": su.optimistic_adam(epsilon=0.0),
    "adopt": su.adopt(epsilon=0.0),
    "laprop": su.laprop(epsilon=0.0),
    "adam_atan2": su.adam_atan2(),
}


@pytest.mark.parametrize("name", SCALE_FREE)
def test_the_scale_of_the_gradients_does_not_matter(name):
    grads = np.random.default_rng(0).normal(size=(12, 4))
    path, *others = (trajectory(SCALE_FREE[name], c * grads) for c in (1.0, 2.0**-20, 2.0**20))
    assert (np.diff(path, axis=0)[1:] != 0).all()
    for other in others:
        np.testing.assert_array_equal(other, path)


B1, B2, EPS = 0.75, 0.9375, 2.0**-10
BETAS = {"learning_rate": ETA, "beta1": B1, "beta2": B2}
HYPER = BETAS | {"epsilon": EPS}
ADAM = su.adam(**BETAS, epsilon=corrected(EPS, B2))
DECAY = su.apply_weight_decay(learning_rate=ETA, weight_decay=0.25)
SAME = {
    "qhadam of the averages alone": (su.qhadam(**HYPER, nu1=1.0, nu2=1.0), ADAM),
    "optimistic_adam without optimism": (su.optimistic_adam(**HYPER, optimism=0.0), ADAM),
    "ademamix without the slow average": (
        su.ademamix(**HYPER, alpha=0.0, weight_decay=0.25),
        su.adamw(**BETAS, epsilon=corrected(EPS, B2), weight_decay=0.25),
    ),
    "simplified_ademamix without the present gradient": (
        su.simplified_ademamix(**HYPER | {"learning_rate": lambda t: ETA * (1 - B1) / (1 - B1 ** (t + 1))}, alpha=0.0),
        ADAM,
    ),
    "nadam without momentum": (
        su.nadam(**HYPER | {"beta1": 0.0}),
        su.adam(**BETAS | {"beta1": 0.0}, epsilon=corrected(EPS, B2)),
    ),
    "adan without looking ahead": (su.adan(**HYPER | {"beta2": 0.0}, beta3=B2), ADAM),
    "adopt of small gradients": (
        su.adopt(**HYPER | {"beta1": 0.0, "epsilon": 1e3}),
        su.sgd(learning_rate=lambda t: ETA / 1e3 * (t > 0)),
    ),
    "adamaxw": (su.adamaxw(**HYPER, weight_decay=0.25), su.chain(su.adamax(**HYPER), DECAY)),
    "nadamw": (su.nadamw(**HYPER, weight_decay=0.25), su.chain(su.nadam(**HYPER), DECAY)),
}


@pytest.mark.parametrize("name", SAME)
def test_it_is_the_other(name):
    grads = np.random.default_rng(0).normal(size=(12, 4))
    start = [1.0, -2.0, 3.0, 0.5]
    one, other = (trajectory(rule, grads, start) for rule in SAME[name])
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_constant_momentum(backend):
    """An infinite decay of NAdam's momentum schedule is a momentum that does not change."""
    grads = np.random.default_rng(0).normal(size=(12, 4))
    path = trajectory(su.nadam(**HYPER, momentum_decay=np.inf), grads, mode=backend)
    p, m, v = np.zeros((3, 4))
    for t, (g, got) in enumerate(zip(grads, path[1:], strict=True), start=1):
        m = B1 * m + (1 - B1) * g
        v = B2 * v + (1 - B2) * g**2
        m_hat = B1 * m / (1 - B1 ** (t + 1)) + (1 - B1) * g / (1 - B1**t)
        p = p - ETA * m_hat / (np.sqrt(v / (1 - B2**t)) + EPS)
        np.testing.assert_allclose(got, p, rtol=1e-12)


def test_radam_under_a_constant_gradient():
    """The ratio of the averages is 1: steps are the rate at first, then what the rectification leaves of it."""
    path = trajectory(su.radam(learning_rate=1.0, epsilon=0.0), np.ones((1000, 1)))
    steps = -np.diff(path[:, 0])
    np.testing.assert_allclose(steps[:5], 1, rtol=1e-12)
    assert (np.diff(steps[5:]) > 0).all()
    for t, expected in ((6, 0.026), (100, 0.22), (1000, 0.65)):
        assert abs(steps[t - 1] / expected - 1) < 0.03


def test_radam_with_the_threshold_of_the_paper():
    steps = -np.diff(trajectory(su.radam(learning_rate=1.0, epsilon=0.0, threshold=4.0), np.ones((8, 1)))[:, 0])
    assert (steps[:4] > 0.99).all() and (steps[4:] < 0.05).all()


def test_radam_is_close_to_its_threshold_in_float32():
    """The length of the average is a small difference of large numbers."""
    grads = np.ones((40, 1))
    single, double = (
        np.diff(trajectory(su.radam(learning_rate=1.0), grads, dtype=d)[:, 0]) for d in ("float32", "float64")
    )
    np.testing.assert_allclose(single, double, rtol=1e-3)


def test_adabelief_believes_in_constant_gradients():
    path = trajectory(su.adabelief(learning_rate=ETA, beta1=0.5, beta2=0.75, epsilon=1e-6), np.full((80, 1), 3.0))
    steps = -np.diff(path[:, 0])
    np.testing.assert_allclose(steps[0], ETA / 0.5, rtol=1e-4)
    assert (np.diff(steps[:5]) > 0).all()
    np.testing.assert_allclose(steps[-1], ETA * 3 * (0.25 / 1e-6) ** 0.5, rtol=1e-2)


def test_yogi_forgets_slowly():
    """After large gradients, small ones take no more off the measure than they add up to."""
    grads = np.concatenate([np.full((50, 1), 10.0), np.full((50, 1), 0.1)])
    p = make_param((1,), "float64", "p")
    g = pt.tensor("g", shape=(1,), dtype="float64")
    updates = su.yogi([g], [p], beta2=0.9) | su.adam([g], [make_param((1,), "float64", "q")], beta2=0.9)
    state = su.named(updates)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    sizes = []
    for given in grads:
        step(given)
        sizes.append(state["p/yogi/v"].get_value().item())
    np.testing.assert_allclose(sizes[-1], sizes[49] - 50 * 0.1 * 0.1**2, rtol=1e-12)
    assert state["q/adam/v"].get_value().item() < 1 < sizes[-1]


def test_novograd_steps_of_layers_do_not_depend_on_their_scales():
    rng = np.random.default_rng(0)
    a, b = make_param((4, 3), "float64", "a"), make_param((4, 3), "float64", "b")
    g = pt.tensor("g", shape=(4, 3), dtype="float64")
    updates = su.novograd([g, 2.0**-12 * g], [a, b], epsilon=0.0)
    step = pytensor.function([g], [], updates=updates, mode=PYTHON)
    for _ in range(10):
        step(rng.normal(size=(4, 3)))
    np.testing.assert_array_equal(a.get_value(), b.get_value())


def test_adan_decay_is_proximal():
    path = trajectory(su.adan(learning_rate=0.5, weight_decay=0.25), np.zeros((6, 2)), [1.0, -3.0])
    np.testing.assert_allclose(path[-1], np.array([1.0, -3.0]) / 1.125**6, rtol=1e-14)


def test_adan_is_ahead_by_the_change_of_the_gradient():
    """Without memory, only the sign of the gradient is left; with half of it, the gradients 1 and 3 make this."""
    grads = np.array([[1.0], [3.0], [2.0]])
    path = trajectory(su.adan(learning_rate=ETA, beta1=0.0, beta2=0.0, beta3=0.0), grads)
    np.testing.assert_allclose(np.diff(path[:, 0]), -ETA, rtol=1e-6)
    path = trajectory(su.adan(learning_rate=ETA, beta1=0.0, beta2=0.5, beta3=0.0), grads)
    v = 0.5 * 2 / 0.75
    np.testing.assert_allclose(path[2] - path[1], -ETA * (3 + 0.5 * v) / (3 + 0.5 * 2), rtol=1e-6)


def test_adopt():
    """The first gradient is only measured; a step is bounded whatever the gradient, and not divided by its own."""
    grads = np.array([[2.0, 1e-9], [1.0, 5.0], [-1e9, 5.0]])
    path = trajectory(su.adopt(learning_rate=ETA, beta1=0.0, beta2=0.5), grads)
    np.testing.assert_array_equal(path[0], path[1])
    np.testing.assert_allclose(path[2] - path[1], [-ETA * 0.5, -ETA], rtol=1e-12)
    np.testing.assert_allclose(path[3] - path[2], [ETA * 2**0.25, -ETA * 2**0.25], rtol=1e-12)


def test_ademamix_warm_up():
    """The schedules in its docstring, against the formula of the paper, section 3."""
    T = 1000
    memory = schedules.linear(np.log(0.5) / np.log(0.9), np.log(0.5) / np.log(0.9999), steps=T)
    t = np.arange(T + 1)
    start, end = np.log(0.9), np.log(0.9999)
    expected = np.exp(start * end / ((1 - t / T) * end + t / T * start))
    np.testing.assert_allclose(0.5 ** (1 / memory(t)), expected, rtol=1e-12)
    rule = su.ademamix(alpha=schedules.linear(0.0, 5.0, steps=T), beta3=lambda t: 0.5 ** (1 / memory(t)))
    start, end = trajectory(partial(rule, epsilon=0.0), [GIVEN])
    np.testing.assert_allclose(end - start, -0.001 * np.sign(GIVEN), rtol=1e-12)


@pytest.mark.once
@pytest.mark.ci
def test_optimism_ends_the_circles():
    """x y, minimised by x and maximised by y: Adam circles away from its solution at 0, optimistic Adam gets there."""
    distances = []
    for optimism in (0.0, 1.0):
        x, y = pytensor.shared(1.0, name="x"), pytensor.shared(0.5, name="y")
        updates = su.optimistic_adam([y, -x], [x, y], learning_rate=0.03, beta1=0.0, optimism=optimism)
        step = pytensor.function([], [], updates=updates, mode=PYTHON)
        for _ in range(4000):
            step()
        distances.append(np.hypot(x.get_value(), y.get_value()))
    adam, optimistic = distances
    assert adam > 2 and optimistic < 1e-3


# --- Where optax has something else ----------------------------------------------------------------------------------

FAMILY = json.loads((GOLDEN / "moments.json").read_text())
P, GRADS = np.array(FAMILY["p"]), np.array(FAMILY["gradients"])


def against_optax(name, path, columns=slice(None)):
    """Compare with what optax computed, after each step that was read."""
    golden = np.array(FAMILY["otherwise"][name])
    np.testing.assert_allclose(np.array(path)[FAMILY["steps"]][:, columns], golden[:, columns], rtol=1e-10, atol=0)


def adan_of_optax(p, grads, eta, b1, b2, b3, eps, weight):
    path = [p]
    m, v, n = np.zeros((3, *p.shape))
    last = grads[0]
    for t, g in enumerate(grads, start=1):
        d, last = g - last, g
        m, v, n = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * d, b3 * n + (1 - b3) * (g + weight * d) ** 2
        u = m / (1 - b1**t) + weight * v / (1 - b2**t)
        path.append(path[-1] - eta * u / (np.sqrt(n / (1 - b3**t) + eps) + eps))
    return path


def test_adan_of_optax_weighs_the_differences_by_the_complement():
    """With 1 - b2 where the paper, whose β₂ is 1 - b2, has 1 - β₂: 0.08 in place of 0.92."""
    against_optax("adan", adan_of_optax(P, GRADS, 0.1, 0.98, 0.92, 0.99, 1e-8, weight=0.08))
    ours = trajectory(su.adan(learning_rate=0.1), GRADS, P)
    other_eps = adan_of_optax(P, GRADS, 0.1, 0.98, 0.92, 0.99, 1e-8, weight=0.92)
    ordinary = [0, 5, 7, 9]  # where the epsilon in the root does not show
    np.testing.assert_allclose(np.array(other_eps)[:, ordinary], ours[:, ordinary], rtol=1e-5)
    assert np.abs(ours[-1] - FAMILY["otherwise"]["adan"][-1])[ordinary].min() > 1e-3


def test_yogi_of_optax_moves_without_gradients():
    """By what its average begins with; here it stays."""
    (still,) = np.flatnonzero((GRADS == 0).all(axis=0))
    path = [P[still]]
    for t in range(1, 41):
        m_hat = 1e-6 * 0.9**t / (1 - 0.9**t)
        path.append(path[-1] - 0.1 * m_hat / (np.sqrt(1e-6 / (1 - 0.999**t)) + 1e-3))
    against_optax("yogi", [np.full(len(P), x) for x in path], [still])
    ours = trajectory(su.yogi(learning_rate=0.1), GRADS, P)
    assert (ours[:, still] == P[still]).all() and path[-1] != P[still]


def test_amsgrad_of_optax_takes_the_maximum_of_corrected_averages():
    path = [P]
    m, v, v_max = np.zeros((3, *P.shape))
    for t, g in enumerate(GRADS, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v / (1 - 0.999**t))
        path.append(path[-1] - 0.1 * m / (1 - 0.9**t) / (np.sqrt(v_max) + 1e-8))
    against_optax("amsgrad", path)
    ours = trajectory(su.amsgrad(learning_rate=0.1, epsilon=corrected(1e-8, 0.999)), GRADS, P)
    assert np.abs(ours[-1] - path[-1]).max() > 1e-2
