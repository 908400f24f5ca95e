"""Schedule-free rules."""

import numpy as np

from oracles.common import at, moved


def schedule_free_sgd(p, grads, learning_rate=1.0, beta=0.9):
    """Defazio et al. (2024), The road less scheduled, equations 3 to 5, weighted by γ² as in its algorithm 1.

    The average is taken of all z that there were, with their weights.
    """
    z = x = p
    zs, weights = [], []
    for t, g in enumerate(grads):
        gamma, b = at(learning_rate, t), at(beta, t)
        z = z - gamma * g
        zs.append(z)
        weights.append(gamma**2)
        x = sum(w * z for w, z in zip(weights, zs, strict=True)) / sum(weights)
        p = (1 - b) * z + b * x
        p = moved(p, (yield {"param": p, "z": z, "average": x, "weights": sum(weights)}))


def schedule_free_adamw(p, grads, learning_rate=0.0025, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    """Defazio et al. (2024), algorithm 1, with the rate, not the corrected one, in weights and decay; ε of `adam`."""
    z = x = p
    v = np.zeros_like(p)
    weights = 0.0
    for t, g in enumerate(grads, start=1):
        gamma, b1, b2, eps = (at(hyper, t - 1) for hyper in (learning_rate, beta1, beta2, epsilon))
        v = b2 * v + (1 - b2) * g**2
        z = z - gamma * (1 - b2**t) ** 0.5 * g / (np.sqrt(v) + eps) - gamma * at(weight_decay, t - 1) * p
        weights = weights + gamma**2
        c = gamma**2 / weights
        x = (1 - c) * x + c * z
        p = (1 - b1) * z + b1 * x
        p = moved(p, (yield {"param": p, "v": v, "z": z, "average": x, "weights": weights, "t": t}))
