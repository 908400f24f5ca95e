"""Noise and samplers: what the steps are in their limits, and what the chains sample.

A correlated Gaussian is the posterior. On it, a chain with a constant step size is linear: its stationary covariance is
known, and differs from the posterior's by the order of the step size. Chains run side by side, as the rows of one
parameter; each gives one mean and one covariance over time, and these are independent.
"""

from functools import partial

import numpy as np
import oracles
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import PYTHON, make_param

import symupdates as su
from symupdates import gradients, random

pytestmark = pytest.mark.once

PRECISION = np.array([[2.0, 0.75], [0.75, 1.0]])
MEAN = np.array([1.0, -2.0])
POSTERIOR = np.linalg.inv(PRECISION)
CHAINS, BURN_IN, STEPS = 1000, 150, 600
EYE = np.eye(2)


def sample(optimizer, begin=lambda updates: None, read=None):
    """The mean and covariance over time of each chain, and those of the state that is `read`."""
    start = np.random.default_rng(0).multivariate_normal(MEAN, POSTERIOR, size=CHAINS)
    p = pytensor.shared(start, name="p", shape=start.shape)
    error = p - MEAN
    loss = (pt.dot(error, PRECISION) * error).sum() / 2
    updates = optimizer(loss, [p])
    begin(su.named(updates))
    step = pytensor.function([], [], updates=updates, mode="CVM")
    first, second, seen = np.zeros((CHAINS, 2)), np.zeros((CHAINS, 2, 2)), []
    for t in range(BURN_IN + STEPS):
        step()
        if t >= BURN_IN:
            x = p.get_value(borrow=True) - MEAN
            first += x / STEPS
            second += x[:, :, None] * x[:, None, :] / STEPS
            seen.append(read and su.named(updates)[read].get_value())
    return first, second, seen


def z_scores(chains, expected):
    """How far the mean over the chains is from what is expected, in standard errors."""
    return (chains.mean(axis=0) - expected) / (chains.std(axis=0, ddof=1) / np.sqrt(CHAINS))


def assert_samples(chains, covariance):
    """That the chains have the mean of the posterior, and that covariance."""
    first, second, _ = chains
    assert np.abs(z_scores(first, 0)).max() < 5
    assert np.abs(z_scores(second, covariance)).max() < 5
    # The test would see a tenth of a covariance.
    assert (second.std(axis=0) / np.sqrt(CHAINS)).max() < np.abs(covariance).max() / 50


def stationary(A, Q):
    """The covariance that x ← A x + N(0, Q) has in the long run: of C = A C Aᵀ + Q."""
    n = len(A)
    return np.linalg.solve(np.eye(n * n) - np.kron(A, A), Q.ravel()).reshape(n, n)


def of_sgld(eps, T=1.0, G=EYE):
    return stationary(EYE - eps / 2 * G @ PRECISION, eps * T * G)


def of_friction(eta, alpha, G=EYE):
    """What a step makes of positions and velocities, but for its noise."""
    kick, kept = -eta * G @ PRECISION, (1 - alpha) * EYE
    return np.block([[EYE + kick, kept], [kick, kept]])


def of_velocity(eta, alpha, variance, G=EYE):
    """Of positions and velocities, with noise of that variance, a number or a matrix, in the velocity."""
    return stationary(of_friction(eta, alpha, G), np.kron(np.ones((2, 2)), variance * EYE))


def of_sghmc(eta, alpha, T=1.0):
    return of_velocity(eta, alpha, 2 * alpha * eta * T)[:2, :2]


# --- What the chains sample -------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("eps, T", [(0.5, 1.0), (0.125, 1.0), (0.25, 0.5)])
def test_sgld_samples_the_posterior(eps, T):
    optimizer = su.sgld(learning_rate=pytensor.shared(eps), temperature=pytensor.shared(T), seed=1)
    assert_samples(sample(optimizer), of_sgld(eps, T))


