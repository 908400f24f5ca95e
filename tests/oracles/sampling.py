"""Noise and samplers, with the numbers that `symupdates.random` is to draw, here in NumPy.

The oracles take the `seed` of the rule, and of each element of the parameter its `stream`, the position of the
parameter in the call, and its `place` in the parameter, counted in C order.
"""

from itertools import count

import numpy as np

from oracles.common import at, moved

WORD = 2**32


def rotated(word, bits):
    return (word << bits | word >> (32 - bits)) % WORD


def threefry2x32(key, counter):
    """Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3: 20 rounds, in 64-bit integers modulo 2³²."""
    k0, k1, c0, c1 = (np.asarray(word, dtype=np.uint64) for word in (*key, *counter))
    schedule = [k0, k1, k0 ^ k1 ^ np.uint64(0x1BD11BDA)]
    a, b = (c0 + k0) % WORD, (c1 + k1) % WORD
    for group in range(5):
        for bits in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = (a + b) % WORD
            b = rotated(b, bits) ^ a
        a = (a + schedule[(group + 1) % 3]) % WORD
        b = (b + schedule[(group + 2) % 3] + group + 1) % WORD
    return a, b


def normals(p, seed, stream, place):
    """Of each update: standard normal numbers for `p`, by Box and Muller (1958), and the generator after it."""
    key0, key1 = (int(word) for word in np.random.SeedSequence(seed).generate_state(2))
    if place is None:
        place = np.arange(p.size).reshape(p.shape)
    for t in count():
        words = threefry2x32((key0, (key1 + np.asarray(stream)) % WORD), (t, place))
        u, v = ((word + 0.5) / WORD for word in words)
        yield (np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * v)).real, np.array([key0, key1, t + 1])


def noisy_sgd(p, grads, learning_rate=1e-3, eta=0.01, gamma=0.55, seed=None, stream=0, place=None):
    """Neelakantan et al. (2015), Adding gradient noise improves learning, equation 1, whose t is 0 at first."""
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        noise = at(eta, t) ** 0.5 * (1 + t) ** (-at(gamma, t) / 2) * xi
        p = p - at(learning_rate, t) * (g + noise)
        p = moved(p, (yield {"param": p, "rng": rng, "t": t + 1}))


def sgld(p, grads, learning_rate=1e-4, temperature=1.0, seed=None, stream=0, place=None):
    """Welling and Teh (2011), equation 4: Δθ = ε/2 ∇log p(θ|X) + N(0, ε), the variance times the temperature."""
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        eps = at(learning_rate, t)
        grad_log_p = -g
        p = p + eps / 2 * grad_log_p + (eps * at(temperature, t)) ** 0.5 * xi
        p = moved(p, (yield {"param": p, "rng": rng}))


def psgld(p, grads, learning_rate=1e-3, rho=0.99, epsilon=1e-5, temperature=1.0, seed=None, stream=0, place=None):
    """Li et al. (2016), algorithm 1, without Γ; V of the whole gradient; the variance of the noise times T."""
    V = np.zeros_like(p)
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        alpha, lam, eps = at(rho, t), at(epsilon, t), at(learning_rate, t)
        grad_log_p = -g
        V = alpha * V + (1 - alpha) * grad_log_p * grad_log_p
        G = 1 / (lam + V**0.5)
        p = p + eps / 2 * (G * grad_log_p) + (eps * G * at(temperature, t)) ** 0.5 * xi
        p = moved(p, (yield {"param": p, "accu": V, "rng": rng}))


def sghmc(
    p,
    grads,
    learning_rate=1e-4,
    friction=0.1,
    noise_estimate=0.0,
    temperature=1.0,
    seed=None,
    stream=0,
    place=None,
):
    """Chen, Fox and Guestrin (2014), equation 15, the variance of the noise times the temperature."""
    v = np.zeros_like(p)
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        eta, alpha, beta = at(learning_rate, t), at(friction, t), at(noise_estimate, t)
        v = (1 - alpha) * v - eta * g + (2 * eta * (alpha - beta) * at(temperature, t)) ** 0.5 * xi
        p = p + v
        p = moved(p, (yield {"param": p, "velocity": v, "rng": rng}))


