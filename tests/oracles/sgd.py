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