@pytest.mark.ci
@pytest.mark.parametrize("eta, alpha, T", [(0.5, 0.25, 1.0), (0.125, 0.25, 1.0), (0.25, 0.5, 0.5)])
def test_sghmc_samples_the_posterior(eta, alpha, T):
    optimizer = su.sghmc(
        learning_rate=pytensor.shared(eta), friction=pytensor.shared(alpha), temperature=pytensor.shared(T), seed=2
    )
    assert_samples(sample(optimizer), of_sghmc(eta, alpha, T))


def test_the_bias_is_of_the_order_of_the_step():
    """What the chains were compared with tends to the posterior; and it is, in closed form, what the docstrings say."""
    for of_rule in (of_sgld, partial(of_sghmc, alpha=0.25)):
        bias = [np.abs(of_rule(step) - POSTERIOR).max() for step in (0.02, 0.01, 0.005)]
        np.testing.assert_allclose(np.divide(bias[:-1], bias[1:]), 2, rtol=0.01)
    s2, Q = np.linalg.eigh(POSTERIOR)
    eps, eta, alpha = 0.5, 0.25, 0.375
    np.testing.assert_allclose(of_sgld(eps), Q * (s2 / (1 - eps / (4 * s2))) @ Q.T)
    np.testing.assert_allclose(of_sghmc(eta, alpha), Q * (s2 / (1 - eta / ((4 - 2 * alpha) * s2))) @ Q.T)


@pytest.mark.ci
def test_sghmc_with_noisy_gradients():
    """The noise widens the distribution, unless it is estimated."""
    eta, alpha, variance = 0.125, 0.375, 4.0
    noise = gradients.add_noise(eta=pytensor.shared(variance), gamma=0, seed=3)
    rule = partial(su.sghmc, learning_rate=pytensor.shared(eta), friction=pytensor.shared(alpha), seed=4)
    estimate = pytensor.shared(eta * variance / 2)
    exact = of_sghmc(eta, alpha)
    assert_samples(sample(su.chain(noise, rule(noise_estimate=estimate))), exact)
    estimate.set_value(0.0)
    wide = of_velocity(eta, alpha, 2 * alpha * eta + eta**2 * variance)[:2, :2]
    assert_samples(sample(su.chain(noise, rule(noise_estimate=estimate))), wide)
    assert (np.diag(wide) / np.diag(exact) > 1.5).all()


@pytest.mark.ci
def test_sgnht_finds_the_noise_of_the_gradients():
    """It settles at the friction that makes the mean square of the velocities ηT, without being told the noise."""
    eta, a, variance, T = 2.0**-6, 0.125, 16.0, 0.75
    optimizer = su.chain(
        gradients.add_noise(eta=variance, gamma=0, seed=5),
        su.sgnht(learning_rate=eta, diffusion=a, temperature=T, seed=6),
    )
    first, second, thermostat = sample(optimizer, read="sgnht/thermostat")

    def with_friction(alpha):
        return of_velocity(eta, alpha, 2 * a * eta * T + eta**2 * variance)

    low, high = a, 1.0
    for _ in range(60):  # bisection: more friction, slower
        alpha = (low + high) / 2
        too_fast = np.trace(with_friction(alpha)[2:, 2:]) / 2 > eta * T
        low, high = (alpha, high) if too_fast else (low, alpha)
    assert_samples((first, second, None), with_friction(alpha)[:2, :2])
    assert abs(np.mean(thermostat) - (alpha - a)) < 0.01 * (alpha - a)
    # As the docstring has it, to the order of the friction and of the step.
    np.testing.assert_allclose(alpha * (1 - alpha / 2), a + eta * variance / (2 * T), rtol=0.01)
    np.testing.assert_allclose(with_friction(alpha)[:2, :2], (1 - alpha / 2) * T * POSTERIOR, rtol=0.1, atol=0.02)


def noisy(rule, variances, seed):
    """A rule whose gradients have noise, of another variance for each coordinate."""

    def optimizer(loss, params):
        (p,) = params
        generator = random.new_generator("noise", seed=seed)
        return rule([pytensor.grad(loss, p) + np.sqrt(variances) * random.normal(generator, p)], params)

    return optimizer


