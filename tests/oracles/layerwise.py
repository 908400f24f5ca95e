"""Layers."""

import numpy as np

from oracles.common import at, moved


def length(x):
    """The Frobenius norm of an array of any number of axes."""
    return np.linalg.norm(np.ravel(x))


def lars(p, grads, learning_rate=0.1, momentum=0.9, weight_decay=0.0, trust_coefficient=0.001):
    """You, Gitman and Ginsburg (2017), Large batch training of convolutional networks, algorithm 1.

    The local rate, which the paper leaves open there, is 1 where the weights or what moves them are zero.
    """
    v = np.zeros_like(p)
    for t, g in enumerate(grads):
        gamma, m, beta = at(learning_rate, t), at(momentum, t), at(weight_decay, t)
        weights, divisor = length(p), length(g) + beta * length(p)
        local = at(trust_coefficient, t) * weights / divisor if weights > 0 and divisor > 0 else 1
        v = m * v + gamma * local * (g + beta * p)
        p = p - v
        p = moved(p, (yield {"param": p, "velocity": v}))


def lamb(p, grads, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, weight_decay=0.01):
    """You et al. (2020), Large batch optimization for deep learning, algorithm 2, with φ(z) = z."""
    m = np.zeros_like(p)
    v = np.zeros_like(p)
    for t, g in enumerate(grads, start=1):
        eta, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        update = r + at(weight_decay, t - 1) * p
        if length(p) > 0 and length(update) > 0:
            update = length(p) * (update / length(update))
        p = p - eta * update
        p = moved(p, (yield {"param": p, "m": m, "v": v, "t": t}))


def fromage(p, grads, learning_rate=0.01, min_norm=1e-6):
    """Bernstein et al. (2020), On the distance between two neural networks, algorithm 1.

    Neither norm is less than `min_norm`, which is not in the paper.
    """
    for t, g in enumerate(grads):
        eta, least = at(learning_rate, t), at(min_norm, t)
        direction = g / max(length(g), least)
        p = (p - eta * max(length(p), least) * direction) / np.hypot(1, eta)
        p = moved(p, (yield {"param": p}))