def sgnht(
    p, grads, learning_rate=1e-4, diffusion=0.1, temperature=1.0, seed=None, per_element=False, stream=0, place=None
):
    """Ding et al. (2014), Bayesian sampling using stochastic gradient thermostats, with h = √η and A = a/h.

    The temperature multiplies the variance of the noise and the kinetic energy that is aimed at. The thermostat is
    what has been added to the friction, which a change of the diffusion changes, too; so is the velocity, p h, when
    the step size changes. With one for each element, it is Gan et al. (2015), Scalable deep Poisson factor analysis,
    section 3.2.
    """
    v = np.zeros_like(p)
    added = np.zeros_like(p) if per_element else 0.0
    for t, (g, (noise, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        h, T = at(learning_rate, t) ** 0.5, at(temperature, t)
        A, above, momentum = at(diffusion, t) / h, added / h, v / h
        xi = A + above
        momentum = momentum - xi * momentum * h - g * h + (2 * A * T * h) ** 0.5 * noise
        p = p + momentum * h
        energy = momentum * momentum if per_element else np.vdot(momentum, momentum) / momentum.size
        above = above + (energy - T) * h
        v, added = momentum * h, above * h
        p = moved(p, (yield {"param": p, "velocity": v, "thermostat": added, "rng": rng}))


def scale_adapted_sghmc(
    p,
    grads,
    learning_rate=1e-4,
    friction=0.05,
    epsilon=1e-16,
    temperature=1.0,
    burn_in=3000,
    seed=None,
    stream=0,
    place=None,
):
    """Springenberg et al. (2016), Robust Bayesian neural networks, equations 8 to 10, with 1/(τ + 1) for 1/τ.

    C is chosen so that ε V^(-1/2) C is the friction; ε² is the learning rate; the noise that is drawn has the variance
    2ε³ V^(-1/2) C V^(-1/2) T - ε⁴, if that is positive.
    """
    tau, g_bar, V, v = np.ones_like(p), np.ones_like(p), np.ones_like(p), np.zeros_like(p)
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        eps, alpha, T = at(learning_rate, t) ** 0.5, at(friction, t), at(temperature, t)
        if t < burn_in:
            old = tau
            tau = tau - tau * (g_bar / (V**0.5 + at(epsilon, t))) ** 2 + 1
            g_bar = g_bar - (g_bar - g) / (old + 1)
            V = V - (V - g * g) / (old + 1)
        M_inverse = 1 / (V**0.5 + at(epsilon, t))
        C = alpha / (eps * M_inverse)
        variance = 2 * eps**3 * M_inverse * C * M_inverse * T - eps**4
        v = v - eps**2 * M_inverse * g - eps * M_inverse * C * v + np.clip(variance, 0, None) ** 0.5 * xi
        p = p + v
        state = {"tau": tau, "g": g_bar, "accu": V, "velocity": v, "rng": rng, "t": t + 1}
        p = moved(p, (yield {"param": p, **state}))


def baoab(p, grads, learning_rate=1e-4, friction=0.1, temperature=1.0, seed=None, stream=0, place=None):
    """Leimkuhler and Matthews (2013), Rational construction of stochastic numerical methods, with unit masses.

    One after the other, from the A after the first kick: the velocity that is yielded, h times theirs, is that before
    the last kick of a step, which comes with the first of the next.
    """
    scaled = np.zeros_like(p)
    for t, (g, (xi, rng)) in enumerate(zip(grads, normals(p, seed, stream, place), strict=False)):
        h, kT = at(learning_rate, t) ** 0.5, at(temperature, t)
        minus_gamma_h = np.log1p(-at(friction, t))
        v = scaled / h
        v = v - h / 2 * g  # B, of the step before
        v = v - h / 2 * g  # B
        p = p + h / 2 * v  # A
        c = np.exp(minus_gamma_h)
        v = c * v + (kT * (1 - c**2)) ** 0.5 * xi  # O
        p = p + h / 2 * v  # A
        scaled = v * h
        p = moved(p, (yield {"param": p, "velocity": scaled, "rng": rng}))