@pytest.mark.ci
def test_a_thermostat_for_each_element_finds_the_noise_of_each():
    """One for both would make the one coordinate too wide, and the other too narrow."""
    eta, a, T, variances = 2.0**-6, 0.125, 0.75, np.array([12.0, 1.0])
    rule = su.sgnht(learning_rate=eta, diffusion=a, temperature=T, seed=6, per_element=True)
    first, second, thermostat = sample(noisy(rule, variances, 5), read="p/sgnht/thermostat")
    assert np.abs(first.mean(axis=0)).max() < 0.05
    alpha = a + np.mean(thermostat, axis=(0, 1))
    np.testing.assert_allclose(alpha * (1 - alpha / 2), a + eta * variances / (2 * T), rtol=0.05)
    right = (1 - alpha / 2) * T * np.diag(POSTERIOR)
    np.testing.assert_allclose(np.diag(second.mean(axis=0)), right, rtol=0.05)
    noise = 2 * a * eta * T + eta**2 * variances
    of_one = of_velocity(eta, alpha.mean(), noise)
    wide, narrow = np.diag(of_one)[:2] / right
    assert wide > 1.15 and narrow < 0.9


@pytest.mark.ci
def test_thermostats_swing():
    """As the docstring has it: by √(ηT), where there is no noise to find."""
    eta, T = 2.0**-8, 0.75
    rule = su.sgnht(learning_rate=eta, diffusion=0.125, temperature=T, seed=6, per_element=True)
    *_, thermostat = sample(rule, read="p/sgnht/thermostat")
    np.testing.assert_allclose(np.std(thermostat[-100:]), np.sqrt(eta * T), rtol=0.1)


@pytest.mark.ci
@pytest.mark.parametrize("eta, alpha, T", [(0.5, 0.25, 1.0), (1.0, 0.625, 0.5), (0.25, 1.0, 1.0)])
def test_baoab_samples_a_gaussian_exactly(eta, alpha, T):
    optimizer = su.baoab(
        learning_rate=pytensor.shared(eta), friction=pytensor.shared(alpha), temperature=pytensor.shared(T), seed=2
    )
    assert_samples(sample(optimizer), T * POSTERIOR)
    assert np.abs(of_sghmc(eta, alpha, T) / T - POSTERIOR).max() > 0.1


@pytest.mark.ci
def test_baoab_with_noisy_gradients():
    """Of positions and velocities, the kick with its noise, half a drift, the friction with its, half a drift."""
    eta, alpha, variance, zero = 0.125, 0.375, 4.0, 0 * EYE
    noise = gradients.add_noise(eta=variance, gamma=0, seed=3)
    kick = np.block([[EYE, zero], [-eta * PRECISION, EYE]])
    drift = np.block([[EYE, EYE / 2], [zero, EYE]])
    friction = np.block([[EYE, zero], [zero, (1 - alpha) * EYE]])
    Q = np.kron(np.diag([0.0, eta**2 * variance]), EYE)
    Q = drift @ friction @ drift @ Q @ (drift @ friction @ drift).T
    Q = Q + drift @ np.kron(np.diag([0.0, (1 - (1 - alpha) ** 2) * eta]), EYE) @ drift.T
    wide = stationary(drift @ friction @ drift @ kick, Q)[:2, :2]
    rule = su.baoab(learning_rate=eta, friction=alpha, seed=4)
    assert_samples(sample(su.chain(noise, rule)), wide)
    assert (np.diag(wide) / np.diag(POSTERIOR) > 1.4).all()


