"""Gradient descent and its momenta."""

import numpy as np

from oracles.common import at, moved


def sgd(p, grads, learning_rate=1e-3):
    """Robbins and Monro (1951), A stochastic approximation method: x ← x - a g."""
    for t, g in enumerate(grads):
        p = p - at(learning_rate, t) * g
        p = moved(p, (yield {"param": p}))


def momentum(p, grads, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), On the importance of initialization and momentum, equations 1 and 2."""
    v = np.zeros_like(p)
    for t, g in enumerate(grads):
        v = at(momentum, t) * v - at(learning_rate, t) * g
        p = p + v
        p = moved(p, (yield {"param": p, "velocity": v}))


def nesterov_momentum(p, grads, learning_rate=1e-3, momentum=0.9):
    """Sutskever et al. (2013), equations 3 and 4, for the point ahead of theirs, θ + μv, where the gradient is taken.

    With p = θ + μv, the same as Bengio, Boulanger-Lewandowski and Pascanu (2013), Advances in optimizing recurrent
    networks, equation 7, where μ is constant.
    """
    v = np.zeros_like(p)
    for t, g in enumerate(grads):
        mu, eta = at(momentum, t), at(learning_rate, t)
        v = mu * v - eta * g
        p = p + mu * v - eta * g
        p = moved(p, (yield {"param": p, "velocity": v}))


def heavy_ball(p, grads, learning_rate=1e-3, momentum=0.9, dampening=0.0, nesterov=False):
    """Polyak (1964), Some methods of speeding up the convergence of iteration methods, as torch documents its SGD."""
    b = None
    for t, g in enumerate(grads):
        mu, tau = at(momentum, t), at(dampening, t)
        b = g if b is None else mu * b + (1 - tau) * g
        d = g + mu * b if nesterov else b
        p = p - at(learning_rate, t) * d
        p = moved(p, (yield {"param": p, "velocity": b, "t": t + 1}))


def qhm(p, grads, learning_rate=1e-3, momentum=0.999, nu=0.7):
    """Ma and Yarats (2019), Quasi-hyperbolic momentum and Adam, equations 3 and 4."""
    buffer = np.zeros_like(p)
    for t, g in enumerate(grads):
        b, n = at(momentum, t), at(nu, t)
        buffer = (1 - b) * g + b * buffer
        p = p - at(learning_rate, t) * ((1 - n) * g + n * buffer)
        p = moved(p, (yield {"param": p, "velocity": buffer}))


def optimistic_gradient(p, grads, learning_rate=1e-3, alpha=1.0, beta=1.0):
    """Mokhtari, Ozdaglar and Pattathil (2020), A unified analysis, generalized OGDA: x ← x - (a + b) g(x) + b g(x₋).

    The point before the first is the first.
    """
    before = None
    for t, g in enumerate(grads):
        a, b, eta = at(alpha, t), at(beta, t), at(learning_rate, t)
        p = p - eta * (a + b) * g + eta * b * (g if before is None else before)
        before = g
        p = moved(p, (yield {"param": p, "previous": g, "t": t + 1}))


def asgd(p, grads, learning_rate=0.01, weight_decay=1e-4, power=0.75, begin=0):
    """Xu (2011), Towards optimal one pass large scale learning, for a loss with an L2 term.

    The average is of all iterates from number `begin` + 1 on.
    """
    average = None
    for t, g in enumerate(grads, start=1):
        lam, gamma_0 = at(weight_decay, t - 1), at(learning_rate, t - 1)
        gamma = gamma_0 * (1 + lam * gamma_0 * (t - 1)) ** -at(power, t - 1)
        p = (1 - gamma * lam) * p - gamma * g
        n = t - at(begin, t - 1)
        average = p if n <= 1 else ((n - 1) * average + p) / n
        sent = yield {"param": p, "average": average, "t": t}
        p = moved(p, sent)