@pytest.mark.ci
def test_scale_adapted_sghmc_after_its_burn_in():
    """With step sizes as they are, what it samples is known; by the smallest steps, a colder posterior."""
    eta, alpha, V = 0.125, 0.375, np.array([4.0, 0.25])

    def begin(state):
        state["p/scale_adapted_sghmc/accu"].set_value(np.tile(V, (CHAINS, 1)))

    def expected(eta):
        G = np.diag(1 / np.sqrt(V))
        return of_velocity(eta, alpha, 2 * alpha * eta * G - eta**2 * EYE, G)[:2, :2]

    rule = su.scale_adapted_sghmc(learning_rate=eta, friction=alpha, epsilon=0.0, burn_in=0, seed=7)
    assert_samples(sample(rule, begin), expected(eta))
    # As the docstring has it, where the step sizes are the same: only there is it one temperature.
    V = np.array([4.0, 4.0])
    colder = 1 - 0.001 * np.sqrt(4.0) / (2 * alpha)
    wider = of_sghmc(0.001 / 2, alpha) / POSTERIOR
    np.testing.assert_allclose(expected(0.001), colder * wider * POSTERIOR, rtol=1e-6)


@pytest.mark.ci
def test_scale_adapted_sghmc_learns_the_scales():
    """From gradients half of whose mean square is noise: half of what it makes the samples colder by is right."""
    eta, alpha, scales = 0.002, 0.125, np.array([1.0, 0.1])
    p = pytensor.shared(np.random.default_rng(0).normal(size=(1000, 2)) * scales, name="p")
    rule = su.scale_adapted_sghmc(learning_rate=eta, friction=alpha, burn_in=200, seed=4)
    updates = noisy(rule, 1 / scales**2, 3)(((p / scales) ** 2).sum() / 2, [p])
    accu = su.named(updates)["p/scale_adapted_sghmc/accu"]
    step = pytensor.function([], [], updates=updates, mode="CVM")
    seen = []
    for t in range(900):
        step()
        if t == 200:
            learned = accu.get_value()
        if t >= 400:
            seen.append(np.mean(p.get_value(borrow=True) ** 2, axis=0))
    np.testing.assert_array_equal(accu.get_value(), learned)
    V = 2 / scales**2
    np.testing.assert_allclose(np.mean(learned, axis=0), V, rtol=0.2)
    np.testing.assert_allclose(np.mean(seen, axis=0), (1 - eta * np.sqrt(V) / (4 * alpha)) * scales**2, rtol=0.08)


@pytest.mark.ci
def test_psgld_with_a_fixed_preconditioner():
    eps, lam, V, T = 0.5, 0.125, np.array([4.0, 0.25]), 0.75

    def begin(state):
        state["p/psgld/accu"].set_value(np.tile(V, (CHAINS, 1)))

    chains = sample(su.psgld(learning_rate=eps, rho=1.0, epsilon=lam, temperature=T, seed=7), begin)
    assert_samples(chains, of_sgld(eps, T, np.diag(1 / (lam + np.sqrt(V)))))


@pytest.mark.ci
def test_psgld_near_the_posterior():
    """With an average over 500 steps, what is left out of the drift is little."""
    V = np.diag(PRECISION)  # the mean square of the gradient: of the diagonal of PRECISION POSTERIOR PRECISION

    def begin(state):
        state["p/psgld/accu"].set_value(np.tile(V, (CHAINS, 1)))

    first, second, _ = sample(su.psgld(learning_rate=0.125, rho=0.998, seed=8), begin)
    assert np.abs(z_scores(first, 0)).max() < 5
    np.testing.assert_allclose(second.mean(axis=0), POSTERIOR, rtol=0.1)


@pytest.mark.ci
@pytest.mark.parametrize("rate, variance", [(0.1, 1.12), (0.01, 1.48)])
def test_psgld_widens_what_is_slow(rate, variance):
    """As its docstring has it; in the limit of small steps, the variance of (λ + |x|) exp(-x²/2), 2."""
    p = pytensor.shared(np.random.default_rng(0).normal(size=1000), name="p")
    updates = su.psgld([p + 0], [p], learning_rate=rate, seed=9)
    step = pytensor.function([], [], updates=updates, mode="CVM")
    seen = []
    for t in range(6000):
        step()
        if t >= 2000:
            seen.append(np.mean(p.get_value(borrow=True) ** 2))
    np.testing.assert_allclose(np.mean(seen), variance, rtol=0.03)


# --- Limits -----------------------------------------------------------------------------------------------------------


def paths(*optimizers):
    """The values of a parameter on the same gradients, trained by each; some hyper-parameters have schedules."""
    g = pt.tensor("g", shape=(16,), dtype="float64")
    params = [make_param((16,), "float64") for _ in optimizers]
    updates = su.merge(*(optimizer([g], [p]) for optimizer, p in zip(optimizers, params, strict=True)))
    step = pytensor.function([g], params, updates=updates, mode=PYTHON)
    return np.array([step(given) for given in oracles.gradients(8, (16,))])


def falling(value):
    return lambda step: value / (1 + step)


@pytest.mark.parametrize(
    "one, other",
    [
        (su.sgld(learning_rate=falling(0.5), temperature=0), su.sgd(learning_rate=falling(0.25))),
        (su.sghmc(learning_rate=0.5, friction=0.25, temperature=0), su.momentum(learning_rate=0.5, momentum=0.75)),
        (su.sghmc(learning_rate=falling(0.25), friction=1, seed=1), su.sgld(learning_rate=falling(0.5), seed=1)),
        (su.psgld(learning_rate=0.25, rho=1, epsilon=0.5, seed=1), su.sgld(learning_rate=0.5, seed=1)),
        (
            su.noisy_sgd(learning_rate=0.25, eta=0.5, gamma=0.75, seed=1),
            su.chain(gradients.add_noise(eta=0.5, gamma=0.75, seed=1), su.sgd(learning_rate=0.25)),
        ),
        (su.noisy_sgd(learning_rate=0.25, eta=0), su.sgd(learning_rate=0.25)),
    ],
    ids=["cold SGLD", "cold SGHMC", "SGHMC without memory", "PSGLD without memory", "noise before SGD", "no noise"],
)
def test_limits(one, other):
    path = paths(one, other)
    np.testing.assert_allclose(path[:, 0], path[:, 1], rtol=1e-12)


def test_the_thermostat_sums_the_surplus():
    """Of the velocities of all parameters, in the largest of their precisions; an empty parameter counts nothing."""
    eta, T = 0.25, 0.5
    params = [make_param(shape, dtype) for shape, dtype in (((3,), "float32"), ((2, 2), "float64"), ((0,), "float64"))]
    grads = [pt.tanh(p) for p in params]
    updates = su.sgnht(grads, params, learning_rate=eta, temperature=T, seed=0)
    thermostat = su.named(updates)["sgnht/thermostat"]
    assert thermostat.dtype == "float64"
    step = pytensor.function([], [], updates=updates, mode=PYTHON)
    surplus = 0
    for _ in range(5):
        step()
        velocities = [v.get_value().ravel() for name, v in su.named(updates).items() if name.endswith("velocity")]
        surplus += np.mean(np.concatenate(velocities) ** 2) - eta * T
    np.testing.assert_allclose(thermostat.get_value(), surplus, rtol=1e-6)
    alone = su.sgnht(grads[2:], params[2:], learning_rate=eta)
    pytensor.function([], [], updates=alone, mode=PYTHON)()
    assert np.isfinite(su.named(alone)["sgnht/thermostat"].get_value())


@pytest.mark.parametrize(
    "rule", [su.sgld, *(pytest.param(r, marks=pytest.mark.ci) for r in (su.noisy_sgd, su.psgld, su.sghmc, su.sgnht))]
)
def test_seeds(rule):
    """The same seed is the same chain; without one, or with another, it is another. So is each parameter's noise."""
    p, q = make_param((3,), "float64"), make_param((3,), "float64")
    g = pt.zeros((3,))
    ends = []
    for seed in (1, 1, 2, None, None):
        p.set_value(np.zeros(3))
        q.set_value(np.zeros(3))
        step = pytensor.function([], [], updates=rule([g, g], [p, q], seed=seed), mode=PYTHON)
        step()
        ends += [p.get_value(), q.get_value()]
    np.testing.assert_array_equal(ends[:2], ends[2:4])
    assert len(np.unique(ends[2:])) == 3 * 8
